package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// A move redistributes state after sources got partitions, so that the state of a key is at the
// task that will read the key's rows:
//
//  1. Changelogs get as many partitions as the sources have.
//  2. The old tasks are aligned to one watermark, the latest of theirs, and emit what is due by it.
//     A window that one of them has emitted is then closed in all of them, so that no key finds it
//     open at the task that it moves to.
//  3. New tasks get a header, the start of their partitions as their position, and the watermarks.
//  4. Entries that are not at the task of their key are moved from one changelog partition to
//     another, many in a transaction, so that an entry is in exactly one of them at any time.
//  5. The plan gets the new numbers of partitions.
//
// There is no other record of progress: an interrupted move leaves a plan with the old numbers,
// which a run without --repartition refuses, and a run with it moves what is left. Local copies
// remain changelogs that were read up to an offset. All transactions have the same transactional
// id, whose next owner fences the previous one, so two moves can't run at the same time.

// movedStage is a stage whose sources have got partitions.
type movedStage struct {
	stage    *plan.Stage
	was, now int32 // number of tasks
}

// moveError says that a move was interrupted by an error that may pass. It can be resumed at any
// time.
type moveError struct{ error }

func (e *moveError) Unwrap() error { return e.error }

// interrupted wraps an error of a move in a moveError, unless a retry would fail in the same way.
func interrupted(err error) error {
	var fatal *fatalError
	if errors.As(err, &fatal) || broker.Classify(err) == broker.Fatal {
		return err
	}
	return &moveError{err}
}

// progressInterval is the time between two log lines about the progress of a move.
const progressInterval = 2 * time.Second

// move redistributes the state of all stages that need it.
type move struct {
	p      *pipeline
	client *kgo.Client
	limits broker.Limits // of the topics that it writes
	admin  *kadm.Client
	id     string       // transactional
	begun  broker.Begun // the open transaction
}

// moveID returns the transactional id of the pipeline's moves.
func (p *pipeline) moveID() string { return "weir-repartition-" + Group(p.cfg.Program) }

// abortInterruptedMove aborts the transaction that an interrupted move has left open, which readers
// of the state would wait for.
func (p *pipeline) abortInterruptedMove(ctx context.Context) error {
	client, err := broker.Connect(ctx, p.cfg.Broker, kgo.WithContext(ctx), kgo.TransactionalID(p.moveID()), kgo.TransactionTimeout(p.cfg.TransactionTimeout))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = broker.Acquire(ctx, client, p.cfg.Logger, p.outTopics...)
	return err
}

// moveState moves the state of the stages in p.moving, and writes the plan.
func (p *pipeline) moveState(ctx context.Context, admin *kadm.Client) (failed error) {
	work, cancel := broker.Finishing(ctx, p.cfg.StopTimeout)
	defer cancel()
	m := &move{p: p, admin: admin, id: p.moveID()}
	compression, err := broker.Compression(p.cfg.Compression)
	if err != nil {
		return err
	}
	if m.limits, err = broker.FindLimits(ctx, admin, p.outTopics...); err != nil {
		return err
	}
	m.client, err = broker.Connect(ctx, p.cfg.Broker, kgo.WithContext(work), kgo.TransactionalID(m.id), kgo.TransactionTimeout(p.cfg.TransactionTimeout), compression,
		kgo.RecordPartitioner(broker.GivenPartitions()), kgo.ProducerBatchMaxBytesFn(m.limits.Batch), kgo.MaxBufferedRecords(1<<20), p.sent.Option())
	if err != nil {
		return err
	}
	defer func() {
		m.client.Close()
		if failed != nil {
			failed = errors.Join(failed, broker.EndOpen(work, p.cfg.Broker, m.begun, failed))
		}
		if failed != nil {
			p.cfg.Logger.Warn("the move of the state is not complete: weir run --repartition resumes it", "err", failed)
		}
	}()
	if _, err := broker.Acquire(ctx, m.client, p.cfg.Logger, p.outTopics...); err != nil { // fences another move
		return err
	}
	if done, err := m.done(ctx); done || err != nil {
		return err
	}
	if err := p.checkAlone(ctx, admin, "--repartition moves the state of the pipeline"); err != nil {
		return err
	}
	for _, s := range p.moving {
		if err := m.stage(ctx, s); err != nil {
			return fmt.Errorf("move the state of %s: %w", s.stage.Name, err)
		}
	}
	return m.writePlan(ctx)
}

// done reports whether another process has completed the move in the meantime.
func (m *move) done(ctx context.Context) (bool, error) {
	now, err := m.p.readManifest(ctx)
	if err != nil || now == nil {
		return false, err
	}
	for topic := range m.p.repartitioned {
		if now.Topics[topic].Partitions != m.p.partitions[topic] {
			return false, nil
		}
	}
	return true, nil
}

