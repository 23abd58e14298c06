package post

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/webhook"
)

// bodies makes the bodies of requests.
type bodies struct {
	*Sender
	body, text *webhook.Template // nil for none
	preset     *webhook.Preset
	routing    string
}

// Item is a row in templates.
type Item struct {
	Row map[string]any // columns; of a deleted row those of its key
	Op  string         // upsert or delete
	Key string         // idempotency key of the row
}

// data is what templates see: the first row, and all of them.
type data struct {
	Item
	Rows  []Item
	Table string
}

func newBodies(s *Sender, routing string) (b *bodies, err error) {
	b = &bodies{Sender: s, preset: webhook.Presets[s.to.Preset], routing: routing}
	if s.to.Body != "" {
		if b.body, err = webhook.ParseTemplate(s.to.Body, s.to.JSON(), nil); err != nil {
			return nil, fmt.Errorf("the option 'body': %w", err)
		}
	}
	if s.to.Text != "" {
		if b.text, err = webhook.ParseTemplate(s.to.Text, false, nil); err != nil {
			return nil, fmt.Errorf("the option 'text': %w", err)
		}
	}
	return b, nil
}

// of returns the body of a request with these rows.
func (b *bodies) of(rows []*kgo.Record) ([]byte, error) {
	switch {
	case b.preset != nil:
		return b.message(rows)
	case b.body != nil:
		d, err := b.data(rows, b.to.JSON())
		if err != nil {
			return nil, err
		}
		return b.body.Render(d)
	}
	return b.plain(rows)
}

func (b *bodies) data(rows []*kgo.Record, asJSON bool) (*data, error) {
	d := &data{Table: b.table.Name}
	for _, r := range rows {
		values, err := webhook.Values(object(r), asJSON)
		if err != nil {
			return nil, err
		}
		d.Rows = append(d.Rows, Item{values, op(r), rowKey(b.name, r)})
	}
	d.Item = d.Rows[0]
	return d, nil
}

// object returns the JSON of a row, or of the key of a deleted one.
func object(r *kgo.Record) []byte {
	if r.Value == nil {
		return r.Key
	}
	return r.Value
}

// plain returns the rows as JSON: one, or an array. If rows of the table can be replaced and
// deleted, each is an object with op, and row or key.
func (b *bodies) plain(rows []*kgo.Record) ([]byte, error) {
	all := make([]json.RawMessage, len(rows))
	for i, r := range rows {
		all[i] = object(r)
		if !b.table.Upsert {
			continue
		}
		what := "row"
		if r.Value == nil {
			what = "key"
		}
		all[i] = fmt.Appendf(nil, `{"op":%q,%q:%s}`, op(r), what, object(r))
	}
	if b.to.BatchRows == 1 {
		return all[0], nil
	}
	return append(append([]byte("["), bytes.Join(raw(all), []byte(","))...), ']'), nil
}

func raw(all []json.RawMessage) [][]byte {
	out := make([][]byte, len(all))
	for i, one := range all {
		out[i] = one
	}
	return out
}

// message returns the body of a preset.
func (b *bodies) message(rows []*kgo.Record) ([]byte, error) {
	d, err := b.data(rows, false)
	if err != nil {
		return nil, err
	}
	text := ""
	if b.text != nil {
		rendered, err := b.text.Render(d)
		if err != nil {
			return nil, err
		}
		text = string(rendered)
	} else {
		var lines []string
		for _, item := range d.Rows {
			lines = append(lines, b.line(item))
		}
		text = strings.Join(lines, "\n")
	}
	m := &webhook.Message{
		Text: text, Key: d.Key, Resolved: d.Op == "delete", Source: b.table.Name, Details: d.Row, RoutingKey: b.routing,
	}
	m.Severity, _ = d.Row["severity"].(string)
	if b.table.Upsert { // later versions of the row are about the same thing
		m.Key = b.name + " " + string(rows[0].Key)
	}
	return b.preset.Body(m)
}

// line describes a row by its columns.
func (b *bodies) line(item Item) string {
	var parts []string
	for _, f := range b.table.Kafka.Value.Fields {
		if v, ok := item.Row[f.Name]; ok {
			parts = append(parts, fmt.Sprintf("%s: %v", f.Name, v))
		}
	}
	text := b.table.Name + ": " + strings.Join(parts, ", ")
	if item.Op == "delete" {
		text += " (deleted)"
	}
	return text
}
