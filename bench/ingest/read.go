package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 4

// patience is how long nothing has to come before what is missing counts as lost.
const patience = 20 * time.Second

func createTopic(ctx context.Context, brokers []string, name string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, name)
	return err
}

// reader counts the committed readings of each device and number.
type reader struct {
	began    time.Time
	seen     [][]int32
	first    [][]int64 // when it came
	distinct atomic.Int64
	last     atomic.Int64 // when the last one came that is no repeat
}

func newReader(all []*times, began time.Time) *reader {
	r := &reader{began: began}
	for _, t := range all {
		r.seen, r.first = append(r.seen, make([]int32, len(t.sent))), append(r.first, make([]int64, len(t.sent)))
	}
	return r
}

// run reads until ctx is done.
func (r *reader) run(ctx context.Context, brokers []string, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		now := int64(time.Since(r.began))
		var failed error
		fetches.EachRecord(func(record *kgo.Record) {
			if err := r.take(record.Value, now); err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", record.Value, err)
			}
		})
		if failed != nil {
			return failed
		}
	}
}

// take counts a reading of Weir, or a metric of Telegraf.
func (r *reader) take(value []byte, now int64) error {
	var v struct {
		Device string  `json:"device_id"`
		Value  float64 `json:"value"`
		Fields struct{ N, Value float64 }
		Tags   struct {
			Topic  string
			Device string `json:"device_id"`
		}
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	device, n := v.Device, int(v.Value)
	if v.Tags.Topic != "" {
		device, n = strings.Split(v.Tags.Topic, "/")[1], int(v.Fields.N)
	} else if v.Tags.Device != "" {
		device, n = v.Tags.Device, int(v.Fields.Value)
	}
	i, err := strconv.Atoi(strings.TrimPrefix(device, "d"))
	if err != nil || i < 0 || i >= len(r.seen) || n < 0 || n >= len(r.seen[i]) {
		return fmt.Errorf("no message has the device %q and the number %d", device, n)
	}
	if r.seen[i][n]++; r.seen[i][n] == 1 {
		r.first[i][n] = now
		r.distinct.Add(1)
		r.last.Store(now)
	}
	return nil
}

// wait waits until all messages have come, or no more do.
func (r *reader) wait(ctx context.Context, messages int) error {
	before, since := int64(-1), time.Now()
	for r.distinct.Load() < int64(messages) {
		if now := r.distinct.Load(); now != before {
			before, since = now, time.Now()
		}
		if time.Since(since) > patience {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * time.Second) // repeats may follow
	return nil
}
