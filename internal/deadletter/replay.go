package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// ReplayConfig says which letters are sent back, and how.
type ReplayConfig struct {
	Topics
	Filter    Filter
	DryRun    bool // count, send nothing
	BatchSize int  // letters in one transaction; default 500

	StopTimeout time.Duration // for what is open when ctx is done, and until readers see what was sent back; default 20 s

	Progress func(replayed int) // called after each commit
}

// ReplayResult sums up a replay.
type ReplayResult struct {
	Replayed int       `json:"replayed"`
	Earlier  int       `json:"earlier"` // chosen letters that were sent back before
	Skipped  []Skipped `json:"skipped"` // letters that can't be sent back
}

// Skipped is a letter that can't be sent back, and why.
type Skipped struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Reason    string `json:"reason"`
}

// replayTimeout bounds a transaction of a replay.
const replayTimeout = 30 * time.Second

// Replay sends each letter that the filter chooses back to its topic, with its key, headers and
// value, into the partition that it came from, and marks it in the progress topic in the same
// transaction. A letter is never sent back twice, whatever crashes and however many replays run.
//
// The order is what makes it so: the transactional id is taken first, which fences any older replay
// and ends its transaction, and the marks are read after that. After an error the outcome of the
// last batch is unknown to the caller; the next Replay reads it from the marks. No transaction is
// left open, or the error is a *broker.LeftOpenError. When Replay returns without one, readers see
// what was sent back.
func Replay(ctx context.Context, c broker.Config, cfg ReplayConfig) (ReplayResult, error) {
	result := ReplayResult{Skipped: []Skipped{}}
	if cfg.BatchSize <= 0 {
		cfg.BatchSize = 500
	}
	topics, marked, err := checkTopics(ctx, c, cfg.Topics)
	if err != nil {
		return result, err
	}
	cfg.Topics = topics
	if cfg.StopTimeout <= 0 {
		cfg.StopTimeout = broker.DefaultStopTimeout
	}
	work, cancel := broker.Finishing(ctx, cfg.StopTimeout)
	defer cancel()
	var sent broker.Written
	id := "weir-replay-" + cfg.DLQ
	client, err := broker.Connect(ctx, c,
		kgo.WithContext(work),
		sent.Option(),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(replayTimeout),
		kgo.RecordPartitioner(broker.GivenPartitions()),
	)
	if err != nil {
		return result, err
	}
	defer client.Close()
	if !cfg.DryRun {
		if !marked {
			progress := broker.Topic{Name: cfg.Topics.Progress, Partitions: 1, CleanupPolicy: "compact"}
			if err := broker.EnsureTopics(ctx, kadm.NewClient(client), []broker.Topic{progress}); err != nil {
				return result, fmt.Errorf("make the topic of the marks: %w", err)
			}
		}
		if _, _, err := client.ProducerID(ctx); err != nil {
			return result, fmt.Errorf("take over the replay of %s: %w", cfg.DLQ, err)
		}
	}
	var batch []Letter
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err // the letters of one fetch may be many transactions
		}
		if !cfg.DryRun {
			if begun, err := sendBack(work, client, cfg.Topics, batch); err != nil {
				if broker.IsFenced(err) { // by a newer replay, which has ended it
					return err
				}
				return errors.Join(err, broker.EndOpen(work, c, begun, err))
			}
		}
		result.Replayed += len(batch)
		batch = batch[:0]
		if cfg.Progress != nil {
			cfg.Progress(result.Replayed)
		}
		return nil
	}
	cfg.Filter.Pending = false
	err = List(ctx, c, cfg.Topics, cfg.Filter, func(l Letter) error {
		switch reason := l.Unsendable(); {
		case l.Replayed:
			result.Earlier++
		case reason != "":
			result.Skipped = append(result.Skipped, Skipped{l.Partition, l.Offset, reason})
		default:
			batch = append(batch, l)
		}
		if len(batch) >= cfg.BatchSize {
			return send()
		}
		return nil
	})
	if err == nil {
		err = send()
	}
	if err != nil && ctx.Err() != nil && result.Replayed > 0 && !cfg.DryRun {
		err = errors.Join(err, broker.AwaitEnded(work, c, id))
	}
	if err == nil {
		visible, cancel := context.WithTimeout(work, cfg.StopTimeout)
		defer cancel()
		err = sent.AwaitVisible(visible, c)
	}
	return result, err
}

// Unsendable tells why a letter can't be sent back, or is empty.
func (l *Letter) Unsendable() string {
	switch {
	case l.Truncated > 0:
		return fmt.Sprintf("its value was cut from %d bytes to fit", l.Truncated)
	case l.OriginPartition < 0:
		return fmt.Sprintf("it is a raw row of source %s: correct the file and send that", l.Source)
	case l.OriginOffset < 0:
		return "it is a row that was computed of several records, and never was one of topic " + l.Topic
	default:
		return ""
	}
}

// sendBack is one transaction: letters to their topics, and their marks. After an error it may be
// open.
func sendBack(ctx context.Context, client *kgo.Client, topics Topics, batch []Letter) (begun broker.Begun, err error) {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, client.Close)() // else records in flight would wait for the broker for ever
	if err := client.BeginTransaction(); err != nil {
		return begun, fmt.Errorf("begin transaction: %w", err)
	}
	if begun, err = broker.BegunBy(ctx, client); err != nil {
		return begun, err
	}
	writes := broker.NewWrites(client)
	now := time.Now().UTC().Format(timeFormat)
	for i := range batch {
		l := &batch[i]
		mark, err := json.Marshal(map[string]string{"at": now, "topic": l.Topic})
		if err != nil {
			return begun, err
		}
		writes.Produce(ctx, l.original(topics.DLQ))
		writes.Produce(ctx, &kgo.Record{
			Topic: topics.Progress, Key: []byte(topics.markKey(place{l.Partition, l.Offset})), Value: mark,
		})
	}
	if err := errors.Join(client.Flush(ctx), writes.Err()); err != nil {
		return begun, errors.Join(fmt.Errorf("send letters back: %w", err), client.EndTransaction(ctx, kgo.TryAbort))
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return begun, fmt.Errorf("commit the replay of %d letters (run it again: what was sent is not sent twice): %w", len(batch), err)
	}
	return begun, nil
}

// original is the record that a letter was made of, marked as replayed.
func (l *Letter) original(dlq string) *kgo.Record {
	r := &kgo.Record{Topic: l.Topic, Partition: l.OriginPartition, Key: l.Key, Value: l.Value}
	for _, h := range l.Headers {
		if h.Key != HeaderReplayed { // of an earlier replay
			r.Headers = append(r.Headers, h)
		}
	}
	add(r, HeaderAttempt, strconv.Itoa(l.Attempt))
	add(r, HeaderReplayed, fmt.Sprintf("%s/%d/%d", dlq, l.Partition, l.Offset))
	return r
}
