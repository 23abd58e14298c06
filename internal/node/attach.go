package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/retry"
)

// Kafka says which broker to use: the one at Broker.Brokers, or where that is empty the embedded
// one on DataDir.
type Kafka struct {
	Broker    broker.Config
	DataDir   string // of the embedded broker
	Elsewhere bool   // where DataDir holds no data, Attach joins an embedded broker of this user that runs on another directory
	Create    bool   // where there is no broker to be found, Attach makes one on DataDir
	Listen    string // host:port of the embedded broker; default a free port
	Advertise string // host:port that is announced to its clients; default Listen
	Sync      bool   // the embedded broker waits for the disk at each commit
	Logger    *slog.Logger
}

// Attachment is a broker in use.
type Attachment struct {
	Broker   broker.Config
	DataDir  string           // of the embedded broker; "" for named brokers
	Found    bool             // it runs on another data directory than the one that was asked for
	embedded *embedded.Broker // served by this process, or nil
	member   *embedded.Member // served by another process on the data directory, or nil
	withdraw func()           // removes the note of a broker that this process serves
}

// Attach reaches the brokers, or joins the embedded broker that another process serves on the data
// directory, or serves the data that is there for as long as this process needs it. Without data
// there it goes elsewhere or makes a broker where it may, and returns a *NoBrokerError where it may
// not.
func (k Kafka) Attach(ctx context.Context) (*Attachment, error) {
	if len(k.Broker.Brokers) > 0 {
		client, err := broker.Connect(ctx, k.Broker)
		if err != nil {
			return nil, err
		}
		client.Close()
		return &Attachment{Broker: k.Broker}, nil
	}
	if k.Broker.TLS || k.Broker.CAFile != "" || k.Broker.CertFile != "" || k.Broker.SASL != "" || k.Broker.User != "" {
		return nil, errors.New("TLS and SASL settings are for --brokers: the embedded broker has neither")
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

// find joins the embedded broker of this user that runs on another data directory; nil where none
// does, or k does not want it.
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

// Join joins the embedded broker that another process serves on the data directory; nil where none
// does.
func (k Kafka) Join() (*Attachment, error) {
	member, err := embedded.Join(k.DataDir)
	if err != nil || member == nil {
		return nil, err
	}
	return &Attachment{Broker: k.at(member.Addr), DataDir: k.DataDir, member: member}, nil
}

// Serve starts the embedded broker, or reaches the brokers that are named. It does not join another
// process.
func (k Kafka) Serve(ctx context.Context) (*Attachment, error) {
	if len(k.Broker.Brokers) > 0 {
		return k.Attach(ctx)
	}
	return k.serve()
}

func (k Kafka) serve() (*Attachment, error) {
	b, err := embedded.Open(embedded.Config{Dir: k.DataDir, Addr: k.Listen, Advertise: k.Advertise, Sync: k.Sync, Logger: k.Logger})
	if err != nil {
		return nil, err
	}
	withdraw, err := announce(k.DataDir)
	if err != nil { // it can still be found by its data directory
		withdraw = func() {}
		if k.Logger != nil {
			k.Logger.Warn("note the running broker for commands in other directories", "err", err)
		}
	}
	return &Attachment{Broker: k.at(b.Addr()), DataDir: k.DataDir, embedded: b, withdraw: withdraw}, nil
}

func (k Kafka) at(addr string) broker.Config {
	c := k.Broker
	c.Brokers = []string{addr}
	return c
}

// Where tells a person which broker this is.
func (a *Attachment) Where() string {
	switch {
	case a.embedded != nil:
		return "embedded broker at " + a.embedded.Addr()
	case a.member != nil:
		return "embedded broker of another weir at " + a.member.Addr
	default:
		return fmt.Sprintf("Kafka at %v", a.Broker.Brokers)
	}
}

// Embedded reports whether this process serves the broker.
func (a *Attachment) Embedded() bool { return a.embedded != nil }

// Close lets go of the broker. One that this process serves, and other processes use, stays until
// they have left or ctx is done; waiting is called once if that takes time.
func (a *Attachment) Close(ctx context.Context, waiting func()) error {
	if a.member != nil {
		return a.member.Leave()
	}
	if a.embedded == nil {
		return nil
	}
	for told := false; a.embedded.Shared() && ctx.Err() == nil; told = true {
		if !told && waiting != nil {
			waiting()
		}
		_ = retry.Sleep(ctx, 200*time.Millisecond)
	}
	a.withdraw()
	return a.embedded.Close()
}
