package console

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	guards "weir.example/weir/internal/guard"
)

//go:embed dist
var dist embed.FS

// policy allows the page to load only its own files and to call only its own server: no inline
// scripts or styles, no frames.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// guard authenticates requests and rejects cross-site ones.
type guard struct {
	token  string
	hosts  guards.Hosts
	key    []byte // signs session cookies; random, so a restart ends all sessions
	origin *http.CrossOriginProtection
	failed guards.Failures // wrong tokens
}

const (
	cookieName = "weir_console"
	sessionFor = 12 * time.Hour
)

func newGuard(token string, hosts guards.Hosts) *guard {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return &guard{token: token, hosts: hosts, key: key, origin: http.NewCrossOriginProtection()}
}

// wrap returns a handler that passes only valid requests to next.
func (g *guard) wrap(next http.Handler) http.Handler {
	return g.origin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if err := g.hosts.Check(r); err != nil && g.token == "" { // the token of another origin is unknown anyway
			fail(w, http.StatusMisdirectedRequest, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		// The page's files are public; the page then asks for the token.
		if strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Path != "/api/login" {
			if refused := g.authenticate(r); refused != nil {
				fail(w, refused.status, refused)
				return
			}
		}
		next.ServeHTTP(w, r)
	}))
}

// authenticate returns nil for a request with the token or a session.
func (g *guard) authenticate(r *http.Request) *httpError {
	if g.token == "" {
		return nil
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return g.try(r, bearer)
	}
	if cookie, err := r.Cookie(cookieName); err == nil && g.validSession(cookie.Value, time.Now()) {
		return nil
	}
	return &httpError{http.StatusUnauthorized, errToken}
}

// try checks a token. An address that has sent too many wrong ones waits; others don't.
func (g *guard) try(r *http.Request, token string) *httpError {
	from, now := guards.From(r), time.Now()
	switch {
	case !g.failed.Allowed(from, now):
		return &httpError{http.StatusTooManyRequests, errTries}
	case !g.validToken(token):
		g.failed.Failed(from, now)
		return &httpError{http.StatusUnauthorized, errWrongToken}
	}
	return nil
}

// validToken compares in constant time, which does not even leak the token's length.
func (g *guard) validToken(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// session returns the value of a session cookie: its expiry and a signature.
func (g *guard) session(expires time.Time) string {
	text := strconv.FormatInt(expires.Unix(), 10)
	return text + "." + hex.EncodeToString(g.sign(text))
}

func (g *guard) sign(text string) []byte {
	mac := hmac.New(sha256.New, g.key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func (g *guard) validSession(value string, now time.Time) bool {
	text, signature, ok := strings.Cut(value, ".")
	if !ok {
		return false
	}
	given, err := hex.DecodeString(signature)
	if err != nil || !hmac.Equal(given, g.sign(text)) {
		return false
	}
	expires, err := strconv.ParseInt(text, 10, 64)
	return err == nil && now.Unix() < expires
}

// login serves POST /api/login {"token": "…"}: it sets a session cookie.
func (g *guard) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if err := readJSON(r, &in); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if g.token == "" {
		fail(w, http.StatusUnauthorized, errWrongToken)
		return
	}
	if refused := g.try(r, in.Token); refused != nil {
		fail(w, refused.status, refused)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: g.session(time.Now().Add(sessionFor)), Path: "/", MaxAge: int(sessionFor.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	w.WriteHeader(http.StatusNoContent)
}

// files serves the page. The names of scripts and styles contain a hash, so they may be cached
// forever.
func files() http.Handler {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // dist is part of the binary
	}
	server := http.FileServerFS(root)
	gzipped := compressed(root)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		if data := gzipped[r.URL.Path]; data != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(r.URL.Path)))
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Vary", "Accept-Encoding")
			_, _ = w.Write(data) // the client may have disconnected
			return
		}
		server.ServeHTTP(w, r)
	})
}

// compressed returns scripts and styles, gzipped, by URL path.
func compressed(root fs.FS) map[string][]byte {
	all := make(map[string][]byte)
	names, err := fs.Glob(root, "assets/*")
	if err != nil {
		panic(err) // the pattern is valid
	}
	for _, name := range names {
		data, err := fs.ReadFile(root, name)
		if err != nil {
			panic(err) // dist is part of the binary
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data) // writes to memory do not fail
		_ = z.Close()
		all["/"+name] = b.Bytes()
	}
	return all
}
