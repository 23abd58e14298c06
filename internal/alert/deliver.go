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

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/transact"
)

// DeliverConfig configures Deliver.
type DeliverConfig struct {
	Broker   broker.Config
	Alerts   *Config
	Tables   []Table
	Site     site.Site // whose alerts these are: names the state topic and the group
	Instance string    // stable over restarts, different from every other live process of the group

	TransactionTimeout time.Duration // default 15 s
	SessionTimeout     time.Duration // default 10 s
	StopTimeout        time.Duration // to finish open transactions once ctx is done; default 20 s

	Logger  *slog.Logger
	Metrics *Metrics                            // default none
	Health  *Health                             // updated while Deliver runs; default none
	OnSend  func(n *Notification, failed error) // called after each attempt, possibly concurrently; must not block
	Now     func() time.Time                    // default time.Now
}

func (c DeliverConfig) withDefaults() DeliverConfig {
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
	return c
}

// Validate returns an error for the first invalid setting. 0 stands for a default.
func (c DeliverConfig) Validate() error {
	switch {
	case c.Alerts == nil:
		return errors.New("no alert configuration")
	case len(c.Tables) == 0:
		return errors.New("no alert tables")
	case c.Instance == "":
		return errors.New("no instance name")
	case c.TransactionTimeout < 0, c.SessionTimeout < 0, c.StopTimeout < 0:
		return errors.New("timeouts must not be negative")
	}
	return errors.Join(c.Alerts.Validate(), c.Broker.Validate())
}

// pollInterval is how long an iteration waits for rows.
const pollInterval = 200 * time.Millisecond

// Deliver notifies receivers of alerts until ctx is done, and then waits for the responses of
// notifications that are in flight. It leaves no transaction open: if one may remain because the
// broker did not answer within StopTimeout, it returns a *broker.LeftOpenError.
//
// Each iteration consumes rows and delivery results and commits the resulting state changes
// together with the offsets of the rows, in one transaction. New notifications are sent only after
// that commit, so everything that is sent is known from the state. If a process dies between a
// receiver's response and its commit, or loses the alert's partition in between, the state shows
// the alert as not delivered, and the next process sends it again with the same ids and numbers.
// Nothing else is sent twice, and nothing is lost.
func Deliver(ctx context.Context, c DeliverConfig) error {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return err
	}
	d := &deliverer{cfg: c, receivers: make(map[string]Receiver)}
	for name, r := range c.Alerts.Receivers {
		receiver, err := NewReceiver(r)
		if err != nil {
			return fmt.Errorf("receiver %s: %w", name, err)
		}
		defer receiver.Close()
		d.receivers[name] = receiver
	}
	d.silences.configured = c.Alerts.Silences
	d.book = newBook(c.Alerts, d.silences.active)
	c.Metrics.add(c.Alerts)
	defer c.Health.set("stopped")
	work, cancel := broker.Finishing(ctx, c.StopTimeout)
	defer cancel()
	d.sessions = &transact.Sessions{
		Broker: c.Broker, Logger: c.Logger, Work: work,
		Permanent: func(err error) bool { return broker.Classify(err) == broker.Fatal },
		OnRetry:   func(err error) { c.Health.set("retrying: " + err.Error()) },
	}
	sending, cancelSending := broker.Finishing(ctx, c.StopTimeout/2) // the rest is for the transaction that commits the results
	defer func() {
		cancelSending()
		d.inFlight.Wait()
	}()
	d.sending = sending
	if err := d.sessions.Run(ctx, d.prepareAndRun); err != nil || d.sessions.Commits() == 0 {
		return err
	}
	return broker.AwaitEnded(work, c.Broker, d.transactionalID())
}

// deliverer is the state of Deliver across sessions.
type deliverer struct {
	cfg         DeliverConfig
	sessions    *transact.Sessions
	sending     context.Context // of notifications: done half of StopTimeout after ctx
	prepared    bool            // the topics exist
	receivers   map[string]Receiver
	silences    silences
	book        *Book
	uncommitted []result // collected since the last commit
	inFlight    sync.WaitGroup

	mu      sync.Mutex
	results []result // not yet collected by an iteration
	wake    func()   // ends the wait for rows, so that a result is committed soon
}

// prepareAndRun prepares topics and silences, and runs a session while following the silences.
func (d *deliverer) prepareAndRun(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	following, stop := context.WithCancel(ctx)
	var follower sync.WaitGroup
	follower.Go(func() { d.silences.follow(following, d.cfg.Broker, d.cfg.Site.Alerts(), d.cfg.Logger) })
	defer func() {
		stop()
		follower.Wait()
	}()
	return d.session(ctx)
}

// prepare creates the state topic, waits for the topics of the tables, which pipelines create, and
// loads the silences before the first session, so that none is ignored. Once it has succeeded, it
// does nothing.
func (d *deliverer) prepare(ctx context.Context) error {
	if d.prepared {
		return nil
	}
	client, err := broker.Connect(ctx, d.cfg.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	d.sessions.Reached()
	if err := broker.RequireTransactionV2(ctx, client); err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	if err := broker.EnsureTopics(ctx, admin, []broker.Topic{stateTopic(d.cfg.Site)}); err != nil {
		return fmt.Errorf("create the state topic of alerts: %w", err)
	}
	for logged := ""; ; {
		missing, err := missingTopics(ctx, admin, d.topics())
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			break
		}
		topics := strings.Join(missing, ", ")
		if logged != topics {
			logged = topics
			d.cfg.Logger.Info("waiting for pipelines to create the topics of alert tables", "topics", topics)
		}
		d.cfg.Health.set("waiting for pipelines to create the topics of alert tables: " + topics)
		if err := retry.Sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
	state, err := ReadState(ctx, d.cfg.Broker, d.cfg.Site)
	if err != nil {
		return err
	}
	d.silences.load(state.Silences)
	d.prepared = true
	return nil
}

func (d *deliverer) transactionalID() string { return d.cfg.Site.AlertGroup() + "-" + d.cfg.Instance }

// missingTopics returns the topics that do not exist. It returns an error if a topic can't be
// described for any other reason.
func missingTopics(ctx context.Context, admin *kadm.Client, names []string) (missing []string, err error) {
	topics, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describe the topics of alert tables, %s: %w", strings.Join(names, ", "), err)
	}
	for _, name := range names {
		switch err := topics[name].Err; {
		case errors.Is(err, kerr.UnknownTopicOrPartition), err == nil && !topics.Has(name):
			missing = append(missing, name)
		case err != nil:
			return nil, fmt.Errorf("describe topic %s: %w", name, err)
		}
	}
	return missing, nil
}

func (d *deliverer) topics() []string {
	names := make([]string, len(d.cfg.Tables))
	for i, t := range d.cfg.Tables {
		names[i] = t.Topic
	}
	return names
}

func (d *deliverer) table(topic string) *Table {
	i := slices.IndexFunc(d.cfg.Tables, func(t Table) bool { return t.Topic == topic })
	if i < 0 {
		return nil
	}
	return &d.cfg.Tables[i]
}

// appendOnly reports whether rows of a topic can't be retracted.
func (d *deliverer) appendOnly(topic string) bool {
	t := d.table(topic)
	return t != nil && !t.Upsert
}
