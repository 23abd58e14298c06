package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
	"weir.example/weir/pipelines"
)

// sqlAnswer is the response to the SQL in the editor.
type sqlAnswer struct {
	OK       bool          `json:"ok"`
	Line     int           `json:"line,omitempty"` // of the error, from 1
	Column   int           `json:"column,omitempty"`
	Message  string        `json:"message,omitempty"`
	Hint     string        `json:"hint,omitempty"`
	Pipeline string        `json:"pipeline,omitempty"`
	Plan     string        `json:"plan,omitempty"` // as text
	Graph    *graph        `json:"graph,omitempty"`
	Results  []previewRows `json:"results,omitempty"` // of a preview
	Read     int           `json:"read,omitempty"`    // records
	Took     float64       `json:"took,omitempty"`    // milliseconds
}

// previewRows holds the records that a pipeline would write to a topic.
type previewRows struct {
	Topic   string           `json:"topic"`
	Kind    string           `json:"kind"`              // rows, late or dead letters
	Columns []string         `json:"columns,omitempty"` // of rows
	Rows    []map[string]any `json:"rows,omitempty"`
	Total   int              `json:"total"`
}

const (
	previewName    = "preview"
	previewRecords = 20_000 // per topic, max
	previewShown   = 500    // rows per topic
	previewTime    = 10 * time.Second
	previewBytes   = 32 << 20 // keys and values per topic
)

// sqlRequest is the body of the editor's requests.
type sqlRequest struct {
	Text  string `json:"text"`
	Last  int    `json:"last"`  // records of each topic that a preview reads
	Close bool   `json:"close"` // end the inputs, so that windows close
}

// compile plans the SQL in the editor. Invalid SQL is a response, not an error.
func compile(text string) (*plan.Program, sqlAnswer) {
	program, err := plan.Preview(text, previewName)
	var at *sql.Error
	switch {
	case errors.As(err, &at):
		return nil, sqlAnswer{Line: at.Line, Column: at.Column, Message: at.Message, Hint: at.Hint}
	case err != nil:
		return nil, sqlAnswer{Message: err.Error()}
	}
	return program, sqlAnswer{OK: true, Pipeline: program.Name, Plan: program.Text(), Graph: graphOf(program, figures{})}
}

// checkSQL serves POST /api/sql/check {"text"}.
func (c *Console) checkSQL(r *http.Request) (any, error) {
	var in sqlRequest
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	release, err := c.turn(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	result, err := c.sandbox(r.Context(), &sandboxJob{Text: in.Text})
	if err != nil {
		return nil, err
	}
	return json.RawMessage(result.Answer), nil
}

// turn waits until few enough requests of the editor are running.
func (c *Console) turn(ctx context.Context) (release func(), err error) {
	wait, cancel := context.WithTimeout(ctx, previewTime)
	defer cancel()
	if c.previews.Acquire(wait, 1) != nil {
		return nil, &httpError{http.StatusServiceUnavailable, errors.New("too many checks and previews of SQL are running: try again")}
	}
	return func() { c.previews.Release(1) }, nil
}

// previewSQL serves POST /api/sql/preview {"text", "last", "close"}: the records that the pipeline
// would write for the last records of its sources.
func (c *Console) previewSQL(r *http.Request) (any, error) {
	in := sqlRequest{Last: 1000}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if in.Last < 1 || in.Last > previewRecords {
		return nil, badRequest("invalid last: must be from 1 to %d", previewRecords)
	}
	release, err := c.turn(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	planned, err := c.sandbox(r.Context(), &sandboxJob{Text: in.Text})
	if err != nil {
		return nil, err
	}
	if planned.Unreadable != "" {
		return sqlAnswer{Message: planned.Unreadable, Hint: "check and explain work; to see the rows, run the pipeline"}, nil
	}
	if len(planned.Sources) == 0 {
		return json.RawMessage(planned.Answer), nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), previewTime)
	defer cancel()
	job := &sandboxJob{Text: in.Text, Preview: true, Close: in.Close, Records: make(map[string][]sandboxRecord), Sizes: make(map[string]int32)}
	for topic, versions := range planned.Sources {
		last, partitions, err := c.newest(ctx, topic, in.Last, versions)
		if err != nil {
			return nil, err
		}
		job.Sizes[topic] = partitions
		job.Records[topic] = []sandboxRecord{}
		for _, r := range last {
			job.Records[topic] = append(job.Records[topic], sandboxed(r))
		}
	}
	result, err := c.sandbox(r.Context(), job)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(result.Answer), nil
}

// unreadable returns why the sources of a program cannot be previewed, or "" if they can. A dry run
// does not decode formats that need a schema registry: it would read their records as JSON.
func unreadable(program *plan.Program) string {
	for _, stage := range program.Stages {
		for _, input := range stage.Inputs {
			scan, ok := input.Op.(*plan.Scan)
			if !ok {
				continue
			}
			if scan.Table.Pattern != "" {
				return fmt.Sprintf("preview of table %s: 'topic-pattern' is not supported, list the topics: 'topic' = 'a;b'", scan.Table.Name)
			}
			for _, f := range []plan.Format{scan.Table.Kafka.Key, scan.Table.Kafka.Value} {
				if format.HasRegistry(f.Name) {
					return fmt.Sprintf("preview of topic %s: format %s is not supported", scan.Table.Kafka.Topic, f.Name)
				}
			}
		}
	}
	return ""
}

// newest reads the last records of a topic, in timestamp order. For a versioned table, it reads as
// many as a preview may. partitions is the topic's partition count.
func (c *Console) newest(ctx context.Context, topic string, last int, versions bool) (all []*kgo.Record, partitions int32, err error) {
	if versions {
		last = previewRecords
	}
	q := recordQuery{topic: topic, partition: -1, from: "end", limit: last}
	parts, err := c.ranges(ctx, &q)
	if err != nil {
		return nil, 0, err
	}
	size := 0
	if err := scan(ctx, c.cfg.Broker, topic, parts, func(r *kgo.Record) error {
		all = append(all, r)
		if size += len(r.Key) + len(r.Value); size > previewBytes {
			return badRequest("the last records of %s have more than %d MiB: preview fewer", topic, previewBytes>>20)
		}
		return nil
	}); err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", topic, err)
	}
	slices.SortStableFunc(all, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) })
	return all[max(0, len(all)-last):], int32(len(parts)), nil //nolint:gosec // small number
}

