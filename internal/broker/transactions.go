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
	State           string             `json:"state"`   // Ongoing, PrepareCommit, PrepareAbort; Hanging where no coordinator knows it (KIP-664)
	Started         time.Time          `json:"started"` // of a hanging one: the timestamp of its last record
	Age             metric.Seconds     `json:"age_seconds"`
	Timeout         metric.Seconds     `json:"timeout_seconds"` // after which its coordinator aborts it; 0 for a hanging one
	Hanging         bool               `json:"hanging"`
	Partitions      []BlockedPartition `json:"partitions"`
	Evidence        *Evidence          `json:"evidence,omitempty"` // of a hanging one, once Investigate has looked for it

	coordinatorEpoch int32
}

// OffsetsTopic has the offsets of consumer groups. Transactions that commit offsets write to it.
const OffsetsTopic = "__consumer_offsets"

// Unchecked is a topic whose open transactions this client cannot see.
type Unchecked struct {
	Topic  string `json:"topic"`
	Reason string `json:"reason"`
}

// OpenTransactions are the open transactions of a cluster, the oldest first.
type OpenTransactions struct {
	Open      []Transaction
	Unchecked []Unchecked // topics that may have more
}

// Hanging returns those that no coordinator will end.
func (o *OpenTransactions) Hanging() (hanging []Transaction) {
	for i := range o.Open {
		if o.Open[i].Hanging {
			hanging = append(hanging, o.Open[i])
		}
	}
	return hanging
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

// ListTransactions returns the open transactions: those that coordinators know, and those that only
// partitions know, which no timeout will ever end (KIP-664). A transaction is hanging on a
// partition if its records are open there, and no open transaction of its producer has that
// partition: a coordinator can have completed it and begun another one. Given topics, it returns
// only the hanging ones there.
func ListTransactions(ctx context.Context, client *kgo.Client, now time.Time, topics ...string) (OpenTransactions, error) {
	var listed OpenTransactions
	first, err := look(ctx, client, now, topics)
	if err != nil {
		return listed, err
	}
	listed.Unchecked = first.unchecked
	if len(topics) == 0 {
		listed.Open = first.known
	}
	if len(first.hanging) > 0 {
		// Markers are written one by one, and a transaction can end and the next one begin between
		// two queries. Hanging is what has not moved since, and what no coordinator knows now.
		second, err := look(ctx, client, now, topics)
		if err != nil {
			return listed, err
		}
		listed.addHanging(first.hanging, second, now)
	}
	slices.SortFunc(listed.Open, func(a, b Transaction) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ProducerID, b.ProducerID), cmp.Compare(a.Epoch, b.Epoch))
	})
	return listed, nil
}

// view is the state of a cluster's transactions at one moment.
type view struct {
	known     []Transaction // by coordinators
	hanging   []kadm.DescribedProducer
	ends      map[partitionKey]logEnd
	unchecked []Unchecked
}

// look queries coordinators after partitions: a transaction that begins in between is then known to
// its coordinator, and not mistaken for a hanging one.
func look(ctx context.Context, client *kgo.Client, now time.Time, topics []string) (v view, err error) {
	admin := kadm.NewClient(client)
	details, unchecked, err := readable(ctx, client, topics)
	if err != nil {
		return v, err
	}
	if v.ends, err = blockedPartitions(ctx, admin, details.Names()); err != nil {
		return v, err
	}
	set := make(kadm.TopicsSet)
	for p := range v.ends {
		set.Add(p.topic, p.id)
	}
	described, refused, err := describeProducers(ctx, client, set)
	if err != nil && !errors.Is(err, errPartly) {
		return v, err
	}
	v.unchecked = slices.Concat(unchecked, refused)
	open := slices.DeleteFunc(described, func(p kadm.DescribedProducer) bool { return p.CurrentTxnStartOffset < 0 })
	if len(topics) > 0 && len(open) == 0 {
		return v, nil // nothing can be hanging
	}
	if v.known, err = coordinated(ctx, admin, now); err != nil {
		return v, err
	}
	for i := range v.known {
		for j := range v.known[i].Partitions {
			b := &v.known[i].Partitions[j]
			b.FirstOffset = -1
			b.fillEnd(v.ends)
		}
	}
	for _, p := range open {
		if b := v.of(p); b != nil {
			b.FirstOffset = p.CurrentTxnStartOffset
		} else {
			v.hanging = append(v.hanging, p)
		}
	}
	return v, nil
}

// of returns the partition of the producer's open transaction, nil if its coordinator knows of none
// there.
func (v *view) of(p kadm.DescribedProducer) *BlockedPartition {
	for i := range v.known {
		for j := range v.known[i].Partitions {
			b := &v.known[i].Partitions[j]
			if v.known[i].ProducerID == p.ProducerID && b.Topic == p.Topic && b.Partition == p.Partition {
				return b
			}
		}
	}
	return nil
}

