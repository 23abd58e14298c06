package alert

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// session is one life of the client. What is known of alerts is dropped when it ends, and read
// again.
type session struct {
	*deliverer
	group  *kgo.GroupTransactSession
	ending broker.Ending
	owned  map[source]bool

	mu    sync.Mutex
	moved map[source]bool // partitions that came (true) or went since the last look
}

type source struct {
	topic     string
	partition int32
}

func (d *deliverer) session(ctx context.Context) error {
	s := &session{deliverer: d, owned: make(map[source]bool), moved: make(map[source]bool)}
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.group.Close()
	d.book.drop(func(Origin) bool { return true })
	for {
		poll, cancel := context.WithTimeout(ctx, pollEvery)
		s.wakeBy(cancel)
		fetches := s.group.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			// The last answers are worth waiting for: without them the next start would tell the
			// same again. The rows are taken too, since a commit covers all that was polled.
			d.flights.Wait()
			_, err := s.turn(s.work, fetches)
			return err
		}
		known, err := s.turn(ctx, fetches)
		if err != nil {
			return err
		}
		s.Health.set("")
		if known {
			for _, n := range s.book.due(s.Now()) {
				s.send(n)
			}
		}
	}
}

func (s *session) connect(ctx context.Context) error {
	base, err := s.Broker.Options()
	if err != nil {
		return err
	}
	id := s.transactionalID()
	s.group, err = kgo.NewGroupTransactSession(append(base,
		kgo.WithContext(s.work),
		kgo.TransactionalID(id),
		kgo.TransactionTimeout(s.TransactionTimeout),
		kgo.ConsumerGroup(Group),
		kgo.ConsumeTopics(s.topics()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(s.SessionTimeout),
		kgo.HeartbeatInterval(s.SessionTimeout/5),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.OnPartitionsAssigned(s.onMoved(true)),
		kgo.OnPartitionsRevoked(s.onMoved(false)),
		kgo.OnPartitionsLost(s.onMoved(false)),
		kgo.KeepControlRecords(), // so that the committed offset passes the markers, and lag can reach 0
		kgo.FetchMaxWait(pollEvery),
		broker.ClientLog(s.Logger),
		s.Broker.Observe("alert", s.Instance),
		s.Broker.Tracer().Client(id, Group).Option(),
		s.ending.Option(),
	)...)
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	// Taking the transactional id first ends what a dead life of this instance has left open.
	if _, _, err := s.group.Client().ProducerID(ctx); err != nil {
		s.group.Close()
		return fmt.Errorf("take transactional id %s: %w", id, err)
	}
	s.left = nil
	return nil
}

func (s *session) onMoved(came bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, moved map[string][]int32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for topic, partitions := range moved {
			for _, p := range partitions {
				s.moved[source{topic, p}] = came
			}
		}
	}
}

// turn takes rows and answers, and commits what they change. It reports whether the book is what is
// committed: nothing may be sent before.
func (s *session) turn(ctx context.Context, fetches kgo.Fetches) (known bool, err error) {
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
	now := s.Now()
	fetches.EachRecord(func(r *kgo.Record) { s.take(r, now) })
	for _, a := range s.takeAnswers() {
		s.book.sent(a.n, a.failed, a.at)
		s.told = append(s.told, a)
	}
	forgotten := s.book.tick(now, s.appends)
	if fetches.NumRecords() > 0 || len(forgotten) > 0 || len(s.book.changed) > 0 {
		if committed, err := s.commit(forgotten); err != nil || !committed {
			return false, err
		}
	}
	s.told = nil
	s.Metrics.look(s.book, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.moved) == 0, nil
}

func (s *session) take(r *kgo.Record, now time.Time) {
	t := s.table(r.Topic)
	if t == nil || r.Attrs.IsControl() {
		return
	}
	x, err := t.read(r)
	if err != nil {
		s.Logger.Warn("no alert: the row can't be read", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
		return
	}
	s.book.apply(x, now)
}

// commit writes what has changed, with the offsets of the rows that were read; also when a stop
// comes meanwhile.
func (s *session) commit(forgotten []string) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(s.work, s.TransactionTimeout)
	defer cancel()
	var records []*kgo.Record
	for _, a := range s.book.takeChanged() {
		r, err := a.record()
		if err != nil {
			return false, err
		}
		records = append(records, r)
	}
	for _, id := range forgotten {
		records = append(records, &kgo.Record{Topic: StateTopic, Key: []byte(alertKey + id)})
	}
	if err := s.group.Begin(); err != nil {
		return false, fmt.Errorf("begin transaction: %w", err)
	}
	client := s.group.Client()
	if s.begun, err = broker.BegunBy(ctx, client); err != nil {
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
	committed, err = s.ending.End(ctx, s.group, try)
	if err != nil {
		s.left = err
		return false, errors.Join(fmt.Errorf("end transaction: %w", err), written)
	}
	if written != nil {
		return false, fmt.Errorf("write the state of alerts: %w", written)
	}
	if !committed {
		s.again()
		return false, nil
	}
	s.commits++
	return true, nil
}

// again has all partitions restored, after a transaction that came to nothing. Its answers are
// taken once more.
func (s *session) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.owned {
		if _, ok := s.moved[p]; !ok {
			s.moved[p] = true
		}
	}
}

// restoreMoved reads the alerts of partitions that have come, and drops those of partitions that
// have gone.
func (s *session) restoreMoved(ctx context.Context) error {
	s.mu.Lock()
	moved := s.moved
	s.moved = make(map[source]bool)
	s.mu.Unlock()
	if len(moved) == 0 {
		return nil
	}
	of := func(o Origin) source { return source{o.Topic, o.Partition} }
	s.book.drop(func(o Origin) bool { _, ok := moved[of(o)]; return ok })
	state, err := ReadState(ctx, s.Broker)
	if err != nil {
		return err
	}
	for _, a := range state.Alerts {
		if moved[of(a.Origin)] {
			s.book.load(a)
		}
	}
	for p, came := range moved {
		if came {
			s.owned[p] = true
		} else {
			delete(s.owned, p)
		}
	}
	for _, a := range s.told {
		s.book.sent(a.n, a.failed, a.at)
	}
	return nil
}
