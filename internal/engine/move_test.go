package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// movedTables are two topics of readings, and versions of their devices. %[1]s is the key's format,
// %[2]s an option of sources.
const movedTables = `
SET 'pipeline.name' = 'moved';
CREATE TABLE readings (device STRING, v BIGINT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'kafka', 'topic' = 'readings',
  'key.format' = '%[1]s', 'key.fields' = 'device', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'%[2]s);
CREATE TABLE others (device STRING, v BIGINT, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) WITH ('connector' = 'kafka', 'topic' = 'others',
  'key.format' = '%[1]s', 'key.fields' = 'device', 'value.format' = 'json', 'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'%[2]s);
CREATE TABLE devices (device STRING, site STRING, at_ TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', WATERMARK FOR at_ AS at_, PRIMARY KEY (device) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = '%[1]s', 'value.format' = 'json'%[2]s);
CREATE TABLE latest (device STRING, x STRING, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'results', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE rows_ (device STRING, x STRING) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
`

// movedQueries cover every kind of state that is partitioned like a topic.
var movedQueries = map[string]struct {
	sql    string
	upsert bool
}{
	"group": {`INSERT INTO latest SELECT device, CAST(COUNT(*) AS STRING) || '/' || CAST(COUNT(DISTINCT v) AS STRING) || '/' || CAST(SUM(v) AS STRING) FROM readings GROUP BY device;`, true},
	"tumble": {`INSERT INTO rows_ SELECT device, CAST(window_end AS STRING) || ' ' || CAST(COUNT(*) AS STRING) || '/' || CAST(COUNT(DISTINCT v) AS STRING)
  FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device, window_start, window_end;`, false},
	"hop": {`INSERT INTO rows_ SELECT device, CAST(window_end AS STRING) || ' ' || CAST(SUM(v) AS STRING)
  FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE)) GROUP BY device, window_start, window_end;`, false},
	"cumulate": {`INSERT INTO rows_ SELECT device, CAST(window_end AS STRING) || ' ' || CAST(SUM(v) AS STRING)
  FROM TABLE(CUMULATE(TABLE readings, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE)) GROUP BY device, window_start, window_end;`, false},
	"session": {`INSERT INTO rows_ SELECT device, CAST(window_start AS STRING) || ' ' || CAST(window_end AS STRING) || ' ' || CAST(COUNT(*) AS STRING)
  FROM TABLE(SESSION(TABLE readings PARTITION BY device, DESCRIPTOR(ts), INTERVAL '45' SECOND)) GROUP BY device, window_start, window_end;`, false},
	"topn": {`INSERT INTO latest SELECT device, CAST(v AS STRING) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY v DESC) AS n FROM readings) WHERE n = 1;`, true},
	"window topn": {`INSERT INTO rows_ SELECT device, CAST(window_end AS STRING) || ' ' || CAST(v AS STRING) || ' ' || CAST(n AS STRING) FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, device ORDER BY v DESC, ts) AS n FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE))) WHERE n <= 2;`, false},
	"sessions of windows": {`INSERT INTO rows_ SELECT device, CAST(window_end AS STRING) || ' ' || CAST(c AS STRING) || ' ' || CAST(n AS STRING) FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, device ORDER BY c DESC) AS n FROM (
    SELECT device, v, window_start, window_end, COUNT(*) AS c FROM TABLE(HOP(TABLE readings, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '1' MINUTE)) GROUP BY device, v, window_start, window_end)) WHERE n <= 1;`, false},
	"first": {`INSERT INTO rows_ SELECT device, CAST(v AS STRING) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device, v ORDER BY ts) AS n FROM readings) WHERE n = 1;`, false},
	"last":  {`INSERT INTO latest SELECT device, CAST(ts AS STRING) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY ts DESC) AS n FROM readings) WHERE n = 1;`, true},
	"over": {`INSERT INTO rows_ SELECT device, CAST(ts AS STRING) || ' ' || CAST(SUM(v) OVER w AS STRING) FROM readings
  WINDOW w AS (PARTITION BY device ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW);`, false},
	"over all": {`INSERT INTO rows_ SELECT device, CAST(ts AS STRING) || ' ' || CAST(COUNT(DISTINCT v) OVER w AS STRING) FROM readings
  WINDOW w AS (PARTITION BY device ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);`, false},
	"join": {`INSERT INTO rows_ SELECT r.device, CAST(r.ts AS STRING) || ' ' || COALESCE(d.site, 'nowhere') FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device = d.device;`, false},
	"window join": {`INSERT INTO rows_ SELECT a.device, CAST(a.window_end AS STRING) || ' ' || CAST(a.v AS STRING) || ' ' || CAST(b.v AS STRING) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) AS a
  JOIN TABLE(TUMBLE(TABLE others, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) AS b ON a.device = b.device AND a.window_start = b.window_start AND a.window_end = b.window_end;`, false},
	"interval join": {`INSERT INTO rows_ SELECT a.device, CAST(a.ts AS STRING) || ' ' || CAST(b.v AS STRING) FROM readings AS a
  LEFT JOIN others AS b ON a.device = b.device AND b.ts BETWEEN a.ts - INTERVAL '90' SECOND AND a.ts + INTERVAL '30' SECOND;`, false},
	"regular join": {`INSERT INTO rows_ SELECT a.device, CAST(a.ts AS STRING) || ' ' || CAST(b.v AS STRING) FROM readings AS a JOIN others AS b ON a.device = b.device AND b.v > a.v;`, false},
	"outer join": {`INSERT INTO latest SELECT d.device, d.site || '/' || CAST(n AS STRING) FROM devices AS d
  LEFT JOIN (SELECT device, COUNT(*) AS n FROM readings GROUP BY device) AS r ON d.device = r.device;`, true},
	"join and group": {`INSERT INTO rows_ SELECT device, CAST(window_end AS STRING) || ' ' || site || ' ' || CAST(c AS STRING) FROM (
  SELECT device, site, window_end, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE readings_of, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device, site, window_start, window_end);`, false},
	"union":           {`INSERT INTO rows_ SELECT device, CAST(window_end AS STRING) || ' ' || CAST(SUM(v) AS STRING) FROM TABLE(TUMBLE(TABLE both_, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device, window_start, window_end;`, false},
	"upserts":         {`INSERT INTO latest SELECT device, site FROM devices WHERE site <> 's0' OR device = 'd0';`, true},
	"and an exchange": {`INSERT INTO rows_ SELECT CAST(c AS STRING), CAST(window_end AS STRING) || ' ' || CAST(COUNT(*) AS STRING) FROM TABLE(TUMBLE(TABLE counts_, DESCRIPTOR(t), INTERVAL '1' MINUTE)) GROUP BY c, window_start, window_end;`, false},
}

