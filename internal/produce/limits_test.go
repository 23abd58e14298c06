package produce_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// sized is a source of readings of a few devices. Every tenth reading is large.
type sized struct{ at, total, large int }

func (s *sized) Name() string             { return "sized" }
func (s *sized) Position() []byte         { return fmt.Append(nil, s.at) }
func (s *sized) Seek(p []byte) error      { return json.Unmarshal(p, &s.at) }
func (s *sized) Progress() (int64, int64) { return int64(s.at), int64(s.total) }
func (s *sized) Next(dst []source.Item) (n int, err error) {
	for ; n < len(dst) && s.at < s.total; n++ {
		unit := "C"
		if s.at%10 == 3 {
			unit = strings.Repeat("x", s.large)
		}
		dst[n] = source.Item{Reading: reading.Reading{
			DeviceID: fmt.Sprintf("d%d", s.at%7), Sensor: "t", Value: float64(s.at), Unit: unit, Boot: "b" + unit[1:], TS: 1_750_000_000_000 + int64(s.at), Seq: int64(s.at),
		}}
		s.at++
	}
	if s.at == s.total {
		err = io.EOF
	}
	return n, err
}

// Batches respect a small limit of the topic. A reading that exceeds it becomes a dead letter,
// truncated to the limit of its own topic. The position advances past it, even with stops, and
// nothing is sent twice.
func TestSmallTopics(t *testing.T) {
	const total, large = 3000, 250
	for _, partitions := range []int32{2, 4} {
		for _, marked := range []bool{false, true} {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "progress"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			at := broker.Config{Brokers: c.ListenAddrs()}
			client, err := broker.Connect(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for topic, limit := range map[string]string{"readings": "600", "dlq": "700"} {
				if _, err := kadm.NewClient(client).CreateTopic(t.Context(), partitions, 1, map[string]*string{"max.message.bytes": &limit}, topic); err != nil {
					t.Fatal(err)
				}
			}
			for rounds := 0; ; rounds++ {
				ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
				result, err := produce.Run(ctx, produce.Config{Broker: at, Topic: "readings", DLQ: "dlq", Progress: "progress", MarkTransactions: marked,
					MaxRecords: 500, OnCommit: func(produce.Commit) { stop() }}, &sized{total: total, large: large})
				stop()
				if err != nil || rounds > 50 {
					t.Fatal(rounds, err)
				}
				if result.Transactions == 0 {
					t.Fatalf("round %d: nothing is committed", rounds)
				}
				if result.Earlier+result.Readings == total*9/10 {
					break
				}
			}
			seen := make(map[string]int)
			count := func(topic string, see func(*kgo.Record)) {
				if err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error { see(r); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			count("readings", func(r *kgo.Record) { seen[string(r.Value)]++ })
			deadLetters := 0
			count("dlq", func(r *kgo.Record) {
				deadLetters++
				l, err := deadletter.Parse(r)
				if err != nil || !strings.Contains(l.Reason, "topic readings takes") || l.Truncated < large {
					t.Errorf("dead letter with %d of %d bytes, reason %s: %v", len(l.Value), l.Truncated, l.Reason, err)
				}
			})
			for value, n := range seen {
				if n != 1 {
					t.Errorf("%d times: %s", n, value)
				}
			}
			if len(seen) != total*9/10 || deadLetters != total/10 {
				t.Errorf("%d partitions: %d readings and %d dead letters of %d", partitions, len(seen), deadLetters, total)
			}
		}
	}
}
