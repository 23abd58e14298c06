package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// Names of the topics of the pipeline of joins.
const (
	joinsName     = "joins"
	joinsMeasured = joinsName + ".measured" // readings of the first producer
	joinsPlanned  = joinsName + ".planned"  // readings of the second one, of the same devices
	joinsWindows  = joinsName + ".windows"
	joinsNear     = joinsName + ".near"
	joinsPairs    = joinsName + ".pairs"
	joinsTotals   = joinsName + ".totals"
	joinsLate     = joinsName + ".late"
)

// joinsSQL returns the pipeline of joins: one of equal windows, one within an interval of time, and
// two regular ones, of rows and of groups. Filters keep the number of pairs close to that of the
// readings and leave some rows of each outer join without a pair.
func joinsSQL(bounded bool) string {
	mode := ""
	if bounded {
		mode = " 'scan.bounded.mode' = 'latest-offset',"
	}
	var b strings.Builder
	b.WriteString("SET 'pipeline.name' = '" + joinsName + "';\n")
	for _, table := range []string{"measured", "planned"} {
		fmt.Fprintf(&b, `CREATE TABLE %[1]s (
  device_id STRING, sensor STRING, seq BIGINT, ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '1' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = '%[2]s.%[1]s', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',%[3]s
  'value.json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset'
);
CREATE VIEW %[1]s_by_second AS SELECT * FROM TABLE(TUMBLE(TABLE %[1]s, DESCRIPTOR(ts), INTERVAL '1' SECOND));
`, table, joinsName, mode)
	}
	for _, table := range []string{"windows", "near", "pairs"} {
		fmt.Fprintf(&b, `CREATE TABLE %[1]s (
  device_id STRING, sensor STRING, measured BIGINT, planned BIGINT
) WITH (
  'connector' = 'kafka', 'topic' = '%[2]s.%[1]s', 'key.format' = 'raw', 'key.fields' = 'device_id', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '%[2]s-%[1]s'
);
`, table, joinsName)
	}
	b.WriteString(`CREATE TABLE totals (
  device_id STRING, measured BIGINT, planned BIGINT, measured_sum BIGINT, planned_sum BIGINT, PRIMARY KEY (device_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '` + joinsTotals + `', 'key.format' = 'raw', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '` + joinsName + `-totals'
);
EXECUTE STATEMENT SET
BEGIN
INSERT INTO windows SELECT COALESCE(m.device_id, p.device_id), COALESCE(m.sensor, p.sensor), m.seq, p.seq
FROM (SELECT * FROM measured_by_second WHERE MOD(seq, 2) = 0) AS m
FULL JOIN (SELECT * FROM planned_by_second WHERE MOD(seq, 8) = 0) AS p
ON m.device_id = p.device_id AND m.sensor = p.sensor AND m.window_start = p.window_start AND m.window_end = p.window_end;
INSERT INTO near SELECT m.device_id, m.sensor, m.seq, p.seq
FROM (SELECT * FROM measured WHERE MOD(seq, 2) = 1) AS m
LEFT JOIN (SELECT * FROM planned WHERE MOD(seq, 16) = 3) AS p
ON m.device_id = p.device_id AND m.sensor = p.sensor AND m.ts BETWEEN p.ts - INTERVAL '1' SECOND AND p.ts + INTERVAL '1' SECOND;
INSERT INTO pairs SELECT m.device_id, m.sensor, m.seq, p.seq
FROM measured AS m JOIN planned AS p ON m.device_id = p.device_id AND m.sensor = p.sensor AND m.seq = p.seq;
INSERT INTO totals SELECT m.device_id, m.n, p.n, m.total, p.total
FROM (SELECT device_id, COUNT(*) AS n, SUM(seq) AS total FROM measured GROUP BY device_id) AS m
LEFT JOIN (SELECT device_id, COUNT(*) AS n, SUM(seq) AS total FROM planned GROUP BY device_id) AS p
ON m.device_id = p.device_id;
END;
`)
	return b.String()
}

// noPair is the sequence number in place of NULL: an outer join found no pair.
const noPair = -1

// pair is a row of a join: two readings of one sensor, by their sequence numbers.
type pair struct {
	device, sensor    string
	measured, planned int64
}

func (p pair) String() string {
	return fmt.Sprintf("%s %s measured %d planned %d", p.device, p.sensor, p.measured, p.planned)
}

