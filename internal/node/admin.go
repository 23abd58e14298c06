package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/lookup"
	"weir.example/weir/internal/monitor"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/trace"
	"weir.example/weir/internal/trail"
)

// Admin collects metrics, readiness and status of the parts of a process for its operator. It
// listens only if Serve is called.
type Admin struct {
	Registry *prometheus.Registry
	Tracer   *trace.Tracer // nil: no tracing
	Web      Web           // how it is served
	Profiles bool          // serves /debug/pprof
	Secrets  secret.Source // to which options of pipelines may refer
	Outputs  Outputs       // of tables with the connector print; default the outputs of the process

	engine     *engine.Metrics
	produce    *produce.Metrics
	alerts     *alert.Metrics
	delivering *sink.Metrics
	lookups    *lookup.Metrics
	registries *registry.Metrics // of the clients
	served     *embedded.Metrics // of the registry that this process serves

	mu        sync.Mutex
	pipelines []*engine.Status
	sinks     map[*engine.Status][]*sink.Status
	producers []*produce.Status
	parts     []part
	servers   []func()                    // functions that close them
	serving   sync.WaitGroup              // of the servers
	access    *guard.Access               // of the admin port; nil: not served
	client    *kgo.Client                 // of the broker's readiness check
	checked   map[string]*registry.Client // of the registries' readiness checks, by URL
}

// Web is what all servers of HTTP of a process share.
type Web struct {
	Hosts    []string        // further names of this machine: see guard.Hosts
	Guard    *guard.Guard    // whose users have to log in, if there are any; nil: no users
	Proxies  guard.Proxies   // whose headers name the user
	TLS      *tlsconf.Server // served if other machines can reach the address; nil: none
	Insecure bool            // allows an address that other machines can reach without TLS and a login

	Token string           // of the admin port: lets its bearer do what an operator may
	Trail func(trail.Deed) // told about logins, refusals and changes; must not block; nil for none
}

// part is a part of the process that must work for the process to be ready.
type part struct {
	name  string
	check func(context.Context) error
}

// NewAdmin returns the admin of a process. Close it when the process ends.
func NewAdmin() *Admin {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	return &Admin{
		Outputs:  Outputs{os.Stdout, os.Stderr},
		Registry: r, engine: engine.NewMetrics(r), produce: produce.NewMetrics(r), alerts: alert.NewMetrics(r), delivering: sink.NewMetrics(r), lookups: lookup.NewMetrics(r),
		sinks:      make(map[*engine.Status][]*sink.Status),
		registries: registry.NewMetrics(r), served: embedded.NewMetrics(r), checked: make(map[string]*registry.Client),
	}
}

// Broker adds the broker to the readiness checks, and returns its configuration with metrics and
// tracing.
func (a *Admin) Broker(c broker.Config) broker.Config {
	c.Observer = &broker.Observer{Registry: a.Registry, Tracer: a.Tracer}
	a.Part("broker", func(ctx context.Context) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.client == nil {
			options, err := c.Options()
			if err == nil {
				a.client, err = kgo.NewClient(options...)
			}
			if err != nil {
				return err
			}
		}
		return a.client.Ping(ctx)
	})
	return c
}

// Pipeline registers a pipeline that is about to run, and returns its configuration with status and
// metrics.
func (a *Admin) Pipeline(c engine.Config) engine.Config {
	if c.Status == nil {
		c.Status = engine.NewStatus(c.Program)
	}
	c.Metrics, c.LookedUp, c.Schemas, c.Secrets = a.engine, a.lookups, a.registries, a.Secrets
	for _, t := range c.Program.Tables {
		for _, f := range []plan.Format{t.Kafka.Key, t.Kafka.Value} {
			if !format.HasRegistry(f.Name) {
				continue
			}
			if options, err := f.Options.Expand(a.Secrets); err == nil {
				if at, err := options.RegistryConfig(); err == nil {
					a.SchemaRegistry(at)
				}
			}
		}
	}
	status, sinks := c.Status, SinkStatus(c.Program)
	for _, s := range sinks {
		a.delivering.Add(s)
	}
	a.mu.Lock()
	a.pipelines = append(a.pipelines, status)
	a.sinks[status] = sinks
	a.mu.Unlock()
	a.Part("pipeline "+c.Program.Name, func(context.Context) error { return pipelineReady(status.Snapshot()) })
	return c
}

