package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
)

// Table is a topic whose rows are alerts.
type Table struct {
	Name   string // of the pipeline
	Topic  string
	Upsert bool     // alerts are resolved by tombstones; otherwise after ResolveAfter without a row
	Key    []string // columns
}

// Tables returns the alert tables that a pipeline writes: those with columns severity and summary,
// and a key.
func Tables(p *plan.Program) (tables []Table, err error) {
	for _, sink := range p.Sinks {
		op, ok := sink.Op.(*plan.Insert)
		if !ok {
			continue
		}
		t := op.Table
		has := func(name string) bool {
			return slices.ContainsFunc(t.Columns, func(c plan.TableColumn) bool { return c.Name == name && c.Physical() })
		}
		if t.Changes || !has("severity") || !has("summary") || slices.ContainsFunc(tables, func(x Table) bool { return x.Topic == t.Kafka.Topic }) {
			continue
		}
		if t.Kafka.Value.Name != "json" {
			return nil, fmt.Errorf("pipeline %s: alert table %s has the value format %s: use json", p.Name, t.Name, t.Kafka.Value.Name)
		}
		a := Table{Name: p.Name, Topic: t.Kafka.Topic, Upsert: t.Upsert}
		for _, c := range t.Kafka.Key.Columns {
			if !slices.Contains(t.Kafka.Value.Columns, c) {
				return nil, fmt.Errorf("pipeline %s: alert table %s does not have its key in the value: remove 'value.fields-include'", p.Name, t.Name)
			}
			a.Key = append(a.Key, t.Columns[c].Name)
		}
		if len(a.Key) == 0 {
			return nil, fmt.Errorf("pipeline %s: alert table %s has no key: declare a PRIMARY KEY or 'key.fields'", p.Name, t.Name)
		}
		tables = append(tables, a)
	}
	return tables, nil
}

// row is a decoded record of an alert table.
type row struct {
	origin      Origin
	offset      int64
	at          time.Time
	firing      bool
	severity    string
	summary     string
	labels      map[string]string
	annotations map[string]string
}

var errNotObject = errors.New("the row is not a JSON object")

// read decodes a record. A row resolves the alert if its severity is NULL or resolved, or its
// column status is resolved.
func (t *Table) read(r *kgo.Record) (row, error) {
	x := row{origin: Origin{t.Topic, r.Partition, string(r.Key)}, offset: r.Offset, at: r.Timestamp}
	if r.Value == nil {
		return x, nil
	}
	var columns map[string]any
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.UseNumber()
	if err := d.Decode(&columns); err != nil || columns == nil {
		return x, errNotObject
	}
	x.severity, x.summary = text(columns["severity"]), text(columns["summary"])
	x.firing = x.severity != "" && x.severity != string(Resolved) && text(columns["status"]) != string(Resolved)
	x.labels = map[string]string{"alertname": t.Name, "severity": x.severity}
	x.annotations = make(map[string]string)
	for name, v := range columns {
		switch {
		case slices.Contains(t.Key, name):
			x.labels[name] = text(v)
		case name != "severity" && name != "summary" && name != "status" && v != nil:
			x.annotations[name] = text(v)
		}
	}
	return x, nil
}

// text returns a JSON value as the text of a label.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
