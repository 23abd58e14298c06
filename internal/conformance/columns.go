package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/sqltest"
)

// table is a table with rows over which expressions are evaluated. Its first column, id, numbers
// the rows from 1.
type table struct {
	columns string
	rows    []string
	zone    string
}

func (t *table) create(topic, more string) string {
	return fmt.Sprintf("CREATE TABLE t (%s) WITH ('connector' = 'kafka', 'topic' = '%s', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'%s)",
		t.columns, topic, more)
}

// onWeir evaluates an expression for each row, as text; "error" if it fails.
func (t *table) onWeir(expression string) string {
	const sink = "CREATE TABLE results (id INT, v STRING) WITH ('connector' = 'kafka', 'topic' = 'results', 'format' = 'json')"
	text := fmt.Sprintf("SET 'table.local-time-zone' = '%s';\n%s;\n%s;\nINSERT INTO results SELECT id, CAST(%s AS STRING) FROM t;", t.zone, t.create("t", ""), sink, expression)
	p, err := plan.Compile(text, "columns")
	if err != nil {
		return "refused: " + err.(*sql.Error).Message //nolint:errorlint // Compile returns *sql.Error
	}
	out, err := sqltest.Rows(p, "send t\n"+strings.Join(t.rows, "\n")+"\nexpect results\n")
	if err != nil {
		return "failed: " + err.Error()
	}
	values := make([]string, len(t.rows))
	for i := range values {
		values[i] = "error"
	}
	for _, row := range out["results"] {
		var r struct {
			ID int
			V  *string
		}
		if err := json.Unmarshal([]byte(row), &r); err != nil {
			return "failed: " + err.Error()
		}
		values[r.ID-1] = "NULL"
		if r.V != nil {
			values[r.ID-1] = *r.V
		}
	}
	return strings.Join(values, " | ")
}

// onFlink writes the rows to the named topic and evaluates expressions over them. Expressions that
// fail in Weir are evaluated separately.
func (t *table) onFlink(ctx context.Context, l *Lab, topic string, k known, expressions, want []string) (got []string, err error) {
	s, err := l.session(ctx, map[string]string{"table.local-time-zone": t.zone})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.close(context.WithoutCancel(ctx)) }() // otherwise the session expires
	if err := l.fill(ctx, topic, t.rows); err != nil {
		return nil, err
	}
	if _, err := s.execute(ctx, t.create(topic, fmt.Sprintf(", 'properties.bootstrap.servers' = '%s', 'properties.group.id' = '%s'", strings.Join(l.Brokers, ","), topic))); err != nil {
		return nil, err
	}
	casts, marked := make([]string, len(expressions)), make([]string, len(expressions))
	for i, e := range expressions {
		casts[i] = "CAST(" + e + " AS STRING)"
		if fails(want[i]) || k[e] != "" {
			marked[i] = "error:"
		}
	}
	all, err := s.computeScript(ctx, nil, casts, marked, " FROM t")
	for _, c := range all {
		switch {
		case c.Err != nil:
			got = append(got, "error: "+c.Err.Error())
		default:
			got = append(got, strings.Join(c.Values, " | "))
		}
	}
	return got, err
}

// fails reports whether a line of Weir's output means that the expression is rejected, or fails for
// some row.
func fails(line string) bool {
	return strings.HasPrefix(line, "refused: ") || strings.Contains(" | "+line+" | ", " | error | ")
}

// fill creates a topic with one partition and writes the rows to it.
func (l *Lab) fill(ctx context.Context, topic string, rows []string) error {
	client, err := broker.Connect(ctx, broker.Config{Brokers: l.Brokers})
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	var records []*kgo.Record
	for _, r := range rows {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(r)})
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}
