package main

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/node"
)

// realData has 50,270 rows of three devices. It exists only where the project's shared data are
// next to the checkout.
const realData = "../../../shared/data/iot-env-telemetry/iot_env_telemetry.csv.gz"

// After a file has passed through producer and consumer, the means equal those of the file.
func TestFileMeans(t *testing.T) {
	t.Run("generated", func(t *testing.T) { testFileMeans(t, generateCSV(t, 3000)) })
	if _, err := os.Stat(realData); err == nil {
		t.Run("real", func(t *testing.T) { testFileMeans(t, realCSV(t)) })
	}
}

// realCSV returns a file with the first 10,000 rows of the real data, or with all of them.
func realCSV(t *testing.T) string {
	if longtest.Enabled() {
		return realData
	}
	path := filepath.Join(t.TempDir(), "telemetry.csv.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := csv.NewWriter(z)
	if err := errors.Join(w.WriteAll(csvRows(t, realData)[:10_001]), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func generateCSV(t *testing.T, rows int) string {
	path := filepath.Join(t.TempDir(), "telemetry.csv.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	fmt.Fprintln(z, "ts_ms,device_id,device,co,humidity,light,temp")
	for i := range rows {
		fmt.Fprintf(z, "%d,b8:27:eb:%02d,name-%d,%.6f,%.1f,%t,%.2f\n", 1594512094386+int64(i)*37, i%5, i%5,
			float64(i*7919%1000)/1e5, float64(i*31%700)/10, i%3 == 0, float64(i*17%4000)/100-10)
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// fileMeans computes the mean and count of each value column directly from a CSV file.
func fileMeans(t *testing.T, path string) (means map[string]float64, readings int) {
	rows := csvRows(t, path)
	means = make(map[string]float64)
	for i, name := range rows[0] {
		if name == "ts_ms" || name == "device_id" || name == "device" {
			continue
		}
		sum := 0.0
		for _, row := range rows[1:] {
			sum += csvNumber(t, row[i])
			readings++
		}
		means[name] = sum / float64(len(rows)-1)
	}
	return means, readings
}

// csvRows reads a compressed CSV file, including its header.
func csvRows(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// csvNumber parses a number; true and false are 1 and 0.
func csvNumber(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err == nil {
		return v
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		t.Fatal(err)
	}
	if b {
		return 1
	}
	return 0
}

func testFileMeans(t *testing.T, path string) {
	dir := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	must(t, "produce", dir, "--file", path)
	must(t, "consume", dir, "--until-end")
	want, readings := fileMeans(t, path)
	if r := verified(t, dir); r.Records != int64(readings) {
		t.Errorf("%d records, want %d", r.Records, readings)
	}
	sums, counts := make(map[string]float64), make(map[string]float64)
	for key, value := range lastValues(t, dir, "device_stats") {
		var s struct {
			Sensor string
			Count  float64
			Mean   float64
		}
		if err := json.Unmarshal([]byte(value), &s); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		sums[s.Sensor] += s.Mean * s.Count
		counts[s.Sensor] += s.Count
	}
	for sensor, mean := range want {
		if got := sums[sensor] / counts[sensor]; math.Abs(got-mean) > 1e-9*math.Abs(mean) {
			t.Errorf("mean of %s is %v, the file's is %v", sensor, got, mean)
		}
	}
	if out := must(t, "produce", dir, "--file", path); !strings.Contains(out, "nothing to send") {
		t.Errorf("the same file again: %s", out)
	}
}

// lastValues returns the last value of each key of a topic.
func lastValues(t *testing.T, dir, topic string) map[string]string {
	t.Helper()
	last := make(map[string]string)
	lines := strings.Split(strings.TrimSpace(must(t, "tail", topic, "--from-start", "--until-end", "-o", "json", dir)), "\n")
	for _, line := range lines {
		var r struct{ Key, Value string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		last[r.Key] = r.Value
	}
	return last
}

// A producer that is killed repeatedly ends up sending each reading exactly once.
func TestProduceResumesAfterKills(t *testing.T) {
	dir := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	args := []string{"produce", dir, "--count=60000", "--rate=60000", "--devices=50", "--outages=0.5", "--repeats=0.05", "--mark"}
	for i := range 4 {
		p := start(t, args...)
		time.Sleep(time.Duration(200+60*i) * time.Millisecond) // moment of the fault
		p.kill()
	}
	must(t, args...)
	must(t, "consume", dir, "--until-end")
	if r := verified(t, dir); r.Records != 60000 {
		t.Errorf("%d records, want 60000", r.Records)
	}
}

// A signal commits what has begun, and the next start resumes.
func TestUpStopsCleanly(t *testing.T) {
	dir := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := start(t, "up", dir, "--listen=127.0.0.1:0", "--rate=2000")
		waitFor(t, "readings", func() bool { return served(strings.TrimPrefix(dir, "--data-dir=")) > 0 })
		p.signal(s)
		if code := p.wait(10 * time.Second); code != exitOK {
			t.Errorf("exit %d after %v\n%s", code, s, p.errOut.String())
		}
	}
	out := must(t, "up", dir, "--listen=127.0.0.1:0", "--for=1s", "-o=json")
	if !json.Valid([]byte(out)) {
		t.Errorf("-o json wrote %q", out)
	}
	verified(t, dir)
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 30 s", what)
		}
		time.Sleep(20 * time.Millisecond) // polling interval
	}
}

// served counts the records of the readings' topic on a broker run by another process.
func served(dir string) (n int64) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	member, err := embedded.Join(dir) // not Attach: it would open the directory before weir does
	if err != nil || member == nil {
		return 0
	}
	defer member.Leave() //nolint:errcheck // read-only member
	at := broker.Config{Brokers: []string{member.Addr}}
	err = broker.ReadAll(ctx, at, node.SensorData, nil, func(*kgo.Record) error { n++; return nil })
	if err != nil {
		return 0
	}
	return n
}

// Commands that can't work fail soon, with one line that names the remedy.
func TestErrorsAreOneLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "data")
	holder := start(t, "up", "--data-dir="+dir, "--listen=127.0.0.1:0")
	waitFor(t, "broker", func() bool { return served(dir) > 0 })
	for _, c := range []struct {
		name string
		code int
		args []string
		want string
	}{
		{"taken port", exitFailed, []string{"up", "--data-dir=" + t.TempDir(), "--listen=" + taken.Addr().String()}, "is in use by another program"},
		{"held directory", exitFailed, []string{"up", "--data-dir=" + dir, "--listen=127.0.0.1:0"}, "is in use by another weir"},
		{"unreachable broker", exitFailed, []string{"up", "--brokers=127.0.0.1:1"}, "no Kafka broker reached at 127.0.0.1:1"},
		{"unreachable broker, produce", exitFailed, []string{"produce", "--brokers=127.0.0.1:1", "--count=1"}, "no Kafka broker reached"},
		{"bad address", exitUsage, []string{"tail", "x", "--brokers=nowhere"}, "is not host:port"},
		{"unknown flag", exitUsage, []string{"up", "--speed=1"}, "unknown flag: --speed"},
		{"unknown command", exitUsage, []string{"uq"}, `unknown command "uq"`},
		{"bad share", exitUsage, []string{"up", "--repeats=2"}, "repeats must be a share from 0 to 1"},
		{"no such file", exitFailed, []string{"produce", "--file=/none.csv", "--data-dir=" + t.TempDir()}, "no such file"},
		{"no such topic", exitFailed, []string{"tail", "nothing", "--data-dir=" + dir}, "topic nothing"},
		{"no transaction", exitFailed, []string{"transactions", "abort", "me", "--data-dir=" + dir}, "no open transaction of transactional id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			code, stdout, stderr := do(t, c.args...)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			if c.code == exitUsage && len(lines) == 2 {
				lines = lines[:1] // the second line refers to the help
			}
			if code != c.code || stdout != "" || len(lines) != 1 || !strings.Contains(lines[0], c.want) {
				t.Errorf("exit %d, want %d with %q\nstdout %q\nstderr %q", code, c.code, c.want, stdout, stderr)
			}
		})
	}
	holder.kill()
}

