package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/metric"
	"weir.example/weir/internal/retry"
)

// Transaction is an open transaction, which blocks read_committed readers.
type Transaction struct {
	TransactionalID string             `json:"transactional_id"` // empty for a hanging one
	ProducerID      int64              `json:"producer_id"`
	Epoch           int16              `json:"producer_epoch"`
	State           string             `json:"state"` // Ongoing, PrepareCommit, PrepareAbort; Hanging where no coordinator knows it (KIP-664)
	Started         time.Time          `json:"started"`
	Age             metric.Seconds     `json:"age_seconds"`
	Timeout         metric.Seconds     `json:"timeout_seconds"` // after which its coordinator aborts it; 0 for a hanging one
	Hanging         bool               `json:"hanging"`
	Partitions      []BlockedPartition `json:"partitions"`

	coordinatorEpoch int32
}

// age returns the time since started. It is never negative: brokers' clocks differ, and the
// transaction may have begun after now.
func age(started, now time.Time) metric.Seconds { return metric.Seconds(max(0, now.Sub(started))) }

// BlockedPartition is a partition with records of an open transaction.
type BlockedPartition struct {
	Topic         string `json:"topic"`
	Partition     int32  `json:"partition"`
	FirstOffset   int64  `json:"first_offset"`       // of the transaction; -1 if the broker does not report it
	LastStable    int64  `json:"last_stable_offset"` // up to which read_committed reads
	HighWatermark int64  `json:"high_watermark"`
	Behind        int64  `json:"behind"` // offsets that read_committed readers can't see yet
}

// logEnd has a partition's last stable offset and high watermark.
type logEnd struct{ stable, high int64 }

type partitionKey struct {
	topic string
	id    int32
}

// ListTransactions returns the open transactions, the oldest first: those that coordinators know,
// and those that only partitions know, which no timeout will ever end (KIP-664).
func ListTransactions(ctx context.Context, client *kgo.Client, now time.Time) ([]Transaction, error) {
	admin := kadm.NewClient(client)
	ends, err := blockedPartitions(ctx, admin)
	if err != nil {
		return nil, err
	}
	producers, err := openProducers(ctx, admin, ends)
	if err != nil {
		return nil, err
	}
	// Query coordinators after partitions: a transaction that begins in between is then known to
	// its coordinator, and not mistaken for a hanging one.
	all, err := coordinated(ctx, admin, now)
	if err != nil {
		return nil, err
	}
	known := make(map[int64]int, len(all))
	for i, t := range all {
		known[t.ProducerID] = i
		for j := range t.Partitions {
			fillEnd(&t.Partitions[j], ends, producers)
		}
	}
	hanging := make(map[int64]int)
	for _, p := range producers {
		if i, ok := known[p.ProducerID]; ok {
			all[i].coordinatorEpoch = p.CoordinatorEpoch
			continue
		}
		i, ok := hanging[p.ProducerID]
		if !ok {
			i = len(all)
			hanging[p.ProducerID] = i
			started := time.UnixMilli(p.LastTimestamp)
			all = append(all, Transaction{
				ProducerID: p.ProducerID, Epoch: p.ProducerEpoch, State: "Hanging", Hanging: true,
				Started: started, Age: age(started, now), coordinatorEpoch: p.CoordinatorEpoch,
			})
		}
		b := BlockedPartition{Topic: p.Topic, Partition: p.Partition}
		fillEnd(&b, ends, producers)
		all[i].Partitions = append(all[i].Partitions, b)
	}
	all, err = reallyHanging(ctx, admin, all)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Transaction) int { return a.Started.Compare(b.Started) })
	return all, nil
}

// reallyHanging drops the candidates that ended between the queries of partitions and coordinators.
func reallyHanging(ctx context.Context, admin *kadm.Client, all []Transaction) ([]Transaction, error) {
	if !slices.ContainsFunc(all, func(t Transaction) bool { return t.Hanging }) {
		return all, nil
	}
	ends, err := blockedPartitions(ctx, admin)
	if err != nil {
		return nil, err
	}
	producers, err := openProducers(ctx, admin, ends)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t Transaction) bool {
		return t.Hanging && !slices.ContainsFunc(producers, func(p kadm.DescribedProducer) bool {
			return p.ProducerID == t.ProducerID && p.ProducerEpoch == t.Epoch
		})
	}), nil
}

