package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
	"weir.example/weir/internal/syncbuf"
	"weir.example/weir/internal/txtest"
)

// counting counts readings by sensor, which needs state, and copies each of them, which reveals
// duplicate and missing rows.
const counting = accidentSource + `EXECUTE STATEMENT SET BEGIN
  INSERT INTO sums SELECT sensor, COUNT(*) FROM readings GROUP BY sensor;
  INSERT INTO copies SELECT n FROM readings; END;`

const (
	scriptPartitions = 2
	scriptChangelog  = "p.stage1.changelog"
	scriptGroup      = "weir-p"
)

// script runs a pipeline whose workers, partitions and broker answers a test controls step by step.
// Each step checks its effect; consistent checks everything.
type script struct {
	*testing.T
	broker  *txtest.Broker
	program *plan.Program
	copies  string // directory of the workers' local copies; "" for none
	sent    int
	workers map[string]*scripted
}

// scripted is one worker.
type scripted struct {
	cancel context.CancelFunc
	done   chan struct{} // closed once err is set
	err    error
	status *Status
	log    syncbuf.Buffer

	mu     sync.Mutex
	paused *pause
}

// pause blocks a worker in the middle of its work.
type pause struct {
	arrived, release chan struct{}
}

// inMemory plays a script over state in memory.
func inMemory(t *testing.T, play func(*script)) {
	t.Helper()
	t.Parallel()
	playScript(t, "", play)
}

// everyScript plays a script over state in memory, and over local copies of it.
func everyScript(t *testing.T, play func(*script)) {
	t.Helper()
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		playScript(t, "", play)
	})
	t.Run("copies", func(t *testing.T) {
		t.Parallel()
		playScript(t, t.TempDir(), play) // removed after the workers have ended
	})
}

func playScript(t *testing.T, copies string, play func(*script)) {
	t.Helper()
	s := newScript(t, counting)
	s.copies = copies
	play(s)
	if !t.Failed() {
		s.finish()
	}
}

func newScript(t *testing.T, sql string) *script {
	t.Helper()
	p, err := plan.Compile(sql, "p")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{T: t, broker: txtest.New(t, kfake.SeedTopics(scriptPartitions, "readings")), program: p, workers: make(map[string]*scripted)}
	t.Cleanup(func() {
		for _, w := range s.workers {
			w.cancel()
		}
		for name, w := range s.workers {
			select {
			case <-w.done:
			case <-time.After(txtest.Patience):
				t.Errorf("worker %s does not stop", name)
			}
			if t.Failed() {
				t.Logf("worker %s:\n%s", name, w.log.String())
			}
		}
	})
	return s
}

// id is the transactional id of a worker.
func (s *script) id(worker string) string { return "weir-weir-p/" + worker }

// start starts a worker.
func (s *script) start(name string, with ...func(*Config)) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	w := &scripted{cancel: cancel, done: make(chan struct{}), status: NewStatus(s.program)}
	cfg := Config{
		Broker: s.broker.Config(name), Program: s.program, Instances: []string{name}, CommitInterval: 100 * time.Millisecond, MaxRecords: 10,
		SessionTimeout: txtest.SessionTimeout, Status: w.status, Now: w.now,
		Logger: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	if s.copies != "" {
		cfg.StateDir = filepath.Join(s.copies, name)
	}
	for _, change := range with {
		change(&cfg)
	}
	s.workers[name] = w
	go func() {
		_, w.err = Run(ctx, cfg)
		close(w.done)
	}()
}

// stop stops a worker, which must end without an error.
func (s *script) stop(name string) {
	s.Helper()
	s.workers[name].cancel()
	if err := s.ended(name); err != nil {
		s.Errorf("worker %s: %v", name, err)
	}
}

// ended waits until a worker has ended, and returns its error.
func (s *script) ended(name string) error {
	s.Helper()
	w := s.workers[name]
	select {
	case <-w.done:
		w.cancel()
		if s.Failed() {
			s.Logf("worker %s:\n%s", name, w.log.String())
		}
		delete(s.workers, name)
		return w.err
	case <-time.After(txtest.Patience):
		s.Fatalf("worker %s does not end", name)
		return nil
	}
}