// addHanging adds the candidates that are still there at a second look, one transaction for each
// producer id and epoch.
func (o *OpenTransactions) addHanging(candidates []kadm.DescribedProducer, again view, now time.Time) {
	for _, p := range candidates {
		if !slices.ContainsFunc(again.hanging, func(q kadm.DescribedProducer) bool {
			return q.Topic == p.Topic && q.Partition == p.Partition && q.ProducerID == p.ProducerID && q.ProducerEpoch == p.ProducerEpoch &&
				q.CurrentTxnStartOffset == p.CurrentTxnStartOffset
		}) {
			continue
		}
		i := slices.IndexFunc(o.Open, func(t Transaction) bool {
			return t.Hanging && t.ProducerID == p.ProducerID && t.Epoch == p.ProducerEpoch
		})
		if i < 0 {
			i = len(o.Open)
			o.Open = append(o.Open, Transaction{
				ProducerID: p.ProducerID, Epoch: p.ProducerEpoch, State: "Hanging", Hanging: true, coordinatorEpoch: p.CoordinatorEpoch,
			})
		}
		t := &o.Open[i]
		if last := time.UnixMilli(p.LastTimestamp); last.After(t.Started) {
			t.Started, t.Age = last, age(last, now)
		}
		t.coordinatorEpoch = max(t.coordinatorEpoch, p.CoordinatorEpoch)
		b := BlockedPartition{Topic: p.Topic, Partition: p.Partition, FirstOffset: p.CurrentTxnStartOffset}
		b.fillEnd(again.ends)
		t.Partitions = append(t.Partitions, b)
		slices.SortFunc(t.Partitions, comparePartitions)
	}
}

func comparePartitions(a, b BlockedPartition) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

func (b *BlockedPartition) fillEnd(ends map[partitionKey]logEnd) {
	if end, ok := ends[partitionKey{b.Topic, b.Partition}]; ok {
		b.LastStable, b.HighWatermark, b.Behind = end.stable, end.high, end.high-end.stable
	}
}

// readable returns the topics to look at: the given ones, or all and OffsetsTopic. A listing of
// topics leaves out silently what the client may not describe, so OffsetsTopic is asked for by
// name.
func readable(ctx context.Context, client *kgo.Client, topics []string) (details kadm.TopicDetails, unchecked []Unchecked, err error) {
	details = make(kadm.TopicDetails)
	list := func(names ...string) error {
		listed, err := kadm.NewClient(client).ListTopics(ctx, names...)
		if err != nil {
			return fmt.Errorf("list topics: %w", err)
		}
		for name, topic := range listed {
			if topic.Err == nil {
				details[name] = topic
			}
		}
		return nil
	}
	all := len(topics) == 0
	others := slices.DeleteFunc(slices.Clone(topics), func(t string) bool { return t == OffsetsTopic })
	if all || len(others) > 0 {
		if err := list(others...); err != nil {
			return nil, nil, err
		}
	}
	if !all && len(others) == len(topics) {
		return details, nil, nil
	}
	partitions, err := OffsetsPartitions(ctx, client)
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return details, []Unchecked{{OffsetsTopic, refusal(err)}}, nil
	case err != nil:
		return nil, nil, err
	case partitions > 0:
		return details, nil, list(OffsetsTopic)
	}
	return details, nil, nil
}

// OffsetsPartitions returns the number of partitions of OffsetsTopic; 0 if there is none, as in the
// embedded broker, where offsets are not records. It asks brokers directly: the client would keep a
// missing topic in the metadata that it caches, and list it from then on.
func OffsetsPartitions(ctx context.Context, client *kgo.Client) (int, error) {
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(OffsetsTopic)
	req.Topics = append(req.Topics, topic)
	err := errNoAnswer
	for _, b := range client.DiscoveredBrokers() {
		var kresp kmsg.Response
		if kresp, err = b.Request(ctx, req); err != nil {
			continue
		}
		resp, ok := kresp.(*kmsg.MetadataResponse)
		if !ok || len(resp.Topics) != 1 {
			return 0, fmt.Errorf("describe topic %s: unexpected response", OffsetsTopic)
		}
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return 0, nil
		}
		if err == nil {
			return len(resp.Topics[0].Partitions), nil
		}
		break
	}
	return 0, fmt.Errorf("describe topic %s: %w", OffsetsTopic, err)
}

// refusal describes the error of reading a topic, with the permission that is missing if it is one.
func refusal(err error) string {
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return "this user may not read it: grant the operation Read on the topic"
	}
	return err.Error()
}

// partly reports whether an error concerns only some partitions: those without a leader, or whose
// leader does not answer. No reader can be blocked there. Coordinators, in contrast, must respond
// in full: a transaction missing from their responses would look like a hanging one.
func partly(err error) bool {
	var shards *kadm.ShardErrors
	return errors.As(err, &shards) && !shards.AllFailed
}

