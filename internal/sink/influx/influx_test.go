package influx

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table plans a pipeline that writes a table.
func table(t *testing.T, url, columns, with string) (*plan.Program, *plan.Table) {
	t.Helper()
	p, err := plan.Compile(fmt.Sprintf(`CREATE TABLE t (%s) WITH ('connector' = 'influxdb', 'url' = '%s', %s);
		CREATE TABLE r WITH ('connector' = 'upsert-kafka', 'topic' = 'r', 'key.format' = 'json', 'value.format' = 'json') LIKE t (EXCLUDING OPTIONS);
		INSERT INTO t SELECT * FROM r`, columns, url, with), "test")
	if err != nil {
		p, err = plan.Compile(fmt.Sprintf(`CREATE TABLE t (%s) WITH ('connector' = 'influxdb', 'url' = '%s', %s);
			CREATE TABLE r WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json') LIKE t (EXCLUDING OPTIONS); INSERT INTO t SELECT * FROM r`, columns, url, with), "test")
	}
	if err != nil {
		t.Fatal(err)
	}
	return p, p.Deliveries()[0]
}

// server keeps the last line of each point, as servers of the line protocol do.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	points  map[string]string // fields, by measurement, tags and time
	queries []string
	// answer, if set, may answer a request itself. accept says whether its lines are kept first.
	answer func(n int, w http.ResponseWriter, lines []string) (accept, answered bool)
	n      int
}

