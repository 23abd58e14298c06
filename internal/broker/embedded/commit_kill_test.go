package embedded

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/longtest"
)

// The steps of a commit or an abort at which a broker is killed, in order. An abort has no group
// offsets.
const (
	offsetsStaged = "offsets staged, no intent"
	intentWritten = "intent written"
	someMarkers   = "some control records written"
	allMarkers    = "all control records written, nothing after them"
	someOffsets   = "some group offsets written"
	allOffsets    = "all group offsets written, no end logged"
	endLogged     = "end logged, next epoch not"
	allWritten    = "all written, not answered"
)

// endStep is a step of the end of a transaction.
type endStep struct {
	commit bool
	name   string
}

func (s endStep) String() string {
	if s.commit {
		return "commit: " + s.name
	}
	return "abort: " + s.name
}

func endSteps() (all []endStep) {
	for _, name := range []string{offsetsStaged, intentWritten, someMarkers, allMarkers, someOffsets, allOffsets, endLogged, allWritten} {
		all = append(all, endStep{true, name})
	}
	for _, name := range []string{intentWritten, someMarkers, allMarkers, endLogged, allWritten} {
		all = append(all, endStep{false, name})
	}
	return all
}

const dieStepEnv = "WEIR_TEST_DIE_STEP" // "number/commit/step" or "number/abort/step": kill -9 itself at that step of that commit or abort

// env makes a child kill itself at the step of a commit or an abort, counted from 1.
func (s endStep) env(number int) string {
	end := "abort"
	if s.commit {
		end = "commit"
	}
	return fmt.Sprintf("%s=%d/%s/%s", dieStepEnv, number, end, s.name)
}

// dieAtStep makes this process kill itself at one step of one commit or abort. kfake has no hooks
// for steps, but it writes each to a file: its file handles are replaced by ones that kill the
// process at a write.
func dieAtStep(c *kfake.Cluster) {
	parts := strings.SplitN(os.Getenv(dieStepEnv), "/", 3)
	var number int
	if _, err := fmt.Sscan(parts[0], &number); err != nil || len(parts) < 3 {
		return
	}
	at := endStep{commit: parts[1] == "commit", name: parts[2]}
	watch := func(key kmsg.Key, fn func(kmsg.Request)) {
		c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			fn(req)
			return nil, nil, false
		})
	}
	watch(kmsg.TxnOffsetCommit, func(kmsg.Request) {
		if number == 1 && at.name == offsetsStaged {
			die()
		}
	})
	watch(kmsg.EndTxn, func(req kmsg.Request) {
		if req.(*kmsg.EndTxnRequest).Commit == at.commit {
			if number--; number == 0 {
				arm(c, at)
			}
		}
	})
}

const failWritesEnv = "WEIR_TEST_FAIL_WRITES" // any value: where dieStepEnv would kill, writes fail with EIO

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// arm is called while the broker waits in a control function, after the journal's.
func arm(c *kfake.Cluster, at endStep) {
	cluster := reflect.ValueOf(c).Elem()
	switch at.name {
	case intentWritten:
		die()
	case someMarkers:
		dieAfter(1+rand.Int32N(killPartitions-1), segmentFiles(cluster, commitOut)...) // each partition has one record
	case allMarkers:
		next := "groupsLogFile"
		if !at.commit {
			next = "pidsLogFile"
		}
		dieAfter(0, unlocked(cluster.FieldByName(next)))
	case someOffsets:
		dieAfter(1, unlocked(cluster.FieldByName("groupsLogFile")))
	case allOffsets:
		dieAfter(0, unlocked(cluster.FieldByName("pidsLogFile")))
	case endLogged:
		dieAfter(1, unlocked(cluster.FieldByName("pidsLogFile")))
	case allWritten:
		dieAtEnd(unlocked(cluster.FieldByName("pidsLogFile")), 2)
	}
}

// unlocked makes an unexported field settable.
func unlocked(v reflect.Value) reflect.Value {
	return reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem()
}

func segmentFiles(cluster reflect.Value, topic string) (files []reflect.Value) {
	topics := unlocked(cluster.FieldByName("data").FieldByName("tps"))
	for of := topics.MapIndex(reflect.ValueOf(topic)).MapRange(); of.Next(); {
		files = append(files, unlocked(of.Value().Elem().FieldByName("activeSegFile")))
	}
	return files
}

// deadlyFile kills the process at a write: before it when before reaches 0, after it when after
// does.
type deadlyFile struct {
	*os.File
	before, after *atomic.Int32
}

func (f deadlyFile) Write(p []byte) (int, error) {
	if f.before != nil && f.before.Add(-1) < 0 {
		if os.Getenv(failWritesEnv) != "" {
			return 0, syscall.EIO
		}
		die()
	}
	n, err := f.File.Write(p)
	if f.after != nil && f.after.Add(-1) == 0 {
		die()
	}
	return n, err
}

