package ingest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/spool"
)

// Limits of the HTTP server. They bound what slow clients and many of them can occupy.
const (
	maxHeader    = 16 << 10
	maxConns     = 10_000    // connections; further ones are closed at once
	maxConnsFrom = 9_000     // of one address, such as a gateway
	maxRequests  = 1024      // in progress; further ones get 429
	maxHeld      = 256 << 20 // bytes of their bodies, decompressed
	readTimeout  = 30 * time.Second
	storeTimeout = 30 * time.Second // for the disk
	retryAfter   = "1"              // seconds
)

// Server accepts readings by HTTP.
type Server struct {
	cfg      *Config
	intake   *intake.Intake
	spool    *spool.Spool
	tokens   tokens         // nil: anybody may send
	failures guard.Failures // of tokens
	maxBody  int64
	busy     chan struct{}
	held     atomic.Int64 // bytes of bodies in memory
	now      func() time.Time
	log      *slog.Logger

	listener net.Listener
	server   *http.Server
}

// Listen begins to listen. insecure allows an address that other machines can reach without tokens.
func Listen(cfg *Config, in *intake.Intake, insecure bool, log *slog.Logger) (*Server, error) {
	if err := cfg.HTTP.checkExposed(insecure); err != nil {
		return nil, err
	}
	h, err := newServer(cfg, in, log)
	if err != nil {
		return nil, err
	}
	if h.listener, err = net.Listen("tcp", cfg.HTTP.Listen); err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	return h, nil
}

func newServer(cfg *Config, in *intake.Intake, log *slog.Logger) (h *Server, err error) {
	h = &Server{cfg: cfg, intake: in, spool: in.Spool(), busy: make(chan struct{}, maxRequests), now: time.Now, log: log}
	if h.maxBody, err = size(cfg.HTTP.MaxBody, defaultBody); err != nil {
		return nil, err
	}
	if cfg.HTTP.TokensFile != "" {
		if h.tokens, err = readTokens(cfg.HTTP.TokensFile); err != nil {
			return nil, err
		}
	}
	h.server = &http.Server{
		Handler: h.handler(), ReadTimeout: readTimeout, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: readTimeout + storeTimeout,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
	}
	return h, nil
}

// Addr returns the address.
func (h *Server) Addr() string { return h.listener.Addr().String() }

// Close stops listening. Run does that itself.
func (h *Server) Close() error { return h.listener.Close() }

// Run serves until ctx is done, and then lets the requests in progress end.
func (h *Server) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if h.server.Shutdown(end) != nil {
			_ = h.server.Close()
		}
	})
	err := h.server.Serve(guard.LimitConns(h.listener, maxConns, maxConnsFrom))
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (h *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/readings", h.accept(h.readings, write))
	mux.HandleFunc("POST /v1/topics/{topic...}", h.accept(h.message, write))
	mux.HandleFunc("POST /api/v2/write", h.accept(h.lines, write))
	mux.HandleFunc("POST /write", h.accept(h.lines, write))
	mux.HandleFunc("POST /v1/metrics", h.accept(h.otlp, otlpAnswer))
	mux.HandleFunc("POST /api/v1/write", h.accept(h.remoteWrite, remoteAnswer))
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return mux
}

// refusal is an answer that is not a success.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// request is a request with its body.
type request struct {
	*http.Request
	body    []byte
	holding *held
}

