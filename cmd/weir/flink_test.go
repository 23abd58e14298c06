package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/promtest"
	"weir.example/weir/internal/stack"
)

// flinkReadings returns how many readings pass through Flink while faults are injected. make
// test-flink uses a million.
func flinkReadings(t *testing.T) int {
	text := os.Getenv("WEIR_TEST_FLINK_READINGS")
	if text == "" {
		return 60_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// onFlink writes a pipeline's file. The watermark delay is a minute, because partitions drift apart
// while Flink recovers, and a shorter delay would make it drop rows as late. The versions compute
// the same rows with different expressions, so that an upgrade changes the SQL but not what weir
// verify expects.
func onFlink(t *testing.T, dir, average string) string {
	t.Helper()
	file := filepath.Join(dir, "windowed.sql")
	text := `
CREATE TABLE readings (
  device_id STRING NOT NULL, sensor STRING NOT NULL, ` + "`value`" + ` DOUBLE NOT NULL, ts TIMESTAMP_LTZ(3) NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '60' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE per_window (
  device_id STRING, sensor STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3),
  readings BIGINT, minimum DOUBLE, maximum DOUBLE, average DOUBLE, total DOUBLE
) WITH ('connector' = 'kafka', 'topic' = 'per_window', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json');
INSERT INTO per_window
SELECT device_id, sensor, window_start, window_end, COUNT(*), MIN(` + "`value`), MAX(`value`), " + average + ", SUM(`value`)" + `
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, sensor, window_start, window_end;`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// flinkWorld is a Kafka and a Flink cluster, with the flags that commands need to find them.
type flinkWorld struct {
	t     *testing.T
	kafka *stack.Kafka
	flink *stack.Flink
	at    []string // flags that select both clusters
}

func newFlinkWorld(t *testing.T, brokers int) *flinkWorld {
	t.Helper()
	w := &flinkWorld{t: t, kafka: stack.New(t, brokers)}
	w.flink = stack.NewFlink(t, stack.FlinkOptions{TaskManagers: 2, Slots: 1, Memory: 320})
	w.at = []string{"--brokers=" + strings.Join(w.kafka.Brokers(), ","), "--gateway=" + w.flink.GatewayURL(), "--jobmanager=" + w.flink.RestURL()}
	return w
}

// weir runs weir flink with arguments and requires success.
func (w *flinkWorld) weir(args ...string) string {
	w.t.Helper()
	return must(w.t, append(append([]string{"flink"}, args...), w.at...)...)
}

func (w *flinkWorld) status(name string) (s flink.Status, code int) {
	w.t.Helper()
	code, out, stderr := do(w.t, append([]string{"flink", "status", name, "-o", "json"}, w.at...)...)
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		w.t.Fatalf("status: exit %d: %v\n%s%s", code, err, out, stderr)
	}
	return s, code
}

// await waits until the pipeline's status satisfies a condition.
func (w *flinkWorld) await(name, what string, holds func(*flink.Status) bool) {
	w.t.Helper()
	var s flink.Status
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		if s, _ = w.status(name); holds(&s) {
			return
		}
	}
	w.t.Fatalf("%s: not %s after three minutes: %+v", name, what, s)
}

func running(s *flink.Status) bool {
	for _, o := range s.Operators {
		if o.State != "running" {
			return false
		}
	}
	return s.State == "running" && len(s.Operators) > 0
}

func (w *flinkWorld) admin() *kadm.Client {
	w.t.Helper()
	client, err := broker.Connect(w.t.Context(), broker.Config{Brokers: w.kafka.Brokers()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// awaitRead waits until a checkpoint covers all records of a topic.
func (w *flinkWorld) awaitRead(group, topic string) {
	w.t.Helper()
	admin := w.admin()
	lag := int64(-1)
	for deadline := time.Now().Add(3 * time.Minute); lag != 0 && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		lag = w.lag(admin, group, topic)
	}
	if lag != 0 {
		w.t.Fatalf("group %s is %d behind in %s after three minutes", group, lag, topic)
	}
}

// awaitProduced waits until the end offsets of a topic add up to records.
func (w *flinkWorld) awaitProduced(topic string, records int64) {
	w.t.Helper()
	admin := w.admin()
	have := int64(0)
	for deadline := time.Now().Add(10 * time.Minute); have < records && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		ends, err := admin.ListCommittedOffsets(w.t.Context(), topic)
		if err != nil || ends.Error() != nil {
			continue // a broker may still be restarting
		}
		have = 0
		ends.Each(func(end kadm.ListedOffset) { have += end.Offset })
	}
	if have < records {
		w.t.Fatalf("%s has %d records after ten minutes, want %d", topic, have, records)
	}
}

func (w *flinkWorld) lag(admin *kadm.Client, group, topic string) int64 {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil || ends.Error() != nil {
		return -1
	}
	offsets, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return -1
	}
	lag := int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		at, _ := offsets.Lookup(topic, end.Partition)
		// The last offset is that of a transaction marker, which Flink's offset doesn't include.
		lag += max(0, end.Offset-1-max(0, at.At))
	})
	return lag
}

