package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Outcome is how a hanging transaction ended where it is not hanging.
type Outcome string

// Outcomes of a transaction.
const (
	Committed      Outcome = "committed"
	Aborted        Outcome = "aborted"
	Contradictory  Outcome = "contradictory" // neither a commit nor an abort would be right everywhere
	UnknownOutcome Outcome = "unknown"
)

// OffsetsPartition returns the partition of OffsetsTopic that has the offsets of a group.
func OffsetsPartition(group string, partitions int32) int32 {
	return coordinatorPartition(group, partitions)
}

// coordinatorPartition returns the partition of the coordinators' log that has the state of a group
// or of a transactional id: Java's hash of its name.
func coordinatorPartition(name string, partitions int32) int32 {
	hash := int32(0)
	for _, unit := range utf16.Encode([]rune(name)) {
		hash = hash*31 + int32(unit)
	}
	if hash == math.MinInt32 { // Kafka's Utils.abs
		hash = 0
	}
	return max(hash, -hash) % partitions
}

// Evidence is what is known about the end of a hanging transaction.
//
// With transaction.version 2 (KIP-890) each transaction has an epoch of its own: its records have
// epoch E, and its markers, and its coordinator once it has ended, epoch E+1. So a COMMIT marker of
// E+1 after records of E in another partition proves that exactly this transaction was committed.
// Older clients write markers with the epoch of the records, which many transactions share: nothing
// then tells which one a marker has ended.
type Evidence struct {
	Outcome     Outcome     `json:"outcome"`
	Markers     []Marker    `json:"markers,omitempty"`     // that ended it in other partitions
	Coordinator string      `json:"coordinator,omitempty"` // what the coordinator says of it, "" if it says nothing anymore
	Reason      string      `json:"reason,omitempty"`      // why the outcome is unknown
	Unchecked   []Unchecked `json:"unchecked,omitempty"`   // partitions that may have evidence

	coordinatorEpoch int32 // of the markers
}

// Marker is the control record that ended a transaction in a partition.
type Marker struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Epoch     int16     `json:"producer_epoch"`
	Commit    bool      `json:"commit"`
	At        time.Time `json:"at"`
}

// String names the kind, place and time.
func (m Marker) String() string {
	kind := "ABORT"
	if m.Commit {
		kind = "COMMIT"
	}
	return fmt.Sprintf("%s marker in %s-%d at offset %d, written at %s", kind, m.Topic, m.Partition, m.Offset, m.At.UTC().Format(time.RFC3339Nano))
}

// String tells what the evidence is.
func (e *Evidence) String() string {
	var all []string
	for _, m := range e.Markers {
		all = append(all, m.String())
	}
	if e.Coordinator != "" {
		all = append(all, e.Coordinator)
	}
	if e.Reason != "" {
		all = append(all, e.Reason)
	}
	for _, u := range e.Unchecked {
		all = append(all, fmt.Sprintf("%s was not read: %s", u.Topic, u.Reason))
	}
	return strings.Join(all, "; ")
}

// Same reports whether the other one is this transaction, hanging on the same partitions.
func (t *Transaction) Same(other Transaction) bool {
	return t.ProducerID == other.ProducerID && t.Epoch == other.Epoch && t.Hanging && other.Hanging &&
		slices.EqualFunc(t.Partitions, other.Partitions, func(a, b BlockedPartition) bool {
			return a.Topic == b.Topic && a.Partition == b.Partition && a.FirstOffset == b.FirstOffset
		})
}

// Command is the command that ends the transaction as it ended elsewhere, "" if that is not known.
func (t *Transaction) Command() string {
	if !t.Hanging || t.Evidence == nil {
		return ""
	}
	verb := map[Outcome]string{Committed: "commit", Aborted: "abort"}[t.Evidence.Outcome]
	if verb == "" {
		return ""
	}
	return fmt.Sprintf("weir transactions %s --producer-id %d --producer-epoch %d", verb, t.ProducerID, t.Epoch)
}