// accept returns the handler of requests whose body fn turns into an entry, with the answer if it
// is stored.
func (h *Server) accept(fn func(q *request) (*spool.Entry, answer, error), answers func(http.ResponseWriter, *http.Request, *answer)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		write := func(w http.ResponseWriter, a *answer) { answers(w, r, a) }
		if h.tokens != nil && !h.failures.Allowed(guard.From(r), h.now()) {
			w.Header().Set("Retry-After", retryAfter)
			write(w, &answer{Status: http.StatusTooManyRequests, Error: "too many wrong tokens came from this address: try again later"})
			return
		}
		if h.tokens != nil && !h.tokens.allow(r) {
			if r.Header.Get("Authorization") != "" { // others guess nothing
				h.failures.Failed(guard.From(r), h.now())
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="weir"`)
			write(w, &answer{Status: http.StatusUnauthorized, Error: "send one of the tokens in the header Authorization: Bearer TOKEN"})
			return
		}
		select {
		case h.busy <- struct{}{}:
			defer func() { <-h.busy }()
		default:
			w.Header().Set("Retry-After", retryAfter)
			write(w, &answer{Status: http.StatusTooManyRequests, Error: fmt.Sprintf("%d requests are in progress", maxRequests)})
			return
		}
		a, err := h.process(w, r, fn)
		if err != nil {
			a = answerOf(err)
			if a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", retryAfter)
			}
		}
		write(w, a)
	}
}

func (h *Server) process(w http.ResponseWriter, r *http.Request, fn func(q *request) (*spool.Entry, answer, error)) (*answer, error) {
	key, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	holding := &held{server: h}
	defer holding.release()
	body, err := h.body(w, r, holding)
	if err != nil {
		return nil, err
	}
	entry, a, err := fn(&request{r, body, holding})
	if err != nil {
		return nil, err
	}
	return h.store(r, key, body, entry, a)
}

// held counts the bytes of a request's body as they arrive.
type held struct {
	server *Server
	in     io.Reader
	bytes  int64
}

// Read implements io.Reader. It refuses to read on if all requests together hold too much.
func (c *held) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	if full := c.reserve(int64(n)); full != nil {
		return n, full
	}
	return n, err
}

// reserve counts bytes that are about to be used.
func (c *held) reserve(n int64) error {
	c.bytes += n
	if c.server.held.Add(n) > maxHeld {
		return refuse(http.StatusTooManyRequests, "the requests in progress hold %d MiB", maxHeld>>20)
	}
	return nil
}

func (c *held) release() { c.server.held.Add(-c.bytes) }

// body reads a request's body, decompressed and bounded.
func (h *Server) body(w http.ResponseWriter, r *http.Request, holding *held) ([]byte, error) {
	var in io.Reader = http.MaxBytesReader(w, r.Body, h.maxBody)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		unzipped, err := gzip.NewReader(in)
		if err != nil {
			return nil, bodyError(err, h.maxBody)
		}
		in = unzipped
	case "zstd":
		const window = 8 << 20
		d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, bodyError(err, h.maxBody)
		}
		defer d.Close()
		in = d
	case "snappy":
		holding.in = in
		return h.unsnap(holding)
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "the content encoding %.100q is not supported: use gzip, zstd or snappy", encoding)
	}
	holding.in = in
	body, err := io.ReadAll(io.LimitReader(holding, h.maxBody+1))
	if err != nil {
		return nil, bodyError(err, h.maxBody)
	}
	if int64(len(body)) > h.maxBody {
		return nil, bodyError(&http.MaxBytesError{}, h.maxBody)
	}
	return body, nil
}

// unsnap reads a body in Snappy's block format, which begins with its decompressed size.
func (h *Server) unsnap(in *held) ([]byte, error) {
	block, err := io.ReadAll(in)
	if err != nil {
		return nil, bodyError(err, h.maxBody)
	}
	size, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, bodyError(err, h.maxBody)
	}
	if int64(size) > h.maxBody {
		return nil, bodyError(&http.MaxBytesError{}, h.maxBody)
	}
	if err := in.reserve(int64(size)); err != nil {
		return nil, err
	}
	body, err := snappy.Decode(nil, block)
	if err != nil {
		return nil, bodyError(err, h.maxBody)
	}
	return body, nil
}

func bodyError(err error, limit int64) error {
	var refused *refusal
	if errors.As(err, &refused) {
		return err
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return refuse(http.StatusRequestEntityTooLarge, "the body has more than %d bytes, decompressed: send it in parts, or raise http.max_body", limit)
	}
	return refuse(http.StatusBadRequest, "read the body: %v", err)
}

// message maps a message to a topic by the rules. A message that cannot be mapped becomes a dead
// letter and is acknowledged, since the sender could only repeat it.
func (h *Server) message(q *request) (*spool.Entry, answer, error) {
	topic := q.PathValue("topic")
	if topic == "" {
		return nil, answer{}, refuse(http.StatusNotFound, "the path has no topic: /v1/topics/TOPIC")
	}
	entry, result := h.intake.Map(&intake.Message{Protocol: intake.HTTP, Client: q.RemoteAddr, Topic: topic, Payload: q.body, Arrived: h.now()})
	if entry == nil {
		entry = &spool.Entry{}
	}
	a := answer{Status: http.StatusOK, Accepted: len(result.Readings), DeadLetters: len(result.Rejected), Skipped: result.Skipped, Ignored: result.Ignored}
	for _, d := range result.Rejected {
		if len(a.Reasons) < maxReasons {
			a.Reasons = append(a.Reasons, d.Reason)
		}
	}
	return entry, a, nil
}

// record counts a request whose form needs no rules.
func (h *Server) record(q *request, entry *spool.Entry, skipped int) {
	h.intake.Record(&intake.Message{Protocol: intake.HTTP, Client: q.RemoteAddr, Topic: q.URL.Path, Payload: q.body, Arrived: h.now()},
		&mapping.Result{Rule: q.URL.Path, Readings: entry.Readings, Rejected: entry.Rejected, Skipped: skipped})
}
