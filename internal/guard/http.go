package guard

import (
	"errors"
	"net/http"
	"strings"
)

// Require returns a handler that passes a request to next if its principal has the role that it
// needs; need returns "" for requests that need none. Users log in with their password (Basic) or
// a token (Bearer), and with a client certificate.
func (g *Guard) Require(need func(*http.Request) Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role := need(r)
		if role == "" || g.Open() {
			next.ServeHTTP(w, r)
			return
		}
		who, err := g.Who(r)
		switch {
		case err != nil:
			w.Header().Add("WWW-Authenticate", `Basic realm="weir", charset="UTF-8"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="weir"`)
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case !who.May(role):
			http.Error(w, "this needs the role "+string(role), http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// ErrNoLogin means that a request has no credentials.
var ErrNoLogin = errors.New("log in with a user's password or token")

// Who returns the principal of a request.
func (g *Guard) Who(r *http.Request) (*Principal, error) {
	if user, password, ok := r.BasicAuth(); ok {
		if user == InternalName {
			return g.Token(password)
		}
		return g.Password(user, password)
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return g.Token(token)
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return g.Certificate(r.TLS.PeerCertificates[0])
	}
	return nil, ErrNoLogin
}
