package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/stack"
)

// windowed writes a pipeline whose windows weir verify can check. If bounded, it ends with its
// input.
func windowed(t *testing.T, dir string, bounded bool) string {
	t.Helper()
	mode := ""
	if bounded {
		mode = ", 'scan.bounded.mode' = 'latest-offset'"
	}
	file := filepath.Join(dir, fmt.Sprintf("windowed-%v.sql", bounded))
	text := `
SET 'pipeline.name' = 'windowed';
CREATE TABLE readings (
  device_id STRING NOT NULL, sensor STRING NOT NULL, ` + "`value`" + ` DOUBLE NOT NULL, ts TIMESTAMP_LTZ(3) NOT NULL,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'` + mode + `);
CREATE TABLE per_window (
  device_id STRING, sensor STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3),
  readings BIGINT, minimum DOUBLE, maximum DOUBLE, average DOUBLE, total DOUBLE
) WITH ('connector' = 'kafka', 'topic' = 'per_window', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json');
CREATE TABLE per_sensor (sensor STRING, readings BIGINT, PRIMARY KEY (sensor) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'per_sensor', 'key.format' = 'raw', 'value.format' = 'json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO per_window
SELECT device_id, sensor, window_start, window_end, COUNT(*), MIN(` + "`value`), MAX(`value`), AVG(`value`), SUM(`value`)" + `
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device_id, sensor, window_start, window_end;
INSERT INTO per_sensor SELECT sensor, COUNT(*) FROM readings GROUP BY sensor;
END;`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var verifyWindowed = []string{"--windows=per_window", "--window-size=10s", "--window-delay=2s", "--late=windowed.late", "--window-dlq=windowed.dlq", "--bounded"}

// Three real brokers, and a windowed pipeline in two processes of two workers each: processes and
// brokers are killed with kill -9 at random, and one process is paused past its timeouts and
// resumes as a zombie. Each reading is counted in its window exactly once.
func TestPipelineSurvivesKills(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three JVMs: make test runs it")
	}
	readings, rate := longtest.Size(100_000, 100_000, 1_000_000), longtest.Size(4000, 4000, 25_000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	kafka := stack.New(t, 3)
	at := "--brokers=" + strings.Join(kafka.Brokers(), ",")
	dir := t.TempDir()
	run := func(instance string) []string {
		return []string{"run", windowed(t, dir, false), at, "--instance=" + instance, "--parallelism=2", "--state-dir=" + filepath.Join(dir, "state-"+instance),
			"--session-timeout=6s", "--transaction-timeout=6s"}
	}
	must(t, "topics", "apply", at)
	producer := start(t, "produce", at, fmt.Sprint("--count=", readings), fmt.Sprint("--rate=", rate), "--devices=500", "--repeats=0.02", "--outages=0.02")
	workers := []*weir{start(t, run("a")...), start(t, run("b")...)}
	var asleep time.Time
	faults := make(map[string]int)
	for ended := false; !ended; {
		select {
		case <-producer.exited:
			if code := producer.cmd.ProcessState.ExitCode(); code != exitOK {
				t.Fatalf("producer: exit %d\n%s", code, producer.errOut.String())
			}
			ended = true
			continue
		case <-time.After(time.Duration(500+rng.IntN(3000)) * time.Millisecond):
		}
		i := rng.IntN(2)
		if i == 1 && !asleep.IsZero() {
			if time.Since(asleep) < 14*time.Second {
				continue
			}
			workers[1].signal(syscall.SIGCONT)
			asleep = time.Time{}
			faults["zombie woken"]++
			continue
		}
		switch fault := rng.IntN(10); {
		case fault < 6:
			workers[i].kill()
			workers[i] = start(t, run(string("ab"[i]))...)
			faults["process killed"]++
		case fault < 8 && i == 1:
			workers[1].signal(syscall.SIGSTOP)
			asleep = time.Now()
		default:
			b := rng.IntN(3)
			if err := kafka.Kill(b); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond) // downtime of the broker
			if err := kafka.Start(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			faults["broker killed"]++
		}
	}
	for _, w := range workers {
		w.kill()
	}
	t.Logf("faults: %v", faults)
	must(t, "run", windowed(t, dir, true), at, "--instance=last", "--parallelism=2", "--state-dir=none")
	r := verified(t, append([]string{at}, verifyWindowed...)...)
	if r.Records < int64(readings) {
		t.Errorf("%d records, want at least %d", r.Records, readings)
	}
	if faults["process killed"] == 0 {
		t.Errorf("faults %v: too few to prove anything", faults)
	}
	// The same readings reached another stage through a repartition topic.
	counted := make(map[string]int64)
	err := broker.ReadAll(t.Context(), broker.Config{Brokers: kafka.Brokers()}, "per_sensor", nil, func(r *kgo.Record) error {
		var row struct {
			Sensor   string `json:"sensor"`
			Readings int64  `json:"readings"`
		}
		err := json.Unmarshal(r.Value, &row)
		counted[row.Sensor] = row.Readings
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, n := range counted {
		sum += n
	}
	if sum != r.Records {
		t.Errorf("%d readings counted by sensor, want %d: %v", sum, r.Records, counted)
	}
}

const hourly = `
CREATE TABLE readings (device_id STRING, sensor STRING, ` + "`value`" + ` DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE hourly (id STRING, ` + "`hour`" + ` STRING, mean DOUBLE, PRIMARY KEY (id, ` + "`hour`" + `) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'hourly', 'key.format' = 'json', 'value.format' = 'json');
INSERT INTO hourly SELECT device_id || ' ' || sensor, DATE_FORMAT(window_start, 'yyyy-MM-dd HH'), AVG(` + "`value`" + `)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY device_id, sensor, window_start, window_end;`

// The averages per device, sensor and hour equal those computed directly from the file.
func TestHourlyAverages(t *testing.T) {
	t.Run("generated", func(t *testing.T) { testHourly(t, generateCSV(t, longtest.Size(10_000, 10_000, 100_000))) })
	if _, err := os.Stat(realData); err == nil {
		t.Run("real", func(t *testing.T) { testHourly(t, realCSV(t)) })
	}
}

func testHourly(t *testing.T, path string) {
	dir := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	file := filepath.Join(t.TempDir(), "hourly.sql")
	if err := os.WriteFile(file, []byte(hourly), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "produce", dir, "--file", path)
	t.Log(must(t, "run", file, dir, "--parallelism=2"))
	type row struct {
		ID   string  `json:"id"`
		Hour string  `json:"hour"`
		Mean float64 `json:"mean"`
	}
	got := make(map[string]float64)
	for _, value := range lastValues(t, dir, "hourly") {
		var r row
		if err := json.Unmarshal([]byte(value), &r); err != nil {
			t.Fatal(err)
		}
		got[r.ID+" "+r.Hour] = r.Mean
	}
	want := hourlyMeans(t, path)
	if len(got) != len(want) {
		t.Errorf("%d averages, the file has %d", len(got), len(want))
	}
	for k, mean := range want {
		if math.Abs(got[k]-mean) > 1e-9*max(1, math.Abs(mean)) {
			t.Errorf("%s: %v, the file's is %v", k, got[k], mean)
		}
	}
}

// hourlyMeans computes the averages directly from a CSV file.
func hourlyMeans(t *testing.T, path string) map[string]float64 {
	rows := csvRows(t, path)
	place := make(map[string]int)
	for i, name := range rows[0] {
		place[name] = i
	}
	sums, counts := make(map[string]float64), make(map[string]float64)
	for _, row := range rows[1:] {
		ms, err := strconv.ParseInt(row[place["ts_ms"]], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		hour := time.UnixMilli(ms).UTC().Format("2006-01-02 15")
		for name, i := range place {
			if name == "ts_ms" || name == "device_id" || name == "device" {
				continue
			}
			k := row[place["device_id"]] + " " + name + " " + hour
			sums[k] += csvNumber(t, row[i])
			counts[k]++
		}
	}
	for k := range sums {
		sums[k] /= counts[k]
	}
	return sums
}
