package dryrun

import (
	"fmt"
	"slices"
	"time"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Work runs transactions after rows have been sent: until all tasks have caught up, or with
// Options.Seed only a few of them.
func (s *Simulation) Work() error {
	if s.random == nil {
		return s.Settle()
	}
	for range s.random.IntN(4) {
		if more, err := s.readAny(); err != nil || !more {
			return err
		}
	}
	return nil
}

// readAny runs one transaction of a random task that has input.
func (s *Simulation) readAny() (more bool, err error) {
	type ready struct {
		task  *task
		topic string // "": windows that are due
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

// Settle runs transactions until no task has input left.
func (s *Simulation) Settle() error {
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

// read runs one transaction over the next records of an input.
func (s *Simulation) read(t *task, topic string) error {
	from, all := t.at[topic], s.topic(topic)[t.partition]
	to := len(all)
	switch {
	case s.options.Batch > 0:
		to = min(to, from+s.options.Batch)
	case s.random != nil:
		to = from + 1 + s.random.IntN(to-from)
	}
	t.last[topic] = s.clock
	// A restored task writes its watermark again. A task that reads its own output, also through
	// other stages, would never catch up.
	crash := s.options.Crash && !s.feeds(t.stage, topic, make(map[*plan.Stage]bool))
	err := s.transaction(t, crash, func(out *operator.Output) error { return t.Step(topic, all[from:to], s.clock, out) })
	t.at[topic] = to
	return err
}

// resume runs one transaction that emits due windows.
func (s *Simulation) resume(t *task) error {
	return s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.Resume(s.clock, out) })
}

// feeds reports whether a stage writes to a topic, or a stage that reads its output does.
func (s *Simulation) feeds(stage *plan.Stage, topic string, seen map[*plan.Stage]bool) bool {
	if seen[stage] {
		return false
	}
	seen[stage] = true
	return slices.ContainsFunc(stage.Outputs, func(out *plan.Relation) bool {
		return out.Topic() == topic || slices.ContainsFunc(s.program.Stages, func(next *plan.Stage) bool {
			return out.Topic() != "" && slices.Contains(next.Topics(), out.Topic()) && s.feeds(next, topic, seen)
		})
	})
}

// Wait advances the clock by d once all tasks have caught up: inputs without records for their idle
// timeout become idle, windows over PROCTIME() close, and state expires.
func (s *Simulation) Wait(d time.Duration) error {
	if err := s.Settle(); err != nil {
		return err
	}
	s.clock = s.clock.Add(d)
	for _, t := range s.tasks {
		for _, in := range t.stage.Inputs {
			scan, ok := in.Op.(*plan.Scan)
			if !ok || scan.Table.IdleTimeout == 0 || s.clock.Sub(t.last[scan.Table.Kafka.Topic]) < scan.Table.IdleTimeout {
				continue
			}
			if err := s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.Idle(scan.Table.Kafka.Topic, s.clock, out) }); err != nil {
				return err
			}
		}
	}
	if err := s.closeWindows(); err != nil {
		return err
	}
	if err := s.Settle(); err != nil {
		return err
	}
	return s.expire()
}

// closeWindows runs transactions of tasks with windows that are over by the clock.
func (s *Simulation) closeWindows() error {
	for _, t := range s.tasks {
		if t.Pending() || !t.WindowsDue(s.clock) {
			continue
		}
		if err := s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.Tick(s.clock, out) }); err != nil {
			return err
		}
	}
	return nil
}

// expire runs transactions of tasks until they have deleted all state that has expired.
func (s *Simulation) expire() error {
	for _, t := range s.tasks {
		for t.ExpiryDue(s.clock) {
			if err := s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.Expire(s.clock, out) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// End ends all inputs, so that all windows close.
func (s *Simulation) End() error { return s.endIf(func(*plan.Table) bool { return true }) }

// EndBounded ends the inputs whose tables are bounded.
func (s *Simulation) EndBounded() error {
	return s.endIf(func(t *plan.Table) bool { return t.Bounded })
}

// endIf ends inputs in the order in which rows flow: a topic that the pipeline itself writes ends
// only after the inputs that it is computed from, since rows still arrive until then.
func (s *Simulation) endIf(ends func(*plan.Table) bool) error {
	if err := s.Settle(); err != nil {
		return err
	}
	tasks := slices.Clone(s.tasks)
	if s.random != nil {
		s.random.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	}
	depth, deepest := s.depths()
	for at := range deepest + 1 {
		for _, t := range tasks {
			if err := s.endTask(t, func(table *plan.Table) bool { return depth[table.Kafka.Topic] == at && ends(table) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// endTask ends inputs of a task and lets the other tasks read the records that it writes in
// response.
func (s *Simulation) endTask(t *task, ends func(*plan.Table) bool) error {
	for _, in := range t.stage.Inputs {
		scan, ok := in.Op.(*plan.Scan)
		if !ok || !ends(scan.Table) {
			continue
		}
		if err := s.endInput(t, scan); err != nil {
			return err
		}
	}
	return s.Settle()
}

func (s *Simulation) endInput(t *task, scan *plan.Scan) error {
	return s.transaction(t, s.options.Crash, func(out *operator.Output) error { return t.End(scan.Table.Kafka.Topic, s.clock, out) })
}

// endEmpty ends the partitions that have no records.
func (s *Simulation) endEmpty() error {
	for _, t := range s.tasks {
		for _, in := range t.stage.Inputs {
			scan, ok := in.Op.(*plan.Scan)
			if !ok || len(s.topic(scan.Table.Kafka.Topic)[t.partition]) > 0 {
				continue
			}
			if err := s.endInput(t, scan); err != nil {
				return err
			}
		}
	}
	return nil
}

// depths returns, by topic, the largest number of INSERTs that its rows have passed through.
// Topics that feed each other in a cycle get an arbitrary depth.
func (s *Simulation) depths() (of map[string]int, deepest int) {
	of = make(map[string]int)
	for range s.program.Stages {
		for _, stage := range s.program.Stages {
			in := 0
			for _, topic := range stage.Topics() {
				in = max(in, of[topic])
			}
			for _, out := range stage.Outputs {
				topic, at := out.Topic(), in // an exchange ends together with its inputs
				if insert, ok := out.Op.(*plan.Insert); ok {
					topic, at = insert.Table.Kafka.Topic, in+1
				}
				of[topic] = max(of[topic], at)
				deepest = max(deepest, of[topic])
			}
		}
	}
	return of, deepest
}

// Check ends all inputs and compares the rows that entered windows with those that windows emitted
// (C4: rows = rows in windows + late rows + dead letters). No window may have state left
// afterwards.
func (s *Simulation) Check() error {
	if err := s.End(); err != nil {
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
					return fmt.Errorf("%s still has state of closed windows: %v", r.Describe(), left)
				}
			}
		}
	}
	return nil
}
