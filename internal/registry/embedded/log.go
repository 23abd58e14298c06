package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// transactionalID fences older writers of the topic: only the newest can write.
const transactionalID = "weir-registry"

// writeTimeout bounds a change: a hanging broker must not hang the registry.
const writeTimeout = 15 * time.Second

// endTimeout bounds the abort of a transaction whose commit failed.
const endTimeout = 5 * time.Second

// topicLog writes the topic and reads it back.
type topicLog struct {
	at     broker.Config
	log    *slog.Logger
	client *kgo.Client // nil after a write whose outcome is unknown

	timeout time.Duration // default writeTimeout
}

// open creates the topic if it is missing, becomes its writer, which ends an open transaction of an
// earlier one, and calls apply with each record.
func (l *topicLog) open(ctx context.Context, apply func(key, value []byte) error) error {
	client, err := broker.Connect(ctx, l.at,
		kgo.TransactionalID(transactionalID),
		kgo.DefaultProduceTopic(Topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(broker.GivenPartitions()),
		kgo.ProducerBatchMaxBytes(2<<20), // a schema has up to 1 MiB, and JSON around it
		kgo.ProducerLinger(0),
	)
	if err != nil {
		return err
	}
	topic := broker.Topic{Name: Topic, Partitions: 1, CleanupPolicy: "compact", Config: map[string]string{"max.message.bytes": "4194304"}}
	err = broker.EnsureTopics(ctx, kadm.NewClient(client), []broker.Topic{topic})
	if err == nil {
		if _, err = broker.Acquire(ctx, client, l.log, Topic); err != nil {
			err = fmt.Errorf("become the writer of %s: %w", Topic, err)
		}
	}
	if err == nil {
		err = broker.ReadAll(ctx, l.at, Topic, nil, func(r *kgo.Record) error { return apply(r.Key, r.Value) })
	}
	if err != nil {
		client.Close()
		return err
	}
	l.client = client
	return nil
}

// append commits records in one transaction. After an error they may be in the topic or not, the
// transaction has been aborted if it was still open, and open must be called again.
func (l *topicLog) append(ctx context.Context, records []*kgo.Record) error {
	// Once begun, a change completes even if its client disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(l.timeout, writeTimeout))
	defer cancel()
	defer context.AfterFunc(ctx, l.client.Close)() // otherwise a record in flight waits for the broker, whatever ctx is
	var begun broker.Begun
	err := l.client.BeginTransaction()
	if err == nil {
		begun, err = broker.BegunBy(ctx, l.client)
	}
	if err == nil {
		err = l.client.ProduceSync(ctx, records...).FirstErr()
	}
	if err == nil {
		err = broker.Commit(ctx, l.client)
	}
	if err != nil {
		err = fmt.Errorf("write %s: %w", Topic, err)
		l.log.Error("registry: change not written", "err", err)
		l.close()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if endErr := broker.EndOpen(ending, l.at, begun, err); endErr != nil {
			l.log.Error("registry: transaction left open", "err", endErr)
		}
	}
	return err
}

func (l *topicLog) close() {
	if l.client != nil {
		l.client.Close()
		l.client = nil
	}
}

var errClosed = errors.New("the registry is closed")