// Describe tells where a hanging transaction is open, since when, how it ended elsewhere, and what
// ends it. It has its evidence.
func (t *Transaction) Describe() string {
	text := fmt.Sprintf("transaction of producer id %d epoch %d hangs since %s on %s, and no coordinator will end it",
		t.ProducerID, t.Epoch, t.Started.UTC().Format(time.RFC3339Nano), places(t.Partitions))
	if t.Evidence == nil {
		return text
	}
	text += fmt.Sprintf("; elsewhere: %s (%s)", t.Evidence.Outcome, t.Evidence)
	if command := t.Command(); command != "" {
		text += "; " + command + " finishes it"
	}
	return text
}

// places tells from where on the records of partitions are blocked.
func places(all []BlockedPartition) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = fmt.Sprintf("%s-%d from offset %d", p.Topic, p.Partition, p.FirstOffset)
	}
	return strings.Join(texts, ", ")
}

// Investigate finds out how a hanging transaction ended: on its other partitions, by the logs of
// all that remember the producer, backwards from their ends; and by what its coordinator has
// decided.
func Investigate(ctx context.Context, client *kgo.Client, t *Transaction) (*Evidence, error) {
	if !t.Hanging {
		return nil, errors.New("the transaction is not hanging: its coordinator ends it")
	}
	i := &investigation{logs: logs{client: client}, t: t, found: &Evidence{Outcome: UnknownOutcome}}
	if err := i.logs.list(ctx); err != nil {
		return nil, err
	}
	if err := i.checkRecords(ctx); err != nil {
		return nil, err
	}
	if i.found.Reason != "" {
		return i.found, nil
	}
	if err := i.search(ctx); err != nil {
		return nil, err
	}
	coordinator, proven, err := i.askCoordinator(ctx)
	if err != nil {
		return nil, err
	}
	i.judge(coordinator, proven)
	return i.found, nil
}

type investigation struct {
	logs  logs
	t     *Transaction
	found *Evidence

	bumps bool // some commit of the producer has the epoch after that of its records: transaction.version 2
	same  bool // some commit, or the end of this epoch, has the epoch of its records
}

// checkRecords makes sure that all open records are of one transaction. A partition that has missed
// a marker takes records of the producer's next transaction as more of the open one, and the next
// marker ends both.
func (i *investigation) checkRecords(ctx context.Context) error {
	for _, p := range i.t.Partitions {
		first, err := i.logs.epochAt(ctx, partitionKey{p.Topic, p.Partition}, p.FirstOffset, i.t.ProducerID)
		if err != nil {
			return err
		}
		switch first {
		case i.t.Epoch:
		case -1:
			i.found.Reason = fmt.Sprintf("%s-%d has no records of the producer at offset %d", p.Topic, p.Partition, p.FirstOffset)
		default:
			i.found.Outcome = Contradictory
			i.found.Reason = fmt.Sprintf("%s-%d has open records of more than one transaction: of epoch %d from offset %d, and up to epoch %d",
				p.Topic, p.Partition, first, p.FirstOffset, i.t.Epoch)
		}
	}
	return nil
}

// search looks for the markers of the transaction in each partition that remembers its producer.
func (i *investigation) search(ctx context.Context) error {
	set := make(kadm.TopicsSet)
	for topic, detail := range i.logs.topics {
		for p := range detail.Partitions {
			set.Add(topic, p)
		}
	}
	producers, refused, err := describeProducers(ctx, i.logs.client, set)
	if errors.Is(err, errPartly) {
		refused, err = append(refused, Unchecked{"a part of the partitions", err.Error()}), nil
	}
	if err != nil {
		return err
	}
	i.found.Unchecked = append(i.found.Unchecked, refused...)
	for _, p := range producers {
		if p.ProducerID != i.t.ProducerID {
			continue
		}
		end := int64(-1)
		for _, open := range i.t.Partitions {
			if open.Topic == p.Topic && open.Partition == p.Partition {
				end = open.FirstOffset // what is before it tells how this client ends transactions
			}
		}
		at := partitionKey{p.Topic, p.Partition}
		if err := i.searchIn(ctx, at, end); err != nil {
			if ctx.Err() != nil {
				return err
			}
			i.found.Unchecked = append(i.found.Unchecked, Unchecked{fmt.Sprintf("%s-%d", p.Topic, p.Partition), err.Error()})
		}
	}
	return nil
}