// dieAfter allows n writes to the files before the process dies.
func dieAfter(writes int32, files ...reflect.Value) {
	var left atomic.Int32
	left.Store(writes)
	for _, f := range files {
		f.Set(reflect.ValueOf(deadlyFile{File: openFile(f), before: &left}))
	}
}

func dieAtEnd(file reflect.Value, writes int32) {
	var left atomic.Int32
	left.Store(writes)
	file.Set(reflect.ValueOf(deadlyFile{File: openFile(file), after: &left}))
}

func openFile(v reflect.Value) *os.File {
	f, ok := v.Interface().(*os.File)
	if !ok {
		fmt.Fprintln(os.Stderr, "no open file where the broker was expected to have one")
		os.Exit(1)
	}
	return f
}

const (
	commitIn    = "numbers" // partition p has records whose values are their offsets
	commitOut   = "copied"  // one record for each of them
	commitGroup = "copier"
	commitIns   = 3 // partitions
)

// A broker that is killed at any step of a commit or an abort has, after its restart, both the rows
// of a transaction and the group's offsets, or neither. The client is the one that pipelines use.
func TestKillKeepsOffsetsWithRows(t *testing.T) {
	perStep := longtest.Size(1, 2, 100)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	c := startChild(t, dir)
	setUpCopying(t, c.addr)
	c.kill(t)
	var order []endStep
	for range perStep {
		order = append(order, endSteps()...)
	}
	rng.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
	kills := make(map[endStep]int)
	committed, took := 0, time.Now()
	for round, step := range order {
		when := fmt.Sprintf("round %d, killed at %q", round, step)
		c := startChild(t, dir, step.env(1+rng.IntN(3)))
		if !copyUntilDead(t, c, !step.commit) {
			t.Fatalf("%s: the broker was not killed", when)
		}
		kills[step]++
		checkJournal(t, dir, step)
		c = startChild(t, dir)
		rows := checkCopied(t, c.addr, when)
		visible := step.commit && step.name != offsetsStaged // the decision is the intent
		if rows < committed || rows == committed && visible {
			t.Errorf("%s: %d rows are committed, %d were before the kill", when, rows, committed)
		}
		committed = rows
		c.kill(t)
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d kills, %d rows, %s: %v", len(order), committed, time.Since(took).Round(time.Second), kills)
}

// A broker whose disk fails a write in the middle of a commit or an abort, such as a full one,
// acknowledges nothing and stops: readers never see half of it, and the next start completes it.
func TestFailedWriteInTheMiddleOfAnEnd(t *testing.T) {
	for _, step := range []endStep{{true, someMarkers}, {true, allMarkers}, {true, someOffsets}, {true, allOffsets}, {true, endLogged}, {false, someMarkers}, {false, allMarkers}, {false, endLogged}} {
		t.Run(step.String(), func(t *testing.T) {
			dir := t.TempDir()
			c := startChild(t, dir, step.env(2), failWritesEnv+"=1")
			setUpCopying(t, c.addr)
			if !copyUntilDead(t, c, !step.commit) {
				t.Fatal("the broker did not stop")
			}
			checkJournal(t, dir, step)
			c = startChild(t, dir)
			defer c.kill(t)
			if rows := checkCopied(t, c.addr, step.String()); rows == 0 {
				t.Error("the first transaction is gone")
			}
		})
	}
}

func setUpCopying(t *testing.T, addr string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(t.Context(), commitIns, 1, nil, commitIn); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTopic(t.Context(), killPartitions, 1, nil, commitOut); err != nil {
		t.Fatal(err)
	}
	const records = 200_000 // more than all rounds consume
	value := []byte("x")
	for n := range records {
		client.Produce(t.Context(), &kgo.Record{Topic: commitIn, Partition: int32(n % commitIns), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// copyUntilDead copies records in transactions with their offsets until the broker dies, and
// reports whether it did. If it aborts, it aborts every second transaction, from the first.
func copyUntilDead(t *testing.T, c *child, aborts bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		_ = c.cmd.Wait() // "signal: killed"
		cancel()
	}()
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(c.addr), kgo.DisableClientMetrics(), kgo.TransactionalID(commitGroup), kgo.TransactionTimeout(time.Minute),
		kgo.ConsumerGroup(commitGroup), kgo.ConsumeTopics(commitIn), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(1<<10),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() { // otherwise records in flight wait for the broker to restart
		defer close(closed)
		s.Client().Close()
	})
	defer func() {
		cancel()
		<-closed
	}()
	abort := aborts
	for ctx.Err() == nil {
		fetches := s.PollRecords(ctx, 3*killPartitions)
		if fetches.NumRecords() == 0 {
			continue
		}
		if s.Begin() != nil {
			break
		}
		n := 0
		promise := kgo.AbortingFirstErrPromise(s.Client())
		produce := func(from *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Topic: commitOut, Partition: int32(n % killPartitions), Value: fmt.Appendf(nil, "%d/%d", from.Partition, from.Offset)}, promise.Promise())
			n++
		}
		fetches.EachRecord(produce)
		for ; n < killPartitions; n++ { // so that each partition gets a control record
			s.Produce(ctx, &kgo.Record{Topic: commitOut, Partition: int32(n), Value: []byte("filler")}, promise.Promise())
		}
		try := kgo.TryCommit
		if s.Client().Flush(ctx) != nil || promise.Err() != nil || abort {
			try = kgo.TryAbort
		}
		abort = aborts && !abort
		if _, err := s.End(ctx, try); err != nil {
			break
		}
	}
	select {
	case <-dead:
		return true
	case <-time.After(5 * time.Second):
		return false
	}
}

// Intents of earlier versions have no topic names. Their commit is aborted if no reader can have
// seen it, and otherwise completed with the topic that the group reads.
func TestRecoveryOfIntentsWithoutTopicNames(t *testing.T) {
	for _, step := range []string{intentWritten, someMarkers, allMarkers, someOffsets} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			c := startChild(t, dir, endStep{true, step}.env(2))
			setUpCopying(t, c.addr)
			if !copyUntilDead(t, c, false) {
				t.Fatal("the broker was not killed")
			}
			asEarlierVersion(t, dir)
			c = startChild(t, dir)
			defer c.kill(t)
			if rows := checkCopied(t, c.addr, step); rows == 0 {
				t.Error("the first transaction is gone")
			}
		})
	}
}

