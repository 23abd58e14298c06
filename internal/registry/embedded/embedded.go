package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/trail"
)

// Config configures an embedded registry.
type Config struct {
	Broker broker.Config // stores the topic _schemas, created if missing
	Addr   string        // host:port to listen on; port 0 picks a free one. Default 127.0.0.1:0
	Dir    string        // data directory of the broker, where the address is written for Find; default: not written

	Guard    *guard.Guard     // whose users have to log in, see guard.RegistryRoutes; default: nobody has to
	Proxies  guard.Proxies    // whose headers name the user
	TLS      *tlsconf.Server  // served if other machines can reach Addr; default none
	Insecure bool             // allows an address that other machines can reach without TLS and a login
	Trail    func(trail.Deed) // told about logins, refusals and changes; must not block; default none

	Hosts   []string     // further names of this machine: see guard.Hosts
	MaxBody int64        // maximum size of a request body, in bytes; default 10 MiB
	Logger  *slog.Logger // default: discard
	Metrics *Metrics     // default: none
}

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.MaxBody == 0 {
		c.MaxBody = 10 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns an error for the first invalid setting.
func (c *Config) Validate() error {
	if err := c.Broker.Validate(); err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(c.Addr); c.Addr != "" && (err != nil || port == "") {
		return fmt.Errorf("invalid address %q: expected host:port, such as 127.0.0.1:8081", c.Addr)
	}
	if c.MaxBody < 0 {
		return fmt.Errorf("MaxBody must not be negative, got %d", c.MaxBody)
	}
	return nil
}

// Registry is a running registry.
type Registry struct {
	cfg    Config
	server *http.Server
	addr   string
	scheme string
	served sync.WaitGroup

	writing sync.Mutex // held by a change from decision to application
	log     topicLog
	closed  bool

	mu    sync.RWMutex // guards state: read-locked by readers, locked by a change while it is applied
	state *state
}

// addrFile exists in the data directory while its registry is served.
const addrFile = "registry.addr"

// Open listens, reads the topic, and only then serves requests. The error is an ErrBusy if the
// address is in use.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open schema registry: %w", err)
	}
	r := &Registry{cfg: cfg, log: topicLog{at: cfg.Broker, log: cfg.Logger}}
	access := r.access()
	if err := guard.CheckExposed("the schema registry", cfg.Addr, cfg.TLS != nil, access.Required()); err != nil {
		if !cfg.Insecure {
			return nil, err
		}
		cfg.Logger.Warn("the schema registry can be reached by other machines", "address", cfg.Addr, "tls", cfg.TLS != nil, "login", access.Required())
	}
	// Listen first: a second registry on the same port must not take over the first one's topic.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, explainListen(cfg.Addr, err)
	}
	listener, r.scheme = guard.Serving(listener, cfg.TLS)
	r.addr = listener.Addr().String()
	if err = r.load(ctx); err == nil {
		err = r.tellAddress()
	}
	if err != nil {
		r.log.close()
		return nil, errors.Join(fmt.Errorf("open schema registry: %w", err), listener.Close())
	}
	if cfg.Metrics != nil {
		cfg.Metrics.state.registry.Store(r)
	}
	r.server = guard.Server(guard.NewHosts(cfg.Addr, cfg.Hosts...).Only(r.handler(access)), cfg.Logger)
	r.served.Go(func() {
		if err := r.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("schema registry stopped", "err", err)
		}
	})
	return r, nil
}

// ErrBusy means that another program uses the registry's address.
var ErrBusy = errors.New("its address is taken")

func explainListen(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("schema registry: %w: %s; choose another address, or none, with --registry-listen", ErrBusy, addr)
	}
	return fmt.Errorf("schema registry on %s: %w", addr, err)
}

func (r *Registry) tellAddress() error {
	if r.cfg.Dir == "" {
		return nil
	}
	path := filepath.Join(r.cfg.Dir, addrFile)
	at := r.URL() + "\n"
	if r.scheme == "https" {
		file, err := filepath.Abs(r.cfg.TLS.CertFile())
		if err != nil {
			return err
		}
		at += file + "\n"
	}
	if err := os.WriteFile(path+".tmp", []byte(at), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Find returns the URL of the registry of a data directory, and the file of its certificate if it
// serves TLS. The URL is "" if none was started since the last clean stop.
func Find(dir string) (url, certFile string) {
	text, err := os.ReadFile(filepath.Join(dir, addrFile)) //nolint:gosec // data directory chosen by the user
	if err != nil {
		return "", ""
	}
	url, certFile, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
	if !strings.Contains(url, "://") { // of an earlier version
		url = "http://" + url
	}
	return url, certFile
}

// Addr returns the host:port that the registry listens on.
func (r *Registry) Addr() string { return r.addr }

// URL returns the URL for clients.
func (r *Registry) URL() string { return r.scheme + "://" + r.addr }

// Close completes the current requests and stops the registry.
func (r *Registry) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := r.server.Shutdown(ctx)
	r.served.Wait()
	r.writing.Lock()
	defer r.writing.Unlock()
	r.closed = true
	r.log.close()
	if r.cfg.Dir != "" {
		err = errors.Join(err, os.Remove(filepath.Join(r.cfg.Dir, addrFile)))
	}
	return err
}

// load reads the state from the topic.
func (r *Registry) load(ctx context.Context) error {
	fresh := newState()
	if err := r.log.open(ctx, fresh.apply); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = fresh
	return nil
}

// change calls decide with the state, commits the records that it returns, and applies them to the
// state. Changes are serialized. After an error the records may be committed or not.
func (r *Registry) change(ctx context.Context, decide func(*state) ([]record, error)) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.closed {
		return errStore(errClosed)
	}
	if r.log.client == nil { // after a write with an unknown outcome
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		if err := r.load(ctx); err != nil {
			return errStore(err)
		}
	}
	changes, err := decide(r.state) // only changes modify it, and they are serialized
	if err != nil || len(changes) == 0 {
		return err
	}
	records := make([]*kgo.Record, len(changes))
	for i, c := range changes {
		records[i] = &kgo.Record{}
		if records[i].Key, records[i].Value, err = c.encode(); err != nil {
			return err
		}
	}
	if err := r.log.append(ctx, records); err != nil {
		return errStore(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range records { // exactly as when read back
		if err := r.state.apply(rec.Key, rec.Value); err != nil {
			return err
		}
	}
	return nil
}

// look calls fn with the state, which fn must not change.
func (r *Registry) look(fn func(*state) (any, error)) (any, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return fn(r.state)
}
