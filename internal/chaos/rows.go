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

// row is one row of an accident's source. Values are integers, so that sums are exact in any order.
type row struct {
	Key   string
	Value int64
	TS    time.Time

	partition int32
	offset    int64
}

// Sizes of an accident's workload.
const (
	rowKeys    = 40
	rowClasses = 7 // of values, grouped through a repartition topic
	rowWindow  = 10 * time.Second
)

// endOfTime is later than every other row: a row with this time closes all windows of its
// partition.
var endOfTime = time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)

// joinTables lists the tables that joins of the source with itself write to.
var joinTables = []string{"same_window", "near", "same_value"}

// pipelineSQL returns the stateful pipeline of an accident: windows, groups and joins by the
// source's key, and groups by another key through a repartition topic.
func pipelineSQL(name string, bounded bool) string {
	mode := ""
	if bounded {
		mode = "\n  'scan.bounded.mode' = 'latest-offset',"
	}
	text := `SET 'pipeline.name' = '$NAME';
CREATE TABLE rows_in (
  k STRING,
  v BIGINT,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts
) WITH (
  'connector' = 'kafka', 'topic' = '$NAME.in', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601',$MODE
  'scan.startup.mode' = 'earliest-offset'
);
CREATE TABLE windows (
  k STRING, window_start TIMESTAMP(3), n BIGINT, total BIGINT
) WITH (
  'connector' = 'kafka', 'topic' = '$NAME.windows', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '$NAME-w'
);
CREATE TABLE totals (
  k STRING, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '$NAME.totals', 'key.format' = 'raw', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '$NAME-t'
);
CREATE TABLE classes (
  k STRING, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '$NAME.classes', 'key.format' = 'raw', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '$NAME-c'
);
$JOINED
EXECUTE STATEMENT SET
BEGIN
INSERT INTO windows SELECT k, window_start, COUNT(*), SUM(v)
FROM TABLE(TUMBLE(TABLE rows_in, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY k, window_start, window_end;
INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM rows_in GROUP BY k;
INSERT INTO classes SELECT k, COUNT(*), SUM(v) FROM (SELECT CAST(MOD(v, 7) AS STRING) AS k, v FROM rows_in) GROUP BY k;
INSERT INTO same_window SELECT a.k, a.v, b.v
FROM (SELECT * FROM TABLE(TUMBLE(TABLE rows_in, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE MOD(v, 5) = 0) AS a
JOIN (SELECT * FROM TABLE(TUMBLE(TABLE rows_in, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE MOD(v, 5) = 2) AS b
ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end;
INSERT INTO near SELECT a.k, a.v, b.v
FROM rows_in AS a JOIN (SELECT * FROM rows_in WHERE MOD(v, 5) = 3) AS b ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '1' SECOND AND b.ts + INTERVAL '1' SECOND;
INSERT INTO same_value SELECT a.k, a.v, b.v FROM rows_in AS a JOIN rows_in AS b ON a.k = b.k AND MOD(a.v, 100) = MOD(b.v, 100);
END;
`
	joined := ""
	for _, table := range joinTables {
		joined += fmt.Sprintf(`CREATE TABLE %s (k STRING, a BIGINT, b BIGINT) WITH (
  'connector' = 'kafka', 'topic' = '$NAME.%s', 'key.format' = 'raw', 'key.fields' = 'k', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '$NAME-%s'
);
`, table, table, table)
	}
	text = strings.Replace(text, "$JOINED\n", joined, 1)
	return strings.NewReplacer("$NAME", name, "$MODE", mode).Replace(text)
}

// figure is the count and sum of a window or group.
type figure struct {
	N     int64 `json:"n"`
	Total int64 `json:"total"`
}

func (f figure) plus(v int64) figure { return figure{f.N + 1, f.Total + v} }

func (f figure) within(limit figure) bool { return f.N <= limit.N && f.Total <= limit.Total }

type windowKey struct {
	key   string
	start string // in the format of the sink's JSON
}

// outcome is a pipeline's output: either as computed from the rows, or as read from its topics.
type outcome struct {
	windows map[windowKey][]figure // more than one figure per window is a duplicate
	groups  map[string]figure      // of both tables: totals/KEY and classes/KEY
	joined  map[joinedRow]int      // how often each row of a join was written
}

// joinedRow is a row of a join of the source with itself.
type joinedRow struct {
	table, key string
	a, b       int64
}

func newOutcome() outcome {
	return outcome{windows: make(map[windowKey][]figure), groups: make(map[string]figure), joined: make(map[joinedRow]int)}
}

