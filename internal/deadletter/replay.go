package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// ReplayConfig configures Replay.
type ReplayConfig struct {
	Topics    Topics
	Filter    Filter
	DryRun    bool // count without sending
	BatchSize int  // dead letters per transaction; default 500

	StopTimeout time.Duration // to finish an open transaction once ctx is done, and for readers to see all replayed records; default 20 s

	Progress func(replayed int) // called after each commit
}

func (c ReplayConfig) withDefaults() ReplayConfig {
	if c.BatchSize == 0 {
		c.BatchSize = 500
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = broker.DefaultStopTimeout
	}
	return c
}

// Validate returns an error for the first invalid setting. 0 stands for a default.
func (c ReplayConfig) Validate() error {
	switch {
	case c.Topics.DLQ == "":
		return errors.New("no dead-letter topic")
	case c.BatchSize < 0:
		return fmt.Errorf("dead letters per transaction must not be negative, got %d", c.BatchSize)
	case c.StopTimeout < 0:
		return fmt.Errorf("stop timeout must not be negative, got %s", c.StopTimeout)
	}
	return nil
}

// ReplayResult summarizes a replay.
type ReplayResult struct {
	Replayed int       `json:"replayed"`
	Earlier  int       `json:"earlier"` // selected dead letters that had been replayed before
	Skipped  []Skipped `json:"skipped"` // dead letters that cannot be replayed
}

// Skipped is a dead letter that cannot be replayed, and why.
type Skipped struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Reason    string `json:"reason"`
}

// replayTimeout is the timeout of a replay's transactions.
const replayTimeout = 30 * time.Second

// Replay writes the original record of each dead letter that the filter selects to its topic and
// partition, and a marker to the progress topic in the same transaction. A dead letter is never
// replayed twice, whatever crashes and however many replays run.
//
// The order guarantees this: acquiring the transactional id first fences any older replay and
// aborts its transaction, and only then are the markers read. After an error the outcome of the
// last batch is unknown to the caller; the next Replay finds it in the markers. If a transaction
// may remain open, the error is a *broker.LeftOpenError. When Replay returns without an error, all
// replayed records are visible to readers.
func Replay(ctx context.Context, c broker.Config, cfg ReplayConfig) (ReplayResult, error) {
	result := ReplayResult{Skipped: []Skipped{}}
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return result, err
	}
	topics, hasProgress, err := checkTopics(ctx, c, cfg.Topics)
	if err != nil {
		return result, err
	}
	cfg.Topics = topics
	work, cancel := broker.Finishing(ctx, cfg.StopTimeout)
	defer cancel()
	var sent broker.Written
	id := "weir-replay-" + cfg.Topics.DLQ
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
		if !hasProgress {
			progress := broker.Topic{Name: cfg.Topics.Progress, Partitions: 1, CleanupPolicy: "compact"}
			if err := broker.EnsureTopics(ctx, kadm.NewClient(client), []broker.Topic{progress}); err != nil {
				return result, fmt.Errorf("create topic %s: %w", progress.Name, err)
			}
		}
		if _, err := broker.Acquire(ctx, client, slog.New(slog.DiscardHandler), cfg.Topics.Progress); err != nil {
			return result, err
		}
	}
	var batch []Entry
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err // one fetch may have dead letters for many transactions
		}
		if !cfg.DryRun {
			if begun, err := replayBatch(work, client, cfg.Topics, batch); err != nil {
				if broker.IsFenced(err) { // by a newer replay, which has ended the transaction
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
	err = List(ctx, c, cfg.Topics, cfg.Filter, func(l Entry) error {
		switch reason := l.Unreplayable(); {
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

// Unreplayable returns why a dead letter cannot be replayed, or "".
func (l *Entry) Unreplayable() string {
	switch {
	case slices.ContainsFunc(l.Headers, func(h kgo.RecordHeader) bool { return h.Key == broker.HeaderWithheld }):
		return "its content was withheld"
	case l.Truncated > 0:
		return fmt.Sprintf("its value was truncated from %d bytes", l.Truncated)
	case l.OriginPartition < 0:
		return fmt.Sprintf("it is a raw row of source %s: correct the file and send it again", l.Source)
	case l.OriginOffset < 0:
		return "it is a row computed from several records, and was never a record of topic " + l.Topic
	default:
		return ""
	}
}

// replayBatch replays a batch in one transaction, which may remain open after an error.
func replayBatch(ctx context.Context, client *kgo.Client, topics Topics, batch []Entry) (begun broker.Begun, err error) {
	ctx, cancel := context.WithTimeout(ctx, replayTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, client.Close)() // otherwise records in flight would wait for the broker forever
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
		marker, err := json.Marshal(map[string]string{"at": now, "topic": l.Topic})
		if err != nil {
			return begun, err
		}
		writes.Produce(ctx, l.original(topics.DLQ))
		writes.Produce(ctx, &kgo.Record{
			Topic: topics.Progress, Key: []byte(topics.markerKey(position{l.Partition, l.Offset})), Value: marker,
		})
	}
	if err := errors.Join(client.Flush(ctx), writes.Err()); err != nil {
		return begun, errors.Join(fmt.Errorf("replay dead letters: %w", err), client.EndTransaction(ctx, kgo.TryAbort))
	}
	if err := broker.Commit(ctx, client); err != nil {
		return begun, fmt.Errorf("commit the replay of %d dead letters: %w: run the replay again; nothing is replayed twice", len(batch), err)
	}
	return begun, nil
}

// original returns the record of a dead letter with HeaderReplayed.
func (l *Entry) original(dlq string) *kgo.Record {
	r := &kgo.Record{Topic: l.Topic, Partition: l.OriginPartition, Key: l.Key, Value: l.Value}
	for _, h := range l.Headers {
		if h.Key != HeaderReplayed { // of an earlier replay
			r.Headers = append(r.Headers, h)
		}
	}
	addHeader(r, HeaderAttempt, strconv.Itoa(l.Attempt))
	addHeader(r, HeaderReplayed, fmt.Sprintf("%s/%d/%d", dlq, l.Partition, l.Offset))
	return r
}
