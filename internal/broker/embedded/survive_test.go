package embedded

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/longtest"
)

// killed replaces a broker by one at the same address with the files that a kill would have left.
func killed(t *testing.T, b *Broker) *Broker {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "killed")
	copyGolden(t, b.cfg.Dir, dir)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, Config{Dir: dir, Addr: b.addr})
}

const (
	historyTopics     = 2
	historyPartitions = 3
	historyProducers  = 3
	historyGroup      = "history"
)

// randomHistory is a random sequence of what clients do to transactions, and what must be left of
// it.
type randomHistory struct {
	t         *testing.T
	rng       *rand.Rand
	b         *Broker
	plain     *kgo.Client
	producers [historyProducers]*historyProducer
	records   map[string][]*historyRecord // by partition, in the order of their offsets
	offsets   map[string]int64            // committed ones, by partition
	steps     []string
}

type historyProducer struct {
	id       string
	protocol string
	client   *kgo.Client
	open     bool
	records  []*historyRecord // of the open transaction
	offsets  map[string]int64
	number   int
}

type historyRecord struct {
	value     string
	committed bool
}

func historyTopic(n int) string { return fmt.Sprint("topic", n) }

func newHistory(t *testing.T, rng *rand.Rand) *randomHistory {
	h := &randomHistory{t: t, rng: rng, b: open(t, Config{Dir: t.TempDir()}), records: make(map[string][]*historyRecord), offsets: make(map[string]int64)}
	h.plain = client(t, h.b)
	for n := range historyTopics {
		if _, err := kadm.NewClient(h.plain).CreateTopic(t.Context(), historyPartitions, 1, nil, historyTopic(n)); err != nil {
			t.Fatal(err)
		}
	}
	first := make(kadm.Offsets)
	first.Add(kadm.Offset{Topic: historyTopic(0), Partition: 0, At: 0, LeaderEpoch: -1})
	if err := kadm.NewClient(h.plain).CommitAllOffsets(t.Context(), historyGroup, first); err != nil {
		t.Fatal(err)
	}
	h.offsets[historyTopic(0)+"-0"] = 0
	for i := range h.producers {
		p := &historyProducer{id: fmt.Sprint("producer", i), protocol: []string{"v1", "v2"}[rng.IntN(2)]}
		h.producers[i] = p
		h.connect(p)
	}
	return h
}

// connect gives a producer a new client, which takes its id over.
func (h *randomHistory) connect(p *historyProducer) {
	h.t.Helper()
	if p.client != nil {
		p.client.Close()
	}
	p.client = client(h.t, h.b, kgo.TransactionalID(p.id), kgo.MaxVersions(protocols[p.protocol]()), kgo.TransactionTimeout(time.Minute))
	takeID(h.t, p.client)
	p.open, p.records, p.offsets = false, nil, nil
}

func (h *randomHistory) begin(p *historyProducer) {
	h.t.Helper()
	if p.open {
		return
	}
	if err := p.client.BeginTransaction(); err != nil {
		h.t.Fatalf("%v: %v", h.steps, err)
	}
	p.open, p.offsets = true, make(map[string]int64)
	p.number++
}

func (h *randomHistory) step() {
	t := h.t
	t.Helper()
	p := h.producers[h.rng.IntN(historyProducers)]
	topic, partition := historyTopic(h.rng.IntN(historyTopics)), int32(h.rng.IntN(historyPartitions))
	at := fmt.Sprintf("%s-%d", topic, partition)
	switch n := h.rng.IntN(20); {
	case n < 8:
		h.steps = append(h.steps, p.id+" writes to "+at)
		h.begin(p)
		r := &historyRecord{value: fmt.Sprintf("%s/%d/%d", p.id, p.number, len(p.records))}
		if err := p.client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(r.value)}).FirstErr(); err != nil {
			t.Fatalf("%v: %v", h.steps, err)
		}
		p.records = append(p.records, r)
		h.records[at] = append(h.records[at], r)
	case n < 10:
		h.steps = append(h.steps, "write without a transaction to "+at)
		r := &historyRecord{value: fmt.Sprint("plain", len(h.steps)), committed: true}
		if err := h.plain.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(r.value)}).FirstErr(); err != nil {
			t.Fatalf("%v: %v", h.steps, err)
		}
		h.records[at] = append(h.records[at], r)
	case n < 12 && p.open:
		h.steps = append(h.steps, p.id+" stages an offset of "+at)
		offset := int64(len(h.steps))
		commitInTransaction(t, p.client, historyGroup, topic, partition, offset)
		p.offsets[at] = offset
	case n < 14 && p.open && p.protocol == "v1":
		h.steps = append(h.steps, p.id+" adds "+at)
		h.addPartition(p, topic, partition)
	case n < 17 && p.open:
		commit := h.rng.IntN(3) > 0
		h.steps = append(h.steps, fmt.Sprintf("%s ends, commit %v", p.id, commit))
		h.end(p, commit)
	case n == 17:
		h.steps = append(h.steps, "takeover of "+p.id)
		h.connect(p)
	case n == 18:
		h.kill()
	}
}

