package sqltest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// sim is a broker and the tasks of a pipeline, in memory.
type sim struct {
	stopped func() error // asked before each transaction; may be nil
	program *plan.Program
	options Options
	sizes   map[string]int32 // partitions of the topics that have other than those of the options
	topics  map[string][][]*kgo.Record
	tasks   []*task
	clock   time.Time
	ledger  *operator.Ledger
	random  *rand.Rand       // nil: tasks read in a fixed order
	dropped operator.Dropped // by options
	crashes int              // transactions that were done in vain
}

// task is one task with its position in its inputs, and its committed changelog.
type task struct {
	*operator.Task
	stage     *plan.Stage
	partition int32
	store     *state.Store
	changelog []kgo.Record
	at        map[string]int
	last      map[string]time.Time // when an input last had a record
}

// withoutRegistries makes tables hold JSON whose schemas lie in a registry: a test is about SQL,
// and its rows are JSON.
func withoutRegistries(p *plan.Program) {
	for _, t := range p.Tables {
		for _, f := range []*plan.Format{&t.Key, &t.Value} {
			if format.HasRegistry(f.Name) {
				f.Name, f.Options = "json", nil
			}
		}
	}
}

func newSim(p *plan.Program, o Options, sizes map[string]int32) (*sim, error) {
	withoutRegistries(p)
	s := &sim{program: p, options: o, sizes: sizes, topics: make(map[string][][]*kgo.Record), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), ledger: operator.NewLedger(), dropped: make(operator.Dropped)}
	if o.Seed != 0 {
		s.random = rand.New(rand.NewPCG(uint64(o.Seed), 0)) //nolint:gosec // not for secrets
	}
	for _, stage := range p.Stages {
		for partition := range o.Partitions {
			t := &task{stage: stage, partition: partition, at: make(map[string]int), last: make(map[string]time.Time)}
			for _, topic := range stage.Topics() {
				t.last[topic] = s.clock
			}
			if err := s.restore(t); err != nil {
				return nil, err
			}
			s.tasks = append(s.tasks, t)
		}
	}
	return s, nil
}

// restore makes a task anew from its changelog.
func (s *sim) restore(t *task) error {
	t.store = state.Memory()
	for _, r := range t.changelog {
		if err := t.store.Restore(r.Key, r.Value); err != nil {
			return err
		}
	}
	if err := t.store.Restored(int64(len(t.changelog))); err != nil {
		return err
	}
	made, err := operator.New(operator.Config{
		Program: s.program, Stage: t.stage, Partition: t.partition, Peers: s.options.Partitions,
		Partitions: s.size, Store: t.store, Ledger: s.ledger, MaxFired: s.options.MaxFired,
	})
	t.Task = made
	return err
}

// size is how many partitions a topic has.
func (s *sim) size(topic string) int32 {
	if n := s.sizes[topic]; n > 0 {
		return n
	}
	return s.options.Partitions
}

func (s *sim) topic(name string) [][]*kgo.Record {
	if s.topics[name] == nil {
		s.topics[name] = make([][]*kgo.Record, s.options.Partitions)
	}
	return s.topics[name]
}

