package clients

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/stack"
)

// A Kafka Streams application counts words exactly once, with stores, changelogs and a repartition
// topic. It is killed, loses its local state, and the broker is killed while it runs: all counts
// are exact.
func TestStreamsCountsExactly(t *testing.T) {
	needsTools(t, "java", "javac", "mvn")
	countWords(t, serveEmbedded(t))
}

// The control of TestStreamsCountsExactly: the same on real Kafka.
func TestStreamsCountsExactlyOnKafka(t *testing.T) {
	needsAll(t)
	needsTools(t, "java", "javac", "mvn")
	countWords(t, realKafka(t))
}

func countWords(t *testing.T, c cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	createTopics(t, c, 3, "lines", "counts", "windows")
	classes := compileJava(ctx, t, "StreamsCount")
	w := &wordCount{t: t, broker: c, want: make(map[string]map[string]int64)}
	a := w.start(ctx, classes, t.TempDir())
	w.produce(ctx, 2000)
	w.awaitCounts(ctx)
	w.produce(ctx, 2000)
	a.kill(t) // while it works
	if err := c.KillBroker(); err != nil {
		t.Fatal(err)
	}
	if err := c.StartBroker(ctx); err != nil {
		t.Fatal(err)
	}
	b := w.start(ctx, classes, t.TempDir()) // the state comes from the changelogs
	w.produce(ctx, 2000)
	if err := c.KillBroker(); err != nil {
		t.Fatal(err)
	}
	if err := c.StartBroker(ctx); err != nil {
		t.Fatal(err)
	}
	w.produce(ctx, 2000)
	w.awaitCounts(ctx)
	b.kill(t)
}

// application is a running StreamsCount.
type application struct {
	cmd *exec.Cmd
	in  io.Closer // it stops at the end of its standard input, so also when the test's process exits
}

func (a *application) kill(t *testing.T) {
	t.Helper()
	if err := a.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = a.cmd.Wait() // "signal: killed"
}

// wordCount knows what StreamsCount should count.
type wordCount struct {
	t      *testing.T
	broker cluster
	lines  int
	want   map[string]map[string]int64 // topic, key → count
}

func (w *wordCount) start(ctx context.Context, classes, state string) *application {
	w.t.Helper()
	cmd, err := stack.StreamsTool(ctx, "384m", classes, "StreamsCount", w.broker.Address(), state)
	if err != nil {
		w.t.Fatal(err)
	}
	a := &application{cmd: cmd}
	if a.in, err = cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(w.t.TempDir(), "streams.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill() // most are dead already
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && w.t.Failed() {
			w.t.Logf("the application's log:\n%s", lastLines(string(text), 30))
		}
	})
	return a
}

// produce writes n lines of three words, with event times 100 ms apart.
func (w *wordCount) produce(ctx context.Context, n int) {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.broker.Address()), kgo.DefaultProduceTopic("lines"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	start := time.Now().Truncate(24 * time.Hour)
	var records []*kgo.Record
	for ; n > 0; n-- {
		i := w.lines
		w.lines++
		at := start.Add(time.Duration(i) * 100 * time.Millisecond)
		words := []string{fmt.Sprint("a", i%7), fmt.Sprint("b", i%31), fmt.Sprint("c", i%211)}
		for _, word := range words {
			w.count("counts", word)
			w.count("windows", fmt.Sprint(word, "@", at.Truncate(10*time.Second).UnixMilli()))
		}
		records = append(records, &kgo.Record{Key: fmt.Append(nil, i), Value: []byte(strings.Join(words, " ")), Timestamp: at})
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wordCount) count(topic, key string) {
	if w.want[topic] == nil {
		w.want[topic] = make(map[string]int64)
	}
	w.want[topic][key]++
}

// awaitCounts waits until the last committed counts are right, and requires that no count ever went
// down or over.
func (w *wordCount) awaitCounts(ctx context.Context) {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.broker.Address()), kgo.ConsumeTopics("counts", "windows"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	have := map[string]map[string]int64{"counts": {}, "windows": {}}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for wrong := w.wrong(have); wrong != ""; wrong = w.wrong(have) {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			w.t.Fatalf("after 90 s: %s", wrong)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			key, n := string(r.Key), int64(binary.BigEndian.Uint64(r.Value)) //nolint:gosec // a Java long
			if before := have[r.Topic][key]; n <= before {
				w.t.Errorf("%s: %s went from %d to %d", r.Topic, key, before, n)
			}
			have[r.Topic][key] = n
		})
	}
}

// wrong describes a count that is not what it should be, or returns "".
func (w *wordCount) wrong(have map[string]map[string]int64) string {
	for topic, counts := range w.want {
		for key, n := range counts {
			if have[topic][key] != n {
				return fmt.Sprintf("%s has %d of %s, want %d", topic, have[topic][key], key, n)
			}
		}
	}
	return ""
}
