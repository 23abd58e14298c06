package guard

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	sessionFor  = 12 * time.Hour
	maxSessions = 10_000
	maxLogin    = 64 << 10 // bytes of a request
	cookieName  = "weir_session"
)

// sessions are logins of browsers, which have a random cookie. A restart ends them.
type sessions struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]session
}

type session struct {
	who     *Principal
	expires time.Time
}

// begin returns the cookie of a new session.
func (s *sessions) begin(who *Principal, expires, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[[sha256.Size]byte]session)
	}
	for key, old := range s.all { // those that have expired, and any if there are too many
		if len(s.all) >= maxSessions || !now.Before(old.expires) {
			delete(s.all, key)
		}
	}
	cookie := randomText(32)
	s.all[sha256.Sum256([]byte(cookie))] = session{who, expires}
	return cookie
}

func (s *sessions) find(cookie string, now time.Time) *Principal {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.all[sha256.Sum256([]byte(cookie))]
	if !ok || !now.Before(found.expires) {
		return nil
	}
	return found.who
}

func (s *sessions) end(cookie string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(cookie)))
}

// session returns the principal of a request's session, or nil. The session ends when the user is
// removed or gets another password.
func (a *Access) session(r *http.Request) *Principal {
	cookie, err := r.Cookie(a.cookieName(r))
	if err != nil {
		return nil
	}
	who := a.sessions.find(cookie.Value, a.now())
	if who == nil {
		return nil
	}
	if g := a.shared.Load().guard; g != nil {
		return g.current(who, a.now())
	}
	return who
}

// cookieName has the port, because cookies of all ports of a host are sent to each of them.
func (a *Access) cookieName(r *http.Request) string {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if _, port, err := net.SplitHostPort(at.String()); err == nil {
			return cookieName + "_" + port
		}
	}
	return cookieName
}

// Login serves POST requests with {"user": "…", "password": "…"} or {"token": "…"}: it begins a
// session.
func (a *Access) Login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		User     string `json:"user"`
		Password string `json:"password"`
		Token    string `json:"token"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxLogin)).Decode(&in); err != nil {
		a.c.Fail(w, http.StatusBadRequest, errors.New("send the login as JSON"))
		return
	}
	if !a.Required() { // a session would outlast this
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var who *Principal
	err := ErrNoLogin
	switch {
	case in.User != "":
		who, err = a.password(r, in.User, in.Password)
	case in.Token != "":
		who, err = a.token(r, in.Token)
	}
	if err != nil {
		a.refuse(w, err)
		return
	}
	expires := a.now().Add(sessionFor)
	if !who.Expires.IsZero() && who.Expires.Before(expires) {
		expires = who.Expires
	}
	a.setCookie(w, r, a.sessions.begin(who, expires, a.now()), max(1, int(expires.Sub(a.now()).Seconds())))
	w.WriteHeader(http.StatusNoContent)
}

// Logout serves POST requests: it ends the session.
func (a *Access) Logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(a.cookieName(r)); err == nil {
		a.sessions.end(cookie.Value)
	}
	a.setCookie(w, r, "", -1)
	w.WriteHeader(http.StatusNoContent)
}

func (a *Access) setCookie(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: a.cookieName(r), Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil || a.c.Proxies.secure(r),
	})
}
