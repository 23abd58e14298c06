package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"weir.example/weir/internal/console/api"
)

var (
	errToken      = errors.New("this console asks for its token")
	errWrongToken = errors.New("that is not the token of this console")
	errReadOnly   = errors.New("this console only reads: start it with --console-write to change things")
)

// maxBody bounds what a page may send.
const maxBody = 1 << 20

func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
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
	mux.HandleFunc("POST /api/login", c.guard.login)
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
	get("/api/letters", c.letters)
	write("/api/letters/replay", c.replay)
	get("/api/transactions", c.transactions)
	write("/api/transactions/abort", c.abort)
	get("/api/schemas", c.schemas)
	get("/api/schema", c.schema)
	get("/api/schema/compare", c.compareSchemas)
	get("/api/alerts", c.alerts)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("there is no %s", r.URL.Path))
	})
	return mux
}

// httpError is an answer with a status of its own.
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

func answerJSON(answer func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(r)
		if err != nil {
			status := http.StatusBadGateway // the broker or the registry did not answer as it should
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
		_ = enc.Encode(v) // a browser that is gone misses nothing
	}
}

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Error{Error: err.Error()}) // likewise
}

// readJSON reads a request, whose body is bounded already.
func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return badRequest("read the request: %w", err)
	}
	return nil
}

// whole reads a whole number of a query, within bounds.
func whole(r *http.Request, name string, otherwise, least, most int64) (int64, error) {
	text := r.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, badRequest("%s=%s: give a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// info is what a page has to know before it asks for more.
func (c *Console) info(*http.Request) (any, error) {
	return map[string]any{
		"version": c.cfg.Version, "brokers": c.cfg.Broker.Brokers, "write": c.cfg.Write, "token": c.cfg.Token != "",
		"readings": c.cfg.Site.Readings(), "letters": c.cfg.Site.DeadLetters(), "local": c.cfg.Look != nil,
	}, nil
}