// firstSearch is how many offsets are read first.
const firstSearch = 10_000

// searchIn reads a partition backwards until it has the end of the transaction, or records of an
// earlier one. A negative end is the high watermark.
func (i *investigation) searchIn(ctx context.Context, p partitionKey, end int64) error {
	start, high, err := i.logs.bounds(ctx, p)
	if err != nil {
		return err
	}
	if end < 0 {
		end = high
	}
	var batches []producerBatch
	for size := int64(firstSearch); end > start; size *= 4 {
		from := max(start, end-size)
		var chunk []producerBatch
		err := i.logs.read(ctx, p, from, end, func(b *kmsg.RecordBatch) error {
			if b.ProducerID != i.t.ProducerID || b.FirstOffset < from {
				return nil
			}
			c, err := producerBatchOf(b)
			if err == nil {
				chunk = append(chunk, c)
			}
			return err
		})
		if err != nil {
			return err
		}
		batches = append(chunk, batches...)
		if i.endIn(batches) >= 0 || slices.ContainsFunc(batches, func(c producerBatch) bool { return !c.control && c.epoch < i.t.Epoch }) {
			break
		}
		end = from
	}
	i.consider(p, batches)
	return nil
}

// endIn returns the index of the marker after the transaction's records, -1 if there is none.
func (i *investigation) endIn(batches []producerBatch) int {
	for n := 1; n < len(batches); n++ {
		if before := batches[n-1]; !before.control && before.epoch == i.t.Epoch && batches[n].control {
			return n
		}
	}
	return -1
}

// consider takes what the batches of a partition prove.
func (i *investigation) consider(p partitionKey, batches []producerBatch) {
	for n := 1; n < len(batches); n++ {
		before, c := batches[n-1], batches[n]
		if !before.control && c.control && c.commit {
			i.bumps = i.bumps || c.epoch == before.epoch+1
			i.same = i.same || c.epoch == before.epoch
		}
	}
	n := i.endIn(batches)
	if n < 0 {
		return
	}
	c := batches[n]
	switch {
	case c.emptied:
	case c.epoch == i.t.Epoch:
		i.same = true
	case c.epoch == i.t.Epoch+1, c.epoch > i.t.Epoch && !c.commit: // a coordinator that aborts by itself may raise it further
		i.found.Markers = append(i.found.Markers, Marker{p.topic, p.id, c.offset, c.epoch, c.commit, c.at})
		i.found.coordinatorEpoch = max(i.found.coordinatorEpoch, c.coordinatorEpoch)
	}
}

// outcomes by the coordinator's state of a transaction that has ended.
var outcomes = map[string]Outcome{"CompleteCommit": Committed, "CompleteAbort": Aborted}

// askCoordinator returns the outcome that the coordinator, or its log, knows, and whether it proves
// that this is the outcome of exactly this transaction. The coordinator itself knows it until the
// next transaction begins, or the next process acquires the transactional id.
func (i *investigation) askCoordinator(ctx context.Context) (o Outcome, proven bool, err error) {
	admin := kadm.NewClient(i.logs.client)
	listed, err := admin.ListTransactions(ctx, []int64{i.t.ProducerID}, nil)
	if err != nil {
		return "", false, fmt.Errorf("list transactions: %w", err)
	}
	if len(listed) == 0 {
		return "", false, nil
	}
	for _, id := range listed.TransactionalIDs() {
		o, err := i.searchStateLog(ctx, id)
		if err != nil && ctx.Err() != nil {
			return "", false, err
		}
		if err != nil {
			i.found.Unchecked = append(i.found.Unchecked, Unchecked{stateTopic, refusal(err)})
		}
		if o != "" {
			return o, true, nil
		}
	}
	described, err := admin.DescribeTransactions(ctx, listed.TransactionalIDs()...)
	if err != nil {
		return "", false, fmt.Errorf("describe transactions: %w", err)
	}
	for _, d := range described.Sorted() {
		if d.Err == nil && d.ProducerID == i.t.ProducerID && d.ProducerEpoch == i.t.Epoch+1 && outcomes[d.State] != "" {
			i.found.Coordinator = fmt.Sprintf("the coordinator of transactional id %s has %s for epoch %d", d.TxnID, d.State, d.ProducerEpoch)
			return outcomes[d.State], false, nil
		}
	}
	return "", false, nil
}