func start(t *testing.T) *server {
	s := &server{points: make(map[string]string)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	s.mu.Lock()
	s.n++
	n := s.n
	s.queries = append(s.queries, r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
	s.mu.Unlock()
	accept, answered := true, false
	if s.answer != nil {
		accept, answered = s.answer(n, w, lines)
	}
	if accept {
		s.mu.Lock()
		for _, l := range lines {
			head, time, _ := cutLast(l, " ")
			key, fields, _ := cutLast(head, " ")
			s.points[key+" "+time] = fields
		}
		s.mu.Unlock()
	}
	if !answered {
		w.WriteHeader(http.StatusNoContent)
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (s *server) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.points
}

func deliver(t *testing.T, at broker.Config, p *plan.Program, of *plan.Table) sink.Snapshot {
	t.Helper()
	return sinktest.Deliver(t, sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{})))
}

// Values are written with their types and escaped; rows that can't be points become dead letters.
func TestLines(t *testing.T) {
	s := start(t)
	p, of := table(t, s.URL, "device STRING, `floor` INT, ok BOOLEAN, n BIGINT, v DOUBLE, f FLOAT, note STRING, ts TIMESTAMP_LTZ(3)", "'measurement' = 'my readings', 'tags' = 'device;floor'")
	at := sinktest.Cluster(t, 1)
	row := func(device, rest string) *kgo.Record {
		base := map[string]string{"floor": "1", "ok": "true", "n": "-9223372036854775808", "v": "21.5", "f": "0.1", "note": `"x"`, "ts": `"2026-11-29 12:00:00.123Z"`}
		for _, kv := range strings.Split(rest, ";") {
			if k, v, ok := strings.Cut(kv, "="); ok {
				base[k] = v
			}
		}
		text := `{"device":` + device
		for _, k := range []string{"floor", "ok", "n", "v", "f", "note", "ts"} {
			text += `,"` + k + `":` + base[k]
		}
		return sinktest.Record(0, "", text+"}")
	}
	sinktest.Write(t, at,
		row(`"a"`, ""), row(`"a, b=c"`, `note="say \"hi\" \\ there"`), row("null", "floor=null"), row(`"b\\,"`, "v=1e300;n=null"), row(`"c"`, "ok=false;v=-0.0;f=1e-7"),
		row(`""`, ""), row(`"x\\"`, ""), row(`"x\ny"`, ""), row(`"d"`, `note="two\nlines"`), row(`"e"`, "ts=null"), row(`"f"`, "ok=null;n=null;v=null;f=null;note=null"), row(`"g"`, `v="NaN"`), row(`"h"`, `ts="2300-01-01 00:00:00Z"`))
	done := deliver(t, at, p, of)
	const time = " 1795953600123000000"
	want := map[string]string{
		`my\ readings,device=a,floor=1` + time:         `ok=true,n=-9223372036854775808i,v=21.5,f=0.1,note="x"`,
		`my\ readings,device=a\,\ b\=c,floor=1` + time: "",
		`my\ readings` + time:                          `ok=true,n=-9223372036854775808i,v=21.5,f=0.1,note="x"`,
		`my\ readings,device=b\\,,floor=1` + time:      `ok=true,v=1e+300,f=0.1,note="x"`,
		`my\ readings,device=c,floor=1` + time:         `ok=false,n=-9223372036854775808i,v=-0,f=1e-07,note="x"`,
	}
	delete(want, `my\ readings,device=a\,\ b\=c,floor=1`+time)
	got := s.all()
	for key, fields := range got { // the simple server splits at the spaces of a string
		if strings.Contains(fields, "there") {
			delete(got, key)
			if full := key + fields; !strings.Contains(full, `my\ readings,device=a\,\ b\=c,floor=1 ok=true,n=-9223372036854775808i,v=21.5,f=0.1,note="say \"hi\" \\`) {
				t.Errorf("%s", full)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	letters := sinktest.Letters(t, at)
	for i, reason := range []string{"empty string can't be the value of a tag", `ends with \`, "line breaks", "line breaks", "needs a time", "all fields are NULL", "", "between the years"} {
		if i >= len(letters) || !strings.Contains(letters[i], reason) {
			t.Errorf("dead letter %d is not %q:\n%s", i, reason, strings.Join(letters, "\n"))
		}
	}
	if done.DeadLetters != 8 {
		t.Errorf("%+v", done)
	}
}

// The requests are those of the two versions of the API.
func TestRequests(t *testing.T) {
	t.Setenv("INFLUX_TOKEN", "s3cret-token")
	for _, c := range []struct{ path, with, want string }{
		{"", "'token' = '${env:INFLUX_TOKEN}', 'org' = 'o', 'bucket' = 'b c'", "/api/v2/write?bucket=b+c&org=o&precision=ns Token s3cret-token"},
		{"", "'database' = 'd', 'retention-policy' = 'short', 'precision' = 'us', 'username' = 'u', 'password' = 'p'", "/write?db=d&precision=u&rp=short Basic dTpw"},
		{"/insert/0/influx/", "'precision' = 'ms'", "/insert/0/influx/write?precision=ms "},
		{"/api/v2/write?bucket=b", "'headers.Authorization' = 'Bearer ${env:INFLUX_TOKEN}'", "/api/v2/write?bucket=b Bearer s3cret-token"},
	} {
		s := start(t)
		p, of := table(t, s.URL+c.path, "v INT, ts TIMESTAMP(3)", "'measurement' = 'm', "+c.with)
		at := sinktest.Cluster(t, 1)
		sinktest.Write(t, at, sinktest.Record(0, "", `{"v":1,"ts":"2026-11-29 12:00:00.1"}`))
		deliver(t, at, p, of)
		if diff := cmp.Diff([]string{c.want}, s.queries); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// Whatever goes wrong, each point has its last version in the end, and points that the server
// refuses are dead letters with its error, alone.
func TestServerMisbehaves(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := start(t)
	s.answer = func(n int, w http.ResponseWriter, lines []string) (accept, answered bool) {
		for _, l := range lines {
			if strings.Contains(l, "k=k13,") || strings.Contains(l, "k=k13 ") { // a partial write
				http.Error(w, `{"error":"partial write: field type conflict: input field \"v\" on measurement \"m\" is type integer dropped=1"}`, http.StatusBadRequest)
				return len(lines) > 1, true
			}
		}
		s.mu.Lock()
		what := random.IntN(30) // a refused row takes about ten requests, all of which must succeed
		s.mu.Unlock()
		switch {
		case n == 1:
			w.Header().Set("Retry-After", "0")
			http.Error(w, "busy", http.StatusTooManyRequests)
			return false, true
		case what == 0:
			http.Error(w, "broken", http.StatusInternalServerError)
			return random.IntN(2) == 0, true
		case what == 1: // the connection ends after the points are accepted
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return true, true
		}
		return true, false
	}
	p, of := table(t, s.URL, "k STRING, v BIGINT NOT NULL, ts TIMESTAMP_LTZ(3), PRIMARY KEY (k, ts) NOT ENFORCED", "'measurement' = 'm', 'tags' = 'k'")
	at := sinktest.Cluster(t, 3)
	want := make(map[string]string)
	for round := range 4 {
		var all []*kgo.Record
		for i := range 40 {
			k, ts := fmt.Sprintf("k%02d", i), "2026-11-29 12:00:00Z"
			all = append(all, sinktest.Record(int32(i%3), fmt.Sprintf(`{"k":%q,"ts":%q}`, k, ts), fmt.Sprintf(`{"k":%q,"v":%d,"ts":%q}`, k, round, ts)))
			want["m,k="+k+" 1795953600000000000"] = fmt.Sprintf("v=%di", round)
		}
		sinktest.Write(t, at, all...)
		c := sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{}))
		c.MaxRows = 25
		sinktest.Deliver(t, c)
	}
	got := s.all()
	delete(want, "m,k=k13 1795953600000000000")
	delete(got, "m,k=k13 1795953600000000000")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	letters := sinktest.Letters(t, at)
	for _, l := range letters {
		if !strings.Contains(l, `"k13"`) || !strings.Contains(l, "field type conflict") {
			t.Errorf("dead letter: %s", l)
		}
	}
	if len(letters) == 0 {
		t.Error("no dead letters")
	}
}

// A deleted row, and a NULL that would leave an older value in place, are dead letters.
func TestUpdates(t *testing.T) {
	s := start(t)
	p, of := table(t, s.URL, "k STRING, v BIGINT, ts TIMESTAMP_LTZ(3), PRIMARY KEY (k, ts) NOT ENFORCED", "'measurement' = 'm', 'tags' = 'k'")
	at := sinktest.Cluster(t, 1)
	put := func(k, v string) *kgo.Record {
		return sinktest.Record(0, fmt.Sprintf(`{"k":%q,"ts":"2026-11-29 12:00:00Z"}`, k), v)
	}
	sinktest.Write(t, at, put("a", `{"k":"a","v":1,"ts":"2026-11-29 12:00:00Z"}`), put("b", `{"k":"b","v":1,"ts":"2026-11-29 12:00:00Z"}`))
	deliver(t, at, p, of)
	sinktest.Write(t, at, put("a", ""), put("b", `{"k":"b","v":null,"ts":"2026-11-29 12:00:00Z"}`))
	deliver(t, at, p, of)
	letters := strings.Join(sinktest.Letters(t, at), "\n")
	if !strings.Contains(letters, "can't delete its point") || !strings.Contains(letters, "can't remove the value") {
		t.Error(letters)
	}
}

// What concerns every request stops the sink with a message that names it, and no secret.
func TestRefusedRequests(t *testing.T) {
	t.Setenv("INFLUX_TOKEN", "s3cret-token")
	for status, what := range map[int]string{401: "'token'", 404: "'bucket'", 302: "redirects are not followed", 200: "instead of 204"} {
		s := start(t)
		s.answer = func(_ int, w http.ResponseWriter, _ []string) (bool, bool) {
			if status == 302 {
				w.Header().Set("Location", "https://elsewhere.example/?token=s3cret-token")
			}
			w.WriteHeader(status)
			fmt.Fprint(w, "no access with s3cret-token")
			return false, true
		}
		p, of := table(t, s.URL, "v INT, ts TIMESTAMP(3)", "'measurement' = 'm', 'bucket' = 'b', 'token' = '${env:INFLUX_TOKEN}'")
		at := sinktest.Cluster(t, 1)
		sinktest.Write(t, at, sinktest.Record(0, "", `{"v":1,"ts":"2026-11-29 12:00:00.1"}`))
		c := sinktest.Config(at, p, of, New(at, p.Name, of, secret.Source{}))
		now := refused(t, c)
		if !strings.Contains(now.Reason, what) || strings.Contains(now.Reason, "s3cret") {
			t.Errorf("%d: %s", status, now.Reason)
		}
	}
}

// refused runs a sink until it is refused.
func refused(t *testing.T, c sink.Config) (now sink.Snapshot) {
	t.Helper()
	ctx, stop := contextOf(t)
	done := make(chan struct{})
	go func() { sink.Run(ctx, c); close(done) }()
	for now.Phase != sink.Refused && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
		now = c.Status.Snapshot()
	}
	stop()
	<-done
	return now
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 20*time.Second)
}
