package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/secret"
)

// Config configures a run of a pipeline. Zero values stand for the defaults.
type Config struct {
	Broker  broker.Config
	Program *plan.Program

	// Instances name the workers of this process; the transactional ids are derived from them. Each
	// must be stable over restarts and unique among the live workers of the pipeline. At least one.
	Instances []string

	CommitInterval time.Duration // longest transaction; one with few rows ends sooner, see commits; default 100 ms
	MaxRecords     int           // per transaction of a worker; default 50,000

	// MaxBytes is the approximate memory of the rows that a worker's transaction reads and writes,
	// and of its changes to the state. A transaction that has more ends. Default 16 MiB, at least
	// 1 MiB.
	MaxBytes int64

	// TransactionTimeout is how long the broker waits before it aborts a transaction of a process
	// that has died. It must be longer than CommitInterval. Default 15 s.
	TransactionTimeout time.Duration

	// StopTimeout limits how long open transactions may take to end once the context is done, and
	// how long a finished run waits until readers see its rows. Default 20 s.
	StopTimeout time.Duration

	// SessionTimeout is how long the group waits before it reassigns the partitions of a process
	// that has died. Default 10 s.
	SessionTimeout time.Duration

	Compression string // of written records: none, gzip, snappy, lz4 or zstd; default snappy

	StateDir   string // of local copies of the state; "" keeps the state in memory only
	CacheBytes int64  // memory for the state of one task in front of its local copy; default 64 MiB

	AcceptLoss    []Gap // records that may be missing
	FromChangelog bool  // the plan is lost: write it again for the state that exists
	Repartition   bool  // accept topics with other numbers of partitions, and move state to the partitions of its keys

	// UntilEnd stops the run when everything that the sources had at its start is processed.
	// Windows stay open, and a later run continues.
	UntilEnd bool

	Generated *Generated // of the program's generated tables; nil if it has none

	Logger   *slog.Logger      // default: discard
	OnCommit func(Commit)      // called after each commit, concurrently by the workers; must be quick
	Status   *Status           // kept up to date during the run; default one without readers
	Metrics  *Metrics          // default none
	Lookups  lookup.Open       // opens the tables of lookup joins; required if the program has any
	LookedUp *lookup.Metrics   // of lookup joins; default none
	Schemas  *registry.Metrics // of the clients of schema registries; default none
	Secrets  secret.Source     // to which the options of formats refer; default: the environment
	Now      func() time.Time  // default time.Now

	// For tests.
	gapInterval time.Duration               // between checks for deleted records; default 10 s
	metadataAge time.Duration               // after which the client discovers new partitions; default 5 minutes, as in Kafka's clients
	moveBytes   int                         // approximate size of a transaction of --repartition; default 4 MiB
	onMoved     func()                      // called after each of them
	onStep      func(records []*kgo.Record) // called when the operators are about to process records
}

func (c Config) withDefaults() Config {
	c.CommitInterval = cmp.Or(c.CommitInterval, 100*time.Millisecond)
	c.MaxRecords = cmp.Or(c.MaxRecords, 50_000)
	c.MaxBytes = cmp.Or(c.MaxBytes, 16<<20)
	c.TransactionTimeout = cmp.Or(c.TransactionTimeout, 15*time.Second)
	c.StopTimeout = cmp.Or(c.StopTimeout, broker.DefaultStopTimeout)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, 10*time.Second)
	c.CacheBytes = cmp.Or(c.CacheBytes, 64<<20)
	c.gapInterval = cmp.Or(c.gapInterval, 10*time.Second)
	c.metadataAge = cmp.Or(c.metadataAge, 5*time.Minute)
	c.moveBytes = cmp.Or(c.moveBytes, 4<<20)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnCommit == nil {
		c.OnCommit = func(Commit) {}
	}
	if c.onStep == nil {
		c.onStep = func([]*kgo.Record) {}
	}
	if c.onMoved == nil {
		c.onMoved = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Status == nil && c.Program != nil {
		c.Status = NewStatus(c.Program)
	}
	return c
}

// Validate reports the first invalid setting.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Program == nil:
		return errors.New("no program is set")
	case len(c.Instances) == 0:
		return errors.New("no instance is set")
	case slices.Contains(c.Instances, ""):
		return errors.New("an instance has no name")
	case len(c.Instances) > 1 && len(slices.Compact(slices.Sorted(slices.Values(c.Instances)))) < len(c.Instances):
		return fmt.Errorf("instances must be unique, got %s", strings.Join(c.Instances, ", "))
	case c.CommitInterval < 0, c.CommitInterval >= c.TransactionTimeout:
		return errors.New("the commit interval must be shorter than the transaction timeout")
	case c.StopTimeout < 0, c.SessionTimeout < 0:
		return fmt.Errorf("timeouts must not be negative, got stop timeout %s and session timeout %s", c.StopTimeout, c.SessionTimeout)
	case c.MaxRecords < 0:
		return fmt.Errorf("max records per transaction must not be negative, got %d", c.MaxRecords)
	case c.MaxBytes < 1<<20:
		return fmt.Errorf("the size of a transaction must be at least 1 MiB, got %d bytes", c.MaxBytes)
	case c.CacheBytes < 0:
		return fmt.Errorf("cache size must not be negative, got %d bytes", c.CacheBytes)
	}
	if _, err := broker.Compression(c.Compression); err != nil {
		return err
	}
	return c.Broker.Validate()
}
