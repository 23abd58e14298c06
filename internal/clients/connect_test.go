package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/stack"
)

// A standalone worker of Kafka Connect copies a file through a topic to another file, is stopped,
// and goes on where it was: the files are equal. Exactly-once sources need a distributed worker
// (KIP-618), so the stop is a clean one.
func TestConnectCopiesFile(t *testing.T) {
	needsAll(t)
	needsTools(t, "java", "mvn")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	broker := serveEmbedded(t)
	createTopics(t, broker, 1, "connect-lines")
	dir := t.TempDir()
	w := &worker{t: t, dir: dir, source: filepath.Join(dir, "source.txt"), sink: filepath.Join(dir, "sink.txt")}
	w.properties("worker", "bootstrap.servers="+broker.Address(), "offset.storage.file.filename="+filepath.Join(dir, "offsets"),
		"key.converter=org.apache.kafka.connect.storage.StringConverter", "value.converter=org.apache.kafka.connect.storage.StringConverter",
		"offset.flush.interval.ms=500", "listeners=http://127.0.0.1:0", "plugin.discovery=only_scan")
	w.properties("source", "name=source", "connector.class=org.apache.kafka.connect.file.FileStreamSourceConnector",
		"tasks.max=1", "file="+w.source, "topic=connect-lines")
	w.properties("sink", "name=sink", "connector.class=org.apache.kafka.connect.file.FileStreamSinkConnector",
		"tasks.max=1", "file="+w.sink, "topics=connect-lines", "consumer.override.auto.offset.reset=earliest")
	for range 2 {
		w.append(500)
		cmd := w.start(ctx)
		w.append(500)
		w.await(ctx)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // "exit status 143"
	}
	w.await(ctx)
}

// worker is a standalone worker of Kafka Connect.
type worker struct {
	t                 *testing.T
	dir, source, sink string
	lines             []string
}

func (w *worker) properties(name string, lines ...string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *worker) start(ctx context.Context) *exec.Cmd {
	w.t.Helper()
	cmd, err := stack.ConnectTool(ctx, "256m", filepath.Join(w.dir, "worker"), filepath.Join(w.dir, "source"), filepath.Join(w.dir, "sink"))
	if err != nil {
		w.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(w.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close() // the worker has its own descriptor
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has exited unless the test failed
	return cmd
}

// append appends n lines to the source.
func (w *worker) append(n int) {
	w.t.Helper()
	for range n {
		w.lines = append(w.lines, fmt.Sprint("line ", len(w.lines)))
	}
	f, err := os.OpenFile(w.source, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(w.lines[len(w.lines)-n:], "\n") + "\n"); err != nil {
		w.t.Fatal(err)
	}
}

// await waits until the sink has as many lines as the source, and requires that they are equal.
func (w *worker) await(ctx context.Context) {
	w.t.Helper()
	want := strings.Join(w.lines, "\n") + "\n"
	for deadline := time.Now().Add(90 * time.Second); ; {
		have, err := os.ReadFile(w.sink)
		if err == nil && len(have) >= len(want) {
			if string(have) != want {
				w.t.Errorf("the sink has %d bytes, the source %d", len(have), len(want))
			}
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(w.dir, "log")) // only for the message
			w.t.Fatalf("the sink has %d of %d bytes after 90 s; the worker's log:\n%s", len(have), len(want), lastLines(string(log), 20))
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			w.t.Fatal(err)
		}
	}
}
