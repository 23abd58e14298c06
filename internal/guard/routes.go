package guard

import (
	"fmt"
	"net/http"
)

// Routes are the roles that requests need, by the patterns of http.ServeMux. Readers look,
// operators change what pipelines and data do, admins change settings.
type Routes map[string]Role

// Public is the role of routes for everybody.
const Public Role = ""

// ConsoleRoutes are those of the console.
var ConsoleRoutes = Routes{
	"/":                             Public, // the page's files; its data needs a login
	"/api/":                         Reader, // what does not exist
	"POST /api/login":               Public,
	"POST /api/logout":              Public,
	"GET /api/events":               Reader,
	"POST /api/events/{id}":         Reader,
	"GET /api/info":                 Reader,
	"GET /api/overview":             Reader,
	"GET /api/devices":              Reader,
	"GET /api/device":               Reader,
	"GET /api/pipelines":            Reader,
	"GET /api/pipeline":             Reader,
	"POST /api/sql/check":           Reader,
	"POST /api/sql/preview":         Reader,
	"GET /api/sql/starters":         Reader,
	"GET /api/topics":               Reader,
	"GET /api/topic":                Reader,
	"GET /api/records":              Reader,
	"GET /api/letters":              Reader,
	"POST /api/letters/replay":      Operator,
	"GET /api/transactions":         Reader,
	"GET /api/transactions/hanging": Operator, // it searches whole logs
	"POST /api/transactions/abort":  Operator,
	"POST /api/transactions/commit": Operator,
	"GET /api/schemas":              Reader,
	"GET /api/schema":               Reader,
	"GET /api/schema/compare":       Reader,
	"GET /api/alerts":               Reader,
	"GET /api/ingest":               Reader,
	"GET /api/audit":                Operator,
}

// AdminRoutes are those of the admin port. Whoever restarts processes may ask whether they work.
var AdminRoutes = Routes{
	"GET /healthz":             Public,
	"GET /readyz":              Public,
	"GET /metrics":             Reader,
	"GET /status":              Reader,
	"GET /debug/pprof/":        Admin, // memory has secrets
	"GET /debug/pprof/cmdline": Admin,
	"GET /debug/pprof/profile": Admin,
	"GET /debug/pprof/symbol":  Admin,
	"GET /debug/pprof/trace":   Admin,
	"/":                        Reader, // what does not exist
}

// RegistryRoutes are those of the schema registry.
var RegistryRoutes = Routes{
	"GET /{$}":                                                Reader,
	"GET /contexts":                                           Reader,
	"GET /subjects":                                           Reader,
	"POST /subjects/{subject}":                                Reader, // looks a schema up
	"DELETE /subjects/{subject}":                              Operator,
	"GET /subjects/{subject}/versions":                        Reader,
	"POST /subjects/{subject}/versions":                       Operator,
	"GET /subjects/{subject}/versions/{version}":              Reader,
	"DELETE /subjects/{subject}/versions/{version}":           Operator,
	"GET /subjects/{subject}/versions/{version}/schema":       Reader,
	"GET /subjects/{subject}/versions/{version}/referencedby": Reader,
	"GET /schemas":                                            Reader,
	"GET /schemas/types":                                      Reader,
	"GET /schemas/ids/{id}":                                   Reader,
	"GET /schemas/ids/{id}/schema":                            Reader,
	"GET /schemas/ids/{id}/subjects":                          Reader,
	"GET /schemas/ids/{id}/versions":                          Reader,
	"GET /config":                                             Reader,
	"PUT /config":                                             Admin,
	"DELETE /config":                                          Admin,
	"GET /config/{subject}":                                   Reader,
	"PUT /config/{subject}":                                   Admin,
	"DELETE /config/{subject}":                                Admin,
	"GET /mode":                                               Reader,
	"PUT /mode":                                               Admin,
	"DELETE /mode":                                            Admin,
	"GET /mode/{subject}":                                     Reader,
	"PUT /mode/{subject}":                                     Admin,
	"DELETE /mode/{subject}":                                  Admin,
	"POST /compatibility/subjects/{subject}/versions":         Reader,
	"POST /compatibility/subjects/{subject}/versions/{version}": Reader,
	"/": Reader, // what does not exist
}

// Mux routes requests to handlers, and lets only principals through that have the route's role.
type Mux struct {
	mux    *http.ServeMux
	access *Access
	routes Routes
	has    map[string]bool
}

// NewMux returns a mux for routes with these roles.
func NewMux(a *Access, routes Routes) *Mux {
	return &Mux{http.NewServeMux(), a, routes, make(map[string]bool)}
}

// Handle adds a handler. A route without a role is a mistake in the program.
func (m *Mux) Handle(pattern string, h http.Handler) {
	role, ok := m.routes[pattern]
	if !ok {
		panic(fmt.Sprintf("the route %q has no role: add it to the routes in internal/guard", pattern))
	}
	m.has[pattern] = true
	m.mux.Handle(pattern, m.access.Require(role, h))
}

// HandleFunc adds a handler.
func (m *Mux) HandleFunc(pattern string, h http.HandlerFunc) { m.Handle(pattern, h) }

// ServeHTTP implements http.Handler.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.mux.ServeHTTP(w, r) }

// Unserved returns the routes that have a role and no handler.
func (m *Mux) Unserved() (all []string) {
	for pattern := range m.routes {
		if !m.has[pattern] {
			all = append(all, pattern)
		}
	}
	return all
}