// kill kills a Flink process with kill -9 and restarts it.
func (w *flinkWorld) kill(name string) {
	w.t.Helper()
	if err := w.flink.Kill(name); err != nil {
		w.t.Fatal(err)
	}
	if err := w.flink.Start(w.t.Context(), name); err != nil {
		w.t.Fatal(err)
	}
}

// Readings pass through a windowed pipeline on a real Flink cluster while TaskManagers, a broker
// and the JobManager are killed with kill -9 and its SQL is upgraded: each reading is counted in
// its window exactly once, including in windows that were open at the upgrade.
func TestFlinkSurvivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("starts five JVMs: make test runs it")
	}
	readings := flinkReadings(t)
	brokers, rate := 1, 700
	if readings >= 1_000_000 {
		brokers, rate = 3, 4500
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d readings, %d brokers", seed, readings, brokers)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := newFlinkWorld(t, brokers)
	at := w.at[0]
	dir := t.TempDir()
	prom := promtest.Start(t, promtest.Options{Jobs: map[string][]string{"flink": w.flink.MetricsAddresses()}})
	must(t, "topics", "apply", at)
	producer := start(t, "produce", at, fmt.Sprint("--rate=", rate), "--devices=300", "--repeats=0.02", "--mark") // runs until all faults are over
	t.Log(w.weir("deploy", onFlink(t, dir, "AVG(`value`)"), "--parallelism=2", "--checkpoint-interval=2s"))
	code, _, stderr := do(t, append([]string{"flink", "deploy", filepath.Join(dir, "windowed.sql")}, w.at...)...)
	if code != exitFailed || !strings.Contains(stderr, "already deployed") {
		t.Errorf("deployed twice: exit %d, %s", code, stderr)
	}
	checkpoint := func(after time.Time) {
		w.await("windowed", "running with a new checkpoint", func(s *flink.Status) bool {
			return running(s) && s.Checkpoints.Latest.Completed != nil && s.Checkpoints.Latest.Completed.Triggered.Time().After(after)
		})
	}
	checkpoint(time.Time{})
	hasDataFor(t, prom, "flink")

	faults := []string{"taskmanager", "broker", "jobmanager", "upgrade"}
	for extra := readings / 400_000; extra > 0; extra-- {
		faults = append(faults, []string{"taskmanager", "broker", "jobmanager"}[rng.IntN(3)])
	}
	rng.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	t.Logf("faults: %v", faults)
	for _, fault := range faults {
		time.Sleep(time.Duration(rng.IntN(2500)) * time.Millisecond) // random moment between checkpoints
		began := time.Now()
		switch fault {
		case "taskmanager":
			w.kill(stack.TaskManager(rng.IntN(2)))
		case "broker":
			b := rng.IntN(brokers)
			if err := w.kafka.Kill(b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond) // downtime of the broker
			if err := w.kafka.Start(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		case "jobmanager":
			w.kill(stack.JobManager)
			if err := w.flink.Await(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s, code := w.status("windowed"); s.State != flink.StateLost || code != exitCheck {
				t.Errorf("after the JobManager's end: %s, exit %d", s.State, code)
			}
			t.Log(w.weir("recover", "windowed"))
		case "upgrade":
			t.Log(w.weir("upgrade", onFlink(t, dir, "AVG(`value`) * 1")))
		}
		checkpoint(time.Now())
		t.Logf("%s: a checkpoint %.1f s later", fault, time.Since(began).Seconds())
	}
	w.awaitProduced("sensor_data_tx", int64(readings)*6/5) // transaction markers count, too
	producer.signal(os.Interrupt)
	if code := producer.wait(time.Minute); code != exitInterrupted {
		t.Fatalf("producer: exit %d\n%s", code, producer.errOut.String())
	}
	w.awaitRead("weir-windowed", "sensor_data_tx")
	if s, code := w.status("windowed"); code != exitOK || len(s.PossibleLoss) > 0 || s.Late > 0 {
		t.Errorf("status: exit %d, possible loss %q, %d rows dropped; nothing was to be lost", code, s.PossibleLoss, s.Late)
	}
	t.Log(w.weir("stop", "windowed", "--drain"))
	w.leaveTransactions(dir)
	r := verified(t, at, "--windows=per_window", "--window-size=10s", "--window-delay=60s", "--window-group=weir-windowed", "--window-shared-watermark", "--bounded")
	if r.Records < int64(readings) {
		t.Errorf("%d records, want at least %d", r.Records, readings)
	}
}

// leaveTransactions cancels a job in the middle of a transaction, which weir transactions lists and
// aborts. If a savepoint includes that transaction, aborting it loses its results: a job restored
// from the savepoint reports this.
func (w *flinkWorld) leaveTransactions(dir string) {
	t := w.t
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "windowed.sql"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "cancelled.sql")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "'per_window'", "'elsewhere'")), 0o600); err != nil {
		t.Fatal(err)
	}
	deploy := []string{"deploy", file, "--parallelism=1", "--checkpoint-interval=5m"}
	w.weir(deploy...)
	for deadline := time.Now().Add(time.Minute); w.openOf("cancelled") == 0; time.Sleep(300 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no transaction of the job is open")
		}
	}
	if code, _, stderr := do(t, "transactions", "abort", "--flink=cancelled", w.at[0]); code != exitFailed || !strings.Contains(stderr, "is deployed") {
		t.Errorf("the transactions of a running job are aborted: exit %d, %s", code, stderr)
	}
	var savepoint struct{ Savepoint string }
	if err := json.Unmarshal([]byte(w.weir("savepoint", "cancelled", "-o", "json")), &savepoint); err != nil {
		t.Fatal(err)
	}
	w.cancel("cancelled")
	w.weir(append(deploy, "--from-savepoint="+savepoint.Savepoint)...)
	var s flink.Status
	code := exitOK
	for deadline := time.Now().Add(time.Minute); code == exitOK && time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		s, code = w.status("cancelled")
	}
	if code != exitCheck || len(s.PossibleLoss) == 0 || !strings.Contains(s.PossibleLoss[0], "it was aborted") {
		t.Errorf("results were aborted that the savepoint had handed over: exit %d, possible loss %q", code, s.PossibleLoss)
	}
	t.Logf("possible loss: %q", s.PossibleLoss)
	w.cancel("cancelled")
}

// cancel cancels a job and aborts the transactions that it leaves open.
func (w *flinkWorld) cancel(name string) {
	w.t.Helper()
	w.t.Log(w.weir("cancel", name))
	w.t.Log(must(w.t, "transactions", "abort", "--flink="+name, w.at[0]))
	if n := w.openOf(name); n > 0 {
		w.t.Errorf("%d transactions of %s are still open", n, name)
	}
}

// openOf returns the number of open transactions of a Flink job.
func (w *flinkWorld) openOf(job string) (n int) {
	w.t.Helper()
	var all []openTransaction
	if err := json.Unmarshal([]byte(must(w.t, "transactions", "list", "-o", "json", w.at[0])), &all); err != nil {
		w.t.Fatal(err)
	}
	for _, o := range all {
		if o.FlinkJob == job {
			n++
		}
	}
	return n
}
