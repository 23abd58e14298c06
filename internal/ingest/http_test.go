package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/source"
)

// serve returns a server with a spool, and the spool's items.
func serve(t *testing.T, yaml string) (h http.Handler, items func() []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ingest.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cfg.OpenSpool(t.TempDir(), spool.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	server, err := newServer(cfg, intake.New(cfg.Mapping(), s), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	src := s.Source()
	return server.server.Handler, func() (all []string) {
		t.Helper()
		dst := make([]source.Item, 100)
		n, err := src.Next(dst)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range dst[:n] {
			if m := it.Message; m != nil {
				all = append(all, fmt.Sprintf("%s %s %s %s", m.Topic, m.Key, m.Value, m.Headers[0].Value))
				continue
			}
			if it.Err != nil {
				all = append(all, fmt.Sprintf("rejected %s: %v", it.Raw, it.Err))
				continue
			}
			all = append(all, fmt.Sprintf("%s %s %v %s %d #%d", it.DeviceID, it.Sensor, it.Value, it.Unit, it.TS, it.Seq))
		}
		return all
	}
}

func post(t *testing.T, h http.Handler, url, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestReadings(t *testing.T) {
	h, items := serve(t, `{}`)
	const one = `{"device_id":"d","sensor":"s","value":1.5,"unit":"Cel","ts":"2026-01-01T00:00:00Z"}`
	for _, test := range []struct {
		body   string
		status int
		want   string // part of the answer
		stored int
	}{
		{one, 200, `"accepted":1`, 1},
		{"[" + one + "," + one + "]", 200, `"accepted":2`, 2},
		{one + "\n\n" + one + "\n", 200, `"accepted":2`, 2},
		{`{"device_id":"d","sensor":"s","value":1,"seq":7,"boot":"x"}`, 200, `"accepted":1`, 1},
		{``, 400, "no reading", 0},
		{`[]`, 400, "no reading", 0},
		{one + "\n{", 400, "byte", 0},
		{"[" + one, 400, "", 0},
		{"[" + one + "] 1", 400, "something follows", 0},
		{one + `{"device_id":"d","sensor":"s"}`, 400, "reading 2: value is missing", 0},
		{`{"device_id":"d","sensor":"s","value":"1"}`, 400, "value must be a number", 0},
		{`{"device_id":"d","sensor":"s","value":1e999}`, 400, "value must be a number", 0},
		{`{"device_id":"d","sensor":"s","value":true}`, 400, "value must be a number", 0},
		{`{"device":"d","sensor":"s","value":1}`, 400, "did you mean device_id", 0},
		{`{"device_id":"","sensor":"s","value":1}`, 400, "device_id", 0},
		{`{"device_id":"d","sensor":"s","value":1,"ts":1700000000}`, 400, "ts must be text", 0},
		{`[1]`, 400, "not an object", 0},
		{`null`, 400, "not an object", 0},
	} {
		w := post(t, h, "/v1/readings", test.body)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: %d %s, want %d and %q", test.body, w.Code, w.Body, test.status, test.want)
		}
		if got := items(); len(got) != test.stored {
			t.Errorf("%s: stored %q, want %d", test.body, got, test.stored)
		}
	}
}

// The same key and body have one effect and one answer; another body or an invalid key is refused.
func TestIdempotencyKey(t *testing.T) {
	h, items := serve(t, `{}`)
	const body = `{"device_id":"d","sensor":"s","value":1}`
	for i, test := range []struct {
		url, key, body string
		status, stored int
		replayed       string
	}{
		{"/v1/readings", "k", body, 200, 1, ""},
		{"/v1/readings", "k", body, 200, 0, "true"},
		{"/v1/readings", "k", body + " ", 422, 0, ""},
		{"/v1/readings", "other", body, 200, 1, ""},
		{"/write", "k", "m,host=a f=1 1", 204, 1, ""},
		{"/write", "k", "m,host=a f=1 1", 204, 0, "true"},
		{"/write?precision=s", "k", "m,host=a f=1 1", 422, 0, ""},
		{"/write", "bad", "m f=1", 400, 1, ""},
		{"/write", "bad", "m f=1", 400, 0, "true"},
		{"/v1/readings", "", body, 400, 0, ""},
		{"/v1/readings", strings.Repeat("k", 256), body, 400, 0, ""},
	} {
		w := post(t, h, test.url, test.body, "Idempotency-Key", test.key)
		if got := items(); w.Code != test.status || len(got) != test.stored || w.Header().Get("Idempotent-Replayed") != test.replayed {
			t.Errorf("%d: %d %s, stored %q; want %d, %d", i, w.Code, w.Body, got, test.status, test.stored)
		}
	}
}

func TestLines(t *testing.T) {
	h, items := serve(t, `{}`)
	for _, test := range []struct {
		query, body string
		status      int
		want        string
		stored      string
	}{
		{"", "cpu,host=a usage_idle=98.2,usage_user=1i,ok=true,text=\"x\" 1640995200000000000\n", 204, "", "a cpu_usage_idle 98.2  1640995200000 #0|a cpu_usage_user 1  1640995200000 #1|a cpu_ok 1  1640995200000 #2"},
		{"?precision=s&db=x", "# comment\n\ncpu,cpu=cpu0,host=a idle=1 1640995200\r\n", 204, "", "a cpu_idle,cpu=cpu0 1  1640995200000 #3"},
		{"?precision=ms", "m,device=d f=18446744073709551615u 5", 204, "", "d m_f 1.8446744073709552e+19  5 #0"},
		{"", "m,host=a f=1 1000000\nbroken\nm,host=a f=2 2000000\nm f=1", 400, "partial write: line 2: ", "a m_f 1  1 #4|a m_f 2  2 #5|rejected broken: line 2|rejected m f=1: line 4: it has no tag"},
		{"", "m,host=a f=\"two\nlines\",g=1 1000000\nm,host=a f=1 1000000", 204, "", "a m_g 1  1 #6|a m_f 1  1 #7"},
		{"", "m,host=a f=\"unclosed,g=1 1000000\nm,host=a f=1 1000000", 400, "line 1", "a m_f 1  1 #8|rejected m,host=a f=\"unclosed"},
		{"", `m,host=a f="only text" 1`, 400, "none of its fields", "rejected m,host"},
		{"", "m,host=a,host=b f=1 1", 400, "occurs twice", "rejected"},
		{"", "m,host=a f=NaN 1", 400, "line 1", "rejected"},
		{"?precision=h", "m,host=a f=1 1", 400, "unknown precision", ""},
	} {
		w := post(t, h, "/api/v2/write"+test.query, test.body)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%q: %d %s, want %d and %q", test.body, w.Code, w.Body, test.status, test.want)
		}
		got := items()
		want := strings.Split(test.stored, "|")
		if test.stored == "" {
			want = nil
		}
		if len(got) != len(want) {
			t.Errorf("%q: stored %q, want %q", test.body, got, want)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%q: stored %q, want %q", test.body, got[i], want[i])
			}
		}
	}
}

