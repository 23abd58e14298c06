package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	guards "weir.example/weir/internal/guard"
)

//go:embed dist
var dist embed.FS

// policy allows the page to load only its own files and to call only its own server: no inline
// scripts or styles, no frames.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// protected returns a handler that passes requests to next that are for this server and not from
// other sites.
func protected(next http.Handler, access *guards.Access, hosts guards.Hosts) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if err := hosts.Check(r); err != nil && !access.Required() { // another site has no session here
			fail(w, http.StatusMisdirectedRequest, err)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	}))
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