// judge decides by the markers and by the coordinator.
func (i *investigation) judge(coordinator Outcome, proven bool) {
	if i.same {
		i.found.Reason = "the markers of this producer have the epoch of the records that they end, which is not so with transaction.version 2: " +
			"several transactions may have the same epoch, and nothing tells which one a marker ended"
		return
	}
	has := make(map[Outcome]bool)
	for _, m := range i.found.Markers {
		if m.Commit {
			has[Committed] = true
		} else {
			has[Aborted] = true
		}
	}
	if coordinator != "" {
		// Without transaction.version 2 its state could be that of the next transaction.
		if proven || i.bumps {
			has[coordinator] = true
		} else {
			i.found.Coordinator += ", but no partition shows that the producer uses transaction.version 2"
		}
	}
	switch {
	case has[Committed] && has[Aborted]:
		i.found.Outcome = Contradictory
	case has[Committed]:
		i.found.Outcome = Committed
	case has[Aborted]:
		i.found.Outcome = Aborted
	default:
		i.found.Reason = "no partition has a marker of this transaction, and no coordinator knows how it ended"
	}
}

// HangingError refuses to end a hanging transaction.
type HangingError struct {
	Transaction Transaction // with its evidence
	Commit      bool        // what was asked for
}

// Error says what the evidence is, and what to do.
func (e *HangingError) Error() string {
	t, asked := &e.Transaction, "abort"
	if e.Commit {
		asked = "commit"
	}
	text := fmt.Sprintf("%s the hanging transaction of producer id %d epoch %d: ", asked, t.ProducerID, t.Epoch)
	look := "; look at the control records of this producer id with kafka-dump-log.sh --files in the logs of partitions that the transaction wrote to"
	switch t.Evidence.Outcome {
	case Committed:
		return text + "it was committed elsewhere, and aborting it here would undo a part of it (" + t.Evidence.String() + "); finish it with " + t.Command()
	case Aborted:
		return text + "it was aborted elsewhere, and committing it here would show a part of it (" + t.Evidence.String() + "); finish it with " + t.Command()
	case Contradictory:
		return text + "a commit would be wrong for some records, and an abort for others (" + t.Evidence.String() +
			"); stop what writes and reads these topics, and begin again: weir run --reset for a pipeline" + look
	}
	if e.Commit {
		return text + "nothing proves that it was committed (" + t.Evidence.String() + ")" + look
	}
	return text + "nothing shows how it ended elsewhere (" + t.Evidence.String() + ")" + look +
		fmt.Sprintf("; if it was not committed, weir transactions abort --producer-id %d --producer-epoch %d --force aborts it", t.ProducerID, t.Epoch)
}

// HangingID selects a hanging transaction.
type HangingID struct {
	ProducerID int64
	Epoch      int16 // negative: the only one
}

// String names it as errors do.
func (id HangingID) String() string {
	text := fmt.Sprintf("hanging transaction of producer id %d", id.ProducerID)
	if id.Epoch >= 0 {
		text += fmt.Sprintf(" epoch %d", id.Epoch)
	}
	return text
}

// FindHanging returns a hanging transaction with the evidence of its end.
func FindHanging(ctx context.Context, client *kgo.Client, id HangingID) (Transaction, error) {
	var epochs []string
	t, err := findTransaction(ctx, client, func(t *Transaction) bool {
		is := t.Hanging && t.ProducerID == id.ProducerID && (id.Epoch < 0 || t.Epoch == id.Epoch)
		if is {
			epochs = append(epochs, fmt.Sprint(t.Epoch))
		}
		return is
	}, id.String())
	if err != nil {
		return t, err
	}
	if len(epochs) > 1 {
		return Transaction{}, fmt.Errorf("producer id %d has hanging transactions of the epochs %s: select one with --producer-epoch", id.ProducerID, strings.Join(epochs, ", "))
	}
	t.Evidence, err = Investigate(ctx, client, &t)
	return t, err
}

