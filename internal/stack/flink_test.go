package stack

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A detached cluster is reopened by its folder, recovers from killed processes, and is stopped.
func TestFlinkIsFoundAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three JVMs: make test runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	started, err := StartFlink(ctx, FlinkOptions{Dir: dir, Detached: true, Memory: 256, Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	if _, err := StartFlink(ctx, FlinkOptions{Dir: dir}); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("a second cluster in the folder: %v", err)
	}
	f, err := OpenFlink(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range f.MetricsAddresses() {
		if text := get(t, "http://"+address+"/metrics"); !strings.Contains(text, "flink_") {
			t.Errorf("no metrics at %s: %.200s", address, text)
		}
	}
	for _, name := range []string{JobManager, TaskManager(0)} {
		if err := f.Kill(name); err != nil {
			t.Fatal(err)
		}
		if pid, ok := f.Running()[name]; ok {
			t.Errorf("%s runs as %d after kill -9", name, pid)
		}
		if err := f.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Await(ctx); err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if running := started.Running(); running[Gateway] != 0 || running[TaskManager(0)] != 0 || running[JobManager] != 0 {
		t.Errorf("%v still run", running)
	}
	if _, err := os.Stat(filepath.Join(dir, "checkpoints")); err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url) //nolint:gosec,noctx // belongs to this process
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
