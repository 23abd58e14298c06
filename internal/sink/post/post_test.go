package post

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table plans a pipeline that writes a table.
func table(t *testing.T, url, columns, key, with string) (*plan.Program, *plan.Table) {
	t.Helper()
	return sinktest.Pipeline(t, columns, key, fmt.Sprintf("'connector' = 'http', 'url' = '%s' %s", url, with))
}

type request struct {
	headers http.Header
	body    string
}

// server keeps the requests that it accepts.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	accepted []request
	answer   func(w http.ResponseWriter, r request) (accept, answered bool) // nil accepts all
}

func start(t *testing.T) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		one := request{r.Header, string(body)}
		accept, answered := true, false
		if s.answer != nil {
			accept, answered = s.answer(w, one)
		}
		if accept {
			s.mu.Lock()
			s.accepted = append(s.accepted, one)
			s.mu.Unlock()
		}
		if !answered {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) all() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.accepted)
}

func (s *server) bodies() (all []string) {
	for _, r := range s.all() {
		all = append(all, r.body)
	}
	return all
}

func TestBodies(t *testing.T) {
	t.Setenv("ROUTING", "s3cret-routing")
	rows := func() []*kgo.Record {
		return []*kgo.Record{
			sinktest.Record(0, `{"k":"a"}`, `{"k":"a","v":1.5,"severity":"critical"}`),
			sinktest.Record(0, `{"k":"b"}`, `{"k":"x\", \"admin\": true, \"y\":\"","v":null,"severity":"odd <!channel> & more"}`),
			sinktest.Record(0, `{"k":"c"}`, ""),
		}
	}
	const append2 = `{"k":"a","v":1.5,"severity":"critical"}`
	evil := `{"k":"x\", \"admin\": true, \"y\":\"","v":null,"severity":"odd <!channel> & more"}`
	for _, c := range []struct {
		name, key, with string
		want            []string
	}{
		{"rows", "", "", []string{append2, evil}},
		{"batch", "", ", 'batch.max-rows' = '10'", []string{"[" + append2 + "," + evil + "]"}},
		{"updates", "k", "", []string{`{"op":"upsert","row":` + append2 + `}`, `{"op":"upsert","row":` + evil + `}`, `{"op":"delete","key":{"k":"c"}}`}},
		{"updates in a batch", "k", ", 'batch.max-rows' = '10'", []string{`[{"op":"upsert","row":` + append2 + `},{"op":"upsert","row":` + evil + `},{"op":"delete","key":{"k":"c"}}]`}},
		{
			"template", "", `, 'body' = '{"text": "{{.Row.k}}{{if .Row.v}}: {{.Row.v}}{{end}}", "v": {{.Row.v}}, "all": {{json .Row}}, "id": "{{.Key}}"}'`,
			[]string{
				`{"text": "a: 1.5", "v": 1.5, "all": {"k":"a","severity":"critical","v":1.5}, "id": "test.t-0-0"}`,
				`{"text": "x\", \"admin\": true, \"y\":\"", "v": null, "all": {"k":"x\", \"admin\": true, \"y\":\"","severity":"odd <!channel> & more","v":null}, "id": "test.t-0-1"}`,
			},
		},
		{"template of a batch", "", `, 'batch.max-rows' = '10', 'content-type' = 'text/csv', 'body' = '{{range .Rows}}{{.Row.k}};{{end}}'`, []string{`a;x", "admin": true, "y":";`}},
		{"slack", "", ", 'preset' = 'slack', 'text' = '{{.Row.k}} {{.Row.severity}}'", []string{`{"text":"a critical"}`, `{"text":"x\", \"admin\": true, \"y\":\" odd &lt;!channel&gt; &amp; more"}`}},
		{"ntfy", "", ", 'preset' = 'ntfy', 'batch.max-rows' = '2'", []string{"t: k: a, v: 1.5, severity: critical\nt: k: x\", \"admin\": true, \"y\":\", v: null, severity: odd <!channel> & more"}},
		{"pagerduty", "k", ", 'preset' = 'pagerduty', 'pagerduty.routing-key' = '${env:ROUTING}', 'text' = 'alert {{.Row.k}}'", []string{
			`{"dedup_key":"test.t {\"k\":\"a\"}","event_action":"trigger","payload":{"custom_details":{"k":"a","severity":"critical","v":1.5},"severity":"critical","source":"t","summary":"alert a"},"routing_key":"s3cret-routing"}`,
			`{"dedup_key":"test.t {\"k\":\"b\"}","event_action":"trigger","payload":{"custom_details":{"k":"x\", \"admin\": true, \"y\":\"","severity":"odd <!channel> & more","v":null},"severity":"error","source":"t","summary":"alert x\", \"admin\": true, \"y\":\""},"routing_key":"s3cret-routing"}`,
			`{"dedup_key":"test.t {\"k\":\"c\"}","event_action":"resolve","payload":{"custom_details":{"k":"c"},"severity":"error","source":"t","summary":"alert c"},"routing_key":"s3cret-routing"}`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			p, of := table(t, s.URL, "k STRING, v DOUBLE, severity STRING", c.key, c.with)
			at := sinktest.Cluster(t, 1)
			all := rows()
			if c.key == "" {
				all = all[:2]
			}
			sinktest.Write(t, at, all...)
			sinktest.Deliver(t, sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{})))
			if diff := cmp.Diff(c.want, s.bodies()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Requests are signed as in Standard Webhooks, and have the idempotency key as their id.
func TestSignature(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	t.Setenv("SIGNING", "whsec_"+base64.StdEncoding.EncodeToString(key))
	s := start(t)
	p, of := table(t, s.URL, "v INT", "", ", 'signing.secret' = '${env:SIGNING}', 'headers.X-Plant' = 'north'")
	at := sinktest.Cluster(t, 1)
	sinktest.Write(t, at, sinktest.Record(0, "", `{"v":1}`))
	sinktest.Deliver(t, sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{})))
	h := s.all()[0].headers
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), s.all()[0].body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if h.Get("webhook-signature") != want || h.Get("webhook-id") != "test.t-0-0" || h.Get("Idempotency-Key") != "test.t-0-0" || h.Get("X-Plant") != "north" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%v, want the signature %s", h, want)
	}
}