// CommitHanging finishes a transaction that was committed elsewhere: it writes the COMMIT markers
// that are missing. Without proof it refuses with a *HangingError.
func CommitHanging(ctx context.Context, client *kgo.Client, id HangingID) (Transaction, error) {
	t, err := FindHanging(ctx, client, id)
	if err != nil {
		return t, err
	}
	if t.Evidence.Outcome != Committed {
		return t, &HangingError{Transaction: t, Commit: true}
	}
	return t, endHanging(ctx, client, &t, true)
}

// AbortHanging ends a transaction that no coordinator knows, by writing abort markers to its
// partitions (KIP-664). It refuses with a *HangingError if the transaction was committed elsewhere,
// and, without force, if nothing shows how it ended.
func AbortHanging(ctx context.Context, client *kgo.Client, id HangingID, force bool) (Transaction, error) {
	t, err := FindHanging(ctx, client, id)
	if err != nil {
		return t, err
	}
	if !t.MayAbort(force) {
		return t, &HangingError{Transaction: t}
	}
	return t, endHanging(ctx, client, &t, false)
}

// finishHanging ends the hanging transactions of a producer as they ended elsewhere, and returns
// them. It refuses with a *HangingError where that is not proven.
func finishHanging(ctx context.Context, client *kgo.Client, producerID int64) (finished []Transaction, err error) {
	listed, err := ListTransactions(ctx, client, time.Now())
	if err != nil {
		return nil, err
	}
	for _, t := range listed.Hanging() {
		if t.ProducerID != producerID {
			continue
		}
		if t.Evidence, err = Investigate(ctx, client, &t); err != nil {
			return finished, err
		}
		commit := t.Evidence.Outcome == Committed
		if !commit && t.Evidence.Outcome != Aborted {
			return finished, &HangingError{Transaction: t, Commit: true}
		}
		if err := endHanging(ctx, client, &t, commit); err != nil {
			return finished, err
		}
		finished = append(finished, t)
	}
	return finished, nil
}

// MayAbort reports whether AbortHanging aborts it.
func (t *Transaction) MayAbort(force bool) bool {
	return t.Evidence.Outcome == Aborted || force && t.Evidence.Outcome == UnknownOutcome
}

// endHanging writes the markers and waits until they have taken effect.
func endHanging(ctx context.Context, client *kgo.Client, t *Transaction, commit bool) error {
	marker := kmsg.NewWriteTxnMarkersRequestMarker()
	marker.ProducerID, marker.ProducerEpoch, marker.Committed = t.ProducerID, t.Epoch, commit
	// A partition refuses an older coordinator than that of its last marker; without one it has -1.
	marker.CoordinatorEpoch = max(0, t.coordinatorEpoch, t.Evidence.coordinatorEpoch)
	if commit {
		marker.ProducerEpoch++
		marker.TransactionVersion = 2 // the broker then refuses the marker if a newer transaction has written meanwhile (KIP-1228)
	}
	set := make(kadm.TopicsSet)
	for _, p := range t.Partitions {
		set.Add(p.Topic, p.Partition)
	}
	for _, of := range set.IntoList() {
		topic := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		topic.Topic, topic.Partitions = of.Topic, of.Partitions
		marker.Topics = append(marker.Topics, topic)
	}
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = append(req.Markers, marker)
	written, failed := 0, error(nil)
	for _, shard := range client.RequestSharded(ctx, req) {
		resp, ok := shard.Resp.(*kmsg.WriteTxnMarkersResponse)
		if shard.Err != nil || !ok {
			failed = errors.Join(failed, fmt.Errorf("write markers: %w", shard.Err))
			continue
		}
		for _, m := range resp.Markers {
			for _, of := range m.Topics {
				for _, p := range of.Partitions {
					if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
						failed = errors.Join(failed, fmt.Errorf("write a marker to %s-%d: %w", of.Topic, p.Partition, err))
					} else {
						written++
					}
				}
			}
		}
	}
	if errors.Is(failed, kerr.ClusterAuthorizationFailed) {
		failed = fmt.Errorf("%w: grant the operation Alter on the cluster", failed)
	}
	if failed != nil {
		return fmt.Errorf("%w (%d of %d partitions have theirs; the command can be repeated)", failed, written, len(t.Partitions))
	}
	return awaitStable(ctx, client, t)
}
