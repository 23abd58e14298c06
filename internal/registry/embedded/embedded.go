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
)

// Config says where a registry keeps its schemas and where it listens.
type Config struct {
	Broker broker.Config // that has, or gets, the topic _schemas
	Addr   string        // host:port to listen on; port 0 takes a free one. Default 127.0.0.1:0
	Dir    string        // data directory of the broker, where the address is written for FindURL; default nowhere

	MaxBody int64        // bytes of a request; default 10 MiB
	Logger  *slog.Logger // default: discard
	Metrics *Metrics     // default: none
}

// Registry is a running registry.
type Registry struct {
	cfg    Config
	server *http.Server
	addr   string
	served sync.WaitGroup

	writing sync.Mutex // held by a change from its decision until it is applied
	log     topicLog
	closed  bool

	mu    sync.RWMutex // guards state: readers hold it, a change takes it to apply what is written
	state *state
}

// addrFile is in the data directory while a registry is served on it.
const addrFile = "registry.addr"

// Open takes the port, reads the topic, and only then answers. The error is an ErrBusy where the
// address is taken.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 10 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	// The port comes first: a second registry on it must not take the topic over from the first.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, explainListen(cfg.Addr, err)
	}
	r := &Registry{cfg: cfg, addr: listener.Addr().String(), log: topicLog{at: cfg.Broker, log: cfg.Logger}}
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
	r.server = &http.Server{
		Handler:           r.handler(),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	r.served.Go(func() {
		if err := r.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("schema registry stopped", "err", err)
		}
	})
	return r, nil
}

// ErrBusy says that another program has the registry's address.
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
	if err := os.WriteFile(path+".tmp", []byte(r.addr+"\n"), 0o644); err != nil { //nolint:gosec // for every user of the broker
		return err
	}
	return os.Rename(path+".tmp", path)
}

// FindURL returns where the registry of a data directory is served, or "" where none has been since
// its last clean stop.
func FindURL(dir string) string {
	addr, err := os.ReadFile(filepath.Join(dir, addrFile)) //nolint:gosec // the data directory is the user's choice
	if err != nil {
		return ""
	}
	return "http://" + strings.TrimSpace(string(addr))
}

// Addr is the host:port that the registry listens on.
func (r *Registry) Addr() string { return r.addr }

// URL is where clients find the registry.
func (r *Registry) URL() string { return "http://" + r.addr }

// Close answers what is being asked, and stops.
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

// load takes the state from the topic.
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

// change lets decide look at the state and say what is to be written, and writes it; when it
// returns without an error, it is committed and in the state. One change follows another.
func (r *Registry) change(ctx context.Context, decide func(*state) ([]record, error)) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.closed {
		return errStore(errClosed)
	}
	if r.log.client == nil { // the outcome of the last write is unknown
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		if err := r.load(ctx); err != nil {
			return errStore(err)
		}
	}
	changes, err := decide(r.state) // nobody else changes it
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
	for _, rec := range records { // as they would be read back
		if err := r.state.apply(rec.Key, rec.Value); err != nil {
			return err
		}
	}
	return nil
}

// look lets fn read the state.
func (r *Registry) look(fn func(*state) (any, error)) (any, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return fn(r.state)
}
