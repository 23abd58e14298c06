package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir/broker"
)

// Group is the consumer group that reads the tables of alerts.
const Group = "weir-alerts"

// DeliverConfig says what is delivered, and from where.
type DeliverConfig struct {
	Broker   broker.Config
	Alerts   *Config
	Tables   []Table
	Instance string // stable over restarts, different from every other live process of the group

	TransactionTimeout time.Duration // default 15 s
	SessionTimeout     time.Duration // default 10 s

	Logger *slog.Logger
	OnSend func(n *Notification, failed error) // called after each answer; must be quick and may be called concurrently
	Now    func() time.Time
}

func (c *DeliverConfig) setDefaults() {
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 15 * time.Second
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnSend == nil {
		c.OnSend = func(*Notification, error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// pollEvery is how long a turn waits for rows.
const pollEvery = 200 * time.Millisecond

// Deliver tells receivers of alerts until ctx is done; it then waits for the answers that are under way.
//
// A turn reads rows and answers, and writes what they change of the state, with the offsets of the rows, in one transaction.
// Only then are new notifications sent, so that what is sent is always known. A process that dies between a receiver's answer and
// its commit, or loses the alert's partition to another one then, leaves an alert that looks untold: the next one sends the same, with the same
// ids and numbers. Nothing else repeats, and nothing is lost.
func Deliver(ctx context.Context, c DeliverConfig) error {
	c.setDefaults()
	d := &deliverer{DeliverConfig: c, receivers: make(map[string]Receiver)}
	for name, r := range c.Alerts.Receivers {
		d.receivers[name] = NewReceiver(r)
	}
	d.book = newBook(c.Alerts, d.activeSilences)
	if err := d.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	go d.followSilences(following)
	wait := broker.Backoff()
	for {
		committed := d.commits
		err := d.session(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		if broker.Classify(err) == broker.Fatal {
			return err
		}
		if d.commits > committed {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		c.Logger.Warn("start a new session of alerts", "err", err, "in", pause.Round(time.Millisecond))
		if broker.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

type deliverer struct {
	DeliverConfig
	receivers map[string]Receiver
	book      *Book
	commits   int
	told      []answer // since the last commit
	flights   sync.WaitGroup

	mu       sync.Mutex
	answers  []answer // that came, and that no turn has taken yet
	silences map[string]Silence
}

type answer struct {
	n      *Notification
	failed error
	at     time.Time
}

// prepare makes the topic of the state, and waits for the tables, which their pipelines make.
func (d *deliverer) prepare(ctx context.Context) error {
	client, err := broker.Connect(ctx, d.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := broker.RequireTransactionV2(ctx, client); err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	if err := broker.EnsureTopics(ctx, admin, []broker.Topic{stateTopic()}); err != nil {
		return fmt.Errorf("make the topic of alerts: %w", err)
	}
	for {
		topics, err := admin.ListTopics(ctx, d.topics()...)
		if err == nil && topics.Error() == nil {
			return nil
		}
		if err := broker.Sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

func (d *deliverer) topics() []string {
	names := make([]string, len(d.Tables))
	for i, t := range d.Tables {
		names[i] = t.Topic
	}
	return names
}

func (d *deliverer) table(topic string) *Table {
	i := slices.IndexFunc(d.Tables, func(t Table) bool { return t.Topic == topic })
	if i < 0 {
		return nil
	}
	return &d.Tables[i]
}

// appends reports whether the rows of a topic can't be taken back.
func (d *deliverer) appends(topic string) bool {
	t := d.table(topic)
	return t != nil && !t.Upsert
}

// session is one life of the client. What is known of alerts is dropped when it ends, and read again.
type session struct {
	*deliverer
	group *kgo.GroupTransactSession
	owned map[source]bool

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
		fetches := s.group.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			// The last answers are worth waiting for: without them the next start would tell the same again. The rows are taken
			// too, since a commit covers all that was polled.
			d.flights.Wait()
			_, err := s.turn(context.WithoutCancel(ctx), fetches)
			return err
		}
		known, err := s.turn(ctx, fetches)
		if err != nil {
			return err
		}
		if known {
			for _, n := range s.book.due(s.Now()) {
				s.send(ctx, n)
			}
		}
	}
}

func (s *session) connect(ctx context.Context) error {
	base, err := s.Broker.Options()
	if err != nil {
		return err
	}
	id := Group + "-" + s.Instance
	s.group, err = kgo.NewGroupTransactSession(append(base,
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
	)...)
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}
	// Taking the transactional id first ends what a dead life of this instance has left open.
	if _, _, err := s.group.Client().ProducerID(ctx); err != nil {
		s.group.Close()
		return fmt.Errorf("take transactional id %s: %w", id, err)
	}
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

// turn takes rows and answers, and commits what they change. It reports whether the book is what is committed: nothing may be
// sent before.
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
		if committed, err := s.commit(ctx, forgotten); err != nil || !committed {
			return false, err
		}
	}
	s.told = nil
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

func (d *deliverer) takeAnswers() []answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.answers
	d.answers = nil
	return all
}

// send tells a receiver, beside the loop. It goes on when ctx is done, for as long as the receiver may take.
func (d *deliverer) send(ctx context.Context, n *Notification) {
	d.flights.Go(func() {
		err := send(context.WithoutCancel(ctx), d.Alerts.Receivers[n.Receiver], d.receivers[n.Receiver], n)
		if err != nil {
			d.Logger.Warn("alert not delivered", "receiver", n.Receiver, "notification", n.ID, "alerts", len(n.Alerts), "attempt", n.attempt+1, "err", err)
		} else {
			d.Logger.Info("alert delivered", "receiver", n.Receiver, "notification", n.ID, "firing", n.Count(Firing), "resolved", n.Count(Resolved))
		}
		d.mu.Lock()
		d.answers = append(d.answers, answer{n, err, d.Now()})
		d.mu.Unlock()
		d.OnSend(n, err)
	})
}

// commit writes what has changed, with the offsets of the rows that were read.
func (s *session) commit(ctx context.Context, forgotten []string) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.TransactionTimeout)
	defer cancel()
	if err := s.group.Begin(); err != nil {
		return false, fmt.Errorf("begin transaction: %w", err)
	}
	client := s.group.Client()
	promise := kgo.AbortingFirstErrPromise(client)
	for _, a := range s.book.takeChanged() {
		r, err := a.record()
		if err != nil {
			return false, err
		}
		client.Produce(ctx, r, promise.Promise())
	}
	for _, id := range forgotten {
		client.Produce(ctx, &kgo.Record{Topic: StateTopic, Key: []byte(alertKey + id)}, promise.Promise())
	}
	try := kgo.TryCommit
	written := client.Flush(ctx)
	if written = errors.Join(written, promise.Err()); written != nil {
		try = kgo.TryAbort
	}
	committed, err = s.group.End(ctx, try)
	if err != nil {
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

// again has all partitions restored, after a transaction that came to nothing. Its answers are taken once more.
func (s *session) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.owned {
		if _, ok := s.moved[p]; !ok {
			s.moved[p] = true
		}
	}
}

// restoreMoved reads the alerts of partitions that have come, and drops those of partitions that have gone.
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

// activeSilences are those of the configuration and of the topic that hold now.
func (d *deliverer) activeSilences(now time.Time) (all []Silence) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.Alerts.Silences {
		if s.active(now) {
			all = append(all, s)
		}
	}
	for _, s := range d.silences {
		if s.active(now) {
			all = append(all, s)
		}
	}
	return all
}

// followSilences learns of silences that others make, until ctx is done.
func (d *deliverer) followSilences(ctx context.Context) {
	for ctx.Err() == nil {
		err := broker.Tail(ctx, d.Broker, StateTopic, broker.TailOptions{FromStart: true}, func(r *kgo.Record) error {
			id, s, err := silenceOf(r)
			if id == "" || err != nil {
				return err
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.silences == nil {
				d.silences = make(map[string]Silence)
			}
			if s == nil {
				delete(d.silences, id)
			} else {
				d.silences[id] = *s
			}
			return nil
		}, func() error { return nil })
		if ctx.Err() != nil {
			return
		}
		d.Logger.Warn("read the silences again", "topic", StateTopic, "err", err)
		_ = broker.Sleep(ctx, time.Second) // it ends with ctx, which the loop looks at
	}
}