func (h *randomHistory) end(p *historyProducer, commit bool) {
	h.t.Helper()
	if err := p.client.EndTransaction(h.t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		h.t.Fatalf("%v: %v", h.steps, err)
	}
	if commit {
		for _, r := range p.records {
			r.committed = true
		}
		for at, offset := range p.offsets {
			h.offsets[at] = offset
		}
	}
	p.open, p.records, p.offsets = false, nil, nil
}

// addPartition adds a partition without writing to it.
func (h *randomHistory) addPartition(p *historyProducer, topic string, partition int32) {
	h.t.Helper()
	who := takeID(h.t, p.client)
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.id, who.id, who.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
	resp, err := req.RequestWith(h.t.Context(), p.client)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				h.t.Fatalf("%v: %v", h.steps, err)
			}
		}
	}
}

// kill compares what the broker describes before and after a kill.
func (h *randomHistory) kill() {
	h.t.Helper()
	h.steps = append(h.steps, "kill")
	before, began := h.describe()
	h.b = killed(h.t, h.b)
	after, begins := h.describe()
	for _, line := range before {
		if !slices.Contains(after, line) {
			h.t.Errorf("before the kill: %s", line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			h.t.Errorf("after the kill: %s", line)
		}
	}
	for id, at := range began {
		if late := begins[id] - at; late < -1000 || late > 0 { // the journal's entry precedes the broker's
			h.t.Errorf("the transaction of %s began at %d, and after the kill at %d", id, at, begins[id])
		}
	}
	if h.t.Failed() {
		h.t.Fatal(strings.Join(h.steps, "; "))
	}
}

// describe lists the transactions, the producers of each partition, and its offsets.
func (h *randomHistory) describe() (lines []string, began map[string]int64) {
	t := h.t
	t.Helper()
	admin := kadm.NewClient(h.plain)
	began = make(map[string]int64)
	var ids []string
	for _, p := range h.producers {
		ids = append(ids, p.id)
	}
	transactions, err := admin.DescribeTransactions(t.Context(), ids...)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range transactions {
		partitions := make(map[string][]int32)
		for topic, of := range d.Topics {
			for p := range of {
				partitions[topic] = append(partitions[topic], p)
			}
			slices.Sort(partitions[topic])
		}
		lines = append(lines, fmt.Sprintf("transaction %s: %s, producer %d epoch %d, timeout %d, partitions %v", d.TxnID, d.State, d.ProducerID, d.ProducerEpoch, d.TimeoutMillis, partitions))
		if d.State == "Ongoing" {
			began[d.TxnID] = d.StartTimestamp
		}
	}
	for n := range historyTopics {
		topic := historyTopic(n)
		set := make(kadm.TopicsSet)
		for p := range int32(historyPartitions) {
			set.Add(topic, p)
			info := h.b.cluster.PartitionInfo(topic, p)
			var aborted string
			h.b.loop.do(func() { aborted = fmt.Sprint(h.b.loop.partition(topic, p).FieldByName("abortedTxns")) })
			lines = append(lines, fmt.Sprintf("%s-%d: start %d, stable %d, end %d, aborted %s", topic, p, info.LogStartOffset, info.LastStableOffset, info.HighWatermark, aborted))
		}
		producers, err := admin.DescribeProducers(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		producers.EachProducer(func(p kadm.DescribedProducer) {
			lines = append(lines, fmt.Sprintf("%s-%d: producer %d epoch %d, first offset %d, sequence %d", p.Topic, p.Partition, p.ProducerID, p.ProducerEpoch, p.CurrentTxnStartOffset, p.LastSequence))
		})
	}
	offsets, err := admin.FetchOffsets(t.Context(), historyGroup)
	if err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		lines = append(lines, fmt.Sprintf("%s: offset of %s-%d is %d", historyGroup, o.Topic, o.Partition, o.At))
	})
	return lines, began
}

