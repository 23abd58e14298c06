package alert

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/transact"
)

// session is the lifetime of one client. The book is discarded when a session ends and restored
// from the state topic in the next one.
type session struct {
	d     *deliverer
	group *transact.Group
	owned map[partition]bool

	mu    sync.Mutex
	moved map[partition]bool // partitions assigned (true) or lost (false) since the last iteration
}

type partition struct {
	topic string
	id    int32
}

func (d *deliverer) session(ctx context.Context) error {
	s := &session{d: d, owned: make(map[partition]bool), moved: make(map[partition]bool)}
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.group.Close()
	d.book.drop(func(Origin) bool { return true })
	for {
		poll, cancel := context.WithTimeout(ctx, pollInterval)
		s.d.wakeWith(cancel)
		fetches := s.group.Poll(poll, 0)
		cancel()
		if ctx.Err() != nil {
			// Wait for the last results: without them the next start would send the same
			// notifications again. Apply the rows as well, because the commit covers everything
			// that was polled.
			d.inFlight.Wait()
			_, err := s.iterate(d.sessions.Work, fetches)
			return err
		}
		known, err := s.iterate(ctx, fetches)
		if err != nil {
			return err
		}
		d.cfg.Health.set("")
		if known {
			for _, n := range d.book.due(d.cfg.Now()) {
				d.send(n)
			}
		}
	}
}

func (s *session) connect(ctx context.Context) error {
	id := s.d.transactionalID()
	var err error
	s.group, err = s.d.sessions.OpenGroup(ctx, transact.GroupConfig{
		TransactionalID: id, Group: s.d.cfg.Site.AlertGroup(), Topics: s.d.topics(), Writes: []string{s.d.cfg.Site.Alerts()},
		TransactionTimeout: s.d.cfg.TransactionTimeout, SessionTimeout: s.d.cfg.SessionTimeout,
		OnAssigned: s.onMoved(true), OnRevoked: s.onMoved(false),
	},
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.FetchMaxWait(pollInterval),
		s.d.cfg.Broker.Observe("alert", s.d.cfg.Instance),
		s.d.cfg.Broker.Tracer().Client(id, s.d.cfg.Site.AlertGroup()).Option(),
	)
	return err
}

// onMoved records assigned or lost partitions for the next iteration.
func (s *session) onMoved(assigned bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for topic, partitions := range moved {
			for _, p := range partitions {
				s.moved[partition{topic, p}] = assigned
			}
		}
	}
}

// iterate applies rows and delivery results and commits the changes. It reports whether the book
// equals the committed state: nothing may be sent otherwise.
func (s *session) iterate(ctx context.Context, fetches kgo.Fetches) (known bool, err error) {
	var failed error
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			failed = fmt.Errorf("read %s-%d: %w", topic, partition, err)
		}
	})
	if failed != nil {
		return false, failed
	}
	if err := s.restoreMoved(ctx); err != nil {
		return false, err
	}
	now := s.d.cfg.Now()
	fetches.EachRecord(func(r *kgo.Record) { s.apply(r, now) })
	for _, r := range s.d.takeResults() {
		s.d.book.sent(r.n, r.failed, r.at)
		s.d.uncommitted = append(s.d.uncommitted, r)
	}
	deleted := s.d.book.tick(now, s.d.appendOnly)
	if fetches.NumRecords() > 0 || len(deleted) > 0 || len(s.d.book.changed) > 0 {
		if committed, err := s.commit(deleted); err != nil || !committed {
			return false, err
		}
	}
	s.d.uncommitted = nil
	s.d.cfg.Metrics.snapshot(s.d.book, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.moved) == 0, nil
}

// apply updates the book with a row of an alert table.
func (s *session) apply(r *kgo.Record, now time.Time) {
	t := s.d.table(r.Topic)
	if t == nil || r.Attrs.IsControl() {
		return
	}
	x, err := t.read(r)
	if err != nil {
		s.d.cfg.Logger.Warn("skipping invalid alert row", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
		return
	}
	s.d.book.apply(x, now)
}

// commit writes the changed alerts and the offsets of the polled rows in one transaction, which a
// stop does not interrupt.
func (s *session) commit(deleted []string) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(s.d.sessions.Work, s.d.cfg.TransactionTimeout)
	defer cancel()
	var records []*kgo.Record
	for _, a := range s.d.book.takeChanged() {
		r, err := a.record(s.d.cfg.Site.Alerts())
		if err != nil {
			return false, err
		}
		records = append(records, r)
	}
	for _, id := range deleted {
		records = append(records, &kgo.Record{Topic: s.d.cfg.Site.Alerts(), Key: []byte(alertKey + id)})
	}
	if err := s.group.Begin(); err != nil {
		return false, err
	}
	client := s.group.Client
	if err := s.d.sessions.Begun(ctx, client); err != nil {
		return false, err
	}
	writes := broker.NewWrites(client)
	for _, r := range records {
		writes.Produce(ctx, r)
	}
	try := kgo.TryCommit
	written := client.Flush(ctx)
	if written = errors.Join(written, writes.Err()); written != nil {
		try = kgo.TryAbort
	}
	committed, err = s.group.End(ctx, try)
	if err != nil {
		s.d.sessions.LeftOpen(err)
		return false, errors.Join(fmt.Errorf("end transaction: %w", err), written)
	}
	if written != nil {
		return false, fmt.Errorf("write alert state: %w", written)
	}
	if !committed {
		s.restoreAll()
		return false, nil
	}
	s.d.sessions.Committed()
	return true, nil
}

// restoreAll makes the next iteration restore all owned partitions, after a transaction that was
// aborted. Uncommitted results are then applied again.
func (s *session) restoreAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.owned {
		if _, ok := s.moved[p]; !ok {
			s.moved[p] = true
		}
	}
}

// restoreMoved restores the alerts of newly assigned partitions and drops those of lost ones.
func (s *session) restoreMoved(ctx context.Context) error {
	s.mu.Lock()
	moved := s.moved
	s.moved = make(map[partition]bool)
	s.mu.Unlock()
	if len(moved) == 0 {
		return nil
	}
	of := func(o Origin) partition { return partition{o.Topic, o.Partition} }
	s.d.book.drop(func(o Origin) bool { _, ok := moved[of(o)]; return ok })
	state, err := ReadState(ctx, s.d.cfg.Broker, s.d.cfg.Site)
	if err != nil {
		return err
	}
	for _, a := range state.Alerts {
		if moved[of(a.Origin)] {
			s.d.book.load(a)
		}
	}
	for p, assigned := range moved {
		if assigned {
			s.owned[p] = true
		} else {
			delete(s.owned, p)
		}
	}
	for _, r := range s.d.uncommitted {
		s.d.book.sent(r.n, r.failed, r.at)
	}
	return nil
}
