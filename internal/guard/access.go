package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir.example/weir/internal/trail"
)

// AccessConfig configures an Access.
type AccessConfig struct {
	Part    string           // that is served, such as console
	Guard   *Guard           // whose users may log in; nil: nobody has a password
	Token   string           // lets its bearer do what an operator may; "": none
	Proxies Proxies          // whose headers name the user; default none
	Trail   func(trail.Deed) // told about logins, refusals and changes; must not block; default none
	Change  string           // kind of deed that a change is
	Basic   bool             // a browser may ask for the password by itself

	// Fail writes an error as an answer; default: as text.
	Fail func(w http.ResponseWriter, status int, err error)
}

// Access lets the principals of a guard use an HTTP server, each as its role allows. Without
// users and without other ways to log in, everybody may do everything.
type Access struct {
	c        AccessConfig
	shared   atomic.Pointer[shared]
	alone    Failures // without a guard
	sessions sessions
	seen     seen
	now      func() time.Time
}

// NewAccess returns an access.
func NewAccess(c AccessConfig) *Access {
	a := &Access{c: c, now: time.Now}
	a.Share(c.Guard, c.Trail)
	if a.c.Fail == nil {
		a.c.Fail = func(w http.ResponseWriter, status int, err error) { http.Error(w, err.Error(), status) }
	}
	return a
}

// shared is what several servers of a process have in common.
type shared struct {
	guard *Guard
	trail func(trail.Deed)
}

// Share uses another guard, which counts the failures of several servers, and another audit trail
// from now on.
func (a *Access) Share(g *Guard, add func(trail.Deed)) { a.shared.Store(&shared{g, add}) }

// report tells the audit trail what a client has done.
func (a *Access) report(r *http.Request, who, what, on string, err error) {
	add := a.shared.Load().trail
	if add == nil {
		return
	}
	d := trail.Deed{At: a.now().UTC(), Who: who, From: a.From(r).String(), What: what, On: on}
	if err != nil {
		d.Error = err.Error()
	}
	add(d)
}

// Required reports whether a login is required.
func (a *Access) Required() bool {
	g := a.shared.Load().guard
	return a.c.Token != "" || len(a.c.Proxies.From) > 0 || g != nil && !g.Open()
}

func (a *Access) failures() *Failures {
	if g := a.shared.Load().guard; g != nil {
		return &g.Failures
	}
	return &a.alone
}

// Errors of logins.
var (
	ErrNoLogin = errors.New("log in with a user's password or token")

	errTries     = errors.New("too many logins from this address have failed: wait a minute")
	errForbidden = errors.New("not allowed")
)

// TokenName is the name of those who have logged in with the token of AccessConfig.
const TokenName = "token"

// anybody is who sends a request if no login is required.
var anybody = &Principal{Role: Admin}

// Who returns the principal of a request: of its session, its password (Basic), its token (Bearer),
// its client certificate, or a header of a proxy.
func (a *Access) Who(r *http.Request) (*Principal, error) {
	if !a.Required() {
		return anybody, nil
	}
	g := a.shared.Load().guard
	if name := a.c.Proxies.user(r); name != "" {
		return a.verify(r, "proxy", false, func() (*Principal, error) { return g.named(name, time.Time{}) })
	}
	if user, password, ok := r.BasicAuth(); ok {
		return a.password(r, user, password)
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return a.token(r, token)
	}
	if who := a.session(r); who != nil {
		return who, nil
	}
	if g != nil && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return a.verify(r, "certificate", false, func() (*Principal, error) { return g.Certificate(r.TLS.PeerCertificates[0]) })
	}
	return nil, ErrNoLogin
}

const byPassword = "password of "

// password returns the principal with a name and password.
func (a *Access) password(r *http.Request, name, password string) (*Principal, error) {
	g := a.shared.Load().guard
	if name == InternalName && g.isSecret(password) {
		return g.principal(User{Name: InternalName}), nil
	}
	return a.verify(r, byPassword+strconv.Quote(name), true, func() (*Principal, error) {
		if g == nil {
			return nil, errCredentials
		}
		return g.Password(name, password)
	})
}