// check ends all transactions and checks that readers see each committed record once, in order, and
// no other, and that the group has the committed offsets.
func (h *randomHistory) check() {
	t := h.t
	t.Helper()
	for _, p := range h.producers {
		if p.open {
			h.end(p, h.rng.IntN(2) == 0)
		}
	}
	for n := range historyTopics {
		for p := range int32(historyPartitions) {
			at := fmt.Sprintf("%s-%d", historyTopic(n), p)
			var got, want []string
			for _, r := range committedRecords(t, h.b, historyTopic(n), p) {
				_, value, _ := strings.Cut(r, " =")
				got = append(got, value)
			}
			for _, r := range h.records[at] {
				if r.committed {
					want = append(want, r.value)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s has %q, expected %q, after %s", at, got, want, strings.Join(h.steps, "; "))
			}
		}
	}
	offsets, err := kadm.NewClient(h.plain).FetchOffsets(t.Context(), historyGroup)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	offsets.Each(func(o kadm.OffsetResponse) { got[fmt.Sprintf("%s-%d", o.Topic, o.Partition)] = o.At })
	if fmt.Sprint(got) != fmt.Sprint(h.offsets) {
		t.Errorf("the group has offsets %v, expected %v", got, h.offsets)
	}
}

// In random histories of transactions, what a broker describes is the same before and after a kill,
// and the same clients go on: each transaction is either visible as a whole or not at all.
func TestOpenTransactionsSurvive(t *testing.T) {
	kills := longtest.Size(15, 25, 1000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for kills > 0 {
		t.Run(fmt.Sprint(kills, " kills left"), func(t *testing.T) {
			h := newHistory(t, rng)
			for range 60 {
				h.step()
			}
			h.kill() // once with what is left open, and again
			h.kill()
			h.check()
			for _, step := range h.steps {
				if step == "kill" {
					kills--
				}
			}
			for _, p := range h.producers {
				p.client.Close()
			}
			h.plain.Close()
			if err := h.b.Close(); err != nil {
				t.Fatal(err)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// A transaction's timeout counts from its beginning, through stops and kills. If it passes while
// the broker is down, the producer is fenced: it can't commit what it writes afterwards without
// what it wrote before.
func TestTimeoutCountsThroughRestarts(t *testing.T) {
	for _, how := range []string{"stop", "kill"} {
		for protocol, versions := range protocols {
			t.Run(how+" "+protocol, func(t *testing.T) {
				dir := t.TempDir()
				b := open(t, Config{Dir: dir})
				c := client(t, b, kgo.TransactionalID(crashID), kgo.MaxVersions(versions()), kgo.TransactionTimeout(time.Minute))
				who := openTransactionOn(t, b, c)
				addr := b.Addr()
				restart := func() {
					t.Helper()
					if how == "kill" {
						b = killed(t, b)
						dir = b.cfg.Dir
						return
					}
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
					b = open(t, Config{Dir: dir, Addr: addr})
				}
				restart()
				if got := outcomeOf(t, b, "before the timeout"); got != isOpen {
					t.Fatalf("before its timeout, the transaction is %s", got)
				}
				copied := filepath.Join(t.TempDir(), "old")
				if how == "stop" {
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
				}
				copyGolden(t, dir, copied)
				if how == "kill" {
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
				}
				content, _, _, err := readJournal(copied)
				if err != nil {
					t.Fatal(err)
				}
				content.open[who.id].begins.At -= time.Hour.Milliseconds()
				if err := writeJournal(copied, []*transaction{content.open[who.id]}); err != nil {
					t.Fatal(err)
				}
				b = open(t, Config{Dir: copied, Addr: addr})
				if got := outcomeOf(t, b, "after the timeout"); got != isAborted {
					t.Errorf("after its timeout, the transaction is %s", got)
				}
				if err := writeMore(t, c); !isFenced(err) {
					t.Errorf("the producer continued its transaction with %v", err)
				}
				raw := client(t, b, kgo.MaxVersions(versions()))
				if err := endRaw(t, raw, who, true); err == nil {
					t.Error("the producer committed its transaction")
				}
				c.Close()
				raw.Close()
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func writeMore(t *testing.T, c *kgo.Client) error {
	t.Helper()
	return c.ProduceSync(t.Context(), &kgo.Record{Topic: crashTopic, Partition: 1, Value: []byte("more")}).FirstErr()
}
