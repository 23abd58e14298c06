package lookup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// base is the instant at which the clocks of these tests begin.
var base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// fake is a table whose only row of a key is the number of the query that reads it. Keys that begin
// with - have none.
type fake struct {
	queries, keys, opened int
	fail                  error
}

func (f *fake) open(context.Context, string, *Table) (Source, error) {
	f.opened++
	return f, nil
}

func (f *fake) Close() {}

func (f *fake) Rows(_ context.Context, keys []operator.LookupKey) ([][]operator.LookupRow, error) {
	if err := f.fail; err != nil {
		f.fail = nil
		return nil, err
	}
	f.queries++
	f.keys += len(keys)
	all := make([][]operator.LookupRow, len(keys))
	for i, k := range keys {
		if !strings.HasPrefix(k.ID, "-") {
			all[i] = []operator.LookupRow{{Values: []any{fmt.Sprintf("%s%d", k.ID, f.queries), int64(f.queries)}}}
		}
	}
	return all, nil
}

// tables plans two lookup joins in one table, which read different columns of it.
func tables(t *testing.T, f *fake, options string, now func() time.Time) (*Tables, []*plan.Relation, *prometheus.Registry) {
	t.Helper()
	p, err := plan.Compile(`
CREATE TABLE r (k STRING, p AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE t (k STRING, a STRING, b BIGINT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://db/d', 'table-name' = 't'`+options+`);
CREATE TABLE o (a STRING) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json');
INSERT INTO o SELECT t.a FROM r JOIN t FOR SYSTEM_TIME AS OF r.p ON r.k = t.k;
INSERT INTO o SELECT 'x' FROM r JOIN t FOR SYSTEM_TIME AS OF r.p ON r.k = t.k AND t.b > 1;`, "test")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	all := New(Config{Program: p, Open: f.open, Now: now, Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(registry)})
	t.Cleanup(all.Close)
	return all, p.Lookups(), registry
}

func keysOf(ids ...string) (keys []operator.LookupKey) {
	for _, id := range ids {
		keys = append(keys, operator.LookupKey{ID: id, Values: []any{id}})
	}
	return keys
}

// find returns the rows of each key as text.
func find(t *testing.T, w *Worker, r *plan.Relation, ids ...string) string {
	t.Helper()
	rows, err := w.Find(r, keysOf(ids...))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, each := range rows {
		var values []any
		for _, found := range each {
			values = append(values, found.Values...)
		}
		all = append(all, fmt.Sprint(values...))
	}
	return strings.Join(all, ",")
}