// expect computes the expected output, without sharing code with the engine. If the source has
// ended, all windows are closed.
func expect(rows []row, ended bool) outcome {
	o := newOutcome()
	for _, r := range rows {
		for _, g := range []string{"totals/" + r.Key, fmt.Sprintf("classes/%d", r.Value%rowClasses)} {
			o.groups[g] = o.groups[g].plus(r.Value)
		}
		if !ended && !r.TS.Before(endOfTime) {
			continue // its window stays open
		}
		w := windowKey{r.Key, r.TS.Truncate(rowWindow).Format("2006-01-02 15:04:05")}
		if o.windows[w] == nil {
			o.windows[w] = []figure{{}}
		}
		o.windows[w][0] = o.windows[w][0].plus(r.Value)
	}
	byKey := make(map[string][]row)
	for _, r := range rows {
		byKey[r.Key] = append(byKey[r.Key], r)
	}
	for key, all := range byKey {
		for _, a := range all {
			for _, b := range all {
				for _, table := range joinedIn(a, b, ended) {
					o.joined[joinedRow{table, key, a.Value, b.Value}]++
				}
			}
		}
	}
	return o
}

// joinedIn returns the tables to which two rows of a key are written together.
func joinedIn(a, b row, ended bool) (tables []string) {
	closed := ended || a.TS.Before(endOfTime)
	if closed && a.Value%5 == 0 && b.Value%5 == 2 && a.TS.Truncate(rowWindow).Equal(b.TS.Truncate(rowWindow)) {
		tables = append(tables, "same_window")
	}
	if b.Value%5 == 3 && a.TS.Sub(b.TS).Abs() <= time.Second {
		tables = append(tables, "near")
	}
	if a.Value%100 == b.Value%100 {
		tables = append(tables, "same_value")
	}
	return tables
}

// readOutcome reads the pipeline's output.
func readOutcome(ctx context.Context, at broker.Config, name string) (outcome, error) {
	o := newOutcome()
	err := broker.ReadAll(ctx, at, name+".windows", nil, func(r *kgo.Record) error {
		var w struct {
			K           string `json:"k"`
			WindowStart string `json:"window_start"`
			figure
		}
		if err := json.Unmarshal(r.Value, &w); err != nil {
			return fmt.Errorf("read window %q: %w", r.Value, err)
		}
		start, _, _ := strings.Cut(w.WindowStart, ".")
		k := windowKey{w.K, strings.Replace(start, "T", " ", 1)}
		o.windows[k] = append(o.windows[k], w.figure)
		return nil
	})
	if err != nil {
		return o, err
	}
	for _, table := range joinTables {
		err := broker.ReadAll(ctx, at, name+"."+table, nil, func(r *kgo.Record) error {
			var row struct {
				K    string `json:"k"`
				A, B int64
			}
			if err := json.Unmarshal(r.Value, &row); err != nil {
				return fmt.Errorf("read row of %s %q: %w", table, r.Value, err)
			}
			o.joined[joinedRow{table, row.K, row.A, row.B}]++
			return nil
		})
		if err != nil {
			return o, err
		}
	}
	for _, table := range []string{"totals", "classes"} {
		err := broker.ReadAll(ctx, at, name+"."+table, nil, func(r *kgo.Record) error {
			group := table + "/" + string(r.Key)
			if r.Value == nil {
				delete(o.groups, group)
				return nil
			}
			var f figure
			if err := json.Unmarshal(r.Value, &f); err != nil {
				return fmt.Errorf("read group %q: %w", r.Value, err)
			}
			o.groups[group] = f
			return nil
		})
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// compare returns what is wrong with the actual output. The output of a pipeline that refused to
// continue is partial: it may lack windows and counts, but must contain nothing wrong.
func (o outcome) compare(actual outcome, partial bool) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, w := range sortedWindows(actual.windows) {
		got, want := actual.windows[w], o.windows[w]
		switch {
		case len(got) > 1:
			say("window %s %s was written %d times: %v, expected once", w.key, w.start, len(got), got)
		case len(want) == 0:
			say("window %s %s is %v, expected none", w.key, w.start, got[0])
		case got[0] != want[0]:
			say("window %s %s is %v, expected %v", w.key, w.start, got[0], want[0])
		}
	}
	for _, w := range sortedWindows(o.windows) {
		if len(actual.windows[w]) == 0 && !partial {
			say("window %s %s is missing, expected %v", w.key, w.start, o.windows[w][0])
		}
	}
	for _, g := range slices.Sorted(maps.Keys(actual.groups)) {
		got, want := actual.groups[g], o.groups[g]
		if got != want && (!partial || !got.within(want)) {
			say("%s is %v, expected %v", g, got, want)
		}
	}
	for _, g := range slices.Sorted(maps.Keys(o.groups)) {
		if _, ok := actual.groups[g]; !ok && !partial {
			say("%s is missing, expected %v", g, o.groups[g])
		}
	}
	for r, n := range actual.joined {
		if n > o.joined[r] {
			say("row %v was written %d times, expected %d", r, n, o.joined[r])
		}
	}
	for r, n := range o.joined {
		if actual.joined[r] < n && !partial {
			say("row %v was written %d times, expected %d", r, actual.joined[r], n)
		}
	}
	return wrong
}

func sortedWindows(windows map[windowKey][]figure) []windowKey {
	return slices.SortedFunc(maps.Keys(windows), func(a, b windowKey) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.start, b.start))
	})
}
