// Package produce writes readings to Kafka in transactions, together with the position of their
// source: after a crash the next run resumes exactly after the last commit.
//
//	produce.go   Config, Run: sessions and retries
//	session.go   the lifetime of one client: fencing, resuming, transactions
//	named.go     a source under another name
//	feed.go      the source's side: pacing, encoding, chunks
//	encoding.go  record values: JSON, or with a schema from a registry
//	progress.go  the record of a source's position
//	acks.go      the log of acknowledged readings, for the independent checker
//	status.go    the state of a running producer
//	metrics.go   Prometheus metrics, from the status
package produce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/source"
	"weir.example/weir/internal/transact"
)

// Source returns readings in an order that is the same in every run, so that a position determines
// what was already sent.
type Source interface {
	// Name identifies the source: its position is stored under this name, and only one producer per
	// name can be alive.
	Name() string

	// Next writes up to len(dst) items to dst and returns their number, which may be smaller. At
	// the end it returns 0 and io.EOF.
	Next(dst []source.Item) (n int, err error)

	// Position returns the position after the last item that Next returned, as JSON.
	Position() []byte

	// Seek continues from a position of an earlier run. If the position does not fit, the error
	// explains why and what to do.
	Seek(position []byte) error

	// Progress returns how much of the source was read, in the source's own unit; total is -1 if it
	// is unknown. It may be called while another goroutine uses the source.
	Progress() (done, total int64)
}

// Keeper is a source whose items include facts. Facts keep the position small where the source has
// to remember more than a place, such as the files of a directory that were sent.
type Keeper interface {
	// Recall is called before each Seek with all facts that are committed, by key. The source owns
	// the map.
	Recall(facts map[string][]byte)
}

// Config configures a producer.
type Config struct {
	Broker broker.Config

	Topic    string // of the readings; keyed by device
	DLQ      string // dead-letter topic, of rows that are not valid readings
	Progress string // of the source positions; compacted

	Messages []string // topics of messages that are kept as they are

	Encoding Encoding // of the readings; default JSON

	Rate               float64       // readings per second; default 0: unlimited
	CommitInterval     time.Duration // length of a transaction; default 100 ms
	MaxRecords         int           // per transaction; default 100,000
	TransactionTimeout time.Duration // the broker aborts the transaction of a dead producer after this long; default 15 s
	StopTimeout        time.Duration // to finish open transactions once ctx is done, and for readers to see everything at the source's end; default 20 s
	Compression        string        // none, gzip, snappy, lz4, zstd; default snappy

	MarkTransactions bool   // header weir-tx on each record, by which weir verify finds partially committed transactions
	AckLog           string // file to which acknowledged ranges of readings are appended; default none

	Logger   *slog.Logger
	Status   *Status          // updated while the producer runs; default none
	Metrics  *Metrics         // default none
	OnCommit func(Commit)     // called after each commit; must not block
	OnResume func(sent int64) // called with the number of readings that earlier runs have committed
}

// Commit describes a committed transaction.
type Commit struct {
	Readings    int // repeats included
	Messages    int // for topics of their own
	DeadLetters int
	Causes      map[string]int // of the dead letters
	Bytes       int            // of keys and values, before compression
	Took        time.Duration
	Position    []byte // of the source, after the transaction
}

// Result sums up a run.
type Result struct {
	Readings     int64 `json:"readings"`
	Earlier      int64 `json:"earlier"` // readings committed by earlier runs of the source
	DeadLetters  int64 `json:"dead_letters"`
	Transactions int64 `json:"transactions"`
	Aborted      int64 `json:"aborted"`
	Sessions     int64 `json:"sessions"`
	Bytes        int64 `json:"bytes"`

	SendingSeconds float64 `json:"sending_seconds"` // from the first reading read to the last commit
}