// A key has one answer in a transaction, for both lookup joins, and another one in the next.
func TestAnswersOfTransaction(t *testing.T) {
	f := &fake{}
	all, joins, registry := tables(t, f, "", time.Now)
	w := all.Worker()
	defer w.Close()
	w.Begin(t.Context())
	if got := find(t, w, joins[0], "a", "b", "-"); got != "a1,b1," {
		t.Errorf("found %s", got)
	}
	if got := find(t, w, joins[0], "b", "c"); got != "b1,c2" {
		t.Errorf("found %s", got)
	}
	if got := find(t, w, joins[1], "c", "a"); got != "2,1" {
		t.Errorf("the other join found %s", got)
	}
	if w.Bytes() == 0 {
		t.Error("answers take no memory")
	}
	w.Begin(t.Context())
	if got := find(t, w, joins[1], "a"); got != "3" || w.Bytes() > 300 {
		t.Errorf("the next transaction found %s; %d bytes", got, w.Bytes())
	}
	if f.queries != 3 || f.keys != 5 || f.opened != 1 {
		t.Errorf("%d queries of %d keys, %d connections", f.queries, f.keys, f.opened)
	}
	want := `# HELP weir_lookup_keys_total Keys looked up, by where their answer came from: the transaction, in which the key was looked up before, the cache, or the database. Keys that a batch repeats count once.
# TYPE weir_lookup_keys_total counter
weir_lookup_keys_total{from="cache",pipeline="test",table="t"} 0
weir_lookup_keys_total{from="database",pipeline="test",table="t"} 5
weir_lookup_keys_total{from="transaction",pipeline="test",table="t"} 3
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "weir_lookup_keys_total"); err != nil {
		t.Error(err)
	}
}

// A connection that was used before may have died: it is replaced once. One that fails at once is
// an error of the transaction, which knows no answer.
func TestConnectionDies(t *testing.T) {
	f := &fake{}
	all, joins, _ := tables(t, f, "", time.Now)
	w := all.Worker()
	defer w.Close()
	w.Begin(t.Context())
	f.fail = errors.New("refused")
	_, err := w.Find(joins[0], keysOf("a"))
	if failed := new(operator.LookupError); !errors.As(err, &failed) || failed.Table != "t" {
		t.Errorf("error %v", err)
	}
	if got := find(t, w, joins[0], "a"); got != "a1" {
		t.Errorf("found %s", got)
	}
	f.fail = errors.New("broken pipe")
	if got := find(t, w, joins[0], "b"); got != "b2" || f.opened != 3 {
		t.Errorf("found %s with %d connections", got, f.opened)
	}
}

// The cache answers for later transactions, also those of other workers, until an entry expires or
// is the least used of too many.
func TestCache(t *testing.T) {
	const partial = ", 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache."
	type step struct {
		after time.Duration
		keys  []string
		want  string
	}
	for name, c := range map[string]struct {
		options string
		steps   []step
	}{
		"after write": {partial + "expire-after-write' = '10 s'", []step{{0, []string{"a"}, "a1"}, {9 * time.Second, []string{"a", "-", "b"}, "a1,,b2"}, {time.Second, []string{"a", "-", "b"}, "a3,,b2"}}},
		"after access": {partial + "expire-after-access' = '10 s'", []step{{0, []string{"a"}, "a1"}, {9 * time.Second, []string{"a"}, "a1"}, {9 * time.Second, []string{"a"}, "a1"},
			{10 * time.Second, []string{"a"}, "a2"}}},
		"rows":                         {partial + "max-rows' = '2'", []step{{0, []string{"a", "b"}, "a1,b1"}, {0, []string{"a"}, "a1"}, {0, []string{"c"}, "c2"}, {0, []string{"a"}, "a1"}, {0, []string{"b"}, "b3"}, {time.Hour, []string{"b"}, "b3"}}},
		"missing keys are asked again": {partial + "max-rows' = '9', 'lookup.partial-cache.cache-missing-key' = 'false'", []step{{0, []string{"-", "a"}, ",a1"}, {0, []string{"-"}, ""}, {0, []string{"b"}, "b3"}}},
		"missing keys are kept":        {partial + "max-rows' = '9'", []step{{0, []string{"-", "a"}, ",a1"}, {0, []string{"-"}, ""}, {0, []string{"b"}, "b2"}}},
		"older options":                {", 'lookup.cache.max-rows' = '9', 'lookup.cache.ttl' = '10 s'", []step{{0, []string{"a"}, "a1"}, {9 * time.Second, []string{"a"}, "a1"}, {time.Second, []string{"a"}, "a2"}}},
		"off":                          {", 'lookup.cache.max-rows' = '0', 'lookup.cache.ttl' = '10 s'", []step{{0, []string{"a"}, "a1"}, {0, []string{"a"}, "a2"}}},
		"none":                         {", 'lookup.cache' = 'NONE'", []step{{0, []string{"a"}, "a1"}, {0, []string{"a"}, "a2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			f, now := &fake{}, base
			all, joins, _ := tables(t, f, c.options, func() time.Time { return now })
			workers := []*Worker{all.Worker(), all.Worker()}
			for i, s := range c.steps {
				now = now.Add(s.after)
				w := workers[i%2]
				w.Begin(t.Context())
				if got := find(t, w, joins[0], s.keys...); got != s.want {
					t.Errorf("step %d: found %s, want %s", i+1, got, s.want)
				}
			}
			for _, w := range workers {
				w.Close()
			}
		})
	}
}

// An entry that expires within a transaction still answers it.
func TestCacheExpiresInTransaction(t *testing.T) {
	f, now := &fake{}, base
	all, joins, _ := tables(t, f, ", 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.expire-after-write' = '1 s'", func() time.Time { return now })
	w := all.Worker()
	defer w.Close()
	w.Begin(t.Context())
	find(t, w, joins[0], "a")
	now = now.Add(time.Hour)
	if got := find(t, w, joins[1], "a"); got != "1" || f.queries != 1 {
		t.Errorf("found %s after %d queries", got, f.queries)
	}
}

// Large rows fill the cache as well as many.
func TestCacheBytes(t *testing.T) {
	c := newCache(&plan.LookupCache{MaxRows: 1000}, time.Now)
	large := []operator.LookupRow{{Values: []any{strings.Repeat("x", 100<<20)}}} // the text is shared
	for i := range 10 {
		c.put(fmt.Sprint(i), large)
	}
	if n := c.size(); n != 2 {
		t.Errorf("%d rows of 100 MiB", n)
	}
	if _, ok := c.get("9"); !ok {
		t.Error("the last one is dropped")
	}
	c.clear()
	if c.size() != 0 || c.bytes != 0 {
		t.Error("not empty")
	}
}