// blockedPartitions returns the ends of the topics' partitions whose last stable offset is behind
// their high watermark.
func blockedPartitions(ctx context.Context, admin *kadm.Client, names []string) (map[partitionKey]logEnd, error) {
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

// errPartly is an error of describeProducers where other brokers have answered.
var errPartly = errors.New("a leader does not answer")

// describeProducers returns the producers that partitions remember, and the topics that this client
// may not ask about: kadm fails as a whole for those. Beside an errPartly it returns what it has.
func describeProducers(ctx context.Context, client *kgo.Client, set kadm.TopicsSet) (all []kadm.DescribedProducer, unchecked []Unchecked, err error) {
	if len(set) == 0 {
		return nil, nil, nil
	}
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, t := range set.IntoList() {
		topic := kmsg.NewDescribeProducersRequestTopic()
		topic.Topic, topic.Partitions = t.Topic, t.Partitions
		req.Topics = append(req.Topics, topic)
	}
	shards := client.RequestSharded(ctx, req)
	failed := 0
	for _, shard := range shards {
		resp, ok := shard.Resp.(*kmsg.DescribeProducersResponse)
		if shard.Err != nil || !ok {
			failed, err = failed+1, shard.Err
			continue
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if refused := kerr.ErrorForCode(p.ErrorCode); refused != nil {
					u := Unchecked{t.Topic, refusal(refused)}
					if !slices.Contains(unchecked, u) {
						unchecked = append(unchecked, u)
					}
				}
				for _, a := range p.ActiveProducers {
					all = append(all, kadm.DescribedProducer{
						Leader: shard.Meta.NodeID, Topic: t.Topic, Partition: p.Partition, ProducerID: a.ProducerID, ProducerEpoch: int16(a.ProducerEpoch), //nolint:gosec // epochs have 16 bits
						LastSequence: a.LastSequence, LastTimestamp: a.LastTimestamp, CoordinatorEpoch: a.CoordinatorEpoch, CurrentTxnStartOffset: a.CurrentTxnStartOffset,
					})
				}
			}
		}
	}
	switch {
	case failed == 0:
		return all, unchecked, nil
	case failed == len(shards):
		return nil, nil, fmt.Errorf("describe producers: %w", err)
	}
	return all, unchecked, fmt.Errorf("describe producers: %w: %w", errPartly, err)
}

// openStates are a coordinator's states of open transactions.
var openStates = []string{"Ongoing", "PrepareCommit", "PrepareAbort"}

// coordinated returns the open transactions that coordinators know of.
func coordinated(ctx context.Context, admin *kadm.Client, now time.Time) ([]Transaction, error) {
	listed, err := admin.ListTransactions(ctx, nil, openStates)
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
		if errors.Is(d.Err, kerr.TransactionalIDNotFound) || d.Err == nil && (d.StartTimestamp <= 0 || !slices.Contains(openStates, d.State)) {
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
		slices.SortFunc(t.Partitions, comparePartitions)
		all = append(all, t)
	}
	return all, nil
}

// abortTimeout is how long the end of a transaction waits for the partitions to become stable.
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

// findTransaction returns the open transaction that matches. If there is none, the error lists the
// open ones.
func findTransaction(ctx context.Context, client *kgo.Client, matches func(*Transaction) bool, what string) (Transaction, error) {
	listed, err := ListTransactions(ctx, client, time.Now())
	if err != nil {
		return Transaction{}, err
	}
	var others []string
	var found *Transaction
	for i := range listed.Open {
		t := &listed.Open[i]
		if matches(t) && found == nil {
			found = t
		}
		others = append(others, cmp.Or(t.TransactionalID, fmt.Sprintf("producer id %d (hanging)", t.ProducerID)))
	}
	if found != nil {
		return *found, nil
	}
	not := ""
	for _, u := range listed.Unchecked {
		not += fmt.Sprintf("; %s was not checked: %s", u.Topic, u.Reason)
	}
	if len(others) == 0 {
		return Transaction{}, fmt.Errorf("no open transaction of %s: no transaction is open%s", what, not)
	}
	return Transaction{}, fmt.Errorf("no open transaction of %s: open are %s%s", what, strings.Join(others, ", "), not)
}

// awaitStable waits until readers have passed the transaction on each of its partitions.
func awaitStable(ctx context.Context, client *kgo.Client, t *Transaction) error {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	of := make(map[partitionKey]bool)
	var topics []string
	for _, p := range t.Partitions {
		of[partitionKey{p.Topic, p.Partition}] = true
		topics = append(topics, p.Topic)
	}
	topics = slices.Compact(topics) // they are sorted
	for {
		ends, err := blockedPartitions(ctx, admin, topics)
		if err != nil {
			return err
		}
		blocked := make(kadm.TopicsSet)
		for p := range ends {
			if of[p] {
				blocked.Add(p.topic, p.id)
			}
		}
		producers, _, err := describeProducers(ctx, client, blocked)
		if err != nil && !errors.Is(err, errPartly) {
			return err
		}
		still := slices.ContainsFunc(producers, func(p kadm.DescribedProducer) bool {
			return p.ProducerID == t.ProducerID && p.ProducerEpoch <= t.Epoch && p.CurrentTxnStartOffset >= 0
		})
		if !still {
			return nil
		}
		if err := retry.Sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the broker accepted it, but its markers are not on all partitions after %s: %w", abortTimeout, err)
		}
	}
}