// table finds a table by its topic or name.
func (s *sim) table(name string) *plan.Table {
	for _, t := range s.program.Tables {
		if t.Topic == name {
			return t
		}
	}
	for _, t := range s.program.Tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

var partitioner = kgo.StickyKeyPartitioner(nil).ForTopic("")

// send appends a row to an input topic, in the partition where Kafka's Java client puts its key.
func (s *sim) send(st step, row string) error {
	r, err := s.record(st, row)
	if err != nil {
		return err
	}
	partitions := s.topic(r.Topic)
	p := 0
	switch {
	case st.place >= 0:
		p = int(st.place)
	case r.Key != nil || s.table(st.topic).Key.Name != "": // one that is NULL where an empty one belongs
		p = partitioner.Partition(&kgo.Record{Key: append([]byte{}, r.Key...)}, len(partitions))
	}
	r.Partition, r.Offset = int32(p), int64(len(partitions[p])) //nolint:gosec // few
	partitions[p] = append(partitions[p], r)
	return nil
}

// record is a row as its table's records have it, with the table's key.
func (s *sim) record(st step, row string) (*kgo.Record, error) {
	t := s.table(st.topic)
	if t == nil {
		return nil, fmt.Errorf("the pipeline has no table with the topic %s", st.topic)
	}
	r := &kgo.Record{Topic: t.Topic, Timestamp: st.at}
	if r.Timestamp.IsZero() {
		r.Timestamp = s.clock
	}
	if row != "null" {
		r.Value = []byte(row)
	}
	switch {
	case st.key != nil:
		r.Key = []byte(*st.key)
	case t.Key.Name != "":
		r.Key = keyOf(t, row)
	}
	return r, nil
}

// Records are the records that a test sends, in their order.
func Records(p *plan.Program, test string) ([]*kgo.Record, error) {
	script, err := os.ReadFile(test) //nolint:gosec // the user's file
	if err != nil {
		return nil, err
	}
	f, err := parseFile(string(script))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", test, err)
	}
	s, err := newSim(p, Options{Partitions: 1}, nil)
	if err != nil {
		return nil, err
	}
	var all []*kgo.Record
	for _, st := range f.steps {
		switch st.command {
		case "clock":
			s.clock = s.clock.Add(st.wait)
		case "send":
			for i, row := range st.rows {
				r, err := s.record(st, row)
				if err != nil {
					return nil, fmt.Errorf("%s, line %d, row %d: %w", test, st.line, i+1, err)
				}
				r.Partition = max(0, st.place)
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// keyOf makes the key of a row from its fields, in the spelling of the table's own encoding. A row
// that is no JSON has none, and neither has one whose raw key is NULL.
func keyOf(t *plan.Table, row string) []byte {
	fields := make([]format.Field, len(t.Key.Columns))
	cols := make([]*expr.Column, len(fields))
	for i, c := range t.Key.Columns {
		fields[i] = format.Field{Name: t.Columns[c].Name, Type: t.Columns[c].Type}
		cols[i] = &expr.Column{Type: t.Columns[c].Type}
	}
	options := format.Options{}
	if t.Value.Name == "json" {
		options["timestamp-format.standard"] = t.Value.Options["timestamp-format.standard"]
	}
	if options["timestamp-format.standard"] == "" {
		delete(options, "timestamp-format.standard")
	}
	decoder, err := format.NewDecoder("json", fields, options, nil)
	if err != nil || decoder.Decode([]byte(row), cols) != nil {
		return nil
	}
	if t.Key.Name == "raw" && cols[0].Null[0] {
		return nil
	}
	encoder, err := format.NewEncoder(t.Key.Name, t.Key.Fields, t.Key.Options, nil)
	if err != nil {
		return nil
	}
	key, err := encoder.Encode([]byte{}, cols, 0)
	if err != nil {
		return nil
	}
	return key
}

// work runs transactions after rows have come: all that there is to read, or with a seed some of
// it.
func (s *sim) work() error {
	if s.random == nil {
		return s.settle()
	}
	for range s.random.IntN(4) {
		if more, err := s.readAny(); err != nil || !more {
			return err
		}
	}
	return nil
}

// readAny runs a transaction of some task that has something to read.
func (s *sim) readAny() (more bool, err error) {
	type ready struct {
		task  *task
		topic string
	}
	var all []ready
	for _, t := range s.tasks {
		if t.Pending() {
			all = append(all, ready{task: t})
		}
		for _, topic := range t.stage.Topics() {
			if t.at[topic] < len(s.topic(topic)[t.partition]) {
				all = append(all, ready{t, topic})
			}
		}
	}
	if len(all) == 0 {
		return false, nil
	}
	r := all[s.random.IntN(len(all))]
	if r.topic == "" {
		return true, s.resume(r.task)
	}
	return true, s.read(r.task, r.topic)
}

// settle runs transactions until no task has anything to read.
func (s *sim) settle() error {
	for s.random != nil {
		if more, err := s.readAny(); err != nil || !more {
			return err
		}
	}
	for busy := true; busy; {
		busy = false
		for _, t := range s.tasks {
			for t.Pending() {
				busy = true
				if err := s.resume(t); err != nil {
					return err
				}
			}
			for _, topic := range t.stage.Topics() {
				for t.at[topic] < len(s.topic(topic)[t.partition]) {
					busy = true
					if err := s.read(t, topic); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// read is a transaction over the next records of an input.
func (s *sim) read(t *task, topic string) error {
	from, all := t.at[topic], s.topic(topic)[t.partition]
	to := len(all)
	switch {
	case s.options.Batch > 0:
		to = min(to, from+s.options.Batch)
	case s.random != nil:
		to = from + 1 + s.random.IntN(to-from)
	}
	t.last[topic] = s.clock
	// After each restart a task announces its watermark. One that reads what it writes would so
	// never come to an end.
	crash := s.options.Crash && !feedsItself(t.stage, topic)
	err := s.transaction(t, crash, func(out *operator.Output) error { return t.Step(topic, all[from:to], s.clock, out) })
	t.at[topic] = to
	return err
}

// resume is a transaction that emits windows that are due.
func (s *sim) resume(t *task) error {
	return s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.Resume(out) })
}

// feedsItself reports whether a stage writes to a topic that it reads.
func feedsItself(stage *plan.Stage, topic string) bool {
	return slices.ContainsFunc(stage.Outputs, func(out *plan.Relation) bool { return out.Topic() == topic })
}

// transaction runs a part of the processing and commits it. With crash, it is done in vain before,
// and then again by the same task after an abort, or by a new one from the changelog, in turns.
func (s *sim) transaction(t *task, crash bool, work func(*operator.Output) error) error {
	if s.stopped != nil {
		if err := s.stopped(); err != nil {
			return err
		}
	}
	once := func() (*operator.Output, error) {
		out := &operator.Output{}
		if err := work(out); err != nil {
			return out, err
		}
		return out, t.Flush(out)
	}
	if crash {
		if _, err := once(); err != nil {
			return err
		}
		t.store.Abort()
		t.Reset()
		s.ledger.Abort()
		if s.crashes++; s.crashes%2 == 0 { // else the task itself does it again, after an abort
			if err := s.restore(t); err != nil {
				return err
			}
		}
	}
	out, err := once()
	if err != nil {
		return err
	}
	t.store.Changes(func(key, value []byte) {
		t.changelog = append(t.changelog, kgo.Record{Key: bytes.Clone(key), Value: bytes.Clone(value)})
	})
	if err := t.store.Commit(int64(len(t.changelog))); err != nil {
		return err
	}
	s.ledger.Commit()
	s.dropped.Add(out.Dropped)
	for _, r := range out.Records {
		s.append(r.Topic, r)
	}
	for _, aside := range []struct { // the topic may be the same
		topic   string
		letters []operator.Letter
	}{{s.program.Settings.DeadLetterTopic, out.Letters}, {s.program.Settings.LateTopic, out.Late}} {
		for _, l := range aside.letters {
			s.append(aside.topic, &kgo.Record{Key: l.Record.Key, Value: l.Record.Value, Headers: []kgo.RecordHeader{{Key: "reason", Value: []byte(l.Reason.Error())}}})
		}
	}
	t.Committed()
	return nil
}

func (s *sim) append(topic string, r *kgo.Record) {
	partitions := s.topic(topic)
	copied := *r
	copied.Key, copied.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	copied.Offset = int64(len(partitions[r.Partition]))
	if copied.Timestamp.IsZero() {
		copied.Timestamp = s.clock
	}
	partitions[r.Partition] = append(partitions[r.Partition], &copied)
}

// wait moves the clock, so that inputs become idle.
func (s *sim) wait(d time.Duration) error {
	if err := s.settle(); err != nil {
		return err
	}
	s.clock = s.clock.Add(d)
	for _, t := range s.tasks {
		for _, in := range t.stage.Inputs {
			scan, ok := in.Op.(*plan.Scan)
			if !ok || scan.Table.IdleTimeout == 0 || s.clock.Sub(t.last[scan.Table.Topic]) < scan.Table.IdleTimeout {
				continue
			}
			if err := s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.Idle(scan.Table.Topic, out) }); err != nil {
				return err
			}
		}
	}
	return s.settle()
}

// end ends all inputs.
func (s *sim) end() error { return s.endIf(func(*plan.Table) bool { return true }) }

// finish ends those that are bounded.
func (s *sim) finish() error { return s.endIf(func(t *plan.Table) bool { return t.Bounded }) }

// endIf ends inputs: those that the pipeline writes itself only when what it writes them from has
// ended, since until then rows come.
func (s *sim) endIf(ends func(*plan.Table) bool) error {
	if err := s.settle(); err != nil {
		return err
	}
	tasks := slices.Clone(s.tasks)
	if s.random != nil {
		s.random.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	}
	depth, deepest := s.depths()
	for at := range deepest + 1 {
		for _, t := range tasks {
			if err := s.endTask(t, func(table *plan.Table) bool { return depth[table.Topic] == at && ends(table) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// endTask ends inputs of a task, and lets the others read what comes of it.
func (s *sim) endTask(t *task, ends func(*plan.Table) bool) error {
	for _, in := range t.stage.Inputs {
		scan, ok := in.Op.(*plan.Scan)
		if !ok || !ends(scan.Table) {
			continue
		}
		if err := s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.End(scan.Table.Topic, out) }); err != nil {
			return err
		}
	}
	return s.settle()
}

// depths says of each topic through how many INSERTs its rows have come at most. Topics that feed
// each other in a circle have some depth.
func (s *sim) depths() (of map[string]int, deepest int) {
	of = make(map[string]int)
	for range s.program.Stages {
		for _, stage := range s.program.Stages {
			in := 0
			for _, topic := range stage.Topics() {
				in = max(in, of[topic])
			}
			for _, out := range stage.Outputs {
				topic, at := out.Topic(), in // of an exchange, which ends with what it comes from
				if insert, ok := out.Op.(*plan.Insert); ok {
					topic, at = insert.Table.Topic, in+1
				}
				of[topic] = max(of[topic], at)
				deepest = max(deepest, of[topic])
			}
		}
	}
	return of, deepest
}

// check ends all inputs and holds what windows took in against what they gave out: C4, rows = rows
// in windows + late rows + dead letters. Nothing may be left of a window then.
func (s *sim) check() error {
	if err := s.end(); err != nil {
		return err
	}
	if err := s.ledger.Check(); err != nil {
		return err
	}
	for _, t := range s.tasks {
		for _, r := range t.stage.Relations {
			if a, ok := r.Op.(*plan.Aggregate); !ok || a.Window == nil {
				continue
			}
			for n := range uint16(plan.StatesOf) {
				if left := t.store.Windows(r.State + n); len(left) > 0 {
					return fmt.Errorf("%s keeps entries of windows that are over: %v", r.Describe(), left)
				}
			}
		}
	}
	return nil
}

var errNoTopic = errors.New("the pipeline writes to no such topic")

// output is the rows of a topic, sorted: of an upsert table those that stand at the end, of dead
// letters value and reason. ".dropped" is what options have dropped.
func (s *sim) output(name string) ([]string, error) {
	if name == ".dropped" {
		return s.droppedRows(), nil
	}
	t := s.table(name)
	topic := name
	if t != nil {
		topic = t.Topic
	}
	settings := s.program.Settings
	if short, ok := strings.CutPrefix(name, "."); ok { // .late and .dlq, whatever the pipeline's name
		topic = map[string]string{"late": settings.LateTopic, "dlq": settings.DeadLetterTopic}[short]
	}
	letters := topic == settings.LateTopic || topic == settings.DeadLetterTopic
	if t == nil && !letters {
		return nil, fmt.Errorf("%w: %s", errNoTopic, name)
	}
	rows := []string{}
	if t != nil && t.Upsert {
		standing := make(map[string]string)
		for _, p := range s.topic(topic) {
			for _, r := range p {
				if r.Value == nil {
					delete(standing, string(r.Key))
				} else {
					standing[string(r.Key)] = string(r.Value)
				}
			}
		}
		for _, v := range standing {
			rows = append(rows, v)
		}
		sort.Strings(rows)
		return rows, nil
	}
	for _, p := range s.topic(topic) {
		for _, r := range p {
			row := string(r.Value)
			if r.Value == nil {
				row = "null"
			}
			if letters {
				row += " # " + string(r.Headers[0].Value)
			}
			rows = append(rows, row)
		}
	}
	slices.Sort(rows)
	return rows, nil
}

// droppedRows are what options have dropped, as JSON.
func (s *sim) droppedRows() []string {
	rows := []string{}
	for drop, n := range s.dropped {
		rows = append(rows, fmt.Sprintf(`{"table":%q,"what":%q,"n":%d}`, drop.Table, drop.What, n))
	}
	slices.Sort(rows)
	return rows
}
