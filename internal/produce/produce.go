// Package produce writes readings to Kafka in transactions, with the position of their source in
// the same transaction: after a crash the next run goes on where the last commit ended.
//
//	produce.go  Config, Run: sessions and retries
//	session.go  one life of a client: take over, find the position, transactions
//	feed.go     the source's side: pacing, encoding, chunks
//	encoding.go readings as values of records: JSON, or by a schema of a registry
//	progress.go the position's record
//	acks.go     the log of what was acknowledged, for the outside checker
//	status.go   what a producer does, for whoever asks while it runs; metrics.go the same for
//	            Prometheus
package produce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/source"
)

// Source yields readings in an order that is the same in every run, so that a position tells what
// was already sent.
type Source interface {
	// Name identifies the source: its position is kept under this name, and only one producer of a
	// name can be alive.
	Name() string

	// Next fills dst and returns how many items it wrote: fewer than len(dst) at times, 0 with
	// io.EOF at the end.
	Next(dst []source.Item) (n int, err error)

	// Position is where the item after the last one of Next begins: JSON.
	Position() []byte

	// Seek goes to a position of an earlier run. The error tells why it does not fit and what to
	// do.
	Seek(position []byte) error

	// Progress tells how far the source is, in its own unit; total is -1 when it is not known.
	Progress() (done, total int64)
}

// Config says where readings go and how they are committed.
type Config struct {
	Broker broker.Config

	Topic    string // of the readings; keyed by device
	DLQ      string // of the rows that are no readings
	Progress string // of the positions; compacted

	Encoding Encoding // of the readings; default JSON

	Rate               float64       // readings a second; default 0: as fast as it goes
	CommitInterval     time.Duration // length of a transaction; default 100 ms
	MaxRecords         int           // in one transaction; default 100,000
	TransactionTimeout time.Duration // after which the broker aborts for a dead producer; default 15 s
	StopTimeout        time.Duration // for what is open when ctx is done, and until readers see all that the source had; default 20 s
	Compression        string        // none, gzip, snappy, lz4, zstd; default lz4

	MarkTransactions bool   // header weir-tx on each record, by which weir verify finds torn transactions
	AckLog           string // file to which the fate of each range of readings is appended; default none

	Logger   *slog.Logger
	Status   *Status          // kept up to date while it runs; default one that nobody reads
	Metrics  *Metrics         // default none
	OnCommit func(Commit)     // called after each commit; must be quick
	OnResume func(sent int64) // called with the readings that earlier runs have committed
}

// Commit is what one committed transaction did.
type Commit struct {
	Readings    int // repeats included
	DeadLetters int
	Causes      map[string]int // of the dead letters
	Bytes       int            // of keys and values, before compression
	Took        time.Duration
}

// Result sums up a run.
type Result struct {
	Readings     int64 `json:"readings"`
	Earlier      int64 `json:"earlier"` // readings that earlier runs of the source have committed
	DeadLetters  int64 `json:"dead_letters"`
	Transactions int64 `json:"transactions"`
	Aborted      int64 `json:"aborted"`
	Sessions     int64 `json:"sessions"`
	Bytes        int64 `json:"bytes"`

	SendingSeconds float64 `json:"sending_seconds"` // from the first reading taken to the last commit
}

func (c *Config) setDefaults() {
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
}

// Validate reports the first setting that can't work.
func (c *Config) Validate() error {
	if c.Topic == "" || c.DLQ == "" || c.Progress == "" {
		return errors.New("the topics for readings, dead letters and progress must all be named")
	}
	if c.Rate < 0 {
		return fmt.Errorf("rate %v is negative", c.Rate)
	}
	if c.CommitInterval < 0 || c.CommitInterval >= c.TransactionTimeout {
		return errors.New("the commit interval must be shorter than the transaction timeout")
	}
	if c.MaxRecords < 0 {
		return fmt.Errorf("%d records a transaction make no sense", c.MaxRecords)
	}
	return c.Broker.Validate()
}

// Run sends the source's readings until it ends, ctx is done (what was taken from the source is
// then committed) or a fatal error, such as another producer having taken the source over. After
// any other error it starts a new session, which asks the broker what was committed and goes on
// from there.
//
// Run leaves no transaction open: it returns a *broker.LeftOpenError where one may be, since the
// broker did not answer within StopTimeout. At the source's end readers see all that was sent.
func Run(ctx context.Context, cfg Config, src Source) (Result, error) {
	cfg.setDefaults()
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
	p := &producer{cfg: cfg, src: src, acks: acks, work: work}
	err = p.run(ctx)
	return p.result, errors.Join(err, acks.close())
}

type producer struct {
	cfg    Config
	src    Source
	acks   *acks
	result Result
	work   context.Context // of clients and transactions: a stop leaves them StopTimeout
	left   error           // why the last session may have left its transaction open; nil where it has not
	begun  broker.Begun    // that transaction
	sent   broker.Written

	connected bool      // a broker has answered once
	started   time.Time // when the first reading was taken
	beginning []byte    // the source's first position
	pending   *pending  // the transaction whose commit was asked for, until its fate is known
}

// pending is a transaction that the broker was asked to commit.
type pending struct {
	readings int64 // of the source, with this transaction
	began    time.Time
	commit   Commit
	chunks   []*chunk
}

// run runs sessions until the source ends, ctx is done or an error is permanent, and leaves no
// transaction open.
func (p *producer) run(ctx context.Context) error {
	err := p.sessions(ctx)
	switch id := transactionalID(p.src.Name()); {
	case p.left != nil && !broker.IsFenced(err): // who fences has ended it
		return errors.Join(err, broker.EndOpen(p.work, p.cfg.Broker, p.begun, p.left))
	case err != nil || p.result.Transactions == 0:
		return err
	case ctx.Err() != nil:
		return broker.AwaitEnded(p.work, p.cfg.Broker, id)
	default:
		visible, cancel := context.WithTimeout(p.work, p.cfg.StopTimeout)
		defer cancel()
		return p.sent.AwaitVisible(visible, p.cfg.Broker)
	}
}

func (p *producer) sessions(ctx context.Context) error {
	wait := broker.Backoff()
	for {
		p.result.Sessions++
		p.cfg.Status.phase(Starting, "")
		before := p.result.Transactions
		err := p.session(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		var unreachable *broker.UnreachableError
		if permanent(err) || errors.As(err, &unreachable) && !p.connected {
			return err
		}
		if p.result.Transactions > before {
			wait.Reset()
		}
		pause := wait.NextBackOff()
		p.cfg.Status.phase(Retrying, err.Error())
		p.cfg.Logger.Warn("start a new session", "err", err, "in", pause.Round(time.Millisecond))
		if broker.Sleep(ctx, pause) != nil {
			return nil
		}
	}
}

// permanent reports whether a new session would end the same way. A transaction that outlived its
// timeout looks as if another producer had fenced us; the wrapper tells the two apart.
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

// sourceError is an error of the source itself: no other session would help.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// takenOver explains being fenced.
func takenOver(name string, err error) error {
	return fmt.Errorf("another producer of source %q has taken over its transactional id %s, or weir transactions abort ended its transaction; this one stops so that nothing is sent twice: %w", name, transactionalID(name), err)
}
