package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/internal/retry"
)

// registryOf waits until the registry of a running weir up responds, and returns a client.
func registryOf(t *testing.T, up *weir, dir string) *registry.Client {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if url, _ := embedded.Find(dir); url != "" {
			c, err := registry.NewClient(registry.Config{URLs: []string{url}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Subjects(t.Context()); err == nil {
				return c
			}
			c.Close()
		}
		if err := retry.Sleep(t.Context(), 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	up.kill()
	t.Fatalf("the registry does not answer\n%s", up.errOut.String())
	return nil
}

func TestSchemaCommands(t *testing.T) {
	dir := t.TempDir()
	up := start(t, "up", "--data-dir="+dir, "--listen=127.0.0.1:0", "--rate=10")
	registryOf(t, up, dir).Close()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--file=" + path
	}
	v1 := file("v1.avsc", `{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`)
	v2 := file("v2.avsc", `{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}`)
	bad := file("bad.avsc", `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`)
	proto := file("v1.proto", "syntax = \"proto3\";\nmessage M {\n  int32 a = 1;\n}\n")
	for _, c := range []struct {
		code   int
		output string
		args   []string
	}{
		{exitOK, "weir.SensorReading", []string{"list"}},
		{exitOK, "r: version 1, id 2", []string{"register", "r", v1}},
		{exitOK, "r: version 1, id 2", []string{"register", "r", v1}},
		{exitOK, "r: compatible (BACKWARD)", []string{"check", "r", v2}},
		{exitCheck, "NOT compatible", []string{"check", "r", bad}},
		{exitCheck, "the new schema cannot read what version 1 wrote: TYPE_MISMATCH", []string{"check", "r", bad}},
		{exitFailed, "(409)", []string{"register", "r", bad}},
		{exitOK, "r: FULL", []string{"compatibility", "set", "r", "full"}},
		{exitCheck, "version 1 cannot read what the new schema writes", []string{"check", "r", v2}},
		{exitOK, "r: NONE", []string{"compatibility", "set", "r", "NONE"}},
		{exitOK, "r: NONE", []string{"compatibility", "get", "r"}},
		{exitOK, "all subjects: BACKWARD", []string{"compatibility", "get"}},
		{exitOK, "r: version 2, id 3", []string{"register", "r", v2}},
		{exitOK, "-       \"type\": \"int\"\n+       \"type\": \"long\"", []string{"diff", "r", "1", "2"}},
		{exitOK, "the older can read data of the newer (forward): NO", []string{"diff", "r", "1", "2"}},
		{exitOK, "string", []string{"diff", "r", "latest", bad}},
		{exitOK, `"type": "long"`, []string{"show", "r"}},
		{exitOK, `"type": "int"`, []string{"show", "--id=2"}},
		{exitOK, `"version":1`, []string{"show", "r", "1", "-o=json"}},
		{exitOK, "m: version 1, id 4", []string{"register", "m", proto}},
		{exitOK, "message M {\n  int32 a = 1;\n}", []string{"show", "m"}},
		{exitOK, "deleted r, versions 1", []string{"delete", "r", "1"}},
		{exitFailed, "(40402)", []string{"show", "r", "1"}},
		{exitOK, "deleted r, versions 2", []string{"delete", "r"}},
		{exitOK, "deleted r, versions 1 2", []string{"delete", "r", "--permanent"}},
		{exitFailed, "(40401)", []string{"show", "r"}},
		{exitFailed, "(40403)", []string{"show", "--id=2"}},
		{exitUsage, "needs a subject", []string{"show"}},
		{exitUsage, "unknown compatibility level", []string{"compatibility", "set", "SIDEWARD"}},
		{exitUsage, "set --type", []string{"register", "r", file("schema.txt", "")}},
		{exitFailed, "no answer", []string{"list", "--registry=http://127.0.0.1:1"}},
	} {
		code, stdout, stderr := do(t, append([]string{"schema", "--data-dir=" + dir}, c.args...)...)
		if code != c.code || !strings.Contains(stdout+stderr, c.output) {
			t.Errorf("weir schema %s: exit %d, want %d, with %q:\n%s%s", strings.Join(c.args, " "), code, c.code, c.output, stdout, stderr)
		}
	}
	var listed []struct{ Subject string }
	if err := json.Unmarshal([]byte(must(t, "schema", "list", "--data-dir="+dir, "-o=json")), &listed); err != nil || len(listed) != 2 {
		t.Errorf("got %v, %v", listed, err)
	}
}

// registered records the requests and acknowledgements of a registry's clients.
type registered struct {
	mu    sync.Mutex
	acked map[string]int // subject → id
	tried map[string]bool
}

// TestRegistrySurvivesKills registers schemas while weir up is killed repeatedly. After each start,
// every acknowledged schema exists with the same id, and no id belongs to two schemas.
func TestRegistrySurvivesKills(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	all := &registered{acked: make(map[string]int), tried: make(map[string]bool)}
	for round := range kills + 1 {
		up := start(t, "up", "--data-dir="+dir, "--listen=127.0.0.1:0", "--rate=200", "--devices=5")
		c := registryOf(t, up, dir)
		all.verify(t, c)
		if round == kills {
			c.Close()
			break
		}
		var workers sync.WaitGroup
		for w := range 4 {
			workers.Go(func() { all.register(t, c, round, w) })
		}
		if err := retry.Sleep(t.Context(), time.Duration(50+rnd.IntN(400))*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		up.kill()
		workers.Wait()
		c.Close()
		if err := os.Remove(filepath.Join(dir, "registry.addr")); err != nil { // ensures that registryOf waits for the next process
			t.Fatal(err)
		}
	}
	if len(all.acked) < kills {
		t.Errorf("only %d registrations in %d rounds", len(all.acked), kills)
	}
	t.Logf("%d registrations acknowledged of %d, %d kills", len(all.acked), len(all.tried), kills)
}

func killSchema(subject string) *registry.Schema {
	return &registry.Schema{Type: registry.Avro, Text: fmt.Sprintf(`{"type":"record","name":"%s","fields":[]}`, subject)}
}

// register registers one schema after another until the registry is down.
func (r *registered) register(t *testing.T, c *registry.Client, round, worker int) {
	for n := 0; ; n++ {
		subject := fmt.Sprintf("r%d_%d_%d", round, worker, n)
		r.mu.Lock()
		r.tried[subject] = true
		r.mu.Unlock()
		id, err := c.Register(t.Context(), subject, killSchema(subject))
		if err != nil {
			if !errors.Is(err, registry.ErrUnavailable) {
				t.Errorf("%s: %v", subject, err)
			}
			return
		}
		r.mu.Lock()
		r.acked[subject] = id
		r.mu.Unlock()
	}
}

func (r *registered) verify(t *testing.T, c *registry.Client) {
	t.Helper()
	there, err := c.Subjects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found, owner := make(map[string]int), make(map[int]string)
	for _, subject := range there {
		v, err := c.Latest(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(subject, "r") && v.Schema.Text != killSchema(subject).Text {
			t.Errorf("%s has the schema %s", subject, v.Schema.Text)
		}
		if other, taken := owner[v.Schema.ID]; taken && !strings.HasPrefix(subject, "s") {
			t.Errorf("%s and %s have the id %d", subject, other, v.Schema.ID)
		}
		found[subject], owner[v.Schema.ID] = v.Schema.ID, subject
		if !r.tried[subject] && strings.HasPrefix(subject, "r") {
			t.Errorf("nobody registered %s", subject)
		}
	}
	for subject, id := range r.acked {
		if found[subject] != id {
			t.Errorf("%s was acknowledged with id %d, and has %d now", subject, id, found[subject])
		}
	}
}
