package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"weir.example/weir/internal/console/api"
	guards "weir.example/weir/internal/guard"
)

var (
	errReadOnly = errors.New("the console is read-only: start weir with --console-write to allow changes")
)

// maxBody is the maximum size of a request body in bytes.
const maxBody = 1 << 20

func (c *Console) routes() *guards.Mux {
	mux := guards.NewMux(c.access, guards.ConsoleRoutes)
	get := func(path string, answer func(*http.Request) (any, error)) {
		mux.HandleFunc("GET "+path, answerJSON(answer))
	}
	post := func(path string, answer func(*http.Request) (any, error)) {
		mux.HandleFunc("POST "+path, answerJSON(answer))
	}
	write := func(path string, answer func(*http.Request) (any, error)) {
		post(path, func(r *http.Request) (any, error) {
			if !c.cfg.Write {
				return nil, &httpError{http.StatusForbidden, errReadOnly}
			}
			return answer(r)
		})
	}
	mux.Handle("/", files())
	mux.HandleFunc("POST /api/login", c.access.Login)
	mux.HandleFunc("POST /api/logout", c.access.Logout)
	mux.HandleFunc("GET /api/events", c.hub.serve)
	mux.HandleFunc("POST /api/events/{id}", c.hub.rewatch)
	get("/api/info", c.info)
	get("/api/overview", c.overview)
	get("/api/devices", c.devices)
	get("/api/device", c.device)
	get("/api/pipelines", c.pipelines)
	get("/api/pipeline", c.pipeline)
	post("/api/sql/check", c.checkSQL)
	post("/api/sql/preview", c.previewSQL)
	get("/api/sql/starters", c.starters)
	get("/api/topics", c.topics)
	get("/api/topic", c.topic)
	get("/api/records", c.records)
	get("/api/letters", c.deadLetters.list)
	write("/api/letters/replay", c.deadLetters.replay)
	transactions := transactionPage{c.client, c.cfg.Now}
	get("/api/transactions", transactions.list)
	get("/api/transactions/hanging", transactions.hanging)
	write("/api/transactions/abort", transactions.abort)
	write("/api/transactions/commit", transactions.commit)
	schemas := schemaPage{c.cfg.Registry}
	get("/api/schemas", schemas.list)
	get("/api/schema", schemas.subject)
	get("/api/schema/compare", schemas.compare)
	get("/api/alerts", c.alerts)
	get("/api/ingest", c.ingest)
	get("/api/audit", c.audit)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("%s not found", r.URL.Path))
	})
	return mux
}

// httpError is an error with an HTTP status.
type httpError struct {
	status int
	err    error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

func badRequest(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Errorf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &httpError{http.StatusNotFound, fmt.Errorf(format, args...)}
}

// answerJSON serves a response as JSON. An error without a status is a 502: the broker or the
// registry failed.
func answerJSON(answer func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(r)
		if err != nil {
			status := http.StatusBadGateway
			var known *httpError
			if errors.As(err, &known) {
				status = known.status
			}
			fail(w, status, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		enc := json.NewEncoder(w)
		_ = enc.Encode(v) // the client may have disconnected
	}
}

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Error{Error: err.Error()}) // the client may have disconnected
}

// readJSON decodes a request. The guard limits the size of its body.
func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return badRequest("decode request: %w", err)
	}
	return nil
}

// intParam returns an integer query parameter between low and high, or missing if it is not set.
func intParam(r *http.Request, name string, missing, low, high int64) (int64, error) {
	text := r.FormValue(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, badRequest("invalid %s=%s: must be an integer from %d to %d", name, text, low, high)
	}
	return n, nil
}

// info serves GET /api/info: the data that a page needs first.
func (c *Console) info(r *http.Request) (any, error) {
	who := guards.Caller(r.Context())
	return map[string]any{
		"version": c.cfg.Version, "brokers": c.cfg.Broker.Brokers, "write": c.cfg.Write && who.May(guards.Operator),
		"user": who.Name, "role": who.Role, "login": c.access.Required(), "audit": c.cfg.AuditDir != "" && who.May(guards.Operator),
		"readings": c.cfg.Site.Readings(), "letters": c.cfg.Site.DeadLetters(), "local": c.cfg.Flow != nil,
	}, nil
}