// Producer registers a producer that is about to run, and returns its configuration with status and
// metrics.
func (a *Admin) Producer(c produce.Config, src produce.Source) produce.Config {
	if c.Status == nil {
		c.Status = produce.NewStatus(src.Name())
	}
	c.Metrics = a.produce
	status := c.Status
	a.mu.Lock()
	a.producers = append(a.producers, status)
	a.mu.Unlock()
	a.Part("source "+src.Name(), func(context.Context) error {
		if now := status.Snapshot(); now.Phase != produce.Running {
			return notReady(string(now.Phase), now.Since, now.Reason)
		}
		return nil
	})
	return c
}

// SchemaRegistry adds a registry to the readiness checks, once for all its users, and returns its
// configuration with metrics.
func (a *Admin) SchemaRegistry(c registry.Config) registry.Config {
	client, err := registry.NewClient(c) // for readiness checks, which are not counted
	c.Metrics = a.registries
	if err != nil {
		return c // the client that is going to use it reports the error
	}
	a.mu.Lock()
	_, known := a.checked[client.URL()]
	if !known {
		a.checked[client.URL()] = client
	}
	a.mu.Unlock()
	if !known {
		a.Part("registry "+client.URL(), client.Ping)
	}
	return c
}

// Monitor monitors the cluster as weir monitor does, until ctx is done. It must be called only
// once. interval is 10 s by default.
func (a *Admin) Monitor(ctx context.Context, at broker.Config, interval time.Duration, log *slog.Logger) error {
	client, err := broker.Connect(ctx, at)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("monitor the cluster: %w", err)
	}
	defer client.Close()
	m := monitor.New(client)
	a.Registry.MustRegister(m)
	m.Run(ctx, cmp.Or(interval, 10*time.Second), log)
	return nil
}

// Part adds a part to the readiness checks; check returns why it is not ready.
func (a *Admin) Part(name string, check func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts = append(a.parts, part{name, check})
}

func notReady(phase string, since time.Time, reason string) error {
	text := fmt.Sprintf("%s for %s", phase, time.Since(since).Round(time.Second))
	if reason != "" {
		text += ": " + reason
	}
	return errors.New(text)
}

// pipelineReady returns why a pipeline is not running.
func pipelineReady(s engine.Snapshot) error {
	if len(s.Workers) == 0 {
		return errors.New("no worker has started")
	}
	var all []error
	for _, w := range s.Workers {
		if w.Phase != engine.Running {
			all = append(all, fmt.Errorf("worker %s: %w", w.Instance, notReady(string(w.Phase), w.Since, w.Reason)))
		}
	}
	return errors.Join(all...)
}

// PartStatus is the readiness of a part.
type PartStatus struct {
	Part  string `json:"part"`
	Ready bool   `json:"ready"`
	Why   string `json:"why,omitempty"` // the part is not ready
}

// Readiness is the readiness of a process.
type Readiness struct {
	Ready bool         `json:"ready"`
	Parts []PartStatus `json:"parts,omitempty"`
}

// Ready checks all parts, within two seconds.
func (a *Admin) Ready(ctx context.Context) Readiness {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a.mu.Lock()
	parts := slices.Clone(a.parts)
	a.mu.Unlock()
	all := Readiness{Ready: true, Parts: []PartStatus{}}
	for _, p := range parts {
		s := PartStatus{Part: p.name, Ready: true}
		if err := p.check(ctx); err != nil {
			s.Ready, s.Why = false, err.Error()
		}
		all.Ready = all.Ready && s.Ready
		all.Parts = append(all.Parts, s)
	}
	return all
}

// Status is the status of a process's pipelines and producers.
type Status struct {
	Pipelines []engine.Snapshot  `json:"pipelines"`
	Producers []produce.Snapshot `json:"producers"`
	Sinks     []sink.Snapshot    `json:"sinks"` // of tables outside of Kafka
}

