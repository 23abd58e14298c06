package embedded

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/longtest"
)

// A kill leaves the files as they are. So instead of killing a broker, these tests copy its
// directory before each of its writes, also with half of what the write appends, and open the
// copies.

// crash is a copy of a data directory.
type crash struct {
	when string // the write before which it was made
	dir  string
}

// remove deletes the copy. A broker reserves 4 MiB in each that it opens, and a test opens
// thousands.
func (c crash) remove(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
}

// crashes collects copies of a directory.
type crashes struct {
	t   *testing.T
	dir string
	all []crash
}

// before copies the directory before a write. appended is nil if the write does not append.
func (c *crashes) before(path string, appended []byte) {
	name, err := filepath.Rel(c.dir, path)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.copy("before a write to "+name, nil)
	if len(appended) > 1 {
		c.copy("in a write to "+name, func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // a test's directory
			if err != nil {
				return err
			}
			_, err = f.Write(appended[:len(appended)/2])
			return errors.Join(err, f.Close())
		})
	}
}

func (c *crashes) copy(when string, tear func(dir string) error) {
	dir := filepath.Join(c.t.TempDir(), "copy")
	copyGolden(c.t, c.dir, dir)
	if tear != nil {
		if err := tear(dir); err != nil {
			c.t.Error(err)
		}
	}
	c.all = append(c.all, crash{fmt.Sprintf("%d, %s", len(c.all), when), dir})
}

// watchedFile reports writes.
type watchedFile struct {
	*os.File
	before func(path string, appended []byte)
}

func (f watchedFile) Write(p []byte) (int, error) {
	f.before(f.Name(), p)
	return f.File.Write(p)
}

func (f watchedFile) WriteAt(p []byte, at int64) (int, error) {
	f.before(f.Name(), p)
	return f.File.WriteAt(p, at)
}

// watch calls before with each write of a broker to its open files. It must run in a handler or in
// kfake's loop.
func watch(b *Broker, before func(path string, appended []byte)) {
	wrap := func(v reflect.Value) {
		if f, ok := v.Interface().(*os.File); ok {
			v.Set(reflect.ValueOf(watchedFile{f, before}))
		}
	}
	cluster := reflect.ValueOf(b.cluster).Elem()
	wrap(unlocked(cluster.FieldByName("pidsLogFile")))
	wrap(unlocked(cluster.FieldByName("groupsLogFile")))
	for _, topic := range b.loop.topics.MapKeys() {
		for of := b.loop.topics.MapIndex(topic).MapRange(); of.Next(); {
			wrap(unlocked(of.Value().Elem().FieldByName("activeSegFile")))
			wrap(unlocked(of.Value().Elem().FieldByName("activeIdxFile")))
		}
	}
	if f, ok := b.journal.file.(*os.File); ok {
		b.journal.file = watchedFile{f, before}
	}
}

const (
	crashTopic      = "rows"
	crashSource     = "source"
	crashGroup      = "copier"
	crashPartitions = 3
	crashID         = "copier-0"
)

// protocols are the two transaction protocols: one epoch for all transactions of a client, and one
// for each (KIP-890).
var protocols = map[string]func() *kversion.Versions{"v1": kversion.V3_8_0, "v2": kversion.V4_0_0}

