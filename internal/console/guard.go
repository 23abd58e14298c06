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
	"fmt"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
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
	host   string // that the console listens on
	key    []byte // signs session cookies; random, so a restart ends all sessions
	origin *http.CrossOriginProtection
	tries  *semaphore.Weighted // logins run one at a time, which limits guessing
}

const (
	cookieName = "weir_console"
	sessionFor = 12 * time.Hour
	slowTry    = 300 * time.Millisecond // delay of the response to an invalid token
)

func newGuard(token, listen string) *guard {
	host, _, _ := net.SplitHostPort(listen)
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return &guard{token: token, host: host, key: key, origin: http.NewCrossOriginProtection(), tries: semaphore.NewWeighted(1)}
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
		if !g.knownHost(r.Host) {
			fail(w, http.StatusMisdirectedRequest, fmt.Errorf("unknown host %s: without a token, the console accepts only names of this machine", r.Host))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		// The page's files are public; the page then asks for the token.
		if strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Path != "/api/login" && !g.allowed(r) {
			fail(w, http.StatusUnauthorized, errToken)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// knownHost rejects names that foreign DNS may resolve to this machine (DNS rebinding), unless a
// token is required anyway.
func (g *guard) knownHost(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	host = strings.Trim(host, "[]")
	return g.token != "" || loopback(host) || host == g.host
}

func (g *guard) allowed(r *http.Request) bool {
	if g.token == "" {
		return true
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return g.validToken(bearer)
	}
	cookie, err := r.Cookie(cookieName)
	return err == nil && g.validSession(cookie.Value, time.Now())
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
	if err := g.tries.Acquire(r.Context(), 1); err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	defer g.tries.Release(1)
	if g.token == "" || !g.validToken(in.Token) {
		time.Sleep(slowTry) // even if the client has disconnected: that must not speed up guessing
		fail(w, http.StatusUnauthorized, errWrongToken)
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