const movedViews = `
CREATE VIEW readings_of AS SELECT r.device, r.ts, COALESCE(d.site, 'nowhere') AS site FROM readings AS r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.ts AS d ON r.device = d.device;
CREATE VIEW both_ AS SELECT device, v, ts FROM readings UNION ALL SELECT device, v, ts FROM others;
CREATE VIEW counts_ AS SELECT device, COUNT(*) AS c, window_time AS t FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY device, window_start, window_end, window_time;
`

// growing is a cluster whose sources gain partitions while the pipeline is stopped.
type growing struct {
	*testing.T
	cluster    *kfake.Cluster
	at         broker.Config
	admin      *kadm.Client
	kind, key  string
	partitions int32
	rows       *rand.Rand
	clock      time.Time
	all        []*kgo.Record // without partitions
	late       int           // rows expected to be late
	cfg        Config
	log        strings.Builder
}

var movedTopics = []string{"readings", "others", "devices"}

func newGrowing(t *testing.T, kind, key string, partitions int32, seed uint64) *growing {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	h := &growing{T: t, cluster: c, at: broker.Config{Brokers: c.ListenAddrs()}, kind: kind, key: key, partitions: partitions,
		rows: rand.New(rand.NewPCG(seed, 1)), clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	client, err := broker.Connect(t.Context(), h.at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	h.admin = kadm.NewClient(client)
	if _, err := h.admin.CreateTopics(t.Context(), partitions, 1, nil, movedTopics...); err != nil {
		t.Fatal(err)
	}
	return h
}

// widen adds partitions to all sources.
func (h *growing) widen(partitions int32) {
	h.Helper()
	h.partitions = partitions
	resp, err := h.admin.UpdatePartitions(h.Context(), int(partitions), movedTopics...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		h.Fatal(err)
	}
}

// send writes the next n readings, in the order of their times.
func (h *growing) send(n int) {
	h.Helper()
	var made []*kgo.Record
	for range n {
		h.clock = h.clock.Add(time.Duration(1+h.rows.IntN(7)) * time.Second)
		r := h.reading(fmt.Sprintf("d%d", h.rows.IntN(9)), h.clock)
		switch h.rows.IntN(6) {
		case 0:
			r = h.version(*r)
		case 1, 2:
			r.Topic = "others"
		}
		made = append(made, r)
	}
	h.all = append(h.all, made...)
	h.write(made)
}

// sendAll writes a reading of each device at the time of the last reading, and for upserts a row,
// so that each has state.
func (h *growing) sendAll() {
	h.Helper()
	var made []*kgo.Record
	for device := range 9 {
		r := h.reading(fmt.Sprintf("d%d", device), h.clock)
		made = append(made, r)
		if h.kind == "upserts" {
			made = append(made, h.version(*r))
		}
	}
	h.all = append(h.all, made...)
	h.write(made)
}

// version returns a row of the reading's device.
func (h *growing) version(r kgo.Record) *kgo.Record {
	r.Topic, r.Value = "devices", fmt.Appendf(nil, `{"site":"s%d"}`, h.rows.IntN(4))
	return &r
}

func (h *growing) reading(device string, at time.Time) *kgo.Record {
	key := []byte(device)
	if h.key == "json" {
		key = fmt.Appendf(nil, `{"device":%q}`, device)
	}
	return &kgo.Record{Topic: "readings", Key: key, Timestamp: at,
		Value: fmt.Appendf(nil, `{"device":%q,"v":%d,"ts":%q}`, device, h.rows.IntN(6), at.Format("2006-01-02T15:04:05.000Z"))}
}

func (h *growing) write(all []*kgo.Record) {
	h.Helper()
	placed := make([]*kgo.Record, len(all))
	for i, r := range all {
		again := *r
		again.Partition = int32(murmur2(r.Key, int(h.partitions), 0))
		placed[i] = &again
	}
	produceGiven(h.T, h.at, placed)
}

func (h *growing) program(sql, option string) *plan.Program {
	h.Helper()
	p, err := plan.Compile(fmt.Sprintf(movedTables, h.key, option)+movedViews+sql, "moved")
	if err != nil {
		h.Fatal(err)
	}
	return p
}

// try runs the pipeline until it has processed all readings, or to its end if it is bounded.
func (h *growing) try(bounded bool) error {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 40*time.Second)
	defer cancel()
	cfg := h.cfg
	option := ""
	if bounded {
		option = ", 'scan.bounded.mode' = 'latest-offset'"
	}
	cfg.Broker, cfg.UntilEnd, cfg.CommitInterval, cfg.MaxRecords, cfg.Instances = h.at, !bounded, 20*time.Millisecond, 20, []string{"a", "b"}
	cfg.Program = h.program(movedQueries[h.kind].sql, option)
	h.log.Reset()
	cfg.Logger = slog.New(slog.NewTextHandler(&h.log, nil))
	_, err := Run(ctx, cfg)
	if err == nil && ctx.Err() != nil {
		err = errors.New("it did not come to its end")
	}
	return err
}

func (h *growing) run(bounded bool) {
	h.Helper()
	if err := h.try(bounded); err != nil {
		h.Fatalf("%v\n%s", err, h.log.String())
	}
}

func (h *growing) repartition() {
	h.Helper()
	h.cfg.Repartition = true
	h.run(false)
	h.cfg.Repartition = false
}

// results returns the rows of the sink with the number of times that each occurs; for an upsert
// table the last row of each key.
func (h *growing) results() map[string]int {
	h.Helper()
	last, all := make(map[string]string), make(map[string]int)
	err := broker.ReadAll(h.Context(), h.at, "results", nil, func(r *kgo.Record) error {
		all[string(r.Value)]++
		if last[string(r.Key)] = string(r.Value); r.Value == nil {
			delete(last, string(r.Key))
		}
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
	if !movedQueries[h.kind].upsert {
		return all
	}
	clear(all)
	for _, v := range last {
		all[v]++
	}
	return all
}

// want compares the results with those of the same rows in one partition, and checks that nothing
// was late.
func (h *growing) want() {
	h.Helper()
	reference := newGrowing(h.T, h.kind, h.key, 1, 0)
	reference.write(h.all)
	reference.run(true)
	want := reference.results()
	if len(want) == 0 {
		h.Fatal("no rows are expected, so that nothing is tested")
	}
	if diff := cmp.Diff(want, h.results()); diff != "" {
		h.Errorf("-want +got\n%s\n%s", diff, h.log.String())
	}
	late := 0
	for _, diverted := range []string{"moved.late", "moved.dlq"} {
		err := broker.ReadAll(h.Context(), h.at, diverted, nil, func(r *kgo.Record) error {
			if late++; late > h.late || diverted == "moved.dlq" {
				h.Errorf("%s has %s: %v", diverted, r.Value, r.Headers)
			}
			return nil
		})
		if err != nil {
			h.Fatal(err)
		}
	}
	if late < h.late {
		h.Errorf("%d rows are late, want %d", late, h.late)
	}
}

// A row that arrives after a move, for a window that any task had emitted before, is late in every
// partition: no window is emitted twice.
func TestLateAfterMove(t *testing.T) {
	everyMove(t, func(h *growing, _ int32) {
		h.repartition()
		times := []time.Time{time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)}
		if h.kind == "tumble" || h.kind == "window topn" {
			times = append(times, h.clock.Add(-30*time.Second).Truncate(time.Minute).Add(-time.Second))
		}
		var made []*kgo.Record
		for _, at := range times {
			for device := range 9 {
				made = append(made, h.reading(fmt.Sprintf("d%d", device), at))
			}
		}
		h.write(made)
		h.late = len(made)
		h.finish()
	}, "tumble", "hop", "cumulate", "session", "window topn", "over all")
}

// moves are the numbers of partitions before and after, the format of the key, and whether there
// are local copies of the state.
var moves = []struct {
	from, to int32
	key      string
	copies   bool
}{{2, 3, "json", true}, {1, 4, "raw", false}}

// everyMove runs a test for every kind of state, or for the given ones.
func everyMove(t *testing.T, test func(h *growing, to int32), kinds ...string) {
	t.Helper()
	if len(kinds) == 0 {
		kinds = slices.Sorted(maps.Keys(movedQueries))
	}
	for _, kind := range kinds {
		for _, m := range moves {
			t.Run(fmt.Sprintf("%s/%d to %d", kind, m.from, m.to), func(t *testing.T) {
				t.Parallel()
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				h := newGrowing(t, kind, m.key, m.from, seed)
				if m.copies {
					h.cfg.StateDir = t.TempDir()
				}
				h.send(120)
				h.sendAll()
				h.run(false)
				h.widen(m.to)
				h.refused()
				test(h, m.to)
			})
		}
	}
}

// refused runs the pipeline without --repartition, which must refuse to start.
func (h *growing) refused() {
	h.Helper()
	if err := h.try(false); err == nil || !strings.Contains(err.Error(), "weir run --repartition") || !strings.Contains(err.Error(), "--reset moved") {
		h.Fatalf("a plain run: %v", err)
	}
}

// finish runs the pipeline to its end, with more rows.
func (h *growing) finish() {
	h.Helper()
	h.send(60)
	h.run(false)
	h.send(60)
	h.run(true)
	h.want()
}

// State moves to the tasks of its keys' new partitions, and the pipeline continues with it.
func TestMove(t *testing.T) {
	everyMove(t, func(h *growing, _ int32) {
		h.repartition()
		if !strings.Contains(h.log.String(), "state moved to the partitions of its keys") {
			h.Errorf("nothing is logged:\n%s", h.log.String())
		}
		h.finish()
	})
}

// A move crashes at each of its transactions, before or after the commit. A run without
// --repartition refuses the result, and another move completes it.
func TestCrashAtEveryTransactionOfMove(t *testing.T) {
	for _, committed := range []bool{false, true} {
		t.Run(fmt.Sprint(committed), func(t *testing.T) {
			everyMove(t, func(h *growing, to int32) {
				crashes := 0
				for n := 1; !h.crash(n, committed) && h.planned() != to; n++ {
					crashes++
					h.refused()
				}
				if crashes < 2 { // one transaction for the new tasks, one for the plan, and those for entries to move
					h.Fatalf("it died %d times", crashes)
				}
				h.finish()
			}, "tumble", "hop", "session", "first", "join")
		})
	}
}

// planned returns the number of partitions of the readings in the plan.
func (h *growing) planned() int32 {
	h.Helper()
	p := &pipeline{cfg: Config{Broker: h.at, Program: h.program(movedQueries[h.kind].sql, "")}}
	m, err := p.readManifest(h.Context())
	if err != nil || m == nil {
		h.Fatalf("plan %v, %v", m, err)
	}
	return m.Topics["readings"].Partitions
}

// crash runs a move until just before or after the commit of its n-th transaction, and reports
// whether the move completed before that.
func (h *growing) crash(n int, committed bool) (complete bool) {
	h.Helper()
	ctx, die := context.WithTimeout(h.Context(), 20*time.Second)
	defer die()
	var ends atomic.Int64
	var over atomic.Bool
	defer over.Store(true)
	h.cluster.ControlKey(kmsg.EndTxn.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		if over.Load() {
			return nil, nil, false
		}
		h.cluster.KeepControl()
		if committed || ends.Add(1) < int64(n) {
			return nil, nil, false
		}
		die()
		return nil, errors.New("the broker hangs up"), true // without handling the request
	})
	cfg := h.cfg
	cfg.Broker, cfg.UntilEnd, cfg.Instances, cfg.Program = h.at, true, []string{"a"}, h.program(movedQueries[h.kind].sql, "")
	cfg.Repartition, cfg.moveBytes, cfg.TransactionTimeout, cfg.StopTimeout = true, 1, 500*time.Millisecond, 200*time.Millisecond
	cfg.CommitInterval = 20 * time.Millisecond
	h.log.Reset()
	cfg.Logger = slog.New(slog.NewTextHandler(&h.log, nil))
	moved := 0
	cfg.onMoved = func() {
		if moved++; moved == n && committed {
			die()
		}
	}
	_, err := Run(ctx, cfg)
	if err != nil {
		h.Logf("crash %d: %v", n, err)
	}
	return err == nil && ctx.Err() == nil
}
