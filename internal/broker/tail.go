package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TailOptions configures where Tail starts and stops.
type TailOptions struct {
	FromStart bool // default: new records only
	UntilEnd  bool // default: until ctx is done
}

// Tail calls fn with the committed records of a topic, in offset order per partition, and caughtUp
// whenever there are no more for the moment.
func Tail(ctx context.Context, c Config, topic string, o TailOptions, fn func(*kgo.Record) error, caughtUp func() error) error {
	c = c.Withholding()
	client, err := Connect(ctx, c)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx, topic)
	if err == nil {
		err = topics[topic].Err
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return NoTopic(ctx, admin, topic)
	case err != nil:
		return fmt.Errorf("describe topic %s: %w", topic, err)
	}
	if o.UntilEnd && o.FromStart {
		return ReadAll(ctx, c, topic, nil, fn)
	}
	if o.UntilEnd {
		return errors.New("--until-end needs --from-start")
	}
	at := kgo.NewOffset().AtEnd()
	if o.FromStart {
		at = kgo.NewOffset().AtStart()
	}
	from := make(map[int32]kgo.Offset)
	for p := range topics[topic].Partitions {
		from[p] = at
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var failed error
		fetches.EachError(func(t string, p int32, err error) { failed = fmt.Errorf("read %s-%d: %w", t, p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			if failed == nil {
				failed = fn(r)
			}
		})
		if failed == nil {
			failed = caughtUp()
		}
		if failed != nil {
			return failed
		}
	}
}
