package weir

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
)

// Options set where a pipeline runs and how it commits. Set Brokers or DataDir; with neither, the
// tables must name their brokers in 'properties.bootstrap.servers'. The zero value of every other
// field is a working default.
type Options struct {
	// Brokers are the seed brokers of the Kafka cluster, host:port. Kafka must be 4.0 or later,
	// with transaction.version 2.
	Brokers []string
	TLS     TLS
	SASL    SASL

	// DataDir is the directory of an embedded broker, created if it does not exist. If this or
	// another process already serves the directory, Run joins that broker. Otherwise Run serves it,
	// and closes it on return once no other process uses it or the context is done.
	DataDir string

	// StateDir holds local copies of the state, so that a restart reads little of the changelog.
	// Losing it is harmless: the changelog in Kafka is authoritative. Default: DataDir/state; with
	// Brokers, state is in memory only.
	StateDir string

	// Instance names this process in its transactional ids. It must be stable across restarts and
	// differ from that of every other live process of the pipeline: when two share a name, the
	// newer fences the older. Default: the host name and a number that is free on this host.
	Instance string

	Workers            int           // consumers of this process, 1 to 256; default 1
	CommitInterval     time.Duration // longest transaction; one with few rows ends sooner; default 100 ms
	TransactionTimeout time.Duration // after which the broker aborts the transaction of a dead process; default 15 s
	SessionTimeout     time.Duration // after which the partitions of a dead process are reassigned; default 10 s
	StopTimeout        time.Duration // to end the open transaction once the context is done; default 20 s
	Compression        string        // of written records: none, gzip, snappy, lz4 or zstd; default snappy

	// UntilEnd stops Run once everything that the sources held at the start has been processed.
	// Windows still open remain in the state; the next run continues them.
	UntilEnd bool

	Logger *slog.Logger // default slog.Default()
}

// TLS configures connections to Brokers. Setting a file enables TLS.
type TLS struct {
	Enabled            bool   // trust the system's certificate authorities
	CAFile             string // certificate authorities to trust, PEM; default the system's
	CertFile, KeyFile  string // the client's certificate and its key for mutual TLS, PEM; both or neither
	InsecureSkipVerify bool   // accept any server certificate: for tests only
}

// SASL authenticates with Brokers.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; "" disables SASL
	User      string
	Password  string `json:"-"`
}

// String omits the password, so that options can be logged.
func (s SASL) String() string { return fmt.Sprintf("{%s %s}", s.Mechanism, s.User) }

// GoString omits the password.
func (s SASL) GoString() string {
	return fmt.Sprintf("weir.SASL{Mechanism: %q, User: %q}", s.Mechanism, s.User)
}

const maxWorkers = 256

// Validate returns an error for the first invalid option.
func (o *Options) Validate() error {
	switch {
	case len(o.Brokers) > 0 && o.DataDir != "":
		return refuse(errors.New("options Brokers and DataDir are both set: choose Kafka or an embedded broker"))
	case o.DataDir != "" && (o.TLS != TLS{} || o.SASL != SASL{}):
		return refuse(errors.New("options TLS and SASL are set with DataDir: the embedded broker has neither"))
	case o.Workers < 0 || o.Workers > maxWorkers:
		return refuse(fmt.Errorf("invalid Workers %d: expected 1 to %d", o.Workers, maxWorkers))
	case o.CommitInterval < 0 || o.TransactionTimeout < 0 || o.SessionTimeout < 0 || o.StopTimeout < 0:
		return refuse(errors.New("invalid Options: a duration is negative"))
	case cmp.Or(o.CommitInterval, defaultCommitInterval) >= cmp.Or(o.TransactionTimeout, defaultTransactionTimeout):
		return refuse(fmt.Errorf("invalid CommitInterval %s: it must be shorter than TransactionTimeout, %s",
			cmp.Or(o.CommitInterval, defaultCommitInterval), cmp.Or(o.TransactionTimeout, defaultTransactionTimeout)))
	}
	if _, err := broker.Compression(o.Compression); err != nil {
		return refuse(err)
	}
	return nil
}

// Defaults of engine.Config.
const (
	defaultCommitInterval     = 100 * time.Millisecond
	defaultTransactionTimeout = 15 * time.Second
)

// kafka returns the brokers for a run of program.
func (o *Options) kafka(program *plan.Program) (node.Kafka, error) {
	if o.DataDir != "" {
		return node.Kafka{DataDir: o.DataDir, Create: true, Logger: o.Logger}, nil
	}
	seeds := o.Brokers
	if len(seeds) == 0 {
		var err error
		if seeds, err = node.BrokersOf(program); err != nil {
			return node.Kafka{}, refuse(err)
		}
	}
	if len(seeds) == 0 {
		return node.Kafka{}, refuse(errors.New("no brokers: set Options.Brokers for Kafka, or Options.DataDir for an embedded broker"))
	}
	c := broker.Config{
		Brokers: seeds,
		TLS:     o.TLS.Enabled, CAFile: o.TLS.CAFile, CertFile: o.TLS.CertFile, KeyFile: o.TLS.KeyFile, TLSInsecure: o.TLS.InsecureSkipVerify,
		SASL: o.SASL.Mechanism, User: o.SASL.User, Password: o.SASL.Password,
	}
	if _, err := c.Options(); err != nil { // validates c and reads its TLS files
		return node.Kafka{}, refuse(err)
	}
	return node.Kafka{Broker: c, Logger: o.Logger}, nil
}

func (o *Options) stateDir() string {
	if o.StateDir == "" && o.DataDir != "" {
		return filepath.Join(o.DataDir, "state")
	}
	return o.StateDir
}