// Status returns the current status.
func (a *Admin) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := Status{Pipelines: []engine.Snapshot{}, Producers: []produce.Snapshot{}, Sinks: []sink.Snapshot{}}
	for _, p := range a.pipelines {
		all.Pipelines = append(all.Pipelines, p.Snapshot())
		for _, s := range a.sinks[p] {
			all.Sinks = append(all.Sinks, s.Snapshot())
		}
	}
	for _, p := range a.producers {
		all.Producers = append(all.Producers, p.Snapshot())
	}
	return all
}

// Handler serves /metrics, /healthz, /readyz, /status and, if Profiles is set, /debug/pprof. The
// command line is not served, because its flags may be secrets.
func (a *Admin) Handler(access *guard.Access) *guard.Mux {
	mux := guard.NewMux(access, guard.AdminRoutes)
	metrics := promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{Registry: a.Registry})
	mux.Handle("GET /metrics", http.TimeoutHandler(metrics, time.Minute, "the metrics take too long")) // has the answer as a whole before it is sent
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready := a.Ready(r.Context())
		if who, err := access.Who(r); err != nil || !who.May(guard.Reader) {
			ready.Parts = nil // their names and errors tell too much
		}
		code := http.StatusOK
		if !ready.Ready {
			code = http.StatusServiceUnavailable
		}
		respond(w, code, ready)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { respond(w, http.StatusOK, a.Status()) })
	if a.Profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	} else {
		mux.HandleFunc("GET /debug/pprof/", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "profiles are not served: start the process with --pprof", http.StatusNotFound)
		})
	}
	mux.HandleFunc("/", http.NotFound)
	return mux
}

// respond writes JSON.
func respond(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // the client may have disconnected
}

// Serve serves Handler on host:port until ctx is done or Close is called, and returns the URL.
// With fallback, a free port is used if the port is taken.
func (a *Admin) Serve(ctx context.Context, listen string, fallback bool, log *slog.Logger) (addr string, err error) {
	access := guard.NewAccess(guard.AccessConfig{Part: "admin port", Guard: a.Web.Guard, Token: a.Web.Token, Proxies: a.Web.Proxies, Trail: a.Web.Trail, Basic: true})
	if err := guard.CheckExposed("the admin port", listen, a.Web.TLS != nil, access.Required()); err != nil {
		if !a.Web.Insecure {
			return "", err
		}
		log.Warn("the admin port can be reached by other machines", "address", listen, "tls", a.Web.TLS != nil, "login", access.Required())
	}
	l, err := net.Listen("tcp", listen)
	if fallback && errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := net.SplitHostPort(listen)
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return "", fmt.Errorf("listen at the admin port: %w: choose another one with --admin-listen", err)
	}
	serving, scheme := guard.Serving(l, a.Web.TLS)
	server := guard.Server(guard.NewHosts(listen, a.Web.Hosts...).Only(a.Handler(access)), log)
	a.serving.Go(func() {
		if err := server.Serve(serving); !errors.Is(err, http.ErrServerClosed) {
			log.Error("admin port closed", "err", err)
		}
	})
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // requests in flight are dropped
	a.mu.Lock()
	defer a.mu.Unlock()
	a.access = access
	a.servers = append(a.servers, func() { stop(); _ = server.Close() })
	return scheme + "://" + l.Addr().String(), nil
}

// share makes all servers of HTTP use the guard of the broker that this process serves, which
// counts failed logins for all of them, and its audit trail.
func (a *Admin) share(g *guard.Guard, add func(trail.Deed)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Web.Guard, a.Web.Trail = g, add
	if a.access != nil {
		a.access.Share(g, add)
	}
}

// Close stops serving and closes the clients of the readiness checks.
func (a *Admin) Close() {
	a.mu.Lock()
	servers := a.servers
	a.servers = nil
	a.mu.Unlock()
	for _, stop := range servers {
		stop()
	}
	a.serving.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client != nil {
		a.client.Close()
		a.client = nil
	}
	for _, c := range a.checked {
		c.Close()
	}
}
