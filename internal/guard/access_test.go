package guard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/trail"
)

func TestHTTP(t *testing.T) {
	g, _ := open(t)
	token, hash := NewToken()
	handler := NewMux(NewAccess(AccessConfig{Guard: g}), Routes{"/": Public, "/read": Reader, "/write": Operator})
	for pattern := range handler.routes {
		handler.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
	}
	get := func(path string, auth func(*http.Request)) int {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if auth != nil {
			auth(r)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	if code := get("/write", nil); code != http.StatusOK {
		t.Errorf("without users: %d", code)
	}
	add(t, g, "alice", "one", Reader)
	if err := g.Users().Change(func(users map[string]User) error {
		users["robot"] = User{Name: "robot", Role: Operator, Token: hash}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for _, c := range []struct {
		path string
		auth func(*http.Request)
		want int
	}{
		{"/", nil, 200},
		{"/read", nil, 401},
		{"/read", basic("alice", "one"), 200},
		{"/read", basic("alice", "two"), 401},
		{"/write", basic("alice", "one"), 403},
		{"/write", bearer(token), 200},
		{"/write", bearer(hash), 401},
		{"/write", bearer(""), 401},
		{"/read", bearer("a.b.c"), 401},
		{"/write", bearer(g.secret), 200},
		{"/write", basic(InternalName, g.secret), 200},
		{"/write", basic("robot", ""), 401},
	} {
		if code := get(c.path, c.auth); code != c.want {
			t.Errorf("%s: %d, expected %d", c.path, code, c.want)
		}
	}
}

// A route without a role cannot be added.
func TestRouteWithoutRole(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the route was added")
		}
	}()
	NewMux(NewAccess(AccessConfig{}), Routes{"GET /a": Reader}).HandleFunc("GET /b", http.NotFound)
}

// Every role may use exactly the routes that are for it or for a weaker one.
func TestTable(t *testing.T) {
	g, _ := open(t)
	keys, err := BothKeys("one")
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[Role]string{}
	if err := g.Users().Change(func(users map[string]User) error {
		for _, role := range Roles {
			token, hash := NewToken()
			tokens[role] = token
			users[string(role)] = User{Name: string(role), Role: role, SCRAM: keys, Token: hash}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for part, routes := range map[string]Routes{"console": ConsoleRoutes, "admin": AdminRoutes, "registry": RegistryRoutes} {
		mux := NewMux(NewAccess(AccessConfig{Guard: g, Part: part}), routes)
		for pattern := range routes {
			mux.HandleFunc(pattern, func(http.ResponseWriter, *http.Request) {})
		}
		for pattern, need := range routes {
			method, path, ok := strings.Cut(pattern, " ")
			if !ok {
				method, path = http.MethodGet, pattern
			}
			path = strings.NewReplacer("{$}", "", "{", "", "}", "").Replace(path)
			for _, role := range append([]Role{""}, Roles...) {
				r := httptest.NewRequest(method, path, nil)
				want := http.StatusOK
				switch {
				case role == "" && need != Public:
					want = http.StatusUnauthorized
				case need != Public && slices.Index(Roles, role) < slices.Index(Roles, need):
					want = http.StatusForbidden
				}
				if role != "" {
					r.Header.Set("Authorization", "Bearer "+tokens[role])
				}
				w := httptest.NewRecorder()
				if mux.ServeHTTP(w, r); w.Code != want {
					t.Errorf("%s: %s as %q: %d, want %d", part, pattern, role, w.Code, want)
				}
			}
		}
	}
}

// session is a browser at an access.
type browser struct {
	t      *testing.T
	access *Access
	cookie *http.Cookie
	from   string
}

func (b *browser) do(handler http.HandlerFunc, body string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if b.from != "" {
		r.RemoteAddr = b.from
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	handler(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return w
}

// may reports whether the browser may do what a role may.
func (b *browser) may(role Role) bool {
	b.t.Helper()
	return b.do(b.access.Require(role, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP, "").Code == http.StatusOK
}

// A session ends by logging out, by time, and with the user's password or role.
func TestSessions(t *testing.T) {
	g, _ := open(t)
	access := NewAccess(AccessConfig{Guard: g})
	now := time.Now()
	access.now = func() time.Time { return now }

	early := &browser{t: t, access: access}
	if w := early.do(access.Login, `{"user":"x","password":"y"}`); w.Code != http.StatusNoContent || early.cookie != nil {
		t.Errorf("a login that is not required: %d, cookie %v: it would outlast the first user", w.Code, early.cookie)
	}
	add(t, g, "alice", "one", Operator)
	login := func(password string) *browser {
		t.Helper()
		b := &browser{t: t, access: access}
		w := b.do(access.Login, `{"user":"alice","password":"`+password+`"}`)
		if (w.Code == http.StatusNoContent) != (password == "one") {
			t.Errorf("login with %q: %d", password, w.Code)
		}
		return b
	}
	if b := login("two"); b.may(Reader) {
		t.Error("a failed login begins a session")
	}
	b := login("one")
	if !b.cookie.HttpOnly || b.cookie.SameSite != http.SameSiteStrictMode || b.cookie.Secure || b.cookie.MaxAge != int(sessionFor.Seconds()) {
		t.Errorf("cookie %+v", b.cookie)
	}
	if !b.may(Operator) || b.may(Admin) {
		t.Error("an operator's session is not that of an operator")
	}
	cookie := b.cookie
	b.do(access.Logout, "")
	b.cookie = cookie
	if b.may(Reader) {
		t.Error("the session outlasts the logout")
	}

	b = login("one")
	now = now.Add(sessionFor - time.Second)
	if !b.may(Reader) {
		t.Error("the session ends early")
	}
	now = now.Add(time.Second)
	if b.may(Reader) {
		t.Error("the session does not end")
	}

	b = login("one")
	change := func(fn func(User) User) {
		t.Helper()
		if err := g.Users().Change(func(users map[string]User) error { users["alice"] = fn(users["alice"]); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	change(func(u User) User { u.Role = Reader; return u })
	if b.may(Operator) || !b.may(Reader) {
		t.Error("the session keeps a role that the user has lost")
	}
	change(func(u User) User { u.SCRAM, _ = BothKeys("three"); return u })
	if b.may(Reader) {
		t.Error("the session outlasts the password")
	}
}

// A stream that has begun ends when its user is removed, and when logins become required.
func TestStill(t *testing.T) {
	g, _ := open(t)
	access := NewAccess(AccessConfig{Guard: g})
	var began context.Context
	stream := access.Require(Reader, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { began = r.Context() }))
	stream.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	open := began
	if !access.Still(open) {
		t.Error("a stream ends although no login is required")
	}
	add(t, g, "alice", "one", Reader)
	if access.Still(open) {
		t.Error("a stream without a login goes on although one is required")
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth("alice", "one")
	stream.ServeHTTP(httptest.NewRecorder(), r)
	if !access.Still(began) {
		t.Error("alice's stream ends")
	}
	if err := g.Users().Change(func(users map[string]User) error { delete(users, "alice"); users["b"] = User{Name: "b"}; return nil }); err != nil {
		t.Fatal(err)
	}
	if access.Still(began) {
		t.Error("alice's stream outlasts alice")
	}
}

// Failed logins are limited for each address, whichever way and server they come by, keep nobody
// else out, and are reported.
func TestGuessing(t *testing.T) {
	g, _ := open(t)
	add(t, g, "alice", "one", Reader)
	var deeds []trail.Deed
	now := time.Now()
	var servers []*Access
	for _, part := range []string{"console", "registry"} {
		a := NewAccess(AccessConfig{Part: part, Guard: g, Token: "opensesame", Trail: func(d trail.Deed) { deeds = append(deeds, d) }})
		a.now = func() time.Time { return now }
		servers = append(servers, a)
	}
	try := func(a *Access, from, path, password string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(`{"user":"alice","password":"`+password+`"}`))
		r.RemoteAddr = from
		switch path {
		case "/login":
			a.Login(w, r)
			return w.Code
		case "/token":
			r.Header.Set("Authorization", "Bearer "+strings.Replace(password, "one", "opensesame", 1))
		default:
			r.SetBasicAuth("alice", password)
		}
		a.Require(Reader, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		return w.Code
	}
	paths := []string{"/login", "/token", "/basic"}
	for i := range 40 {
		try(servers[i%2], "192.0.2.1:5000", paths[i%3], "guess")
	}
	if failed := len(deeds); failed != burst {
		t.Errorf("%d failed logins were reported, want %d", failed, burst)
	}
	for _, path := range paths {
		for _, a := range servers {
			if status := try(a, "192.0.2.1:5001", path, "one"); status != http.StatusTooManyRequests {
				t.Errorf("%s after 40 guesses: status %d", path, status)
			}
			if status := try(a, "192.0.2.2:5000", path, "one"); status >= 300 {
				t.Errorf("%s from another address: status %d", path, status)
			}
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.1:5002"
	r.SetBasicAuth(InternalName, g.secret)
	if who, err := servers[0].Who(r); err != nil || !who.Internal {
		t.Errorf("Weir's own process is kept out by others' guesses: %v", err)
	}
	now = now.Add(2 * time.Second)
	if status := try(servers[0], "192.0.2.1:5001", "/basic", "one"); status != http.StatusOK {
		t.Errorf("after two seconds: status %d", status)
	}
}

// Headers of a proxy count only if it is a known one, and once.
func TestProxies(t *testing.T) {
	proxies, err := ParseProxies([]string{"192.0.2.7", "198.51.100.0/24", "2001:db8::/64"}, "")
	if err != nil {
		t.Fatal(err)
	}
	g, _ := open(t)
	add(t, g, "alice", "", Operator)
	access := NewAccess(AccessConfig{Guard: g, Proxies: proxies})
	for _, c := range []struct {
		from string
		name []string
		want Role
	}{
		{"192.0.2.7:1", []string{"alice"}, Operator},
		{"198.51.100.9:1", []string{"alice"}, Operator},
		{"[2001:db8::5]:1", []string{"alice"}, Operator},
		{"192.0.2.8:1", []string{"alice"}, "none"},
		{"127.0.0.1:1", []string{"alice"}, "none"},
		{"192.0.2.7:1", nil, "none"},
		{"192.0.2.7:1", []string{"alice", "mallory"}, "none"},
		{"192.0.2.7:1", []string{"mallory"}, ""},
		{"192.0.2.7:1", []string{InternalName}, "none"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.from
		for _, name := range c.name {
			r.Header.Add(DefaultProxyHeader, name)
		}
		got := Role("none")
		if who, err := access.Who(r); err == nil {
			got = who.Role
		}
		if got != c.want {
			t.Errorf("%s names %q: role %q, want %q", c.from, c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		from, forwarded, want string
	}{
		{"203.0.113.1:1", "10.0.0.1", "203.0.113.1"},
		{"192.0.2.7:1", "10.0.0.1", "10.0.0.1"},
		{"192.0.2.7:1", "1.2.3.4, 10.0.0.1", "10.0.0.1"},
		{"192.0.2.7:1", "10.0.0.1, 198.51.100.3", "10.0.0.1"},
		{"192.0.2.7:1", "", "192.0.2.7"},
		{"192.0.2.7:1", "unknown", "192.0.2.7"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.from
		r.Header.Set("X-Forwarded-For", c.forwarded)
		if got := access.From(r); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s for %q: %s, want %s", c.from, c.forwarded, got, c.want)
		}
	}
	if _, err := ParseProxies([]string{"proxy.example"}, ""); err == nil {
		t.Error("a name is an address")
	}
}

// The secret of a data directory is the one that its broker has written last, for other processes,
// too.
func TestJoinedSecret(t *testing.T) {
	first, dir := open(t)
	add(t, first, "alice", "one", Reader)
	joined, err := Join(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := joined.Token(first.secret); err == nil {
		t.Error("an old secret is accepted")
	}
	if who, err := joined.Token(second.secret); err != nil || !who.Internal {
		t.Errorf("the new secret is not accepted: %v", err)
	}
	if _, err := joined.Token(""); err == nil {
		t.Error("no secret is accepted")
	}
	alone, err := Join(t.Context(), Config{})
	if err != nil || !alone.Open() {
		t.Errorf("without a data directory: %v", err)
	}
	if _, err := alone.Token(""); err == nil {
		t.Error("an empty token is accepted without a data directory")
	}
}
