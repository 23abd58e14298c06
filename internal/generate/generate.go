// Package generate writes the rows of tables that no producer writes, those of the connector
// datagen, into the topics from which their pipeline reads them.
//
//	generate.go  Run: one table's rows, by one process of the pipeline at a time
//	rows.go      the source: rows and their position, for package produce
//	values.go    the values of a row
//	purge.go     deletes rows that the pipeline has read
//
// The rows and the generator's position are written in one transaction: after a crash, the next
// process continues with the row that follows the last committed one. Row n has the same values
// whenever it is generated, except those of the clock, which depend on when it is. Nobody sees the
// difference, because rows whose transaction was aborted are never read.
package generate

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/retry"
)

// Config configures the generator of a table.
type Config struct {
	Broker         broker.Config
	Program        *plan.Program
	Table          *plan.Table
	StopTimeout    time.Duration    // see produce.Config
	SessionTimeout time.Duration    // after which another process takes over; default 10 s
	Logger         *slog.Logger     // not nil
	Now            func() time.Time // default time.Now
}

// group is the consumer group whose member with the topic's first partition generates. Its members
// read nothing.
func (c Config) group() string { return "weir.generate." + c.Table.Kafka.Topic }

// name is the name of the source, under which its position is stored.
func (c Config) name() string { return c.Table.Kafka.Topic }

// retention is how long rows remain that the pipeline does not read: purge deletes the others.
const retention = "7d"

// Prepare creates the topics of a table.
func Prepare(ctx context.Context, c Config) error {
	client, err := broker.Connect(ctx, c.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	err = broker.EnsureTopics(ctx, kadm.NewClient(client), []broker.Topic{
		{Name: c.Table.Kafka.Topic, Partitions: c.Table.Generator.Partitions, Retention: retention, CleanupPolicy: "delete"},
		{Name: c.Program.PositionTopic(c.Table), Partitions: 1, CleanupPolicy: "compact"},
		{Name: c.Program.Settings.DeadLetterTopic, Partitions: c.Table.Generator.Partitions},
	})
	if err != nil {
		return fmt.Errorf("create the topics of table %s: %w", c.Table.Name, err)
	}
	return nil
}

// takeOverPause is the pause before a process that was fenced asks for its turn again.
const takeOverPause = time.Second

// Run generates the rows of a table, whenever it is this process's turn, until ctx is done or the
// last row is committed. Then it calls ended with the ends of the topic's partitions.
func Run(ctx context.Context, c Config, ended func(map[int32]int64)) error {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	for ctx.Err() == nil {
		done, err := c.turn(ctx)
		switch {
		case done:
			ends, err := c.ends(ctx)
			if err == nil {
				ended(ends)
			}
			return err
		case ctx.Err() != nil:
			return err // a transaction that may be open
		case err != nil && !broker.IsFenced(err):
			return fmt.Errorf("generate the rows of table %s: %w", c.Table.Name, err)
		}
		if err := retry.Sleep(ctx, takeOverPause); err != nil {
			return nil
		}
	}
	return nil
}

// turn waits until it is this process's turn, and generates until it is no longer. It reports
// whether the last row is committed.
func (c Config) turn(ctx context.Context) (done bool, err error) {
	generating, stop := context.WithCancel(ctx)
	defer stop()
	options, err := c.Broker.Options()
	if err != nil {
		return false, err
	}
	granted := make(chan struct{}, 1)
	has := func(partitions map[string][]int32) bool {
		for _, p := range partitions[c.Table.Kafka.Topic] {
			if p == 0 {
				return true
			}
		}
		return false
	}
	lost := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		if has(partitions) {
			stop()
		}
	}
	client, err := kgo.NewClient(append(options,
		kgo.ConsumerGroup(c.group()), kgo.ConsumeTopics(c.Table.Kafka.Topic), kgo.DisableAutoCommit(), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(c.SessionTimeout/4),
		kgo.OnPartitionsAssigned(func(_ context.Context, client *kgo.Client, partitions map[string][]int32) {
			client.PauseFetchTopics(c.Table.Kafka.Topic)
			if has(partitions) {
				granted <- struct{}{}
			}
		}),
		kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost))...)
	if err != nil {
		return false, err
	}
	defer client.Close()
	client.PauseFetchTopics(c.Table.Kafka.Topic)
	select {
	case <-granted:
	case <-generating.Done():
		return false, nil
	}
	source, err := newSource(c)
	if err != nil {
		return false, err
	}
	_, err = produce.Run(generating, produce.Config{
		Broker: c.Broker, Topic: c.Table.Kafka.Topic, Messages: []string{c.Table.Kafka.Topic},
		DLQ: c.Program.Settings.DeadLetterTopic, Progress: c.Program.PositionTopic(c.Table),
		Rate: float64(c.Table.Generator.Rate), StopTimeout: c.StopTimeout, Logger: c.Logger,
	}, source)
	return err == nil && generating.Err() == nil, err
}

func (c Config) ends(ctx context.Context) (map[int32]int64, error) {
	client, err := broker.Connect(ctx, c.Broker)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	listed, err := kadm.NewClient(client).ListCommittedOffsets(ctx, c.Table.Kafka.Topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of %s: %w", c.Table.Kafka.Topic, err)
	}
	ends := make(map[int32]int64)
	for p, o := range listed[c.Table.Kafka.Topic] {
		ends[p] = o.Offset
	}
	return ends, nil
}
