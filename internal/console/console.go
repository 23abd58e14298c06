// Package console serves the live page of a running Weir: an HTTP API, one event stream per page,
// and the page itself, which is embedded in the binary.
//
//	console.go       Config, Open, Run
//	routes.go        routes of the API; JSON requests and responses
//	guard.go         origin and host checks, headers; the page's files
//	events.go        the event stream: feeds that are sampled once for all their watchers
//	cluster.go       brokers, topics, groups, lag and transactions, polled every second
//	overview.go      ten minutes of key figures; the overview's feed
//	follow.go        reading the newest records of a topic within a budget
//	fleet.go         devices and their sensors, from incoming readings
//	recall.go        devices that have been silent for longer, from their statistics
//	devices.go       devices as rows and as charts
//	payload.go       rendering a record's bytes
//	scan.go          reading offset ranges of a topic
//	decode.go        decoding payloads with a schema of the registry
//	records.go       records of a topic: live, by offset, by time
//	pipelines.go     state and plans of pipelines
//	graph.go         a plan as nodes and edges with rates, lag and watermarks
//	flow.go          rows per second between operators
//	editor.go        the SQL editor: validate, explain, preview
//	sandbox.go       a process with limited time and memory for them
//	dead_letters.go  dead letters: list, replay
//	transactions.go, schemas.go, alerts.go, ingest.go, audit.go  the other pages
//	topics.go        a topic: partitions, readers, settings
//
// The source of the page is in web/; dist/ is the output of esbuild. The console is read-only
// unless Config.Write is set. A slow browser gets fewer frames; nothing is queued for it.
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
	guards "weir.example/weir/internal/guard"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/trail"
)

// Config configures a console.
type Config struct {
	Broker   broker.Config
	Listen   string           // host:port; default 127.0.0.1:8080
	Hosts    []string         // further names of this machine: see guard.Hosts
	Guard    *guards.Guard    // whose users have to log in, if there are any; nil: no users
	Token    string           // lets its bearer do what an operator may
	Proxies  guards.Proxies   // whose headers name the user
	TLS      *tlsconf.Server  // served if other machines can reach Listen; nil: none
	Insecure bool             // allows an address that other machines can reach without TLS and a login
	Trail    func(trail.Deed) // told about logins, refusals and changes; must not block; nil for none
	AuditDir string           // data directory whose audit trail is shown; "": none
	Optional bool             // if the address is in use, Open returns ErrBusy: the caller may run without a console
	Write    bool             // allows replaying dead letters and aborting transactions
	Site     site.Site        // whose readings, statistics and dead letters are shown
	Registry *registry.Client // nil: none
	Silences []alert.Silence  // of this process's configuration, in addition to those stored in the broker
	Version  string
	Sandbox  []string // command that runs Sandbox, for SQL of the editor; default: in this process

	// Flow returns the counters of this process; nil if the flow runs in another process, so that
	// only the broker's figures are known.
	Flow func() Flow
	// Ingest returns the state of what takes readings of devices in this process; nil if nothing
	// does.
	Ingest func() Ingest
	// Pipelines returns the pipelines of this process; may be nil.
	Pipelines func() []Pipeline

	Logger *slog.Logger
	Now    func() time.Time
}

// Flow holds the counters of the process that runs the flow.
type Flow struct {
	Elapsed      time.Duration
	Produced     int64 // readings
	ProducedRate float64
	Consumed     int64
	ConsumedRate float64
	Transactions int64
	DeadLetters  int64
	P50, P99     time.Duration // from a reading's record to its committed result; 0 if unknown
}

// Validate reports the first invalid setting.
func (c *Config) Validate() error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil || port == "" {
		return fmt.Errorf("invalid console address %q: expected host:port, such as %s", c.Listen, DefaultListen)
	}
	if host == "" {
		return fmt.Errorf("invalid console address %q: name the address, such as 0.0.0.0:%s for all", c.Listen, port)
	}
	if !c.Insecure && !guards.Loopback(c.Listen) && c.TLS == nil {
		return guards.CheckExposed("the console", c.Listen, false, c.Token != "")
	}
	return nil
}