// token returns the principal with a token.
func (a *Access) token(r *http.Request, token string) (*Principal, error) {
	g := a.shared.Load().guard
	if g.isSecret(token) {
		return g.principal(User{Name: InternalName}), nil
	}
	return a.verify(r, "token", true, func() (*Principal, error) {
		switch {
		case a.c.Token != "" && equal(token, a.c.Token):
			return &Principal{Name: TokenName, Role: Operator, shared: true}, nil
		case g == nil:
			return nil, errCredentials
		}
		return g.Token(token)
	})
}

// passwords bounds how many passwords are checked at a time: others need the CPU, too, and a crowd
// of guesses must not get past the limit of failures.
var passwords = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// verify calls fn, and reports the login. If the credentials can be guessed, it does not after too
// many failures.
func (a *Access) verify(r *http.Request, how string, guessed bool, fn func() (*Principal, error)) (*Principal, error) {
	from := a.From(r)
	on := a.c.Part + ": " + how
	if guessed {
		if strings.HasPrefix(how, byPassword) {
			passwords <- struct{}{}
			defer func() { <-passwords }()
		}
		if !a.failures().Allowed(from, a.now()) {
			return nil, errTries
		}
	}
	who, err := fn()
	if err != nil {
		a.failures().Failed(from, a.now())
		a.report(r, "", trail.Login, on, err)
		return nil, err
	}
	if a.seen.first(who.Name, from, how, a.now()) {
		a.report(r, who.Name, trail.Login, on, nil)
	}
	return who, nil
}

// From returns the address of a request's client.
func (a *Access) From(r *http.Request) netip.Addr { return a.c.Proxies.client(r) }

// call is a request that is served.
type call struct {
	who *Principal
	on  string // what it changes
}

type callKey struct{}

// Caller returns the principal of a request that Require has passed on; its name is empty if no
// login was required.
func Caller(ctx context.Context) *Principal {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.who
	}
	return anybody
}

// Still reports whether the principal of a request may go on, long after it began.
func (a *Access) Still(ctx context.Context) bool {
	who := Caller(ctx)
	if who == anybody {
		return !a.Required()
	}
	g := a.shared.Load().guard
	return g == nil || g.current(who, a.now()) != nil
}

// Note says for the audit trail what a request changes.
func Note(ctx context.Context, format string, args ...any) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.on = fmt.Sprintf(format, args...)
	}
}

// Require returns a handler that passes a request to next if its principal has a role. Requests
// that may change something are reported with their outcome.
func (a *Access) Require(role Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if role == Public {
			next.ServeHTTP(w, r)
			return
		}
		who, err := a.Who(r)
		if err != nil {
			a.refuse(w, err)
			return
		}
		request := r.Method + " " + r.URL.Path
		if !who.May(role) {
			err := fmt.Errorf("%w: this needs the role %s", errForbidden, role)
			a.report(r, who.Name, trail.Denied, a.c.Part+": "+request, err)
			a.c.Fail(w, http.StatusForbidden, err)
			return
		}
		c := &call{who: who, on: request}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		if role == Reader || r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		err = nil
		if seen.status >= http.StatusBadRequest {
			err = errors.New(http.StatusText(seen.status))
		}
		a.report(r, who.Name, a.c.Change, c.on, err)
	})
}

// refuse answers a request without a valid login.
func (a *Access) refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, errTries) {
		w.Header().Set("Retry-After", "60")
		a.c.Fail(w, http.StatusTooManyRequests, err)
		return
	}
	if a.c.Basic {
		w.Header().Add("WWW-Authenticate", `Basic realm="weir", charset="UTF-8"`)
	}
	w.Header().Add("WWW-Authenticate", `Bearer realm="weir"`)
	a.c.Fail(w, http.StatusUnauthorized, err)
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

// seen are logins that were reported within the last hour: HTTP clients may log in with each
// request.
type seen struct {
	mu  sync.Mutex
	all map[loginOf]time.Time
}

type loginOf struct {
	name, how string
	from      netip.Addr
}

const (
	seenFor = time.Hour
	maxSeen = 10_000
)

// first reports whether a login was not seen within the last hour.
func (s *seen) first(name string, from netip.Addr, how string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := loginOf{name, how, from}
	if at, ok := s.all[key]; ok && now.Sub(at) < seenFor {
		return false
	}
	if s.all == nil || len(s.all) >= maxSeen {
		s.all = make(map[loginOf]time.Time)
	}
	s.all[key] = now
	return true
}