// partly reports whether an error concerns only some partitions: those without a leader, or whose
// leader does not answer. No reader can be blocked there. Coordinators, in contrast, must respond
// in full: a transaction missing from their responses would look like a hanging one.
func partly(err error) bool {
	var shards *kadm.ShardErrors
	return errors.As(err, &shards) && !shards.AllFailed
}

// blockedPartitions returns the ends of the partitions whose last stable offset is behind their
// high watermark.
func blockedPartitions(ctx context.Context, admin *kadm.Client) (map[partitionKey]logEnd, error) {
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	names := topics.Names()
	blocked := make(map[partitionKey]logEnd)
	if len(names) == 0 {
		return blocked, nil
	}
	stable, err := admin.ListCommittedOffsets(ctx, names...)
	if err != nil && !partly(err) {
		return nil, fmt.Errorf("list last stable offsets: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil && !partly(err) {
		return nil, fmt.Errorf("list high watermarks: %w", err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		s, ok := stable.Lookup(o.Topic, o.Partition)
		if ok && s.Err == nil && o.Err == nil && s.Offset < o.Offset {
			blocked[partitionKey{o.Topic, o.Partition}] = logEnd{s.Offset, o.Offset}
		}
	})
	return blocked, nil
}

// openProducers returns the producers with an open transaction on the partitions.
func openProducers(ctx context.Context, admin *kadm.Client, ends map[partitionKey]logEnd) ([]kadm.DescribedProducer, error) {
	if len(ends) == 0 {
		return nil, nil
	}
	set := make(kadm.TopicsSet)
	for p := range ends {
		set.Add(p.topic, p.id)
	}
	described, err := admin.DescribeProducers(ctx, set)
	if err != nil && !partly(err) {
		return nil, fmt.Errorf("describe producers: %w", err)
	}
	var open []kadm.DescribedProducer
	described.EachProducer(func(p kadm.DescribedProducer) {
		if p.CurrentTxnStartOffset >= 0 {
			open = append(open, p)
		}
	})
	return open, nil
}

func fillEnd(b *BlockedPartition, ends map[partitionKey]logEnd, producers []kadm.DescribedProducer) {
	b.FirstOffset = -1
	for _, p := range producers {
		if p.Topic == b.Topic && p.Partition == b.Partition {
			b.FirstOffset = p.CurrentTxnStartOffset
		}
	}
	if end, ok := ends[partitionKey{b.Topic, b.Partition}]; ok {
		b.LastStable, b.HighWatermark, b.Behind = end.stable, end.high, end.high-end.stable
	}
}

// coordinated returns the open transactions that coordinators know of.
func coordinated(ctx context.Context, admin *kadm.Client, now time.Time) ([]Transaction, error) {
	listed, err := admin.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort"})
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	if len(listed) == 0 {
		return nil, nil
	}
	described, err := admin.DescribeTransactions(ctx, listed.TransactionalIDs()...)
	if err != nil {
		return nil, fmt.Errorf("describe transactions: %w", err)
	}
	var all []Transaction
	for _, d := range described.Sorted() {
		if errors.Is(d.Err, kerr.TransactionalIDNotFound) || d.Err == nil && d.StartTimestamp <= 0 {
			continue // it has ended in the meantime
		}
		if d.Err != nil {
			return nil, fmt.Errorf("describe transaction %s: %w", d.TxnID, d.Err)
		}
		started := time.UnixMilli(d.StartTimestamp)
		t := Transaction{
			TransactionalID: d.TxnID, ProducerID: d.ProducerID, Epoch: d.ProducerEpoch, State: d.State,
			Started: started, Age: age(started, now), Timeout: metric.Seconds(time.Duration(d.TimeoutMillis) * time.Millisecond),
			Partitions: []BlockedPartition{},
		}
		for _, tp := range d.Topics.Sorted() {
			for _, p := range tp.Partitions {
				t.Partitions = append(t.Partitions, BlockedPartition{Topic: tp.Topic, Partition: p, FirstOffset: -1})
			}
		}
		slices.SortFunc(t.Partitions, func(a, b BlockedPartition) int {
			return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
		all = append(all, t)
	}
	return all, nil
}

// abortTimeout is how long an abort waits for the partitions to become stable.
const abortTimeout = 30 * time.Second

// AbortTransaction ends the open transaction of a transactional id and fences its producer, as
// Kafka's Admin.fenceProducers does: it acquires the id, which aborts the open transaction. It
// returns the aborted transaction.
func AbortTransaction(ctx context.Context, client *kgo.Client, id string) (Transaction, error) {
	t, err := findTransaction(ctx, client, func(t *Transaction) bool { return t.TransactionalID == id }, fmt.Sprintf("transactional id %q", id))
	if err != nil {
		return Transaction{}, err
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = int32(max(1000, time.Duration(t.Timeout).Milliseconds()))
	req.ProducerID, req.ProducerEpoch = -1, -1
	for {
		resp, err := req.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		// The coordinator returns this while the abort that this request has started is in
		// progress.
		if errors.Is(err, kerr.ConcurrentTransactions) {
			if err = retry.Sleep(ctx, 50*time.Millisecond); err == nil {
				continue
			}
		}
		if err != nil {
			return t, fmt.Errorf("acquire transactional id %s: %w", id, err)
		}
		return t, awaitStable(ctx, client, &t)
	}
}

// AbortHanging ends a transaction that no coordinator knows, by writing abort markers to its
// partitions (KIP-664).
func AbortHanging(ctx context.Context, client *kgo.Client, producerID int64) (Transaction, error) {
	t, err := findTransaction(ctx, client, func(t *Transaction) bool { return t.Hanging && t.ProducerID == producerID },
		fmt.Sprintf("hanging transaction of producer id %d", producerID))
	if err != nil {
		return Transaction{}, err
	}
	set := make(kadm.TopicsSet)
	for _, p := range t.Partitions {
		set.Add(p.Topic, p.Partition)
	}
	written, err := kadm.NewClient(client).WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: t.ProducerID, ProducerEpoch: t.Epoch, CoordinatorEpoch: t.coordinatorEpoch, Topics: set,
	})
	if err != nil {
		return t, fmt.Errorf("write abort markers: %w", err)
	}
	var failed error
	written.EachPartition(func(r kadm.TxnMarkersPartitionResponse) {
		if r.Err != nil {
			failed = fmt.Errorf("write an abort marker to %s-%d: %w", r.Topic, r.Partition, r.Err)
		}
	})
	if failed != nil {
		return t, failed
	}
	return t, awaitStable(ctx, client, &t)
}

// findTransaction returns the open transaction that matches. If there is none, the error lists the
// open ones.
func findTransaction(ctx context.Context, client *kgo.Client, matches func(*Transaction) bool, what string) (Transaction, error) {
	open, err := ListTransactions(ctx, client, time.Now())
	if err != nil {
		return Transaction{}, err
	}
	var others []string
	for i := range open {
		if matches(&open[i]) {
			return open[i], nil
		}
		others = append(others, cmp.Or(open[i].TransactionalID, fmt.Sprintf("producer id %d (hanging)", open[i].ProducerID)))
	}
	if len(others) == 0 {
		return Transaction{}, fmt.Errorf("no open transaction of %s: no transaction is open", what)
	}
	return Transaction{}, fmt.Errorf("no open transaction of %s: open are %s", what, strings.Join(others, ", "))
}

// awaitStable waits until readers have passed the transaction on each of its partitions.
func awaitStable(ctx context.Context, client *kgo.Client, t *Transaction) error {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	for {
		ends, err := blockedPartitions(ctx, admin)
		if err != nil {
			return err
		}
		producers, err := openProducers(ctx, admin, ends)
		if err != nil {
			return err
		}
		still := slices.ContainsFunc(producers, func(p kadm.DescribedProducer) bool {
			return p.ProducerID == t.ProducerID && p.ProducerEpoch <= t.Epoch
		})
		if !still {
			return nil
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the abort was accepted, but its markers are not on all partitions after %s: %w", abortTimeout, err)
		}
	}
}
