package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// errRevoked interrupts a restore when partitions are revoked. Another worker of this process may
// wait for the local copies of their tasks, and a restore can take minutes.
var errRevoked = errors.New("partitions were revoked during the restore")

// restore restores the tasks of assigned partitions and closes those of revoked ones.
func (s *session) restore(ctx context.Context) error {
	for {
		changed, err := s.restoreChanged(ctx)
		if !errors.Is(err, errRevoked) {
			return err
		}
		s.mu.Lock()
		for id := range changed { // what has been read of them is kept
			s.changed[id] = true
		}
		s.mu.Unlock()
	}
}

// restoreChanged is restore for the changes until now, which it returns. It returns errRevoked if
// partitions are revoked meanwhile.
func (s *session) restoreChanged(ctx context.Context) (changed map[taskID]bool, err error) {
	began := time.Now()
	s.cfg.Status.phase(s.w.instance, Restoring, "")
	ctx, interrupt := context.WithCancelCause(ctx)
	changed, added := s.takeChanges(interrupt)
	defer func() {
		s.mu.Lock()
		s.interrupt = nil
		s.mu.Unlock()
		if err != nil && errors.Is(context.Cause(ctx), errRevoked) {
			err = errRevoked
		}
		interrupt(nil)
	}()
	if err := s.checkTopics(ctx); err != nil {
		return changed, err
	}
	for id, here := range changed { // first, because another worker of this process may wait for its local copy
		if t := s.tasks[id]; t != nil && !here {
			delete(s.tasks, id)
			s.cfg.Status.released(s.w.instance, id)
			s.closeStore(t)
		}
	}
	byStage := make(map[*plan.Stage][]*task)
	for id, here := range changed {
		if !here {
			continue
		}
		t := s.tasks[id]
		if t == nil {
			t = s.newTask(ctx, id)
			if err := ctx.Err(); err != nil {
				s.closeStore(t) // it may lack its local copy
				return changed, err
			}
			s.tasks[id] = t
		}
		t.store.Abort()
		if s.cfg.Now().Sub(t.current) > s.p.maxAge(t.stage.Changelog) { // too old to be brought up to date: see maxAge
			if err := t.store.Reset(); err != nil {
				return changed, fmt.Errorf("rebuild the state of %s-%d: %w", id.stage, id.partition, err)
			}
			t.current = s.cfg.Now()
		}
		byStage[t.stage] = append(byStage[t.stage], t)
	}
	records := 0
	for stage, tasks := range byStage {
		n, err := s.restoreStage(ctx, stage, tasks)
		if err != nil {
			return changed, err
		}
		records += n
	}
	if records > 0 {
		s.cfg.Logger.Info("state restored", "tasks", len(changed), "records", records, "took", time.Since(began).Round(time.Millisecond))
	}
	for _, tasks := range byStage {
		for _, t := range tasks {
			s.cfg.Status.restored(s.w.instance, t)
		}
	}
	s.cfg.Status.phase(s.w.instance, Running, "")
	s.anyDue() // before the partitions count as healed
	return changed, s.resumeAdded(ctx, added)
}

// restoreStage reads what the changelog has beyond the stores of a stage's tasks, and creates their
// operators over them.
func (s *session) restoreStage(ctx context.Context, stage *plan.Stage, tasks []*task) (records int, err error) {
	if stage.Stateful {
		ledgers := make([]*ledger, len(tasks))
		for i, t := range tasks {
			ledgers[i] = t.ledger
		}
		progress, err := s.restoreProgress(ctx, stage, tasks)
		if err != nil {
			return 0, err
		}
		if records, err = s.p.readChangelog(ctx, s.group.Admin, ledgers, progress); err != nil {
			return records, fmt.Errorf("restore state of %s: %w", stage.Name, err)
		}
	}
	var lookups operator.Lookups
	if s.lookups != nil {
		lookups = s.lookups
	}
	for _, t := range tasks {
		t.op, err = operator.New(operator.Config{
			Program: s.cfg.Program, Stage: stage, Partition: t.partition, Peers: s.p.tasksOf(stage),
			Partitions: func(topic string) int32 { return max(1, s.p.partitions[topic]) }, MaxBytes: s.limits.Record, Store: t.store, Schemas: s.p.schemas.formats,
			Traced: s.tx.tracer != nil, Seed: newSeed(), Lookups: lookups,
		})
		if err != nil {
			return records, &fatalError{err}
		}
		t.touched = false
	}
	return records, nil
}

// restoreProgress returns a function that reports the progress of a restore; it is called with the
// partition of each record.
func (s *session) restoreProgress(ctx context.Context, stage *plan.Stage, tasks []*task) (func(partition int32), error) {
	ends, err := listEnds(ctx, s.group.Admin, stage.Changelog)
	if err != nil {
		return nil, err
	}
	type progress struct {
		task     *task
		read, of int64
	}
	all := make(map[int32]*progress, len(tasks))
	for _, t := range tasks {
		end, _ := ends.Lookup(stage.Changelog, t.partition)
		p := &progress{task: t, of: max(0, end.Offset-t.store.Offset())}
		all[t.partition] = p
		s.cfg.Status.restoring(s.w.instance, t, 0, p.of)
	}
	const every = 4096 // records
	return func(partition int32) {
		p := all[partition]
		if p.read++; p.read%every == 0 {
			s.cfg.Status.restoring(s.w.instance, p.task, p.read, p.of)
		}
	}, nil
}
