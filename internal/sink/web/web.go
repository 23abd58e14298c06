// Package web is what sinks that send rows over HTTP share: the server, with its secrets.
package web

import (
	"net/http"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/webhook"
)

// Server is where the rows of a table are sent. Its settings may refer to secrets.
type Server struct {
	*webhook.Client // nil until Connect
	URL             string
	Headers         http.Header // of each request

	table   *plan.Table
	web     *plan.Web
	secrets *secret.Expander
}

// Open expands the URL and the headers of a server. Its errors are *sink.RefusedError.
func Open(t *plan.Table, w *plan.Web, source secret.Source) (*Server, error) {
	s := &Server{Headers: make(http.Header), table: t, web: w, secrets: &secret.Expander{Source: source}}
	var err error
	if s.URL, err = s.Expand("url", w.URL); err != nil {
		return nil, err
	}
	if hint := plan.CheckWebURL(s.URL); hint != "" {
		return nil, sink.Refuse("table %s: the option 'url' is not that of a web server: %s", t.Name, hint)
	}
	for name, value := range w.Headers {
		text, err := s.Expand("headers."+name, value)
		if err != nil {
			return nil, err
		}
		s.Headers.Set(name, text)
	}
	return s, nil
}

// Expand returns the value of an option with its secrets, which the client hides in errors.
func (s *Server) Expand(option, value string) (string, error) {
	text, err := s.secrets.Expand(value)
	if err != nil {
		return "", sink.Refuse("table %s, option '%s': %w", s.table.Name, option, err)
	}
	return text, nil
}

// Connect sets the client, after all secrets have been expanded. It hides other values, too.
func (s *Server) Connect(hidden ...string) error {
	trust, err := tlsconf.Client(s.web.CA, s.web.Cert, s.web.Key)
	if err != nil {
		return sink.Refuse("table %s: %w", s.table.Name, err)
	}
	s.Client = webhook.NewClient(trust, s.web.Timeout, append(s.secrets.Used, hidden...)...)
	return nil
}