// Whatever the receiver does, every row arrives, a repeated request is the same one, and rows that
// it refuses are dead letters, alone.
func TestReceiverMisbehaves(t *testing.T) {
	for _, batch := range []int{1, 5} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			s := start(t)
			var mu sync.Mutex
			busy := false
			s.answer = func(w http.ResponseWriter, r request) (accept, answered bool) {
				if strings.Contains(r.body, `"v":13}`) {
					http.Error(w, "unlucky", http.StatusUnprocessableEntity)
					return false, true
				}
				mu.Lock()
				what := random.IntN(40)
				first := !busy
				busy = true
				mu.Unlock()
				switch {
				case first:
					w.Header().Set("Retry-After", "0")
					w.WriteHeader(http.StatusTooManyRequests)
					return false, true
				case what == 0:
					w.WriteHeader(http.StatusInternalServerError)
					return false, true
				case what == 1: // too slow, and accepted nevertheless
					time.Sleep(150 * time.Millisecond)
				case what == 2: // the connection ends after the request is accepted
					if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
						_ = conn.Close()
					}
					return true, true
				}
				return true, false
			}
			p, of := table(t, s.URL, "v INT", "", fmt.Sprintf(", 'timeout' = '100 ms', 'batch.max-rows' = '%d'", batch))
			at := sinktest.Cluster(t, 3)
			const n = 60
			var all []*kgo.Record
			for v := range n {
				all = append(all, sinktest.Record(int32(v%3), "", fmt.Sprintf(`{"v":%d}`, v)))
			}
			sinktest.Write(t, at, all...)
			sinktest.Deliver(t, sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{})))
			byKey, seen := make(map[string]string), make(map[int]bool)
			for _, r := range s.all() {
				key := r.headers.Get("Idempotency-Key")
				if was, again := byKey[key]; again && was != r.body {
					t.Errorf("key %s was that of %s, and is that of %s", key, was, r.body)
				}
				byKey[key] = r.body
				body := r.body
				if batch == 1 {
					body = "[" + body + "]"
				}
				var rows []struct{ V int }
				if err := json.Unmarshal([]byte(body), &rows); err != nil {
					t.Error(err)
				}
				for _, row := range rows {
					seen[row.V] = true
				}
			}
			for v := range n {
				if seen[v] != (v != 13) {
					t.Errorf("row %d: %t", v, seen[v])
				}
			}
			letters := sinktest.Letters(t, at)
			if len(letters) == 0 || !slices.ContainsFunc(letters, func(l string) bool { return strings.Contains(l, "unlucky") }) || slices.ContainsFunc(letters, func(l string) bool { return !strings.Contains(l, `"v":13`) }) {
				t.Errorf("dead letters: %v", letters)
			}
		})
	}
}

// What concerns every request stops the sink; a status that is listed concerns the row.
func TestRefusedRequests(t *testing.T) {
	t.Setenv("HOOK_PATH", "s3cret-path")
	for status, want := range map[int]string{401: "'headers.…'", 404: "'dead-letter.statuses'", 307: "redirects are not followed"} {
		elsewhere := start(t)
		s := start(t)
		s.answer = func(w http.ResponseWriter, _ request) (bool, bool) {
			w.Header().Set("Location", elsewhere.URL+"/s3cret-path")
			w.WriteHeader(status)
			fmt.Fprint(w, "not at s3cret-path")
			return false, true
		}
		p, of := table(t, s.URL+"/${env:HOOK_PATH}", "v INT", "", "")
		at := sinktest.Cluster(t, 1)
		sinktest.Write(t, at, sinktest.Record(0, "", `{"v":1}`))
		c := sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{}))
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		done := make(chan struct{})
		go func() { sink.Run(ctx, c); close(done) }()
		var now sink.Snapshot
		for now.Phase != sink.Refused && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
			now = c.Status.Snapshot()
		}
		stop()
		<-done
		if !strings.Contains(now.Reason, want) || strings.Contains(now.Reason, "s3cret") || len(elsewhere.all()) > 0 {
			t.Errorf("%d: %s", status, now.Reason)
		}
	}
	s := start(t)
	s.answer = func(w http.ResponseWriter, _ request) (bool, bool) {
		w.WriteHeader(http.StatusNotFound)
		return false, true
	}
	p, of := table(t, s.URL, "v INT", "", ", 'dead-letter.statuses' = '404'")
	at := sinktest.Cluster(t, 1)
	sinktest.Write(t, at, sinktest.Record(0, "", `{"v":1}`))
	if done := sinktest.Deliver(t, sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{}))); len(sinktest.Letters(t, at)) != 1 || done.Lag != 0 {
		t.Errorf("%+v", done)
	}
}