func TestMessages(t *testing.T) {
	h, items := serve(t, `
topics:
  "site/+device/+sensor": { value: payload }
  "ttn": { preset: ttn }
`)
	w := post(t, h, "/v1/topics/site/d1/temp", "21.5")
	if got := items(); w.Code != 200 || len(got) != 1 || !strings.HasPrefix(got[0], "d1 temp 21.5") {
		t.Errorf("%d %s: %q", w.Code, w.Body, got)
	}
	w = post(t, h, "/v1/topics/ttn", `{"end_device_ids":{"device_id":"e"},"join_accept":{}}`)
	if got := items(); w.Code != 200 || len(got) != 0 || !strings.Contains(w.Body.String(), "ignored") {
		t.Errorf("%d %s: %q", w.Code, w.Body, got)
	}
	w = post(t, h, "/v1/topics/other", "x")
	if got := items(); w.Code != 200 || len(got) != 1 || !strings.HasPrefix(got[0], "rejected x: no rule") || !strings.Contains(w.Body.String(), `"dead_letters":1`) {
		t.Errorf("%d %s: %q", w.Code, w.Body, got)
	}
}

// Compressed bodies are bounded by what they decompress to.
func TestBodies(t *testing.T) {
	h, items := serve(t, `http: { max_body: 1MiB }`)
	zipped := func(body []byte) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(body)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	zst := func(body []byte) string {
		w, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(w.EncodeAll(body, nil))
	}
	one, bomb := []byte(`{"device_id":"d","sensor":"s","value":1}`), bytes.Repeat([]byte(" "), 200<<20)
	for _, test := range []struct {
		encoding, body string
		status         int
	}{
		{"gzip", zipped(one), 200}, {"zstd", zst(one), 200}, {"", string(one), 200},
		{"gzip", zipped(bomb), 413}, {"zstd", zst(bomb), 413}, {"", string(bomb[:2<<20]), 413},
		{"gzip", "nonsense", 400}, {"zstd", "nonsense", 400}, {"gzip", zipped(one)[:20], 400}, {"br", "x", 415},
	} {
		w := post(t, h, "/v1/readings", test.body, "Content-Encoding", test.encoding)
		if w.Code != test.status {
			t.Errorf("%s: %d %s, want %d", test.encoding, w.Code, w.Body, test.status)
		}
		if got := items(); (len(got) > 0) != (test.status == 200) {
			t.Errorf("%s: stored %q", test.encoding, got)
		}
	}
}

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	const token = "0123456789abcdef0123"
	if err := os.WriteFile(path, []byte("# devices\n"+token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, items := serve(t, fmt.Sprintf("http: { tokens_file: %q }", path))
	for header, status := range map[string]int{"": 401, "Bearer x": 401, "Bearer " + token: 200, "Token " + token: 200, token: 401, "Bearer " + token + "x": 401} {
		w := post(t, h, "/v1/readings", `{"device_id":"d","sensor":"s","value":1}`, "Authorization", header)
		if w.Code != status {
			t.Errorf("%q: %d, want %d", header, w.Code, status)
		}
		if got := items(); (len(got) > 0) != (status == 200) {
			t.Errorf("%q: stored %q", header, got)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := readTokens(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: %v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "short", "# only a comment", "with space 0123456789"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readTokens(path); err == nil {
			t.Errorf("tokens %q are accepted", text)
		}
	}
}

// After many wrong tokens, an address has to wait, also with the right one. Requests without a
// token guess nothing.
func TestWrongTokensAreSlowedDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	const token = "0123456789abcdef0123"
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	h, _ := serve(t, fmt.Sprintf("http: { tokens_file: %q }", path))
	send := func(header string) int {
		return post(t, h, "/v1/readings", `{"device_id":"d","sensor":"s","value":1}`, "Authorization", header).Code
	}
	for range 100 {
		if code := send(""); code != http.StatusUnauthorized {
			t.Fatalf("without a token: %d", code)
		}
	}
	if code := send("Bearer " + token); code != http.StatusOK {
		t.Errorf("the right token: %d", code)
	}
	guesses := 0
	for send("Bearer wrong") == http.StatusUnauthorized && guesses < 1000 {
		guesses++
	}
	if guesses < 30 || guesses > 100 {
		t.Errorf("%d guesses", guesses)
	}
	if code := send("Bearer " + token); code != http.StatusTooManyRequests {
		t.Errorf("the right token after too many wrong ones: %d", code)
	}
}

// A full spool answers 429 with Retry-After, and so does a server with too many requests.
func TestFull(t *testing.T) {
	a := answerOf(&spool.FullError{What: "x"})
	if a.Status != http.StatusTooManyRequests {
		t.Errorf("a full spool: %d", a.Status)
	}
	for err, status := range map[error]int{spool.ErrInFlight: 409, spool.ErrKeyBody: 422, spool.ErrTooLarge: 413, spool.ErrClosed: 503, io.EOF: 503} {
		if a := answerOf(fmt.Errorf("wrapped: %w", err)); a.Status != status {
			t.Errorf("%v: %d, want %d", err, a.Status, status)
		}
	}
	cfg := &Config{}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := cfg.OpenSpool(t.TempDir(), spool.Config{MaxDevices: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server, err := newServer(cfg, intake.New(cfg.Mapping(), s), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := server.server.Handler
	for device, status := range []int{200, 429} {
		w := post(t, h, "/v1/readings", fmt.Sprintf(`{"device_id":"d%d","sensor":"s","value":1}`, device))
		if w.Code != status || (w.Header().Get("Retry-After") != "") != (status == 429) {
			t.Errorf("device %d: %d %s", device, w.Code, w.Body)
		}
	}
	server.held.Add(maxHeld)
	if w := post(t, h, "/v1/readings", `{"device_id":"d0","sensor":"s","value":1}`); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("too many bytes: %d %s", w.Code, w.Body)
	}
	if held := server.held.Add(-maxHeld); held != 0 {
		t.Errorf("%d bytes are held after all requests", held)
	}
	for range maxRequests {
		server.busy <- struct{}{}
	}
	if w := post(t, h, "/v1/readings", `{"device_id":"d0","sensor":"s","value":1}`); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("too many requests: %d", w.Code)
	}
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]string{
		`htp: {}`:                             "unknown field",
		`http: { listen: "nonsense" }`:        "http.listen",
		`http: { max_body: 5 bananas }`:       "http.max_body",
		`spool: { max: -1 }`:                  "spool.max",
		`ack: disk`:                           "neither spool nor kafka",
		`metrics: { devices: [a] }`:           "unknown field",
		`topics: { "a/+device": { x: 1 } }`:   "unknown field",
		`topics: { "a": { value: payload } }`: "device is missing",
	} {
		path := filepath.Join(t.TempDir(), "ingest.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for listen, ok := range map[string]bool{":1": true, "127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true, "0.0.0.0:1": false, "192.0.2.1:1": false, "[::]:1": false} {
		c := &Config{HTTP: HTTPConfig{Listen: listen}}
		if err := c.complete(); err != nil {
			t.Fatal(err)
		}
		if err := c.HTTP.checkExposed(false); (err == nil) != ok {
			t.Errorf("%s without tokens: %v", listen, err)
		}
		if err := errors.Join(c.HTTP.checkExposed(true), (&HTTPConfig{Listen: listen, TokensFile: "x"}).checkExposed(false)); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("cpu,host=a usage_idle=98.2,usage_user=1i 1640995200000000000"))
	f.Add([]byte("m,host=a f=\"two\nlines\",g=1 1000000\nm,host=a f=1"))
	cfg := &Config{}
	if err := cfg.complete(); err != nil {
		f.Fatal(err)
	}
	h := &Server{cfg: cfg, intake: intake.New(cfg.Mapping(), nil), now: func() time.Time { return time.UnixMilli(0) }}
	r := httptest.NewRequest(http.MethodPost, "/write?precision=ms", nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		entry, _, err := h.lines(&request{r, body, nil})
		if err != nil {
			t.Fatal(err)
		}
		for i := range entry.Readings {
			if err := entry.Readings[i].Validate(); err != nil {
				t.Fatal(err)
			}
		}
		_ = eachObject(body, func(raw json.RawMessage) error {
			v, err := parseReading(raw, 0)
			if err == nil {
				err = v.Validate()
				if err != nil {
					t.Fatal(err)
				}
			}
			return nil
		})
	})
}

// A message whose device gave its number to an earlier one is acknowledged, and not stored again.
// Messages of other rules are kept as they are.
func TestNumbersOfDevices(t *testing.T) {
	h, items := serve(t, "topics:\n  line/+device: { seq: $.n, boot: $.boot }\n  raw/#: { to: mqtt_raw }\n")
	for i, body := range []string{`{"n":1,"boot":"a","t":1}`, `{"n":1,"boot":"a","t":1}`, `{"n":2,"boot":"a","t":2}`} {
		w := post(t, h, "/v1/topics/line/d1", body)
		if repeated := w.Header().Get("Idempotent-Replayed") == "true"; w.Code != http.StatusOK || repeated != (i == 1) {
			t.Errorf("message %d: %d %s, repeated %v", i, w.Code, w.Body, repeated)
		}
	}
	if w := post(t, h, "/v1/topics/raw/x", "\x00any"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got, want := fmt.Sprint(len(items())), "3"; got != want {
		t.Errorf("%s items, want %s", got, want)
	}
}
