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

// policy lets the page load its own files and ask its own server, nothing else: no script or style
// in the HTML, no frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// guard decides who may ask.
type guard struct {
	token  string
	host   string // that the console listens on
	key    []byte // signs cookies; a restart ends all sessions
	origin *http.CrossOriginProtection
	tries  *semaphore.Weighted // of the token, one at a time
}

const (
	cookieName = "weir_console"
	sessionFor = 12 * time.Hour
	slowTry    = 300 * time.Millisecond // a wrong token is answered so late
)

func newGuard(token, listen string) *guard {
	host, _, _ := net.SplitHostPort(listen)
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return &guard{token: token, host: host, key: key, origin: http.NewCrossOriginProtection(), tries: semaphore.NewWeighted(1)}
}

// wrap puts the guard before what is served.
func (g *guard) wrap(next http.Handler) http.Handler {
	return g.origin.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !g.knownHost(r.Host) {
			fail(w, http.StatusMisdirectedRequest, fmt.Errorf("this console is not %s: without a token it answers to names of this machine only", r.Host))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		// The page's files hold no secret: it loads, and then asks for the token.
		if strings.HasPrefix(r.URL.Path, "/api/") && r.URL.Path != "/api/login" && !g.allowed(r) {
			fail(w, http.StatusUnauthorized, errToken)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// knownHost refuses names that somebody else's DNS may have pointed at this machine. With a token
// they do no harm.
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
		return g.rightToken(bearer)
	}
	cookie, err := r.Cookie(cookieName)
	return err == nil && g.validSession(cookie.Value, time.Now())
}

// rightToken compares in a time that tells nothing of the token, not even its length.
func (g *guard) rightToken(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// session makes a cookie's value: when it ends, and a signature.
func (g *guard) session(ends time.Time) string {
	text := strconv.FormatInt(ends.Unix(), 10)
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
	ends, err := strconv.ParseInt(text, 10, 64)
	return err == nil && now.Unix() < ends
}

// login answers POST /api/login {"token": "…"} with the session's cookie.
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
	if g.token == "" || !g.rightToken(in.Token) {
		time.Sleep(slowTry) // also if the browser leaves: otherwise guesses could be made faster
		fail(w, http.StatusUnauthorized, errWrongToken)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: g.session(time.Now().Add(sessionFor)), Path: "/", MaxAge: int(sessionFor.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	w.WriteHeader(http.StatusNoContent)
}

// files serves the page. Its scripts and styles carry a hash in their names, so that they may be
// kept for ever.
func files() http.Handler {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // dist is part of the binary
	}
	server := http.FileServerFS(root)
	small := compressed(root)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		} else {
			w.Header().Set("Cache-Control", "no-cache")
		}
		if data := small[r.URL.Path]; data != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(r.URL.Path)))
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Vary", "Accept-Encoding")
			_, _ = w.Write(data) // a browser that is gone misses nothing
			return
		}
		server.ServeHTTP(w, r)
	})
}

// compressed is the scripts and styles by the address that they have.
func compressed(root fs.FS) map[string][]byte {
	all := make(map[string][]byte)
	names, err := fs.Glob(root, "assets/*")
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, name := range names {
		data, err := fs.ReadFile(root, name)
		if err != nil {
			panic(err) // dist is part of the binary
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data) // memory takes all
		_ = z.Close()
		all["/"+name] = b.Bytes()
	}
	return all
}