// DefaultListen is the default address of the console.
const DefaultListen = "127.0.0.1:8080"

// Console is an open console.
type Console struct {
	cfg         Config
	listener    net.Listener
	client      *kgo.Client // for admin requests; readers have their own clients
	admin       *kadm.Client
	cluster     *cluster
	history     *history
	fleet       *fleet
	tails       *tails
	hub         *hub
	access      *guards.Access
	scheme      string
	plans       *plans
	flows       *flows
	deadLetters *deadLetterPage
	previews    *semaphore.Weighted // limits checks and previews
	readers     *readers
}

// ErrBusy reports that the console's address is in use.
var ErrBusy = errors.New("address in use")

// Open listens at the address and connects to the broker. Requests are served once Run is called.
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
	access := guards.NewAccess(guards.AccessConfig{
		Part: "console", Guard: cfg.Guard, Token: cfg.Token, Proxies: cfg.Proxies, Trail: cfg.Trail, Change: trail.Console, Fail: fail,
	})
	if err := guards.CheckExposed("the console", cfg.Listen, cfg.TLS != nil, access.Required()); err != nil {
		if !cfg.Insecure {
			return nil, err
		}
		cfg.Logger.Warn("the console can be reached by other machines", "part", "console", "address", cfg.Listen, "tls", cfg.TLS != nil, "login", access.Required())
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if cfg.Optional && errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %s: choose another one with --console-listen", ErrBusy, cfg.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("listen at the console's address: %w: choose another one with --console-listen, or none", err)
	}
	client, err := broker.Connect(ctx, cfg.Broker)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	c := &Console{cfg: cfg, access: access, client: client, admin: kadm.NewClient(client)}
	c.listener, c.scheme = guards.Serving(listener, cfg.TLS)
	c.cluster = newCluster(c.admin, cfg.Now)
	c.history = &history{}
	c.readers = newReaders(ctx, cfg.Registry)
	c.fleet = newFleet(cfg.Now, c.readers)
	c.tails = &tails{broker: cfg.Broker, decode: c.readers.text, now: cfg.Now, logger: cfg.Logger}
	c.plans = &plans{known: make(map[string]*plan.Program), read: make(map[string]int64)}
	c.flows = &flows{seen: make(map[string]flowSample)}
	c.deadLetters = &deadLetterPage{
		broker: cfg.Broker, site: cfg.Site, cluster: c.cluster,
		counted: deadLetterCount{next: make(map[partitionOf]int64), count: make(map[string]int64)},
	}
	c.previews = semaphore.NewWeighted(2)
	c.hub = newHub(c.feed)
	c.hub.still, c.hub.from = access.Still, access.From
	return c, nil
}

// URL returns the address of the page; "" if c is nil.
func (c *Console) URL() string {
	if c == nil {
		return ""
	}
	return c.scheme + "://" + c.listener.Addr().String()
}

// Run serves until ctx is done. Errors of the broker are shown on the page and do not stop it. If c
// is nil, Run returns immediately.
func (c *Console) Run(ctx context.Context) error {
	if c == nil {
		return nil
	}
	defer c.client.Close()
	server := guards.Server(protected(c.routes(), c.access, guards.NewHosts(c.cfg.Listen, c.cfg.Hosts...)), c.cfg.Logger)
	all, ctx := errgroup.WithContext(ctx)
	server.BaseContext = func(net.Listener) context.Context { return ctx } // ends the event streams
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
		f.run(ctx, c.fleet.receive)
		return nil
	})
	err := all.Wait()
	c.tails.reading.Wait() // the streams have ended and closed their tails
	c.readers.fetching.Wait()
	return err
}

// sample polls the broker and records the key figures: every second while a page is open, otherwise
// every three seconds.
func (c *Console) sample(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		c.cluster.poll(ctx)
		c.sampleFlows()
		c.refreshPlans(ctx)
		c.deadLetters.count(ctx)
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
