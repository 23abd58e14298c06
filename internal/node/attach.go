package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/broker/front"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/trail"
)

// Kafka selects the broker: the one at Broker.Brokers or, if that is empty, the embedded one on
// DataDir.
type Kafka struct {
	Broker    broker.Config
	DataDir   string // of the embedded broker
	Elsewhere bool   // if DataDir has no data, Attach may join this user's embedded broker on another directory
	Later     bool   // the named brokers need not answer yet
	Create    bool   // if no broker is found, Attach creates one on DataDir
	Listen    string // host:port of the embedded broker; default a free port
	Advertise string // host:port advertised to clients; default Listen
	Sync      bool   // the embedded broker syncs to disk at each commit
	Profile   string // of the embedded broker, see embedded.Profiles; default embedded.DefaultProfile

	TLS            *tlsconf.Server // that the embedded broker serves; default none
	OpenID         *guard.OpenID   // whose tokens let clients log in to the embedded broker; default none
	InsecureListen bool            // allows an address that other machines can reach without TLS and a login

	Logger *slog.Logger
}

// Attachment is a broker in use.
type Attachment struct {
	Broker   broker.Config
	DataDir  string           // of the embedded broker; "" for named brokers
	Found    bool             // the broker runs on a data directory other than the requested one
	embedded *embedded.Broker // served by this process, or nil
	member   *embedded.Member // served by another process on the data directory, or nil
	deeds    *trail.Log       // of the servers of HTTP, if another process serves the broker, or nil
	withdraw func()           // removes the announcement of a broker that this process serves
}

// Attach connects to the named brokers, joins the embedded broker that another process serves on
// the data directory, or serves the existing data itself. If the directory has no data, Attach
// looks elsewhere or creates a broker, if k allows it; otherwise the error is a *NoBrokerError.
func (k Kafka) Attach(ctx context.Context) (*Attachment, error) {
	if len(k.Broker.Brokers) > 0 && k.Later {
		return &Attachment{Broker: k.Broker}, nil
	}
	if len(k.Broker.Brokers) > 0 {
		client, err := broker.Connect(ctx, k.Broker)
		if err != nil {
			return nil, err
		}
		client.Close()
		return &Attachment{Broker: k.Broker}, nil
	}
	if k.Broker.TLS || k.Broker.CAFile != "" || k.Broker.CertFile != "" || k.Broker.SASL != "" || k.Broker.User != "" {
		return nil, errors.New("TLS and SASL settings require --brokers: processes that may read the data directory of an embedded broker log in with it")
	}
	if at, err := k.Join(); at != nil || err != nil {
		return at, err
	}
	if embedded.HasData(k.DataDir) {
		return k.serve()
	}
	if at, err := k.find(); at != nil || err != nil {
		return at, err
	}
	if !k.Create {
		return nil, &NoBrokerError{DataDir: k.DataDir}
	}
	return k.serve()
}

// find joins this user's embedded broker on another data directory; nil if there is none or k does
// not allow it.
func (k Kafka) find() (*Attachment, error) {
	if !k.Elsewhere {
		return nil, nil
	}
	dirs, err := running()
	if err != nil || len(dirs) == 0 {
		return nil, err
	}
	if len(dirs) > 1 {
		return nil, &NoBrokerError{DataDir: k.DataDir, Running: dirs}
	}
	k.DataDir = dirs[0]
	at, err := k.Join()
	if at != nil {
		at.Found = true
	}
	return at, err
}

// Join joins the embedded broker that another process serves on the data directory; nil if there is
// none.
func (k Kafka) Join() (*Attachment, error) {
	member, err := embedded.Join(k.DataDir)
	if err != nil || member == nil {
		return nil, err
	}
	return &Attachment{Broker: k.at(member.Addr), DataDir: k.DataDir, member: member}, nil
}

// Serve starts the embedded broker, or connects to the named brokers. It does not join another
// process.
func (k Kafka) Serve(ctx context.Context) (*Attachment, error) {
	if len(k.Broker.Brokers) > 0 {
		return k.Attach(ctx)
	}
	return k.serve()
}

func (k Kafka) serve() (*Attachment, error) {
	b, err := embedded.Open(embedded.Config{
		Dir: k.DataDir, Addr: k.Listen, Advertise: k.Advertise, Sync: k.Sync, Profile: k.Profile, Logger: k.Logger,
		Limits: front.Limits{BatchBytes: k.Broker.MaxDecompressed}, TLS: k.TLS, OpenID: k.OpenID, InsecureListen: k.InsecureListen,
	})
	if err != nil {
		return nil, err
	}
	withdraw, err := announce(k.DataDir)
	if err != nil { // other processes can still name the data directory
		withdraw = func() {}
		if k.Logger != nil {
			k.Logger.Warn("announce the embedded broker to commands in other directories", "err", err)
		}
	}
	return &Attachment{Broker: k.at(b.Addr()), DataDir: k.DataDir, embedded: b, withdraw: withdraw}, nil
}

func (k Kafka) at(addr string) broker.Config {
	c := k.Broker
	c.Brokers, c.DataDir = []string{addr}, k.DataDir
	return c
}

// Observe adds the metrics of the embedded broker that this process serves, if it does.
func (a *Attachment) Observe(r prometheus.Registerer) error {
	if a.embedded == nil {
		return nil
	}
	return r.Register(embedded.NewCollector(a.embedded))
}

// Describe returns a human-readable description of the broker.
func (a *Attachment) Describe() string {
	switch {
	case a.embedded != nil:
		return "embedded broker at " + a.embedded.Addr()
	case a.member != nil:
		return "embedded broker of another weir at " + a.member.Addr
	default:
		return fmt.Sprintf("Kafka at %v", a.Broker.Brokers)
	}
}

// Guard returns who may use the broker that this process serves, or nil.
func (a *Attachment) Guard() *guard.Guard {
	if a.embedded == nil {
		return nil
	}
	return a.embedded.Guard()
}

// Users completes what the servers of HTTP of this process share: the users of the embedded broker
// or of an OpenID provider, and the audit trail. The broker must be closed after them.
func (a *Attachment) Users(ctx context.Context, web *Web, openID *guard.OpenID, log *slog.Logger) (err error) {
	if a.embedded != nil {
		web.Guard, web.Trail = a.embedded.Guard(), a.embedded.Trail().Add
		return nil
	}
	clientCerts := web.TLS != nil && web.TLS.ClientCerts()
	if web.Guard, err = guard.Join(ctx, guard.Config{Dir: a.DataDir, OpenID: openID, ClientCerts: clientCerts}); err != nil {
		return err
	}
	if a.DataDir != "" && a.deeds == nil {
		a.deeds = trail.Open(a.DataDir, func(err error) { log.Warn("the audit trail is incomplete", "err", err) })
		web.Trail = a.deeds.Add
	}
	return nil
}

// Embedded reports whether this process serves the broker.
func (a *Attachment) Embedded() bool { return a.embedded != nil }

// Close releases the broker. If this process serves it and other processes use it, Close waits
// until they have left or ctx is done; it calls waiting once if it has to wait.
func (a *Attachment) Close(ctx context.Context, waiting func()) error {
	if a.deeds != nil {
		a.deeds.Close()
	}
	if a.member != nil {
		return a.member.Leave()
	}
	if a.embedded == nil {
		return nil
	}
	for notified := false; a.embedded.Shared() && ctx.Err() == nil; notified = true {
		if !notified && waiting != nil {
			waiting()
		}
		_ = retry.Sleep(ctx, 200*time.Millisecond)
	}
	a.withdraw()
	return a.embedded.Close()
}
