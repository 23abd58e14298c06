package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// TableDiff compares what both sides wrote to a table.
type TableDiff struct {
	Table       string
	Rows        int      // written by Flink
	Identical   int      // of these, written byte for byte by Weir as well
	Flink, Weir []string // rows that only one side has
	All         []string // rows of Flink
}

// tolerance is the maximum relative difference between doubles that count as equal: the engines
// compute variance differently (docs/reference/flink-differences.md).
const tolerance = 1e-12

func (l *Lab) compare(ctx context.Context, p *plan.Program, weir, flink sink) (TableDiff, error) {
	i := slices.IndexFunc(p.Tables, func(t *plan.Table) bool { return t.Name == weir.table })
	table := p.Tables[i]
	ours, err := l.rows(ctx, table, weir.topic)
	if err != nil {
		return TableDiff{}, err
	}
	theirs, err := l.rows(ctx, table, flink.topic)
	if err != nil {
		return TableDiff{}, err
	}
	return difference(weir.table, theirs, ours), nil
}

// rows returns the records of a topic as text: key, written metadata and value. For an upsert
// table, these are only the final rows.
func (l *Lab) rows(ctx context.Context, t *plan.Table, topic string) ([]string, error) {
	var all []*kgo.Record
	err := broker.ReadAll(ctx, broker.Config{Brokers: l.Brokers}, topic, nil, func(r *kgo.Record) error {
		all = append(all, r)
		return nil
	})
	return standingRows(t, all), err
}

func standingRows(t *plan.Table, records []*kgo.Record) []string {
	rows, keys := []string{}, []string{}
	standing := make(map[string]string)
	for _, r := range records {
		row := rowText(t, r)
		switch key := string(r.Key); {
		case !t.Upsert:
			rows = append(rows, row)
		case r.Value == nil:
			delete(standing, key)
		default:
			if standing[key] == "" {
				keys = append(keys, key)
			}
			standing[key] = row
		}
	}
	for _, key := range keys {
		if row, ok := standing[key]; ok {
			rows = append(rows, row)
			delete(standing, key)
		}
	}
	return rows
}

func rowText(t *plan.Table, r *kgo.Record) string {
	parts := []string{}
	if t.Kafka.Key.Name != "" {
		parts = append(parts, string(r.Key))
	}
	for _, c := range t.Columns {
		switch {
		case c.Metadata == "timestamp" && !c.Virtual:
			parts = append(parts, r.Timestamp.UTC().Format("2006-01-02T15:04:05.000Z"))
		case c.Metadata == "headers" && !c.Virtual:
			for _, h := range r.Headers {
				parts = append(parts, h.Key+"="+string(h.Value))
			}
		}
	}
	value := string(r.Value)
	if r.Value == nil {
		value = "null"
	}
	return strings.Join(append(parts, value), " ")
}

func difference(table string, flink, weir []string) TableDiff {
	d := TableDiff{Table: table, Rows: len(flink), All: flink}
	left := slices.Clone(weir)
	take := func(rows []string, same func(a, b string) bool) (others []string, taken int) {
		for _, row := range rows {
			i := slices.IndexFunc(left, func(other string) bool { return same(row, other) })
			if i < 0 {
				others = append(others, row)
				continue
			}
			left = slices.Delete(left, i, i+1)
			taken++
		}
		return others, taken
	}
	rest, identical := take(flink, func(a, b string) bool { return a == b })
	d.Identical = identical
	d.Flink, _ = take(rest, sameRow)
	d.Weir = left
	return d
}

// sameRow compares two rows by their JSON values.
func sameRow(a, b string) bool {
	x, y := values(a), values(b)
	return len(x) > 0 && sameValue(x, y)
}

// values returns the JSON values of a row. A key that is not JSON is text.
func values(row string) []any {
	var all []any
	for row != "" {
		d := json.NewDecoder(strings.NewReader(row))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			all = append(all, v)
			row = strings.TrimSpace(row[d.InputOffset():])
			continue
		}
		var word string
		word, row, _ = strings.Cut(row, " ")
		all = append(all, word)
	}
	return all
}

func sameValue(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		other, ok := b.(json.Number)
		return ok && sameNumber(a, other)
	case []any:
		other, ok := b.([]any)
		return ok && slices.EqualFunc(a, other, sameValue)
	case map[string]any:
		other, ok := b.(map[string]any)
		if !ok || len(a) != len(other) {
			return false
		}
		for key, v := range a {
			w, ok := other[key]
			if !ok || !sameValue(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}

func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, err1 := a.Float64()
	y, err2 := b.Float64()
	whole := !strings.ContainsAny(string(a)+string(b), ".eE")
	return err1 == nil && err2 == nil && !whole && math.Abs(x-y) <= tolerance*max(math.Abs(x), math.Abs(y))
}

// differing returns two JSON objects without their equal fields, so that the differences stand out.
func differing(a, b string) (shortA, shortB string) {
	var x, y map[string]json.RawMessage
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a, b
	}
	left := 0
	for key := range x {
		if string(x[key]) == string(y[key]) {
			delete(x, key)
			delete(y, key)
			left++
		}
	}
	if left == 0 {
		return a, b
	}
	textA, errA := json.Marshal(x)
	textB, errB := json.Marshal(y)
	if errA != nil || errB != nil {
		return a, b
	}
	return fmt.Sprintf("%s and %d equal fields", textA, left), string(textB)
}

// String returns the difference as lines: - marks a row of Flink's, + one of Weir's.
func (d TableDiff) String() string {
	var b bytes.Buffer
	slices.Sort(d.Flink)
	slices.Sort(d.Weir)
	for i := range max(len(d.Flink), len(d.Weir)) {
		var flink, weir string
		if i < len(d.Flink) {
			flink = d.Flink[i]
		}
		if i < len(d.Weir) {
			weir = d.Weir[i]
		}
		flink, weir = differing(flink, weir)
		if i < len(d.Flink) {
			fmt.Fprintf(&b, "    - %s\n", flink)
		}
		if i < len(d.Weir) {
			fmt.Fprintf(&b, "    + %s\n", weir)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("  %s: %d rows on Flink (-), differing from those of Weir (+):\n%s", d.Table, d.Rows, b.String())
}
