package embedded

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/registry"
)

// handler returns the REST API. It rejects cross-origin requests of browsers, since there may be no
// login.
func (r *Registry) handler(access *guard.Access) http.Handler {
	return http.NewCrossOriginProtection().Handler(withoutSlash(r.routes(access)))
}

func (r *Registry) routes(access *guard.Access) *guard.Mux {
	mux := guard.NewMux(access, guard.RegistryRoutes)
	for pattern, fn := range map[string]endpoint{
		"GET /{$}":                                                func(*call) (any, error) { return struct{}{}, nil },
		"GET /contexts":                                           func(*call) (any, error) { return []string{"."}, nil },
		"GET /subjects":                                           r.getSubjects,
		"POST /subjects/{subject}":                                r.postLookup,
		"DELETE /subjects/{subject}":                              r.deleteSubjectCall,
		"GET /subjects/{subject}/versions":                        r.getVersions,
		"POST /subjects/{subject}/versions":                       r.postVersion,
		"GET /subjects/{subject}/versions/{version}":              r.getVersion,
		"DELETE /subjects/{subject}/versions/{version}":           r.deleteVersionCall,
		"GET /subjects/{subject}/versions/{version}/schema":       r.getVersionText,
		"GET /subjects/{subject}/versions/{version}/referencedby": r.getReferencedBy,
		"GET /schemas":                                            r.getSchemas,
		"GET /schemas/types":                                      func(*call) (any, error) { return []registry.Type{registry.JSON, registry.Protobuf, registry.Avro}, nil },
		"GET /schemas/ids/{id}":                                   r.getID,
		"GET /schemas/ids/{id}/schema":                            r.getIDText,
		"GET /schemas/ids/{id}/subjects":                          r.getIDSubjects,
		"GET /schemas/ids/{id}/versions":                          r.getIDVersions,
		"GET /config":                                             r.getConfig,
		"PUT /config":                                             r.putConfig,
		"DELETE /config":                                          r.deleteConfig,
		"GET /config/{subject}":                                   r.getConfig,
		"PUT /config/{subject}":                                   r.putConfig,
		"DELETE /config/{subject}":                                r.deleteConfig,
		"GET /mode":                                               r.getMode,
		"PUT /mode":                                               r.putMode,
		"DELETE /mode":                                            r.deleteMode,
		"GET /mode/{subject}":                                     r.getMode,
		"PUT /mode/{subject}":                                     r.putMode,
		"DELETE /mode/{subject}":                                  r.deleteMode,
		"POST /compatibility/subjects/{subject}/versions":         r.postCheck,
		"POST /compatibility/subjects/{subject}/versions/{version}": r.postCheck,
	} {
		mux.HandleFunc(pattern, r.cfg.Metrics.observe(pattern, r.serve(fn)))
	}
	mux.HandleFunc("/", r.cfg.Metrics.observe("other", func(w http.ResponseWriter, _ *http.Request) {
		write(w, r.cfg.Logger, http.StatusNotFound, refuse(http.StatusNotFound, "HTTP 404 Not Found"))
	}))
	return mux
}

// withoutSlash treats /subjects/ as /subjects.
func withoutSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if p := req.URL.Path; len(p) > 1 && strings.HasSuffix(p, "/") {
			req.URL.Path, req.URL.RawPath = strings.TrimSuffix(p, "/"), strings.TrimSuffix(req.URL.RawPath, "/")
		}
		next.ServeHTTP(w, req)
	})
}

// call is a request being handled.
type call struct {
	*http.Request
	query url.Values
	body  io.Reader
}

type endpoint = func(*call) (any, error)

func (r *Registry) serve(fn endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		c := &call{Request: req, query: req.URL.Query(), body: http.MaxBytesReader(w, req.Body, r.cfg.MaxBody)}
		answer, err := fn(c)
		var refused *apiError
		switch {
		case err == nil:
			write(w, r.cfg.Logger, http.StatusOK, answer)
		case errors.As(err, &refused):
			write(w, r.cfg.Logger, refused.status(), refused)
		case req.Context().Err() != nil: // the client has disconnected
		default:
			r.cfg.Logger.Error("registry: request failed", "path", req.URL.Path, "err", err)
			write(w, r.cfg.Logger, http.StatusInternalServerError, refuse(50001, "%s", err))
		}
	}
}

func (c *call) subject() string { return c.PathValue("subject") }

func (c *call) flag(name string) bool { return strings.EqualFold(c.query.Get(name), "true") }

func (c *call) deleted() deleted {
	switch {
	case c.flag("deletedOnly"):
		return onlyDeleted
	case c.flag("deleted"):
		return all
	default:
		return live
	}
}

func (c *call) decode(into any) error {
	err := json.NewDecoder(c.body).Decode(into)
	var size *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &size):
		return errTooLarge(size.Limit)
	default:
		return refuse(http.StatusBadRequest, "Unreadable request body: %s", err)
	}
}

func (c *call) schema() (*request, error) {
	var req request
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	if len(req.Text) > registry.MaxText {
		return nil, errTooLarge(registry.MaxText)
	}
	return &req, nil
}