func comparePairs(a, b pair) int {
	return cmp.Or(cmp.Compare(a.device, b.device), cmp.Compare(a.sensor, b.sensor), cmp.Compare(a.measured, b.measured), cmp.Compare(a.planned, b.planned))
}

// joined is the output of the pipeline: how often each pair was written, by topic, and the last
// totals of each device.
type joined struct {
	pairs  map[string]map[pair]int
	totals map[string]deviceTotals
}

// deviceTotals are the counts and sums of a device's readings.
type deviceTotals struct{ measured, planned figure }

func newJoined() *joined {
	return &joined{
		pairs:  map[string]map[pair]int{joinsWindows: {}, joinsNear: {}, joinsPairs: {}},
		totals: make(map[string]deviceTotals),
	}
}

// rows returns the number of rows.
func (j *joined) rows() (n int) {
	for _, pairs := range j.pairs {
		for _, times := range pairs {
			n += times
		}
	}
	return n + len(j.totals)
}

// joinReading is a reading as the recomputation sees it. Times are in milliseconds.
type joinReading struct{ seq, ts int64 }

// side holds the readings of a source, by device and sensor.
type side map[[2]string][]joinReading

// expectJoins computes the expected output of a pipeline that has processed all readings and closed
// all windows, without sharing code with the engine.
func expectJoins(measured, planned side) *joined {
	j := newJoined()
	keys := slices.Collect(maps.Keys(measured))
	for k := range planned {
		if _, both := measured[k]; !both {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		add := func(topic string, m, p int64) { j.pairs[topic][pair{k[0], k[1], m, p}]++ }
		expectWindows(measured[k], planned[k], add)
		expectNear(measured[k], planned[k], add)
		bySeq := make(map[int64]int64) // readings of the second source
		for _, p := range planned[k] {
			bySeq[p.seq]++
		}
		for _, m := range measured[k] {
			for range bySeq[m.seq] {
				add(joinsPairs, m.seq, m.seq)
			}
		}
	}
	for k, all := range measured {
		t := j.totals[k[0]]
		for _, r := range all {
			t.measured = t.measured.plus(r.seq)
		}
		j.totals[k[0]] = t
	}
	for k, all := range planned {
		t, ok := j.totals[k[0]]
		if !ok {
			continue // the join keeps only devices of the first source
		}
		for _, r := range all {
			t.planned = t.planned.plus(r.seq)
		}
		j.totals[k[0]] = t
	}
	return j
}

// expectWindows adds the pairs of one sensor within the same second, and readings without a pair.
func expectWindows(measured, planned []joinReading, add func(topic string, m, p int64)) {
	seconds := make(map[int64][2][]int64)
	for i, all := range [][]joinReading{measured, planned} {
		for _, r := range all {
			if r.seq%[]int64{2, 8}[i] == 0 {
				second := seconds[r.ts/1000]
				second[i] = append(second[i], r.seq)
				seconds[r.ts/1000] = second
			}
		}
	}
	for _, second := range seconds {
		for i := range second {
			if len(second[i]) == 0 {
				second[i] = []int64{noPair}
			}
		}
		for _, m := range second[0] {
			for _, p := range second[1] {
				add(joinsWindows, m, p)
			}
		}
	}
}

// expectNear adds the pairs of one sensor that are at most a second apart, and readings of the
// first source without a pair.
func expectNear(measured, planned []joinReading, add func(topic string, m, p int64)) {
	near := make(map[int64][]joinReading) // by second
	for _, p := range planned {
		if p.seq%16 == 3 {
			near[p.ts/1000] = append(near[p.ts/1000], p)
		}
	}
	for _, m := range measured {
		if m.seq%2 != 1 {
			continue
		}
		found := false
		for second := m.ts/1000 - 1; second <= m.ts/1000+1; second++ {
			for _, p := range near[second] {
				if p.ts-1000 <= m.ts && m.ts <= p.ts+1000 {
					found = true
					add(joinsNear, m.seq, p.seq)
				}
			}
		}
		if !found {
			add(joinsNear, m.seq, noPair)
		}
	}
}

// readSide reads the readings of a source.
func readSide(ctx context.Context, at broker.Config, topic string) (side, error) {
	all := make(side)
	err := broker.ReadAll(ctx, at, topic, nil, func(r *kgo.Record) error {
		var reading struct {
			Device string    `json:"device_id"`
			Sensor string    `json:"sensor"`
			Seq    int64     `json:"seq"`
			TS     time.Time `json:"ts"`
		}
		if err := json.Unmarshal(r.Value, &reading); err != nil {
			return fmt.Errorf("read reading at %s-%d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		k := [2]string{reading.Device, reading.Sensor}
		all[k] = append(all[k], joinReading{reading.Seq, reading.TS.UnixMilli()})
		return nil
	})
	return all, err
}

// readJoined reads the output of the pipeline.
func readJoined(ctx context.Context, at broker.Config) (*joined, error) {
	j := newJoined()
	for topic, pairs := range j.pairs {
		err := broker.ReadAll(ctx, at, topic, nil, func(r *kgo.Record) error {
			var row struct {
				Device   string `json:"device_id"`
				Sensor   string `json:"sensor"`
				Measured *int64 `json:"measured"`
				Planned  *int64 `json:"planned"`
			}
			if err := json.Unmarshal(r.Value, &row); err != nil {
				return fmt.Errorf("read row at %s-%d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
			}
			pairs[pair{row.Device, row.Sensor, orNoPair(row.Measured), orNoPair(row.Planned)}]++
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	err := broker.ReadAll(ctx, at, joinsTotals, nil, func(r *kgo.Record) error {
		if r.Value == nil {
			delete(j.totals, string(r.Key))
			return nil
		}
		var row struct {
			Measured    int64 `json:"measured"`
			Planned     int64 `json:"planned"` // 0 if NULL
			MeasuredSum int64 `json:"measured_sum"`
			PlannedSum  int64 `json:"planned_sum"`
		}
		if err := json.Unmarshal(r.Value, &row); err != nil {
			return fmt.Errorf("read totals at %s-%d, offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		j.totals[string(r.Key)] = deviceTotals{figure{row.Measured, row.MeasuredSum}, figure{row.Planned, row.PlannedSum}}
		return nil
	})
	return j, err
}

func orNoPair(seq *int64) int64 {
	if seq == nil {
		return noPair
	}
	return *seq
}

// compare returns what is wrong with the actual output.
func (j *joined) compare(actual *joined) (wrong []string) {
	for _, topic := range slices.Sorted(maps.Keys(j.pairs)) {
		want, got := j.pairs[topic], actual.pairs[topic]
		var differ []pair
		for p, n := range want {
			if got[p] != n {
				differ = append(differ, p)
			}
		}
		for p := range got {
			if want[p] == 0 {
				differ = append(differ, p)
			}
		}
		for _, p := range slices.SortedFunc(slices.Values(differ), comparePairs) {
			wrong = append(wrong, fmt.Sprintf("C4 %s: %s was written %d times, expected %d", topic, p, got[p], want[p]))
		}
	}
	for _, device := range slices.Sorted(maps.Keys(j.totals)) {
		if got, ok := actual.totals[device]; !ok || got != j.totals[device] {
			wrong = append(wrong, fmt.Sprintf("C4 %s of %s: %v, expected %v", joinsTotals, device, got, j.totals[device]))
		}
	}
	for _, device := range slices.Sorted(maps.Keys(actual.totals)) {
		if _, ok := j.totals[device]; !ok {
			wrong = append(wrong, fmt.Sprintf("C4 %s of %s: %v, expected none: it has no readings", joinsTotals, device, actual.totals[device]))
		}
	}
	return wrong
}

// checkJoins compares the output of a pipeline that has processed everything with a recomputation
// from its sources. A late row is a failure: the sources are in order of event time.
func (o Oracle) checkJoins(ctx context.Context) (rows int, wrong []string, err error) {
	measured, err := readSide(ctx, o.Broker, joinsMeasured)
	if err != nil {
		return 0, nil, err
	}
	planned, err := readSide(ctx, o.Broker, joinsPlanned)
	if err != nil {
		return 0, nil, err
	}
	actual, err := readJoined(ctx, o.Broker)
	if err != nil {
		return 0, nil, err
	}
	want := expectJoins(measured, planned)
	wrong = want.compare(actual)
	err = broker.ReadAll(ctx, o.Broker, joinsLate, nil, func(r *kgo.Record) error {
		wrong = append(wrong, fmt.Sprintf("C4 late row at %s-%d, offset %d: no reading of its partition is behind another: %s", r.Topic, r.Partition, r.Offset, r.Value))
		return nil
	})
	return want.rows(), wrong, err
}
