// Package console is the live page of a running Weir: an HTTP API, one stream of events for each
// page, and the page itself, which is part of the binary.
//
//	console.go       Config, Open, Run: what is served, and what runs beside it
//	routes.go        which address answers what; JSON in and out
//	guard.go         who may ask: token, origin, host, headers; the page's files
//	events.go        the stream: feeds that are sampled once for all who watch them
//	cluster.go       what the broker tells: topics, groups, lag, transactions, sampled each second
//	overview.go      ten minutes of figures, and the feed of the first page
//	follow.go        reading a topic's newest records within a budget
//	fleet.go         devices and their sensors, by the readings that come; recall.go those that
//	                 are silent
//	devices.go       devices as rows and as charts
//	payload.go       a record's bytes as something to read
//	scan.go          reading a stretch of a topic
//	decode.go        payloads that were written with a schema of the registry
//	records.go       records of a topic: live, by offset, by time
//	pipelines.go     plans as graphs with what flows on them
//	graph.go         a plan as nodes and edges with figures
//	flow.go          rows a second between operators
//	editor.go        SQL of the editor: check, explain, preview
//	letters.go       dead letters: browse, replay
//	transactions.go, schemas.go, alerts.go  the other pages
//	topics.go        a topic: partitions, readers, settings
//	web/         the source of the page; dist/ is what esbuild makes of it
//
// It only reads, unless Config.Write is set. A page that is slow gets fewer frames, never a queue.
package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/site"
)

// Config of a console.
type Config struct {
	Broker   broker.Config
	Listen   string           // host:port; default 127.0.0.1:8080
	Token    string           // asked for where it is set; needed where Listen is not on loopback
	Optional bool             // Open returns ErrBusy where the address is taken, so that the caller can go on without
	Write    bool             // allows to replay dead letters and to abort transactions
	Site     site.Site        // whose readings, statistics and dead letters are shown
	Registry *registry.Client // nil where there is none
	Silences []alert.Silence  // of the configuration of this process, beside those that the broker knows
	Version  string

	// Look tells what this process has counted; nil where the flow runs elsewhere and only the
	// broker is looked at.
	Look func() Flow
	// Pipelines tells what runs in this process; may be nil.
	Pipelines func() []Pipeline

	Logger *slog.Logger
	Now    func() time.Time
}

// Flow is what the process that runs the flow has counted.
type Flow struct {
	Elapsed      time.Duration
	Produced     int64 // readings
	ProducedRate float64
	Consumed     int64
	ConsumedRate float64
	Transactions int64
	DeadLetters  int64
	P50, P99     time.Duration // from a reading's record to its committed result; 0 until known
}

// Validate reports the first setting that can't work.
func (c *Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil || port == "" {
		return fmt.Errorf("the console's address %q is not host:port, such as %s", c.Listen, DefaultListen)
	}
	if !loopback(host) && c.Token == "" {
		return fmt.Errorf("a console at %s is open to the network: set a token for it (--console-token)", c.Listen)
	}
	return nil
}

// DefaultListen is where the console is.
const DefaultListen = "127.0.0.1:8080"

// Console is a console that listens.
type Console struct {
	cfg      Config
	listener net.Listener
	client   *kgo.Client // for questions; readers have clients of their own
	admin    *kadm.Client
	cluster  *cluster
	history  *history
	fleet    *fleet
	tails    *tails
	hub      *hub
	guard    *guard
	plans    *plans
	flows    *flows
	counted  letterCount
	previews *semaphore.Weighted // one at a time
	registry *registry.Client
	readers  *readers
}

// ErrBusy says that another process has the console's address.
var ErrBusy = errors.New("its address is taken")

// Open listens at the address, and reaches the broker. The address answers as soon as Run is
// called.
func Open(ctx context.Context, cfg Config) (*Console, error) {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if cfg.Optional && errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %s; choose another address with --console-listen", ErrBusy, cfg.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the console (choose another address with --console-listen, or none): %w", err)
	}
	client, err := broker.Connect(ctx, cfg.Broker)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	c := &Console{cfg: cfg, listener: listener, client: client, admin: kadm.NewClient(client)}
	c.cluster = newCluster(c.admin, cfg.Now)
	c.history = &history{}
	c.registry, c.readers = cfg.Registry, newReaders(ctx, cfg.Registry)
	c.fleet = newFleet(cfg.Now, c.readers)
	c.tails = &tails{broker: cfg.Broker, decode: c.readers.text, now: cfg.Now, logger: cfg.Logger}
	c.guard = newGuard(cfg.Token, cfg.Listen)
	c.plans = &plans{known: make(map[string]*plan.Program), read: make(map[string]int64)}
	c.flows = &flows{seen: make(map[string]flowsOf)}
	c.counted = letterCount{next: make(map[partitionOf]int64), count: make(map[string]int64)}
	c.previews = semaphore.NewWeighted(1)
	c.hub = newHub(c.feed)
	return c, nil
}

// URL is where a browser finds it; "" of none.
func (c *Console) URL() string {
	if c == nil {
		return ""
	}
	return "http://" + c.listener.Addr().String()
}

// Run serves until ctx is done. What goes wrong with the broker is shown on the page and does not
// end it. Of none, it returns at once.
func (c *Console) Run(ctx context.Context) error {
	if c == nil {
		return nil
	}
	defer c.client.Close()
	server := &http.Server{
		Handler: c.guard.wrap(c.routes()), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 16,
		ErrorLog: slog.NewLogLogger(c.cfg.Logger.Handler(), slog.LevelDebug),
	}
	all, ctx := errgroup.WithContext(ctx)
	server.BaseContext = func(net.Listener) context.Context { return ctx } // streams end with it
	all.Go(func() error {
		if err := server.Serve(c.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the console: %w", err)
		}
		return nil
	})
	all.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := server.Shutdown(stop); err != nil {
			return server.Close()
		}
		return nil
	})
	all.Go(func() error { c.hub.run(ctx); return nil })
	all.Go(func() error { c.sample(ctx); return nil })
	all.Go(func() error { c.recallDevices(ctx); return nil })
	all.Go(func() error {
		f := follower{broker: c.cfg.Broker, topic: c.cfg.Site.Readings(), budget: fleetBudget, back: fleetBack, logger: c.cfg.Logger, reached: c.fleet.reached}
		f.run(ctx, c.fleet.take)
		return nil
	})
	err := all.Wait()
	c.tails.reading.Wait() // streams have ended, and with them what they watched
	c.readers.fetching.Wait()
	return err
}

// sample looks at the broker and keeps the figures: each second while somebody watches, else each
// three seconds.
func (c *Console) sample(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		c.cluster.look(ctx)
		c.countFlows()
		c.refreshPlans(ctx)
		c.countLetters(ctx)
		c.history.add(c.point())
		pause := time.Second
		if !c.hub.watched() {
			pause = 3 * time.Second
		}
		if c.cluster.partitions() > 500 {
			pause *= 5
		}
		_ = retry.Sleep(ctx, max(pause/2, pause-time.Since(began)))
	}
}

// loopback reports whether a host is this machine's own.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