// movedTask is the state of one task.
type movedTask struct {
	ledger    *ledger
	positions map[string]position
}

// stage moves the state of one stage.
func (m *move) stage(ctx context.Context, s movedStage) (failed error) {
	began := time.Now()
	keyed := len(stageManifest(s.stage).State) > 0
	mover, err := operator.NewMover(s.stage, s.now, m.p.schemas.formats)
	if err != nil {
		return m.p.mismatch("--repartition is not possible: %w", err)
	}
	if err := m.widenChangelog(ctx, s); err != nil {
		return err
	}
	tasks, err := m.restore(ctx, s)
	defer func() {
		for _, t := range tasks {
			failed = errors.Join(failed, t.ledger.store.Close())
			m.p.copies.closed(t.ledger.store)
		}
	}()
	if err != nil {
		return err
	}
	emitted := 0
	if keyed {
		for _, t := range tasks {
			if err := mover.Check(t.ledger.store); err != nil {
				return m.p.mismatch("--repartition is not possible: %s-%d: %w", s.stage.Changelog, t.ledger.partition, err)
			}
		}
		if emitted, err = m.align(ctx, s, tasks[:s.was]); err != nil {
			return err
		}
		stores := make([]*state.Store, len(tasks))
		for i, t := range tasks {
			stores[i] = t.ledger.store
		}
		mover.Restamp(stores)
		for _, store := range stores[s.was:] {
			mover.CopyWatermarks(stores[0], store)
		}
	}
	if err := m.commit(ctx, tasks, nil); err != nil {
		return err
	}
	entries, bytes, err := m.redistribute(ctx, s, mover, tasks)
	if err != nil {
		return err
	}
	m.p.cfg.Logger.Warn("state moved to the partitions of its keys", "topic", s.stage.Changelog, "had", s.was, "has", s.now, "entries", entries, "bytes", bytes,
		"emitted", emitted, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

func (m *move) widenChangelog(ctx context.Context, s movedStage) error {
	if n, err := partitionsOf(ctx, m.admin, s.stage.Changelog); err != nil || n == s.now {
		return err
	}
	resp, err := m.admin.UpdatePartitions(ctx, int(s.now), s.stage.Changelog)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		return fmt.Errorf("add partitions to topic %s: %w", s.stage.Changelog, err)
	}
	return nil
}

// restore reads the state of all tasks, new ones included, and refuses what can't be trusted. The
// stores of the tasks that it returns are open, also after an error.
func (m *move) restore(ctx context.Context, s movedStage) ([]*movedTask, error) {
	tasks := make([]*movedTask, s.now)
	ledgers := make([]*ledger, s.now)
	for partition := range s.now {
		ledgers[partition] = m.p.newLedger(s.stage, partition, m.p.openStore(ctx, s.stage, partition))
		tasks[partition] = &movedTask{ledger: ledgers[partition], positions: make(map[string]position)}
	}
	if _, err := m.p.readChangelog(ctx, m.admin, ledgers, func(int32) {}); err != nil {
		return tasks, err
	}
	starts, err := listStarts(ctx, m.admin, s.stage.Topics()...)
	if err != nil {
		return tasks, err
	}
	for partition, t := range tasks {
		positions, adopt, err := m.p.trust(t.ledger)
		switch {
		case err != nil:
			return tasks, err
		case adopt:
			return tasks, m.p.mismatch("--repartition is not possible: an older version of Weir wrote the state in %s-%d, and it does not say how far it covers its input", s.stage.Changelog, partition)
		}
		maps.Copy(t.positions, positions)
		if t.ledger.partition < s.was {
			continue
		}
		for _, topic := range s.stage.Topics() {
			start, _ := starts.Lookup(topic, t.ledger.partition)
			t.positions[topic] = position{ID: m.p.ids[topic].String(), Partitions: m.p.partitions[topic], Next: start.Offset, End: start.Offset}
		}
	}
	return tasks, nil
}

// align advances the old tasks to one watermark, and emits what is due by it. It returns the number
// of emitted records.
func (m *move) align(ctx context.Context, s movedStage, stores []*movedTask) (emitted int, err error) {
	marks := make(map[string]int64)
	tasks := make([]*operator.Task, len(stores))
	for i, t := range stores {
		tasks[i], err = operator.New(operator.Config{
			Program: m.p.cfg.Program, Stage: s.stage, Partition: t.ledger.partition, Peers: s.was, MaxBytes: m.limits.Record, Store: t.ledger.store, Schemas: m.p.schemas.formats, Seed: newSeed(),
			Partitions: func(topic string) int32 {
				if slices.Contains(s.stage.Topics(), topic) {
					return s.was
				}
				return max(1, m.p.partitions[topic])
			},
		})
		if err != nil {
			return 0, &fatalError{err}
		}
		for table, mark := range tasks[i].Watermarks() {
			if old, known := marks[table]; !known || mark > old {
				marks[table] = mark
			}
		}
	}
	var out operator.Output
	now := m.p.cfg.Now()
	for i, task := range tasks {
		moved, err := task.Advance(marks, now, &out)
		if err != nil {
			return 0, &fatalError{err}
		}
		for moved || task.Pending() {
			if !moved {
				err = task.Resume(now, &out)
			}
			if err == nil {
				err = task.FinishTransaction(&out)
			}
			if err != nil {
				return 0, &fatalError{err}
			}
			records := append(slices.Clone(out.Records), m.p.diverted(&out, m.limits, m.p.cfg.Now())...)
			if err := m.commit(ctx, []*movedTask{stores[i]}, records); err != nil {
				return 0, err
			}
			emitted += len(records)
			task.Committed()
			out.Reset()
			moved = false
		}
	}
	return emitted, nil
}

// redistribute moves entries to the tasks of their keys, and returns their number and size.
func (m *move) redistribute(ctx context.Context, s movedStage, mover *operator.Mover, tasks []*movedTask) (entries, bytes int, err error) {
	total, seen := 0, 0
	for _, t := range tasks {
		total += t.ledger.store.Len()
	}
	logged, pending := time.Now(), 0
	touched := make(map[int32]*movedTask)
	end := func() error {
		var all []*movedTask
		for _, t := range touched {
			all = append(all, t)
		}
		clear(touched)
		pending = 0
		return m.commit(ctx, all, nil)
	}
	limit := m.p.cfg.moveBytes
	for _, from := range tasks {
		err := mover.Find(from.ledger.store, from.ledger.partition, func(e *operator.Moved) error {
			to := tasks[e.To]
			if err := mover.Move(e, from.ledger.store, to.ledger.store); err != nil {
				return err
			}
			touched[from.ledger.partition], touched[to.ledger.partition] = from, to
			entries, bytes, pending = entries+1, bytes+e.Bytes(), pending+e.Bytes()
			if time.Since(logged) >= progressInterval {
				logged = time.Now()
				m.p.cfg.Logger.Info("moving state", "topic", s.stage.Changelog, "partition", from.ledger.partition, "of", s.now, "entries", entries, "bytes", bytes, "seen", seen, "total", total)
			}
			if pending < limit {
				return nil
			}
			return end()
		})
		if err != nil {
			return entries, bytes, err
		}
		seen += from.ledger.store.Len()
	}
	return entries, bytes, end()
}

// writePlan completes the move.
func (m *move) writePlan(ctx context.Context) error {
	value, err := json.Marshal(m.p.manifest())
	if err != nil {
		return err
	}
	return m.commit(ctx, nil, []*kgo.Record{m.p.planRecord(value)})
}

// commit writes the changes to tasks' states, and other records, in one transaction. The last
// record of each state is a position.
func (m *move) commit(ctx context.Context, tasks []*movedTask, records []*kgo.Record) error {
	if len(tasks) == 0 && len(records) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.p.cfg.TransactionTimeout)
	defer cancel()
	if err := m.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	var err error
	if m.begun, err = broker.BegunBy(work, m.client); err != nil {
		return err
	}
	written := broker.NewWrites(m.client)
	changes := make([][]*kgo.Record, len(tasks))
	for i, t := range tasks {
		if err := t.ledger.store.Err(); err != nil {
			return fmt.Errorf("local copy of the state: %w", err)
		}
		if err := t.ledger.write(m.p.cfg.Program.Name, t.positions); err != nil {
			return err
		}
		changes[i] = t.ledger.records(func(r *kgo.Record) { written.Produce(work, r) })
	}
	for _, r := range records {
		written.Produce(work, r)
	}
	if err := m.client.Flush(work); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := written.Err(); err != nil {
		return err
	}
	if err := broker.Commit(work, m.client); err != nil {
		return fmt.Errorf("end transaction: %w", err)
	}
	m.begun = broker.Begun{}
	for i, t := range tasks {
		if err := commitStore(t.ledger.store, changes[i]); err != nil {
			return fmt.Errorf("keep the state of %s-%d: %w", t.ledger.stage, t.ledger.partition, err)
		}
	}
	m.p.cfg.onMoved()
	return nil
}
