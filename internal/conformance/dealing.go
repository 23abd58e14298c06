package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/sqltest"
)

// dealtPartitions is the number of partitions over which the rows of a case are distributed.
const dealtPartitions = 4

// dealing is a variant of a pipeline whose sources declare keys, and the distribution of its rows
// over partitions.
type dealing struct {
	name   string
	text   string // SQL of the pipeline
	spread bool   // rows are assigned to partitions regardless of their key, not by its murmur2 hash
	any    bool   // the plan does not rely on the distribution
}

// anyPartition makes a pipeline repartition its rows, regardless of declared keys.
const anyPartition = "SET 'weir.key-partitioning' = 'any';\n"

// dealings returns the variants of a pipeline to run: rows spread over all partitions; by the keys
// that its sources declare, if any; and by each column, and each pair of adjacent columns, that a
// source without a key can declare as its key so that the plan relies on it. Each keyed variant is
// also run with an exchange.
func (c *pipelineCase) dealings() ([]dealing, error) {
	p, err := c.compile()
	if err != nil {
		return nil, err
	}
	all := []dealing{{"spread", anyPartition + c.text, true, true}}
	add := func(name, text string) {
		all = append(all, dealing{name: name, text: text}, dealing{name: name, text: anyPartition + text, any: true})
	}
	if len(p.Placements()) > 0 {
		add("as declared", c.text)
	}
	for i, key := range keysOf(p) {
		text, err := c.declare(p, []string{"json", "raw"}[i%2*(2-len(key))], key)
		if err != nil {
			return nil, err
		}
		declared, err := plan.Compile(text, "declared")
		if err != nil {
			continue // this format does not support the column as a key
		}
		if len(declared.Placements()) > len(p.Placements()) {
			add(strings.Join(key, ";"), text)
		}
	}
	return all, nil
}

// keysOf returns the candidate keys of sources without a key: each column alone, and each column
// with its predecessor.
func keysOf(p *plan.Program) (keys [][]string) {
	for _, t := range p.Tables {
		if !isSource(p, t) || t.Upsert || t.Kafka.Key.Name != "" {
			continue
		}
		for i, f := range t.Kafka.Value.Fields {
			keys = append(keys, []string{f.Name})
			if i > 0 {
				keys = append(keys, []string{f.Name, t.Kafka.Value.Fields[i-1].Name})
			}
		}
	}
	slices.SortStableFunc(keys, slices.Compare)
	return slices.CompactFunc(keys, slices.Equal)
}

// isSource reports whether the program reads a table.
func isSource(p *plan.Program, t *plan.Table) bool {
	return slices.ContainsFunc(p.Stages, func(s *plan.Stage) bool {
		return slices.ContainsFunc(s.Inputs, func(r *plan.Relation) bool {
			scan, ok := r.Op.(*plan.Scan)
			return ok && scan.Table == t
		})
	})
}

// declare returns the pipeline's text with this key declared in each source that has all of its
// columns and no key yet.
func (c *pipelineCase) declare(p *plan.Program, encoding string, key []string) (string, error) {
	script, err := sql.Parse(c.text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range script.Statements {
		if create, ok := s.(*sql.CreateTable); ok {
			t := p.Tables[slices.IndexFunc(p.Tables, func(t *plan.Table) bool { return t.Name == create.Name[len(create.Name)-1].Name })]
			missing := func(name string) bool {
				return !slices.ContainsFunc(t.Kafka.Value.Fields, func(f format.Field) bool { return f.Name == name })
			}
			if isSource(p, t) && !t.Upsert && t.Kafka.Key.Name == "" && !slices.ContainsFunc(key, missing) {
				o := options{create}
				o.set("key.format", encoding)
				o.set("key.fields", strings.Join(key, ";"))
			}
		}
		b.WriteString(sql.Format(s) + ";\n")
	}
	return b.String(), nil
}

// dealtTest returns the name under which Flink's result for the spread rows of a test is recorded.
func dealtTest(test string) string { return strings.TrimSuffix(test, ".case") + ".dealt" }

// spread distributes the rows of a test over all partitions.
func (c *pipelineCase) spread() (*dealing, []*kgo.Record, error) {
	d := &dealing{"spread", anyPartition + c.text, true, true}
	p, err := plan.Compile(d.text, "dealt")
	if err != nil {
		return nil, nil, err
	}
	records, err := d.deal(p, c.test)
	return d, records, err
}

var murmur2 = kgo.StickyKeyPartitioner(nil).ForTopic("")

// deal assigns the rows of a test to partitions, each of which keeps the order of the test. If the
// test itself uses several partitions, its order is meaningless across them, so the rows are first
// sorted by event time.
func (d *dealing) deal(p *plan.Program, test string) ([]*kgo.Record, error) {
	records, err := sqltest.Records(p, test)
	if err != nil {
		return nil, err
	}
	table := func(r *kgo.Record) *plan.Table {
		return p.Tables[slices.IndexFunc(p.Tables, func(t *plan.Table) bool { return t.Kafka.Topic == r.Topic })]
	}
	if slices.ContainsFunc(records, func(r *kgo.Record) bool { return r.Partition > 0 }) {
		slices.SortStableFunc(records, func(a, b *kgo.Record) int { return eventTime(table(a), a).Compare(eventTime(table(b), b)) })
	}
	for i, r := range records {
		r.Partition = int32(i % dealtPartitions)
		if t := table(r); t.Upsert || t.Kafka.Key.Name != "" && !d.spread {
			key := kgo.Record{Key: append([]byte{}, r.Key...)}            // an empty key must not become NULL
			r.Partition = int32(murmur2.Partition(&key, dealtPartitions)) //nolint:gosec // small number
		}
	}
	return records, nil
}

// eventTime returns the event time of a row, from the column of its table's watermark.
func eventTime(t *plan.Table, r *kgo.Record) time.Time {
	var row map[string]any
	if t.Rowtime < 0 || json.Unmarshal(r.Value, &row) != nil {
		return time.Time{}
	}
	at, _ := time.Parse(time.RFC3339Nano, fmt.Sprint(row[t.Columns[t.Rowtime].Name]))
	return at
}

// run runs a pipeline in memory over the distributed rows. late is the number of rows that were too
// late for their windows.
func (d *dealing) run(test string, o dryrun.Options) (p *plan.Program, tables map[string][]string, late int, err error) {
	p, err = plan.Compile(d.text, "dealt")
	if err != nil {
		return nil, nil, 0, err
	}
	records, err := d.deal(p, test)
	if err != nil {
		return nil, nil, 0, err
	}
	o.Partitions = dealtPartitions
	out, err := sqltest.PlayRecords(p, records, o)
	if err != nil {
		return nil, nil, 0, err
	}
	tables = make(map[string][]string)
	for _, t := range p.Tables {
		tables[t.Name] = standingRows(t, out[t.Kafka.Topic])
	}
	return p, tables, len(out[p.Settings.LateTopic]), nil
}
