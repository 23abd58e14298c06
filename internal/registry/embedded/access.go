package embedded

import (
	"net/http"
	"strings"
	"time"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/trail"
)

// changes reports whether a request may change something: lookups and checks of compatibility are
// POST requests, too.
func changes(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return false
	case http.MethodPost:
		return strings.HasSuffix(strings.TrimSuffix(req.URL.Path, "/"), "/versions") && !strings.HasPrefix(req.URL.Path, "/compatibility/")
	}
	return true
}

// guarded passes on requests of users that may make them.
func (r *Registry) guarded(next http.Handler) http.Handler {
	if r.cfg.Guard == nil {
		return next
	}
	return r.cfg.Guard.Require(func(req *http.Request) guard.Role {
		if changes(req) {
			return guard.Operator
		}
		return guard.Reader
	}, next)
}

// reported tells the audit trail about changes, and how they were answered.
func (r *Registry) reported(next http.Handler) http.Handler {
	if r.cfg.Trail == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !changes(req) {
			next.ServeHTTP(w, req)
			return
		}
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, req)
		d := trail.Deed{At: time.Now().UTC(), What: trail.ChangeSchema, From: guard.From(req).String(), On: req.Method + " " + req.URL.Path}
		if r.cfg.Guard != nil {
			if who, err := r.cfg.Guard.Who(req); err == nil {
				d.Who = who.Name
			}
		}
		if seen.status >= http.StatusBadRequest {
			d.Error = http.StatusText(seen.status)
		}
		r.cfg.Trail(d)
	})
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap returns the writer of the server, for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
