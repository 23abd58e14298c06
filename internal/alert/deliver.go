package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
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
	StopTimeout        time.Duration // for what is open when ctx is done; default 20 s

	Logger  *slog.Logger
	Metrics *Metrics                            // default none
	Health  *Health                             // kept up to date while it runs; default one that nobody reads
	OnSend  func(n *Notification, failed error) // called after each answer; must be quick and may be called concurrently
	Now     func() time.Time
}

func (c *DeliverConfig) setDefaults() {
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 15 * time.Second
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = broker.DefaultStopTimeout
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
	if c.Health == nil {
		c.Health = NewHealth()
	}
}

// pollEvery is how long a turn waits for rows.
const pollEvery = 200 * time.Millisecond

// Deliver tells receivers of alerts until ctx is done; it then waits for the answers that are under
// way. It leaves no transaction open: it returns a *broker.LeftOpenError where one may be, since
// the broker did not answer within StopTimeout.
//
// A turn reads rows and answers, and writes what they change of the state, with the offsets of the
// rows, in one transaction. Only then are new notifications sent, so that what is sent is always
// known. A process that dies between a receiver's answer and its commit, or loses the alert's
// partition to another one then, leaves an alert that looks untold: the next one sends the same,
// with the same ids and numbers. Nothing else repeats, and nothing is lost.
func Deliver(ctx context.Context, c DeliverConfig) error {
	c.setDefaults()
	d := &deliverer{DeliverConfig: c, receivers: make(map[string]Receiver)}
	for name, r := range c.Alerts.Receivers {
		receiver, err := NewReceiver(r)
		if err != nil {
			return fmt.Errorf("receiver %s: %w", name, err)
		}
		d.receivers[name] = receiver
	}
	d.book = newBook(c.Alerts, d.activeSilences)
	c.Metrics.add(c.Alerts)
	defer c.Health.set("stopped")
	if err := d.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { d.followSilences(following) })
	defer func() {
		stop()
		follower.Wait()
	}()
	work, cancel := broker.Finishing(ctx, c.StopTimeout)
	defer cancel()
	d.work = work
	sending, cancelSending := broker.Finishing(ctx, c.StopTimeout/2) // the rest is for the transaction that commits the answers
	defer cancelSending()
	d.sending = sending
	err := d.sessions(ctx)
	switch {
	case d.left != nil && !broker.IsFenced(err): // who fences has ended it
		return errors.Join(err, broker.EndOpen(work, c.Broker, d.begun, d.left))
	case err != nil || d.commits == 0:
		return err
	default:
		return broker.AwaitEnded(work, c.Broker, d.transactionalID())
	}
}

func (d *deliverer) sessions(ctx context.Context) error {
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
		d.Health.set("retrying: " + err.Error())
		d.Logger.Warn("start a new session of alerts", "err", err, "in", pause.Round(time.Millisecond))
		if broker.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

type deliverer struct {
	DeliverConfig
	work      context.Context // of clients and transactions: a stop leaves them StopTimeout
	sending   context.Context // of messages to receivers: a stop leaves them half of StopTimeout
	left      error           // why the last session may have left its transaction open; nil where it has not
	begun     broker.Begun    // that transaction
	receivers map[string]Receiver
	book      *Book
	commits   int
	told      []answer // since the last commit
	flights   sync.WaitGroup

	mu       sync.Mutex
	answers  []answer // that came, and that no turn has taken yet
	wake     func()   // ends the wait for rows: an answer is to be committed soon
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
		missing, err := missingTopics(ctx, admin, d.topics())
		if err != nil {
			return err // Deliver says it, and tries again where that may help
		}
		if len(missing) == 0 {
			return nil
		}
		d.Health.set("waiting for the topics of its tables, which pipelines make: " + strings.Join(missing, ", "))
		if err := broker.Sleep(ctx, pollEvery); err != nil {
			return err
		}
	}
}

func (d *deliverer) transactionalID() string { return Group + "-" + d.Instance }

// missingTopics returns the topics that are not there. Any other reason why one can't be looked at
// is an error.
func missingTopics(ctx context.Context, admin *kadm.Client, names []string) (missing []string, err error) {
	topics, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("look at the topics of the tables: %w", err)
	}
	for _, name := range names {
		switch err := topics[name].Err; {
		case errors.Is(err, kerr.UnknownTopicOrPartition), err == nil && !topics.Has(name):
			missing = append(missing, name)
		case err != nil:
			return nil, fmt.Errorf("look at topic %s: %w", name, err)
		}
	}
	return missing, nil
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

func (d *deliverer) takeAnswers() []answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.answers
	d.answers = nil
	return all
}

// send tells a receiver, beside the loop. A stop leaves it half of StopTimeout.
func (d *deliverer) send(n *Notification) {
	d.flights.Go(func() {
		err := send(d.sending, d.Alerts.Receivers[n.Receiver], d.receivers[n.Receiver], n)
		d.Metrics.answered(d.Alerts.Receivers[n.Receiver], n, err, d.Now())
		var partly *PartlyError
		if errors.As(err, &partly) {
			d.Logger.Warn("alert not delivered to all", "receiver", n.Receiver, "notification", n.ID, "err", err)
			err = nil // to send it again would help nobody
		}
		if err != nil {
			d.Logger.Warn("alert not delivered", "receiver", n.Receiver, "notification", n.ID, "alerts", len(n.Alerts), "attempt", n.attempt+1, "err", err)
		} else {
			d.Logger.Info("alert delivered", "receiver", n.Receiver, "notification", n.ID, "firing", n.Count(Firing), "resolved", n.Count(Resolved))
		}
		d.mu.Lock()
		d.answers = append(d.answers, answer{n, err, d.Now()})
		if d.wake != nil {
			d.wake()
		}
		d.mu.Unlock()
		d.OnSend(n, err)
	})
}

// wakeBy says what ends the wait for rows. An answer that is there already ends it at once.
func (d *deliverer) wakeBy(wake func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wake = wake
	if len(d.answers) > 0 {
		wake()
	}
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
