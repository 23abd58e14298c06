package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// connector binds the tables of one external system. To add one, write connector_….go and register
// it in connectors.
type connector interface {
	// options declares what WITH accepts, apart from options of formats and of datagen's columns.
	options() []option
	// metadata returns the metadata columns that a table can declare, by key.
	metadata() map[string]metadata
	// bind reads the options into t, whose columns and primary key are already set: whether a row
	// replaces the previous one with its key (Upsert), whether reading ends (Bounded), and the part
	// of the connector with where its rows are stored, how they are encoded and where reading
	// starts.
	bind(t *Table, o *options) error
}

// metadata is the type of a metadata column and whether an INSERT can write it.
type metadata struct {
	typ      column.Type
	writable bool
}

// connectors maps the values of the option 'connector' to implementations.
var connectors = map[string]connector{
	"blackhole":    blackhole{},
	"datagen":      datagen{},
	"filesystem":   filesystem{},
	"http":         httpRequests{},
	"influxdb":     influxdb{},
	"jdbc":         jdbc{},
	"kafka":        kafka{},
	"mqtt":         mqtt{},
	"print":        printed{},
	"upsert-kafka": kafka{upsert: true},
}

// options holds the options of a CREATE TABLE and records which of those that are not declared,
// such as options of formats, have been read.
type options struct {
	name     string // of the connector
	declared []option
	all      map[string]sql.Option
	read     map[string]bool
}

// readOptions returns the options of a CREATE TABLE and the connector that they name.
func readOptions(s *sql.CreateTable, table string) (*options, connector, error) {
	o := &options{all: make(map[string]sql.Option), read: make(map[string]bool)}
	for _, option := range s.Options {
		if o.has(option.Key) {
			return nil, nil, sql.Errorf(option, "option '%s' is listed twice", option.Key)
		}
		o.all[option.Key] = option
	}
	names := slices.Sorted(maps.Keys(connectors))
	if !o.has("connector") {
		return nil, nil, sql.Errorf(s, "table %s has no option 'connector'", table).WithHint("use one of %s", strings.Join(names, ", "))
	}
	o.name = o.get("connector")
	c := connectors[o.name]
	if c == nil {
		return nil, nil, o.bad("connector", orElse(suggest.DidYouMean(o.name, names), "use one of "+strings.Join(names, ", ")))
	}
	o.declared = c.options()
	return o, c, nil
}

func (o *options) get(key string) string {
	if strings.HasPrefix(key, columnPrefix) { // others are declared
		o.read[key] = true
	}
	return o.all[key].Value
}

func (o *options) has(key string) bool {
	_, ok := o.all[key]
	return ok
}

// one returns the value of an option that must be one of allowed, by default of those that it
// declares. The first is the default.
func (o *options) one(key string, allowed ...string) (string, error) {
	if allowed == nil {
		allowed = valuesOf(o.declared, key)
	}
	v := o.get(key)
	if v == "" {
		return allowed[0], nil
	}
	if !slices.Contains(allowed, v) {
		return "", o.bad(key, "use "+strings.Join(allowed, " or "))
	}
	return v, nil
}

func (o *options) bad(key, hint string) error {
	at := o.all[key]
	return sql.Errorf(at.ValuePos, "'%s' is not supported as '%s'", at.Value, key).WithHint("%s", hint)
}

// unread reports the first option that is neither declared nor read.
func (o *options) unread(in []sql.Option) error {
	for _, given := range in {
		if o.read[given.Key] || slices.ContainsFunc(o.declared, func(known option) bool { return known.matches(given.Key) }) {
			continue
		}
		known := keys(o.declared)
		return sql.Errorf(given, "option '%s' is not supported", given.Key).
			WithHint("%s", orElse(suggest.DidYouMean(given.Key, known), fmt.Sprintf("the connector %s has %s", o.name, strings.Join(known, ", "))))
	}
	return nil
}