// resultsOf returns the records that a preview wrote: rows first, then late rows and dead letters,
// if any.
func resultsOf(p *plan.Program, written map[string][]*kgo.Record) []previewRows {
	var all []previewRows
	seen := make(map[string]bool)
	for _, sink := range p.Sinks {
		t := sink.Op.(*plan.Insert).Table //nolint:forcetypeassert // checked by Preview
		if seen[t.Kafka.Topic] {
			continue
		}
		seen[t.Kafka.Topic] = true
		rows := previewRows{Topic: t.Kafka.Topic, Kind: "rows", Total: len(written[t.Kafka.Topic])}
		for _, i := range t.Kafka.Value.Columns {
			rows.Columns = append(rows.Columns, t.Columns[i].Name)
		}
		for _, r := range tailOf(written[t.Kafka.Topic]) {
			row := make(map[string]any)
			if r.Value == nil {
				row["(deleted)"] = string(r.Key)
			} else if json.Unmarshal(r.Value, &row) != nil {
				row = map[string]any{"value": show(r.Value, nil)}
			}
			rows.Rows = append(rows.Rows, row)
		}
		all = append(all, rows)
	}
	for topic, kind := range map[string]string{p.Settings.LateTopic: "late", p.Settings.DeadLetterTopic: "dead letters"} {
		records := written[topic]
		if len(records) == 0 {
			continue
		}
		rows := previewRows{Topic: topic, Kind: kind, Columns: []string{"reason", "value"}, Total: len(records)}
		for _, r := range tailOf(records) {
			row := map[string]any{"value": textOf(r.Value)}
			for _, h := range r.Headers {
				row[h.Key] = string(h.Value)
			}
			rows.Rows = append(rows.Rows, row)
		}
		all = append(all, rows)
	}
	return all
}

func tailOf(records []*kgo.Record) []*kgo.Record { return records[max(0, len(records)-previewShown):] }

func textOf(data []byte) string {
	if p := show(data, nil); p != nil && p.Text != "" {
		return p.Text
	}
	return fmt.Sprintf("%x", data[:min(len(data), 64)])
}

// starter is an example for the editor.
type starter struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Text  string `json:"text"`
}

// firstQuery is the initial text of the editor.
const firstQuery = `-- A plain query is previewed over the last records; nothing is written.
CREATE TABLE readings (
  device_id STRING,
  sensor STRING,
  ` + "`value`" + ` DOUBLE,
  unit STRING,
  ts TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'sensor_data_tx',
  'key.format' = 'raw',
  'key.fields' = 'device_id',
  'value.format' = 'json',
  'value.json.timestamp-format.standard' = 'ISO-8601'
);

SELECT window_start, sensor, COUNT(*) AS readings, AVG(` + "`value`" + `) AS mean
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY window_start, window_end, sensor;
`

// starters serves GET /api/sql/starters: a first query and the bundled pipelines.
func (c *Console) starters(*http.Request) (any, error) {
	all := []starter{{Name: "first query", About: "mean per sensor and second", Text: c.cfg.Site.SQL(firstQuery)}}
	for _, name := range pipelines.Names() {
		text, _ := pipelines.Source(name)
		text = c.cfg.Site.SQL(text)
		first, _, _ := strings.Cut(text, "\n")
		all = append(all, starter{name, strings.TrimLeft(first, "- "), text})
	}
	return all, nil
}