func (c Config) withDefaults() Config {
	if c.CommitInterval == 0 {
		c.CommitInterval = 100 * time.Millisecond
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 100_000
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 15 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = broker.DefaultStopTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Encoding == nil {
		c.Encoding = jsonEncoding{}
	}
	if c.OnCommit == nil {
		c.OnCommit = func(Commit) {}
	}
	if c.OnResume == nil {
		c.OnResume = func(int64) {}
	}
	return c
}

// Validate returns an error for the first invalid setting. 0 stands for a default.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Topic == "", c.DLQ == "", c.Progress == "":
		return errors.New("the topics for readings, dead letters and progress must all be set")
	case !(c.Rate >= 0):
		return fmt.Errorf("rate must not be negative, got %v", c.Rate)
	case c.CommitInterval < 0, c.CommitInterval >= c.TransactionTimeout:
		return errors.New("the commit interval must be shorter than the transaction timeout")
	case c.StopTimeout < 0:
		return fmt.Errorf("stop timeout must not be negative, got %s", c.StopTimeout)
	case c.MaxRecords < 0:
		return fmt.Errorf("max records per transaction must not be negative, got %d", c.MaxRecords)
	}
	return c.Broker.Validate()
}

// Run sends the source's readings until the source ends, ctx is done or a fatal error occurs, such
// as another producer fencing this one. On a stop it commits what it has read from the source.
// After any other error it opens a new session, which looks up what was committed and resumes
// there.
//
// Run leaves no transaction open: if one may remain because the broker did not answer within
// StopTimeout, it returns a *broker.LeftOpenError. At the source's end all readings are visible to
// readers when Run returns.
func Run(ctx context.Context, cfg Config, src Source) (Result, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	acks, err := openAcks(cfg.AckLog)
	if err != nil {
		return Result{}, err
	}
	if cfg.Status == nil {
		cfg.Status = NewStatus(src.Name())
	}
	cfg.Metrics.add(cfg.Status)
	cfg.Logger = cfg.Logger.With("source", src.Name())
	defer cfg.Status.phase(Stopped, "")
	work, cancel := broker.Finishing(ctx, cfg.StopTimeout)
	defer cancel()
	p := &producer{cfg: cfg, src: src, acks: acks, sessions: &transact.Sessions{
		Broker: cfg.Broker, Logger: cfg.Logger, Work: work,
		Permanent: permanent,
		OnRetry:   func(err error) { cfg.Status.phase(Retrying, err.Error()) },
	}}
	err = p.run(ctx)
	return p.result, errors.Join(err, acks.close())
}

// producer is the state of Run across sessions.
type producer struct {
	cfg      Config
	src      Source
	acks     *acks
	sessions *transact.Sessions
	result   Result
	sent     broker.Written

	started   time.Time // of the first session's feed
	beginning []byte    // the source's first position
	pending   *pending  // the transaction whose commit was requested, until its outcome is known
}

// pending is a transaction whose commit was requested.
type pending struct {
	readings int64 // of the source, including this transaction
	began    time.Time
	commit   Commit
	chunks   []*chunk
}

// run runs sessions until the source ends, ctx is done or an error is permanent. It leaves no
// transaction open.
func (p *producer) run(ctx context.Context) error {
	err := p.sessions.Run(ctx, func(ctx context.Context) error {
		p.result.Sessions++
		p.cfg.Status.phase(Starting, "")
		return p.session(ctx)
	})
	switch id := transactionalID(p.src.Name()); {
	case err != nil || p.result.Transactions == 0:
		return err
	case ctx.Err() != nil:
		return broker.AwaitEnded(p.sessions.Work, p.cfg.Broker, id)
	default:
		visible, cancel := context.WithTimeout(p.sessions.Work, p.cfg.StopTimeout)
		defer cancel()
		return p.sent.AwaitVisible(visible, p.cfg.Broker)
	}
}

// permanent reports whether a new session would fail in the same way. A transaction that exceeded
// its timeout looks fenced as well; errTimedOut distinguishes the two.
func permanent(err error) bool {
	var source *sourceError
	if errors.As(err, &source) || errors.Is(err, errTopics) {
		return true
	}
	return broker.Classify(err) == broker.Fatal && !errors.Is(err, errTimedOut)
}

var (
	errTopics   = errors.New("topics are not ready")
	errTimedOut = errors.New("the transaction took longer than its timeout")
)

// sourceError is an error of the source itself: a new session would not help.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// takenOver explains why a producer was fenced.
func takenOver(name string, err error) error {
	return fmt.Errorf("another producer of source %q has taken over its transactional id %s, or weir transactions abort ended its transaction; this one stops so that nothing is sent twice: %w", name, transactionalID(name), err)
}
