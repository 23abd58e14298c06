package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/node"
)

// oldBinaryEnv names another version of weir for TestRollingUpgrade; make upgrade sets it.
const oldBinaryEnv = "WEIR_OLD_BINARY"

// upgradeSQL is a pipeline with state. An INSERT can be added in place of the comment.
const upgradeSQL = `SET 'pipeline.name' = 'upgrade';
CREATE TABLE readings (device_id STRING, sensor STRING, seq BIGINT, ` + "`value`" + ` DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH (
  'connector' = 'kafka', 'topic' = 'sensor_data_tx', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset');
CREATE TABLE windows (device_id STRING, sensor STRING, window_start TIMESTAMP(3), window_end TIMESTAMP(3), readings BIGINT, minimum DOUBLE, maximum DOUBLE)
WITH ('connector' = 'kafka', 'topic' = 'upgrade.windows', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json');
CREATE TABLE sensors (k STRING, n BIGINT, PRIMARY KEY (k) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'upgrade.sensors', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE pairs (device_id STRING, seq BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'upgrade.pairs', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json');
EXECUTE STATEMENT SET BEGIN
-- more
INSERT INTO windows SELECT device_id, sensor, window_start, window_end, COUNT(*), MIN(` + "`value`" + `), MAX(` + "`value`" + `)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND)) GROUP BY device_id, sensor, window_start, window_end;
INSERT INTO pairs SELECT a.device_id, a.seq FROM readings AS a JOIN readings AS b ON a.device_id = b.device_id AND a.seq = b.seq + 1;
END;
`

// Two processes of a pipeline are upgraded and downgraded one after another under load, each time
// beside one of the other version, and no reading is lost or counted twice. A changed plan
// continues with its state; the other version refuses to go back to the former one by name.
func TestRollingUpgrade(t *testing.T) {
	old := os.Getenv(oldBinaryEnv)
	if old == "" {
		t.Skip(oldBinaryEnv + " is not set: make upgrade builds an older version and runs this test")
	}
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin, at, dir := kadm.NewClient(client), "--brokers="+b.Addr(), t.TempDir()
	file, changed := filepath.Join(dir, "pipeline.sql"), filepath.Join(dir, "changed.sql")
	for name, text := range map[string]string{
		file:    upgradeSQL,
		changed: strings.Replace(upgradeSQL, "-- more", "INSERT INTO sensors SELECT sensor, COUNT(*) FROM readings GROUP BY sensor;", 1),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := func(file, instance string) []string {
		return []string{"run", file, at, "--instance=" + instance, "--state-dir=" + filepath.Join(dir, instance), "--session-timeout=6s", "--transaction-timeout=8s"}
	}
	acks := filepath.Join(dir, "acks.ndjson")
	must(t, "topics", "apply", at)
	producer := start(t, "produce", at, "--rate=2000", "--devices=40", "--mark", "--ack-log="+acks)

	// await waits until both processes share the partitions and have committed further readings.
	await := func(all ...*weir) {
		t.Helper()
		var before int64 = -1
		waitFor(t, "progress of the pipeline", func() bool {
			for _, p := range all {
				select {
				case <-p.exited:
					t.Fatalf("a process ended:\n%s", p.errOut.String())
				default:
				}
			}
			groups, err := admin.DescribeGroups(t.Context(), "weir-upgrade")
			if g := groups["weir-upgrade"]; err != nil || g.State != "Stable" || len(g.Members) != len(all) {
				return false
			}
			offsets, err := admin.FetchOffsets(t.Context(), "weir-upgrade")
			if err != nil {
				return false
			}
			var sum int64
			offsets.Each(func(o kadm.OffsetResponse) { sum += max(0, o.At) })
			if before < 0 {
				before = sum
			}
			return sum > before+2000
		})
	}
	stopped := func(p *weir) {
		t.Helper()
		p.signal(os.Interrupt)
		<-p.exited
		if code := p.cmd.ProcessState.ExitCode(); code != exitOK && code != exitInterrupted {
			t.Fatalf("exit %d:\n%s", code, p.errOut.String())
		}
	}
	a, c := startBinary(t, old, args(file, "a")...), startBinary(t, old, args(file, "b")...)
	await(a, c)
	stopped(a)
	a = start(t, args(file, "a")...) // forwards
	await(a, c)
	stopped(c)
	c = start(t, args(file, "b")...)
	await(a, c)
	stopped(a)
	a = startBinary(t, old, args(file, "a")...) // and back
	await(a, c)
	stopped(c)
	c = startBinary(t, old, args(file, "b")...)
	await(a, c)
	stopped(a)
	stopped(c)
	stopped(producer)

	must(t, append(args(file, "a"), "--until-end")...)
	r := verified(t, at, "--acks="+acks, "--windows=upgrade.windows", "--window-size=1s", "--window-delay=1s", "--late=upgrade.late", "--window-dlq=upgrade.dlq", "--state-dir="+filepath.Join(dir, "a"))
	if r.Records < 10_000 {
		t.Errorf("only %d readings", r.Records)
	}
	wantPairs(t, b.Addr())
	must(t, append(args(changed, "a"), "--until-end")...)
	p := startBinary(t, old, append(args(file, "a"), "--until-end")...)
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.errOut.String(), "stage") {
		t.Errorf("the former plan on the other version: exit %d:\n%s", code, p.errOut.String())
	}
}

// wantPairs checks that the join has paired each reading with the one before of its device, exactly
// once.
func wantPairs(t *testing.T, addr string) {
	t.Helper()
	type reading struct {
		Device string `json:"device_id"`
		Seq    int64  `json:"seq"`
	}
	count := func(topic string) map[reading]int {
		all := make(map[reading]int)
		err := broker.ReadAll(t.Context(), broker.Config{Brokers: []string{addr}}, topic, nil, func(r *kgo.Record) error {
			var x reading
			if err := json.Unmarshal(r.Value, &x); err != nil {
				return err
			}
			all[x]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	readings, pairs := count(node.SensorData), count("upgrade.pairs")
	want := make(map[reading]int)
	for r, n := range readings {
		if n *= readings[reading{r.Device, r.Seq - 1}]; n > 0 { // several after a device has restarted
			want[r] = n
		}
	}
	if !maps.Equal(pairs, want) || len(want) < 1000 {
		t.Errorf("%d readings are paired, want %d; some may be paired several times", len(pairs), len(want))
	}
}