// send writes the next n readings, of three sensors per partition, to all partitions in turn or to
// the given one.
func (s *script) send(n int, to ...int32) {
	s.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		p := int32(s.sent % scriptPartitions)
		if len(to) > 0 {
			p = to[0]
		}
		records[i] = &kgo.Record{Topic: "readings", Partition: p, Key: sensorOf(p, s.sent/2%3), Value: fmt.Appendf(nil, `{"n":%d,"parity":0}`, s.sent)}
		s.sent++
	}
	s.broker.Write(records...)
}

// sensorOf returns the k-th sensor whose readings belong in a partition.
func sensorOf(partition int32, k int) []byte {
	hash := kgo.StickyKeyPartitioner(nil).ForTopic("readings")
	for n := 0; ; n++ {
		r := &kgo.Record{Key: fmt.Appendf(nil, "s%d", n)}
		if int32(hash.Partition(r, scriptPartitions)) != partition { //nolint:gosec // small number
			continue
		}
		if k--; k < 0 {
			return r.Key
		}
	}
}

// processed waits until the group has committed all readings, and checks the results.
func (s *script) processed() {
	s.Helper()
	ends := s.broker.Ends("readings")
	s.broker.AwaitGroup(scriptGroup, func(g *kfake.GroupInfo) bool {
		for name, w := range s.workers {
			select {
			case <-w.done:
				s.Fatalf("worker %s has ended: %v", name, w.err)
			default:
			}
		}
		for p, end := range ends {
			if end > 0 && g.Commits["readings"][p].Offset < end {
				return false
			}
		}
		return true
	})
	s.consistent()
}

// assign assigns partitions to workers, and waits until they have them.
func (s *script) assign(plan txtest.Plan) {
	s.Helper()
	s.broker.Assign(scriptGroup, "readings", plan)
}

// consistent compares rows, offsets and changelog: what readers see of each must result from the
// same readings, each counted once.
func (s *script) consistent() {
	s.Helper()
	offsets := s.broker.Offsets(scriptGroup, "readings")
	counts, read := make(map[string]int), make(map[int]int)
	for p, records := range s.broker.Committed("readings") {
		keys := make(map[string]bool)
		for _, r := range records {
			if r.Offset < offsets[p] {
				keys[string(r.Key)] = true
				counts[string(r.Key)]++
				read[s.number(r, "n")]++
			}
		}
		s.wantChangelog(p, offsets[p], len(keys))
	}
	copied := make(map[int]int)
	for _, records := range s.broker.Committed("copies") {
		for _, r := range records {
			copied[s.number(r, "n")]++
		}
	}
	if !maps.Equal(copied, read) {
		s.Errorf("the readings before the group's offsets %v are %v, and the rows that are copied of them are %v", offsets, slices.Sorted(maps.Keys(read)), copied)
	}
	sums := make(map[string]int)
	for _, records := range s.broker.Committed("sums") {
		for _, r := range records {
			n := s.number(r, "c")
			if n <= sums[string(r.Key)] {
				s.Errorf("%s counts %d after %d", r.Key, n, sums[string(r.Key)])
			}
			sums[string(r.Key)] = n
		}
	}
	if !maps.Equal(sums, counts) {
		s.Errorf("the sensors are counted %v, and the readings before the group's offsets %v are %v", sums, offsets, counts)
	}
}

// wantChangelog checks the committed state of a partition: it ends with the position, which is the
// group's offset, and has one entry for each sensor.
func (s *script) wantChangelog(partition int32, next int64, sensors int) {
	s.Helper()
	if next == 0 {
		return
	}
	entries := make(map[string]bool)
	var last *kgo.Record
	at := int64(-1)
	for _, r := range s.broker.Committed(scriptChangelog)[partition] {
		op, ok := state.EntryOf(r.Key)
		switch {
		case !ok:
			s.Errorf("the changelog has a record %x that is no entry", r.Key)
		case op != positionEntry && r.Value == nil:
			delete(entries, string(r.Key))
		case op != positionEntry:
			entries[string(r.Key)] = true
		case strings.Contains(string(r.Key), positionPrefix):
			var p position
			if err := json.Unmarshal(r.Value, &p); err != nil {
				s.Error(err)
			}
			at = p.Next
		}
		last = r
	}
	if at != next {
		s.Errorf("the changelog covers readings-%d up to offset %d, and the group's offset is %d", partition, at, next)
	}
	if last == nil {
		return
	}
	if op, _ := state.EntryOf(last.Key); op != positionEntry {
		s.Errorf("the last record of changelog partition %d is no position", partition)
	}
	if len(entries) != sensors {
		s.Errorf("changelog partition %d has %d entries of %d sensors", partition, len(entries), sensors)
	}
}

