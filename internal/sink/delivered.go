package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

const (
	deliveredPause = 200 * time.Millisecond
	remindPause    = 10 * time.Second
)

// AwaitDelivered waits until the rows that the topic holds now are delivered, by this process or
// others. From now on, rows don't wait for others. It returns ctx's error, or that of a target that
// refuses the table.
func AwaitDelivered(ctx context.Context, c Config) error {
	c = c.withDefaults()
	c.Status.await()
	topic, ends, err := endsOf(ctx, c)
	if err != nil {
		return err
	}
	told := c.Now()
	for {
		left, err := undelivered(ctx, c, topic, ends)
		if err == nil && left == 0 {
			return nil
		}
		now := c.Status.Snapshot()
		if now.Phase == Refused {
			return Refuse("table %s: %s", c.Table.Name, now.Reason)
		}
		if errors.As(err, new(*RefusedError)) {
			return fmt.Errorf("table %s: %w", c.Table.Name, err)
		}
		if c.Now().Sub(told) >= remindPause {
			told = c.Now()
			why := now.Reason
			if err != nil {
				why = err.Error()
			}
			c.Logger.Warn("waiting until the rows are delivered; Ctrl-C stops, and the next run delivers them", "target", c.Table.Delivery.String(), "left", left, "reason", why)
		}
		if err := retry.Sleep(ctx, deliveredPause); err != nil {
			return fmt.Errorf("stopped before all rows of table %s were delivered to %s; the next run delivers them: %w", c.Table.Name, c.Table.Delivery, err)
		}
	}
}

func endsOf(ctx context.Context, c Config) (Topic, map[int32]int64, error) {
	client, err := broker.Connect(ctx, c.Broker)
	if err != nil {
		return Topic{}, nil, err
	}
	defer client.Close()
	admin, name := kadm.NewClient(client), c.Table.Kafka.Topic
	topics, err := admin.ListTopics(ctx, name)
	if err != nil {
		return Topic{}, nil, fmt.Errorf("describe topic %s: %w", name, err)
	}
	starts, ends, err := boundsOf(ctx, admin, name)
	if err != nil {
		return Topic{}, nil, err
	}
	for p, end := range ends {
		if end <= starts[p] {
			delete(ends, p)
		}
	}
	return Topic{name, topics[name].ID.String(), topics[name].ID}, ends, nil
}

// undelivered returns how many offsets of the topic are not delivered. Without an answer of the
// target it is those that are not known to be.
func undelivered(ctx context.Context, c Config, topic Topic, ends map[int32]int64) (left int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, remindPause)
	defer cancel()
	at, err := c.Target.Positions(ctx, topic)
	for p, end := range ends {
		left += max(0, end-at[p])
	}
	return left, err
}