// A record that is not a reading becomes a dead letter once, committed together with the offsets.
// When it is replayed, it fails again and becomes a new dead letter. verify succeeds throughout.
func TestDeadLetters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	up := start(t, "up", "--data-dir="+dir, "--listen=127.0.0.1:0", "--rate=500")
	waitFor(t, "readings", func() bool { return served(dir) > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at, err := node.Kafka{DataDir: dir}.Attach(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client, err := broker.Connect(ctx, at.Broker)
	if err != nil {
		t.Fatal(err)
	}
	poison := &kgo.Record{Topic: node.SensorData, Key: []byte("d"), Value: []byte("\x00\xff poison"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{1}}}}
	if err := client.ProduceSync(ctx, poison).FirstErr(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := at.Close(ctx, nil); err != nil {
		t.Fatal(err)
	}
	letters := func() []string {
		out := strings.TrimSpace(must(t, "dlq", "list", "-o", "json", "--data-dir="+dir))
		if out == "" {
			return nil
		}
		return strings.Split(out, "\n")
	}
	waitFor(t, "dead letter", func() bool { return len(letters()) == 1 })
	if l := letters()[0]; !strings.Contains(l, `"value_base64":"AP8gcG9pc29u"`) || !strings.Contains(l, `"attempt":1`) || !strings.Contains(l, `"key":"h"`) {
		t.Errorf("dead letter %s", l)
	}
	if out := must(t, "dlq", "replay", "--data-dir="+dir); !strings.Contains(out, "replayed 1 dead letter;") {
		t.Errorf("replay: %s", out)
	}
	waitFor(t, "second dead letter", func() bool { return len(letters()) == 2 })
	if out := must(t, "dlq", "replay", "--reason=nothing like it", "--data-dir="+dir); !strings.Contains(out, "replayed 0 dead letters;") {
		t.Errorf("replay with a filter: %s", out)
	}
	if all := strings.Join(letters(), "\n"); !strings.Contains(all, `"attempt":2`) || strings.Count(all, `"replayed":true`) != 1 {
		t.Errorf("dead letters %s", all)
	}
	up.signal(syscall.SIGTERM)
	up.wait(10 * time.Second)
	if r := verified(t, "--data-dir="+dir); r.DeadLetters != 2 {
		t.Errorf("%d dead letters, want 2", r.DeadLetters)
	}
}

// An independent client counts the same records as verify.
func TestKcatReadsTheSame(t *testing.T) {
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		t.Fatal("no kcat: run make deps, or apt-get install kcat")
	}
	dir := filepath.Join(t.TempDir(), "data")
	up := start(t, "up", "--data-dir="+dir, "--listen=127.0.0.1:0", "--rate=5000")
	waitFor(t, "readings", func() bool { return served(dir) > 2000 })
	up.kill() // most likely leaves an aborted transaction
	must(t, "consume", "--data-dir="+dir, "--until-end")
	want := verified(t, "--data-dir="+dir).Records

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at, err := node.Kafka{DataDir: dir}.Attach(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer at.Close(ctx, nil)                                                                                                           //nolint:errcheck // the test has finished
	out, err := exec.CommandContext(ctx, kcat, "-b", at.Broker.Brokers[0], "-C", "-t", node.SensorData, "-o", "beginning", "-e", "-q", //nolint:gosec // kcat
		"-X", "isolation.level=read_committed", "-f", "%k %s\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := int64(strings.Count(string(out), "\n")); got != want {
		t.Errorf("kcat reads %d records, verify %d", got, want)
	}
}