func (s *script) number(r *kgo.Record, field string) int {
	s.Helper()
	var row map[string]int
	if err := json.Unmarshal(r.Value, &row); err != nil {
		s.Errorf("%s: %v", r.Value, err)
	}
	return row[field]
}

// finish ends a script: the workers stop, and a new one, which has only what the broker stores,
// continues counting.
func (s *script) finish() {
	s.Helper()
	for name := range s.workers {
		s.stop(name)
	}
	s.broker.Free()
	s.copies = ""
	s.start("fresh")
	s.send(10)
	s.processed()
	s.stop("fresh")
	s.consistent()
}

// wantAborts checks how many transactions of a worker were aborted, and why.
func (s *script) wantAborts(worker string, want map[string]int64) {
	s.Helper()
	got := make(map[string]int64)
	for _, w := range s.workers[worker].status.Snapshot().Workers {
		for reason, n := range w.Aborted {
			if n > 0 {
				got[reason] += n
			}
		}
	}
	if !maps.Equal(got, want) {
		s.Errorf("worker %s has aborted %v, expected %v", worker, got, want)
	}
}

// wantSessions checks how many sessions a worker has started.
func (s *script) wantSessions(worker string, want int64) {
	s.Helper()
	for _, w := range s.workers[worker].status.Snapshot().Workers {
		if w.Sessions != want {
			s.Errorf("worker %s is in session %d, expected %d", worker, w.Sessions, want)
		}
	}
}

// newSession waits until a worker has ended a session and started the next.
func (s *script) newSession(worker string) {
	s.Helper()
	s.broker.AwaitGroup(scriptGroup, func(*kfake.GroupInfo) bool {
		workers := s.workers[worker].status.Snapshot().Workers
		return len(workers) > 0 && workers[0].Sessions > 1
	})
}

// crash ends a worker like a killed process: its transaction stays open, and its local copies are
// unchanged. The worker must have been started with crashing.
func (s *script) crash(worker string) {
	s.Helper()
	s.workers[worker].cancel()
	var open *broker.LeftOpenError
	if err := s.ended(worker); err != nil && !errors.As(err, &open) {
		s.Errorf("worker %s: %v", worker, err)
	}
}

func crashing(c *Config) { c.StopTimeout = time.Millisecond }

// committed waits until the group has committed all readings of a partition.
func (s *script) committed(partition int32) {
	s.Helper()
	end := s.broker.Ends("readings")[partition]
	s.broker.AwaitGroup(scriptGroup, func(g *kfake.GroupInfo) bool { return g.Commits["readings"][partition].Offset >= end })
}

// pauseAtBegin pauses a worker when it begins its next transaction, after it has polled the
// records.
func (s *script) pauseAtBegin(worker string) *pause {
	w := s.workers[worker]
	p := &pause{make(chan struct{}), make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = p
	return p
}

func (p *pause) await(s *script) {
	s.Helper()
	select {
	case <-p.arrived:
	case <-time.After(txtest.Patience):
		s.Fatal("the worker begins no transaction")
	}
}

func (p *pause) end() { close(p.release) }

// now is the worker's clock, which is read when a transaction begins.
func (w *scripted) now() time.Time {
	w.mu.Lock()
	p := w.paused
	if p != nil && calledBy("begin") {
		w.paused = nil
	} else {
		p = nil
	}
	w.mu.Unlock()
	if p != nil {
		close(p.arrived)
		<-p.release
	}
	return time.Now()
}

// calledBy reports whether a method of the session is on the stack.
func calledBy(method string) bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "(*session)."+method) {
			return true
		}
		if !more {
			return false
		}
	}
}
