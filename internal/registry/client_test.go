package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.example/weir/internal/registry"
)

const reading = `{"type":"record","name":"Reading","namespace":"weir","fields":[{"name":"device_id","type":"string"}]}`

// serve starts a registry with this handler, and returns a client of it.
func serve(t *testing.T, answer http.HandlerFunc) *registry.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return client(t, registry.Config{URLs: []string{server.URL}, Timeout: 2 * time.Second})
}

func client(t *testing.T, c registry.Config) *registry.Client {
	t.Helper()
	out, err := registry.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(out.Close)
	return out
}

func schemaAnswer(w http.ResponseWriter, text, rest string) {
	fmt.Fprintf(w, `{"schema":%q%s}`, text, rest)
}

func refuse(w http.ResponseWriter, status, code int, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error_code":%d,"message":%q}`, code, message)
}

func TestSchemaIsFetchedOnce(t *testing.T) {
	var requests atomic.Int64
	release := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		<-release
		schemaAnswer(w, reading, "")
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			s, err := c.Schema(t.Context(), 7)
			if err != nil || s.ID != 7 || s.Type != registry.Avro || s.Text != reading {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
	// A caller that gives up does not cancel the others' request.
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Schema(impatient, 7); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	close(release)
	all.Wait()
	if _, err := c.Schema(t.Context(), 7); err != nil {
		t.Error(err)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests for one id, want 1", n)
	}
	if got := c.Stats(); got.Lookups != 1 || got.Failures != 0 {
		t.Errorf("stats %+v", got)
	}
}

func TestMissingSchemasAreNotCached(t *testing.T) {
	var there atomic.Bool
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if there.Load() {
			schemaAnswer(w, reading, "")
			return
		}
		refuse(w, 404, 40403, "Schema 7 not found")
	})
	if _, err := c.Schema(t.Context(), 7); !errors.Is(err, registry.ErrNotFound) {
		t.Fatalf("got %v, want not found", err)
	}
	there.Store(true)
	if _, err := c.Schema(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
}

