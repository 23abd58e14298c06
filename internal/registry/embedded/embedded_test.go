package embedded_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	brokers "weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/internal/registry/registrytest"
)

// serveBroker starts the broker of a directory.
func serveBroker(t *testing.T, dir string) *brokers.Broker {
	t.Helper()
	b, err := brokers.Open(brokers.Config{Dir: dir, MaintainEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func config(b *brokers.Broker) embedded.Config {
	return embedded.Config{Broker: broker.Config{Brokers: []string{b.Addr()}}}
}

func open(t *testing.T, c embedded.Config) *embedded.Registry {
	t.Helper()
	r, err := embedded.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func start(t *testing.T) (*brokers.Broker, *embedded.Registry) {
	t.Helper()
	b := serveBroker(t, t.TempDir())
	r := open(t, config(b))
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	return b, r
}

func clientOf(t *testing.T, r *embedded.Registry) *registry.Client {
	t.Helper()
	c, err := registry.NewClient(registry.Config{URLs: []string{r.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestSuite(t *testing.T) {
	_, r := start(t)
	registrytest.Run(t, registrytest.Target{URL: r.URL(), Prefix: "suite-"})
}

func avroRecord(n int) *registry.Schema {
	return &registry.Schema{Type: registry.Avro, Text: fmt.Sprintf(`{"type":"record","name":"R%d","fields":[]}`, n)}
}

// Registrations survive a restart, with compaction in between, and no id is reused.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	want := make(map[string]int)
	highest := 0
	for round := range 3 {
		b := serveBroker(t, dir)
		r := open(t, config(b))
		c := clientOf(t, r)
		for subject, id := range want {
			if v, err := c.Latest(t.Context(), subject); err != nil || v.Schema.ID != id {
				t.Errorf("round %d: %s: got %v, %v, want id %d", round, subject, v, err, id)
			}
		}
		for i := range 5 {
			subject := fmt.Sprintf("s%d-%d", round, i)
			id, err := c.Register(t.Context(), subject, avroRecord(10*round+i))
			if err != nil || id <= highest {
				t.Fatalf("round %d: id %d, %v; the highest was %d", round, id, err, highest)
			}
			want[subject], highest = id, id
		}
		gone := fmt.Sprintf("s%d-4", round) // with the highest id
		for _, permanent := range []bool{false, true} {
			if _, err := c.Delete(t.Context(), gone, 0, permanent); err != nil {
				t.Fatal(err)
			}
		}
		delete(want, gone)
		if err := b.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// Two registries on one topic: the newer one fences the older, whose change is rejected, neither
// lost nor duplicated; a registry that takes over rereads the topic before it writes.
func TestOneWriter(t *testing.T) {
	b, older := start(t)
	if _, err := clientOf(t, older).Register(t.Context(), "a", avroRecord(1)); err != nil {
		t.Fatal(err)
	}
	newer := open(t, config(b))
	t.Cleanup(func() { _ = newer.Close() })
	id, err := clientOf(t, newer).Register(t.Context(), "b", avroRecord(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clientOf(t, older).Register(t.Context(), "c", avroRecord(3)); !errors.Is(err, registry.ErrUnavailable) {
		t.Fatalf("the older writes: %v", err)
	}
	again, err := clientOf(t, older).Register(t.Context(), "c", avroRecord(3)) // takes over, after reading the newer one's records
	if err != nil || again <= id {
		t.Errorf("got id %d, %v, want one above %d", again, err, id)
	}
	if v, err := clientOf(t, older).Latest(t.Context(), "b"); err != nil || v.Schema.ID != id {
		t.Errorf("got %v, %v", v, err)
	}
}

// The records have the format of Confluent's registry, and their keys are the same byte for byte.
func TestTopicFormat(t *testing.T) {
	b, r := start(t)
	c := clientOf(t, r)
	for _, level := range []string{"", "a"} {
		if err := c.SetCompatibility(t.Context(), level, "FULL"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Register(t.Context(), "a", avroRecord(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Register(t.Context(), "p", &registry.Schema{Type: registry.Protobuf, Text: `syntax = "proto3"; message M {}`}); err != nil {
		t.Fatal(err)
	}
	for _, permanent := range []bool{false, true} {
		if _, err := c.Delete(t.Context(), "a", 0, permanent); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := broker.ReadAll(t.Context(), broker.Config{Brokers: []string{b.Addr()}}, embedded.Topic, nil, func(rec *kgo.Record) error {
		value := "null"
		if rec.Value != nil {
			value = string(rec.Value)
		}
		got = append(got, string(rec.Key)+" "+value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"keytype":"CONFIG","subject":null,"magic":0} {"compatibilityLevel":"FULL"}`,
		`{"keytype":"CONFIG","subject":"a","magic":0} {"subject":"a","compatibilityLevel":"FULL"}`,
		`{"keytype":"SCHEMA","subject":"a","version":1,"magic":1} {"subject":"a","version":1,"id":1,"schema":"{\"type\":\"record\",\"name\":\"R1\",\"fields\":[]}","deleted":false}`,
		`{"keytype":"SCHEMA","subject":"p","version":1,"magic":1} {"subject":"p","version":1,"id":2,"schemaType":"PROTOBUF","schema":"syntax = \"proto3\"; message M {}","deleted":false}`,
		`{"keytype":"DELETE_SUBJECT","subject":"a","magic":0} {"subject":"a","version":1}`,
		`{"keytype":"CONFIG","subject":"a","magic":0} null`,
		`{"keytype":"SCHEMA","subject":"a","version":1,"magic":1} null`,
		`{"keytype":"NOOP","magic":0} {"maxId":2}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A registry can take over a topic that Confluent's registry has written.
func TestTakeOver(t *testing.T) {
	b := serveBroker(t, t.TempDir())
	client, err := broker.Connect(t.Context(), broker.Config{Brokers: []string{b.Addr()}}, kgo.DefaultProduceTopic(embedded.Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topic := broker.Topic{Name: embedded.Topic, Partitions: 1, CleanupPolicy: "compact"}
	if err := broker.EnsureTopics(t.Context(), kadm.NewClient(client), []broker.Topic{topic}); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]string{
		{`{"keytype":"NOOP","magic":0}`, ``},
		{`{"keytype":"SCHEMA","subject":"a","version":1,"magic":1}`, `{"subject":"a","version":1,"id":41,"md5":"xyz=","schema":"\"string\"","deleted":false}`},
		{`{"keytype":"SCHEMA","subject":"b","version":3,"magic":1}`, `{"subject":"b","version":3,"id":42,"schemaType":"JSON","schema":"{}","deleted":true}`},
		{`{"keytype":"CONFIG","subject":"a","magic":0}`, `{"subject":"a","compatibilityLevel":"NONE","normalize":true}`},
		{`{"keytype":"CONTEXT","tenant":"default","context":".","magic":0}`, `{"tenant":"default","context":"."}`},
	} {
		rec := &kgo.Record{Key: []byte(r[0])}
		if r[1] != "" {
			rec.Value = []byte(r[1])
		}
		if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, config(b))
	t.Cleanup(func() { _ = errors.Join(r.Close(), b.Close()) })
	c := clientOf(t, r)
	if s, err := c.Schema(t.Context(), 41); err != nil || s.Text != `"string"` {
		t.Errorf("got %v, %v", s, err)
	}
	if level, err := c.Compatibility(t.Context(), "a"); err != nil || level != "NONE" {
		t.Errorf("got %s, %v", level, err)
	}
	if id, err := c.Register(t.Context(), "c", &registry.Schema{Type: registry.Avro, Text: `{"type":"string"}`}); err != nil || id != 41 {
		t.Errorf("the schema that is there: got %d, %v", id, err)
	}
	if id, err := c.Register(t.Context(), "c", avroRecord(1)); !errors.Is(err, registry.ErrIncompatible) {
		t.Errorf("got %d, %v", id, err)
	}
	if id, err := c.Register(t.Context(), "d", avroRecord(1)); err != nil || id != 43 {
		t.Errorf("a new schema: got %d, %v", id, err)
	}
}

// Concurrent registrations: each schema gets one id, each id one schema.
func TestConcurrentRegistration(t *testing.T) {
	_, r := start(t)
	c := clientOf(t, r)
	var mu sync.Mutex
	seen := make(map[int]int)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for n := range 12 {
				id, err := c.Register(t.Context(), fmt.Sprintf("w%d-%d", worker, n), avroRecord(n))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if was, ok := seen[id]; ok && was != n {
					t.Errorf("id %d is schema %d and %d", id, was, n)
				}
				seen[id] = n
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(seen) != 12 {
		t.Errorf("%d ids for 12 schemas", len(seen))
	}
}

func TestImport(t *testing.T) {
	_, r := start(t)
	put := func(path, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, r.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(path, "/subjects") {
			req.Method = http.MethodPost
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, s := range []struct {
		path, body string
		want       int
	}{
		{"/subjects/a/versions", `{"schema":"\"int\"","id":7}`, 422},
		{"/mode", `{"mode":"IMPORT"}`, 200},
		{"/subjects/a/versions", `{"schema":"\"int\""}`, 422},
		{"/subjects/a/versions", `{"schema":"\"int\"","id":7,"version":3}`, 200},
		{"/subjects/a/versions", `{"schema":"\"long\"","id":7}`, 422},
		{"/mode", `{"mode":"READONLY"}`, 200},
		{"/subjects/a/versions", `{"schema":"\"long\""}`, 422},
		{"/mode", `{"mode":"SOMETIMES"}`, 422},
		{"/mode", `{"mode":"READWRITE"}`, 200},
		{"/subjects/b/versions", `{"schema":"\"long\""}`, 200},
	} {
		if got := put(s.path, s.body); got != s.want {
			t.Errorf("%s %s: got %d, want %d", s.path, s.body, got, s.want)
		}
	}
	v, err := clientOf(t, r).Latest(t.Context(), "a")
	if err != nil || v.Version != 3 || v.Schema.ID != 7 {
		t.Errorf("got %+v, %v", v, err)
	}
	if id, err := clientOf(t, r).Register(t.Context(), "b", &registry.Schema{Type: registry.Avro, Text: `"long"`}); err != nil || id != 8 {
		t.Errorf("got %d, %v", id, err)
	}
}

func TestHostileRequests(t *testing.T) {
	b := serveBroker(t, t.TempDir())
	cfg := config(b)
	cfg.MaxBody = 4 << 20
	r := open(t, cfg)
	t.Cleanup(func() { _ = errors.Join(r.Close(), b.Close()) })
	post := func(body string, header ...string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL()+"/subjects/a/versions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		req.Host = req.Header.Get("Host")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	deep := strings.Repeat(`{\"type\":\"array\",\"items\":`, 5000) + `\"int\"` + strings.Repeat("}", 5000)
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"no JSON":          {`{`, 400},
		"nothing":          {``, 400},
		"deep":             {`{"schema":"` + deep + `"}`, 422},
		"deep body":        {strings.Repeat("[", 1<<20), 400},
		"large schema":     {`{"schema":"` + strings.Repeat("x", registry.MaxText+1) + `"}`, 422},
		"large body":       {`{"schema":"` + strings.Repeat("x", 5<<20) + `"}`, 422},
		"refers to itself": {`{"schema":"\"int\"","references":[{"name":"a","subject":"a","version":-1}]}`, 422},
		"a local file":     {`{"schemaType":"JSON","schema":"{\"$ref\":\"file:///etc/hostname\"}"}`, 422},
	} {
		if got := post(c.body); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	if got := post(`{"schema":"\"int\""}`, "Host", "evil.example", "Origin", "http://evil.example", "Sec-Fetch-Site", "same-origin"); got != http.StatusMisdirectedRequest {
		t.Errorf("the name of a web page: status %d", got)
	}
	if got := post(`{"schema":"\"int\""}`, "Origin", "http://elsewhere.example"); got != http.StatusForbidden {
		t.Errorf("a cross-origin page: got %d", got)
	}
	c := clientOf(t, r)
	if subjects, err := c.Subjects(t.Context()); err != nil || len(subjects) != 0 {
		t.Errorf("got %v, %v", subjects, err)
	}
}

func TestAddress(t *testing.T) {
	b := serveBroker(t, t.TempDir())
	t.Cleanup(func() { _ = b.Close() })
	cfg := config(b)
	cfg.Dir = t.TempDir()
	r := open(t, cfg)
	if got, _ := embedded.Find(cfg.Dir); got != r.URL() {
		t.Errorf("found %q, want %q", got, r.URL())
	}
	taken := cfg
	taken.Addr = r.Addr()
	if _, err := embedded.Open(t.Context(), taken); err == nil || !strings.Contains(err.Error(), "--registry-listen") {
		t.Errorf("taken address: got %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "registry.addr")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the address file was not removed: %v", err)
	}
}