// openTransactionOn begins a transaction after a committed one. Its rows are on all partitions, and
// it has offsets.
func openTransactionOn(t *testing.T, b *Broker, c *kgo.Client) producer {
	t.Helper()
	admin := kadm.NewClient(c)
	if _, err := admin.CreateTopics(t.Context(), crashPartitions, 1, nil, crashTopic, crashSource); err != nil {
		t.Fatal(err)
	}
	plain := make(kadm.Offsets)
	plain.Add(kadm.Offset{Topic: crashSource, Partition: 0, At: 1, LeaderEpoch: -1})
	if err := admin.CommitAllOffsets(t.Context(), "other", plain); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(crashPartitions) {
			if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: crashTopic, Partition: p, Value: fmt.Append(nil, round)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		for p := range int32(2) {
			commitInTransaction(t, c, crashGroup, crashSource, p, int64(10*(round+1))+int64(p))
		}
		if round == 0 {
			if err := broker.Commit(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	return takeID(t, c)
}

// action changes an open transaction.
type action struct {
	commits bool
	takes   bool // the transactional id from its producer
	do      func(t *testing.T, b *Broker, c *kgo.Client, who producer)
}

var actions = map[string]action{
	"commit":   {commits: true, do: func(t *testing.T, _ *Broker, c *kgo.Client, who producer) { mustEnd(t, c, who, true) }},
	"abort":    {do: func(t *testing.T, _ *Broker, c *kgo.Client, who producer) { mustEnd(t, c, who, false) }},
	"takeover": {takes: true, do: func(t *testing.T, b *Broker, _ *kgo.Client, _ producer) { takeOver(t, b.Addr(), crashID) }},
	"recovery of the id": {do: func(t *testing.T, _ *Broker, c *kgo.Client, who producer) {
		if _, err := initID(t, c, who); err != nil {
			t.Fatal(err)
		}
	}},
	"timeout": {do: func(t *testing.T, b *Broker, c *kgo.Client, who producer) {
		b.loop.do(func() {
			live, _ := b.journal.producers.withID(who.id)
			unlocked(live.state.FieldByName("txStart")).Set(reflect.ValueOf(time.Now().Add(-time.Hour)))
			kfakeUpdateTimer(b.journal.producers.pids.Addr().UnsafePointer())
		})
	}},
}

func mustEnd(t *testing.T, c *kgo.Client, who producer, commit bool) {
	t.Helper()
	if err := endRaw(t, c, who, commit); err != nil {
		t.Fatal(err)
	}
}

func endRaw(t *testing.T, c *kgo.Client, who producer, commit bool) error {
	t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = crashID, who.id, who.epoch, commit
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

func initID(t *testing.T, c *kgo.Client, who producer) (producer, error) {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = kmsg.StringPtr(crashID), 900_000
	req.ProducerID, req.ProducerEpoch = who.id, who.epoch
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return producer{resp.ProducerID, resp.ProducerEpoch}, kerr.ErrorForCode(resp.ErrorCode)
}

// crashDuring performs an action on an open transaction and returns a copy of the directory for
// each write.
func crashDuring(t *testing.T, a action, versions *kversion.Versions) ([]crash, producer) {
	t.Helper()
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	// Copies are opened long after the transaction has begun, from which its timeout counts.
	c := client(t, b, kgo.TransactionalID(crashID), kgo.MaxVersions(versions), kgo.TransactionTimeout(15*time.Minute))
	who := openTransactionOn(t, b, c)
	during := &crashes{t: t, dir: dir}
	b.loop.do(func() { watch(b, during.before) })
	raw := client(t, b, kgo.MaxVersions(versions))
	a.do(t, b, raw, who)
	b.loop.do(func() { watch(b, func(string, []byte) {}) })
	c.Close() // a client that is closed after its broker waits for seconds
	raw.Close()
	during.copy("after all", nil)
	return during.all, who
}

// outcome of the transaction after a crash.
type outcome string

const (
	isOpen      outcome = "open"
	isCommitted outcome = "committed"
	isAborted   outcome = "aborted"
)

// outcomeOf checks that a transaction has one outcome on all partitions and for its offsets.
func outcomeOf(t *testing.T, b *Broker, when string) outcome {
	t.Helper()
	c := client(t, b)
	defer c.Close()
	admin := kadm.NewClient(c)
	described, err := admin.DescribeTransactions(t.Context(), crashID)
	if err != nil {
		t.Fatal(err)
	}
	var blocked, visible []int32
	for p := range int32(crashPartitions) {
		info := b.cluster.PartitionInfo(crashTopic, p)
		if info.LastStableOffset < info.HighWatermark {
			blocked = append(blocked, p)
			continue
		}
		records := committedRecords(t, b, crashTopic, p)
		if len(records) == 0 || !strings.HasSuffix(records[0], "=0") || len(records) > 2 {
			t.Errorf("%s: partition %d has %q", when, p, records)
		}
		if len(records) == 2 {
			visible = append(visible, p)
		}
	}
	offsets, err := admin.FetchOffsets(t.Context(), crashGroup)
	if err != nil {
		t.Fatal(err)
	}
	var advanced []int32
	for p := range int32(2) {
		o, _ := offsets.Lookup(crashSource, p)
		switch o.At {
		case 20 + int64(p):
			advanced = append(advanced, p)
		case 10 + int64(p):
		default:
			t.Errorf("%s: the group's offset of partition %d is %d", when, p, o.At)
		}
	}
	seen := fmt.Sprintf("transaction %s, open on partitions %d, visible on %d, offsets committed of %d", described[crashID].State, blocked, visible, advanced)
	switch seen {
	case "transaction Ongoing, open on partitions [0 1 2], visible on [], offsets committed of []":
		return isOpen
	case "transaction Empty, open on partitions [], visible on [0 1 2], offsets committed of [0 1]":
		return isCommitted
	case "transaction Empty, open on partitions [], visible on [], offsets committed of []":
		return isAborted
	}
	t.Errorf("%s: torn: %s", when, seen)
	return ""
}

// A broker that is killed at any write of a commit or an abort, in whatever way it was requested,
// finishes it once it has been decided, and otherwise keeps the transaction open for its producer.
func TestCrashAtEachWriteOfAnEnd(t *testing.T) {
	for protocol, versions := range protocols {
		for name, a := range actions {
			t.Run(protocol+" "+name, func(t *testing.T) {
				all, who := crashDuring(t, a, versions())
				outcomes := make(map[outcome]int)
				decided := false
				for i, at := range all {
					b := open(t, Config{Dir: at.dir})
					got := outcomeOf(t, b, at.when)
					outcomes[got]++
					want := isAborted
					if a.commits {
						want = isCommitted
					}
					switch {
					case got == want:
						decided = true
					case got != isOpen || decided:
						t.Errorf("%s: the transaction is %s", at.when, got)
					}
					c := client(t, b, kgo.MaxVersions(versions()))
					checkEnds(t, b, c, who, got, a, i%2 == 0, at.when)
					c.Close()
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
					at.remove(t)
				}
				if outcomes[isOpen] == 0 || !decided {
					t.Errorf("outcomes %v: expected some before and some after the decision", outcomes)
				}
				t.Logf("%d crashes: %v", len(all), outcomes)
			})
		}
	}
}

// checkEnds checks what the producer can still do to its transaction, and that its successor can
// work.
func checkEnds(t *testing.T, b *Broker, c *kgo.Client, who producer, was outcome, a action, commit bool, when string) {
	t.Helper()
	switch was {
	case isOpen: // its producer ends it either way
		if err := endRaw(t, c, who, commit); err != nil {
			t.Errorf("%s: the producer ended its open transaction with %v", when, err)
		}
		want := isAborted
		if commit {
			want = isCommitted
		}
		if got := outcomeOf(t, b, when+", then the end"); got != want {
			t.Errorf("%s: the transaction is %s, expected %s", when, got, want)
		}
	case isCommitted: // the producer repeats the request whose response it has not received
		if err := endRaw(t, c, who, true); err != nil {
			t.Errorf("%s: the repeated commit returned %v", when, err)
		}
		if err := endRaw(t, c, who, false); err == nil {
			t.Errorf("%s: the committed transaction was aborted", when)
		}
	case isAborted:
		if err := endRaw(t, c, who, true); err == nil {
			t.Errorf("%s: the aborted transaction was committed", when)
		}
		if _, err := initID(t, c, who); a.takes && !isFenced(err) {
			t.Errorf("%s: the producer took its id back: %v", when, err)
		}
		if got := outcomeOf(t, b, when+", then a commit"); got != isAborted {
			t.Errorf("%s: the aborted transaction is %s", when, got)
		}
	}
	next := client(t, b, kgo.TransactionalID(crashID))
	defer next.Close()
	if err := next.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := next.ProduceSync(t.Context(), &kgo.Record{Topic: crashSource, Partition: 2, Value: []byte("next")}).FirstErr(); err != nil {
		t.Errorf("%s: the next producer wrote with %v", when, err)
	}
	if err := broker.Commit(t.Context(), next); err != nil {
		t.Errorf("%s: the next producer committed with %v", when, err)
	}
	if got := committedRecords(t, b, crashSource, 2); len(got) != 1 {
		t.Errorf("%s: the next producer's records are %q", when, got)
	}
}

// A broker that is killed during its recovery, at any of its writes, ends up where it would have
// without that kill.
func TestCrashAtEachWriteOfARecovery(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	for _, protocol := range slices.Sorted(maps.Keys(protocols)) {
		for _, name := range slices.Sorted(maps.Keys(actions)) {
			if testing.Short() && rng.IntN(4) > 0 {
				continue
			}
			all, _ := crashDuring(t, actions[name], protocols[protocol]())
			if !longtest.Enabled() {
				rng.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
				all = all[:1]
			}
			for _, at := range all {
				during := &crashes{t: t, dir: at.dir}
				onWrite = during.before
				b := open(t, Config{Dir: at.dir})
				onWrite = func(string, []byte) {}
				want := outcomeOf(t, b, at.when)
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				for _, again := range during.all {
					when := fmt.Sprintf("%s %s: %s, then %s", protocol, name, at.when, again.when)
					b := open(t, Config{Dir: again.dir})
					if got := outcomeOf(t, b, when); got != want {
						t.Errorf("%s: the transaction is %s, without the second kill %s", when, got, want)
					}
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
					again.remove(t)
					kills++
				}
				at.remove(t)
			}
		}
	}
	t.Logf("%d kills of recoveries", kills)
}