func TestErrorKinds(t *testing.T) {
	json := func(status, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, code, "words of the registry") }
	}
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) }
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
		says   string
	}{
		"no such id":             {json(404, 40403), registry.ErrNotFound, "words of the registry (40403)"},
		"a proxy's 404":          {text(404, "<html>not here"), registry.ErrRefused, "check the URL"},
		"store does not answer":  {json(500, 50001), registry.ErrUnavailable, "(50001)"},
		"starting up":            {text(503, ""), registry.ErrUnavailable, ""},
		"too many requests":      {text(429, "slow down"), registry.ErrUnavailable, "slow down"},
		"wrong password":         {json(401, 40101), registry.ErrRefused, "check user, password and token"},
		"another kind of server": {text(200, "hello"), registry.ErrRefused, "not a registry's"},
		"unknown type":           {text(200, `{"schema":"x","schemaType":"THRIFT"}`), registry.ErrRefused, "THRIFT"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"schema":`)
		}, registry.ErrUnavailable, ""},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), registry.MaxResponse+1))
		}, registry.ErrHostile, "10485760"},
		"schema too large": {func(w http.ResponseWriter, _ *http.Request) {
			schemaAnswer(w, strings.Repeat(" ", registry.MaxText+1), "")
		}, registry.ErrHostile, "1048576"},
		"too deep": {func(w http.ResponseWriter, _ *http.Request) {
			schemaAnswer(w, strings.Repeat(`[`, 100_000), "")
		}, registry.ErrHostile, "nested"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, c.answer).Schema(t.Context(), 3)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "schema 3: registry http://") {
				t.Errorf("got %v, want %v with %q", err, c.want, c.says)
			}
		})
	}
}

func TestNoAnswerIsUnavailable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c := client(t, registry.Config{URLs: []string{server.URL}})
	if _, err := c.Schema(t.Context(), 1); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("refused connection: got %v", err)
	}
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(stuck.Close)
	c = client(t, registry.Config{URLs: []string{stuck.URL}, Timeout: 50 * time.Millisecond})
	if _, err := c.Schema(t.Context(), 1); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("silent server: got %v", err)
	}
}

func TestAwaitOutlivesAnOutage(t *testing.T) {
	var asked atomic.Int64
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(503)
			return
		}
		schemaAnswer(w, reading, "")
	})
	if s, err := c.Await(t.Context(), 5); err != nil || s.ID != 5 {
		t.Fatalf("got %v, %v", s, err)
	}
	missing := serve(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, 404, 40403, "no") })
	if _, err := missing.Await(t.Context(), 5); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("an answer is not waited for: got %v", err)
	}
}

func TestNextURLIsTried(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { schemaAnswer(w, reading, "") }))
	t.Cleanup(alive.Close)
	c := client(t, registry.Config{URLs: []string{gone.URL, alive.URL}})
	if _, err := c.Schema(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestReferences(t *testing.T) {
	subjects := map[string]string{ // d <- b, c <- a
		"/schemas/ids/1":         `{"schema":"a","references":[{"name":"B","subject":"b","version":1},{"name":"C","subject":"c","version":1}]}`,
		"/subjects/b/versions/1": `{"id":2,"subject":"b","version":1,"schema":"b","references":[{"name":"D","subject":"d","version":1}]}`,
		"/subjects/c/versions/1": `{"id":3,"subject":"c","version":1,"schema":"c","references":[{"name":"D","subject":"d","version":1}]}`,
		"/subjects/d/versions/1": `{"id":4,"subject":"d","version":1,"schema":"d"}`,
		"/schemas/ids/2":         `{"schema":"x","references":[{"name":"X","subject":"x","version":1}]}`,
		"/subjects/x/versions/1": `{"id":2,"subject":"x","version":1,"schema":"x","references":[{"name":"X","subject":"x","version":1}]}`,
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, subjects[r.URL.Path]) })
	s, err := c.Schema(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []registry.Import{{Name: "D", Text: "d"}, {Name: "B", Text: "b"}, {Name: "C", Text: "c"}}
	if diff := cmp.Diff(want, s.Imports); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}
	if _, err := c.Schema(t.Context(), 2); !errors.Is(err, registry.ErrHostile) || !strings.Contains(err.Error(), "leads back to itself") {
		t.Errorf("a circle: got %v", err)
	}
}

func TestEndlessReferencesAreRefused(t *testing.T) {
	var n atomic.Int64
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"id":1,"schema":"x","references":[{"name":"N","subject":"s","version":%d}]}`, n.Add(1))
	})
	if _, err := c.Schema(t.Context(), 1); !errors.Is(err, registry.ErrHostile) {
		t.Errorf("got %v after %d requests", err, n.Load())
	}
}

func TestCredentials(t *testing.T) {
	var header atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header.Store(r.Header.Get("Authorization"))
		schemaAnswer(w, reading, "")
	}))
	t.Cleanup(server.Close)
	for want, c := range map[string]registry.Config{
		"Basic YW5uYTpzZWNyZXQ=": {User: "anna", Password: "secret"},
		"Bearer abc":             {Token: "abc"},
	} {
		c.URLs = []string{server.URL}
		if _, err := client(t, c).Schema(t.Context(), 1); err != nil || header.Load() != want {
			t.Errorf("got header %v, %v, want %s", header.Load(), err, want)
		}
	}
	for wrong, c := range map[string]registry.Config{
		"no URL":     {URLs: []string{"127.0.0.1:8081"}},
		"password":   {URLs: []string{"http://anna:secret@127.0.0.1:8081"}},
		"both":       {URLs: []string{server.URL}, Token: "abc", User: "anna"},
		"no user":    {URLs: []string{server.URL}, Password: "x"},
		"half a key": {URLs: []string{server.URL}, CertFile: "x"},
		"none":       {},
	} {
		if _, err := registry.NewClient(c); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", wrong, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { schemaAnswer(w, reading, "") }))
	t.Cleanup(server.Close)
	_, err := client(t, registry.Config{URLs: []string{server.URL}}).Schema(t.Context(), 1)
	if !errors.Is(err, registry.ErrRefused) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: got %v", err)
	}
	file := t.TempDir() + "/ca.pem"
	writePEM(t, file, server.Certificate().Raw)
	if _, err := client(t, registry.Config{URLs: []string{server.URL}, CAFile: file}).Schema(t.Context(), 1); err != nil {
		t.Errorf("known authority: %v", err)
	}
}