// asEarlierVersion replaces the journal by the intent that a version without topic names would have
// written.
func asEarlierVersion(t *testing.T, dir string) {
	t.Helper()
	content, _, _, err := readJournal(dir)
	if err != nil || content.last == nil {
		t.Fatalf("no decision: %v", err)
	}
	d := content.last
	in := intent{Number: 1, ProducerID: d.id, Epoch: d.epoch, BumpsEpoch: true, PIDLogSize: d.PIDLogSize, Offsets: d.offsets}
	for i := range in.Offsets {
		in.Offsets[i].Topic = ""
	}
	writeIntent(t, dir, in)
}

// writeIntent replaces the journal by a slot of an earlier version.
func writeIntent(t *testing.T, dir string, in intent) {
	t.Helper()
	framed, err := frame(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(slotPath(dir, int(in.Number%2)), framed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(journalPath(dir)); err != nil {
		t.Fatal(err)
	}
}

// checkJournal checks that the journal of a broker that was killed at a step names the topic of
// each offset, and has the decision.
func checkJournal(t *testing.T, dir string, at endStep) {
	t.Helper()
	content, _, _, err := readJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	var offsets []groupOffset
	for _, open := range content.open {
		offsets = append(offsets, open.offsets...)
	}
	if content.last != nil {
		offsets = append(offsets, content.last.offsets...)
	}
	if len(offsets) == 0 && at.commit {
		t.Error("the journal has no offsets")
	}
	if decided := at.name != offsetsStaged; decided && (content.last == nil || content.last.Commit != at.commit) {
		t.Errorf("killed at %q, the journal does not have that decision last: %+v", at, content.last)
	}
	for _, o := range offsets {
		if o.Topic != commitIn || o.Group != commitGroup {
			t.Errorf("the journal has offset %d of topic %q of group %q, expected %q and %q", o.Offset, o.Topic, o.Group, commitIn, commitGroup)
		}
	}
}

// takeOver acquires a transactional id, as the next process does, which aborts what is open.
func takeOver(t *testing.T, addr, id string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(id))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.ProducerID(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// checkCopied checks that read_committed returns each record before the group's offsets once, and
// none after, and counts them.
func checkCopied(t *testing.T, addr, when string) (rows int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	wrong := func(format string, args ...any) { t.Errorf("%s: %s", when, fmt.Sprintf(format, args...)) }
	takeOver(t, addr, commitGroup)
	copies := make(map[string]int)
	for _, values := range readCommitted(ctx, t, addr, commitOut, wrong) {
		for _, v := range values {
			if v != "filler" {
				copies[v]++
				rows++
			}
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	group, err := kadm.NewClient(client).FetchOffsets(ctx, commitGroup)
	if err != nil {
		t.Fatal(err)
	}
	if topics := slices.Sorted(maps.Keys(group)); !slices.Equal(topics, []string{commitIn}) && rows > 0 {
		wrong("group %s has offsets of topics %q", commitGroup, topics)
	}
	before := 0
	group.Each(func(o kadm.OffsetResponse) {
		for n := range o.At {
			before++
			if v := fmt.Sprintf("%d/%d", o.Partition, n); copies[v] != 1 {
				wrong("record %s is before the group's offset %d and there %d times", v, o.At, copies[v])
			}
		}
	})
	if before != rows {
		wrong("%d rows are committed, the group's offsets count %d", rows, before)
	}
	return rows
}
