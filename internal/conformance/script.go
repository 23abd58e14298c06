package conformance

import (
	"fmt"
	"slices"
	"strings"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sql"
)

// script is a pipeline for one side. Both sides read the same topics, but write to their own.
type script struct {
	settings   map[string]string
	statements []sql.Statement // tables and views
	inserts    []*sql.Insert
	sources    []string // topics
	sinks      []sink
}

// sink is a table that is written.
type sink struct {
	table, topic string
	upsert       bool
}

// newScript changes table options so that the pipeline ends when its inputs do, and both sides have
// the same watermark after each row. The queries are unchanged.
func newScript(s *sql.Script, name, side string, brokers []string) *script {
	c := &script{settings: make(map[string]string)}
	var tables []*sql.CreateTable
	for _, statement := range s.Statements {
		switch statement := statement.(type) {
		case *sql.Set:
			c.settings[statement.Key] = statement.Value
		case *sql.Insert:
			c.inserts = append(c.inserts, statement)
		case *sql.StatementSet:
			c.inserts = append(c.inserts, statement.Inserts...)
		case *sql.CreateTable:
			tables = append(tables, statement)
			c.statements = append(c.statements, statement)
		default:
			c.statements = append(c.statements, statement)
		}
	}
	declared := writtenOut(s)
	for _, t := range tables {
		o := options{t}
		table := t.Name[len(t.Name)-1].Name
		whole := options{declared[table]}
		written := t.As != nil || slices.ContainsFunc(c.inserts, func(i *sql.Insert) bool { return i.Table[len(i.Table)-1].Name == table })
		topics := plan.Topics(whole.get("topic"))
		for i := range topics {
			topics[i] = name + "." + topics[i]
		}
		topic := strings.Join(topics, ";")
		if written {
			topic = name + "." + side + "." + whole.get("topic")
			c.sinks = append(c.sinks, sink{table, topic, whole.get("connector") == "upsert-kafka"})
			o.drop("sink.delivery-guarantee", "sink.transactional-id-prefix") // nothing is killed here, and checkpoints take time
		} else {
			for _, topic := range topics {
				if !slices.Contains(c.sources, topic) {
					c.sources = append(c.sources, topic)
				}
			}
			o.drop("scan.watermark.idle-timeout") // depends on the clock
			o.set("scan.bounded.mode", "latest-offset")
			if whole.get("connector") == "kafka" {
				o.set("scan.startup.mode", "earliest-offset")
			}
			if declared[table].Watermark != nil {
				o.set("scan.watermark.emit.strategy", "on-event")
			}
		}
		o.set("topic", topic)
		o.set("properties.bootstrap.servers", strings.Join(brokers, ","))
		o.set("properties.group.id", side+"."+name)
	}
	return c
}

// writtenOut returns the tables of a script, which compiles, with what LIKE and AS add to them.
func writtenOut(s *sql.Script) map[string]*sql.CreateTable {
	program, err := plan.Compile(s.String(), "script")
	if err != nil {
		panic(err)
	}
	tables := make(map[string]*sql.CreateTable)
	for _, statement := range program.Script.Statements {
		if t, ok := statement.(*sql.CreateTable); ok {
			tables[t.Name[len(t.Name)-1].Name] = t
		}
	}
	return tables
}

// text returns the script's SQL.
func (c *script) text() string {
	var b strings.Builder
	for key, value := range c.settings {
		if key != "pipeline.name" {
			fmt.Fprintf(&b, "SET %s = %s;\n", sql.QuoteString(key), sql.QuoteString(value))
		}
	}
	for _, s := range c.statements {
		b.WriteString(sql.Format(s) + ";\n")
	}
	for _, i := range c.inserts {
		b.WriteString(sql.Format(i) + ";\n")
	}
	return b.String()
}

// options gives access to a table's options.
type options struct{ *sql.CreateTable }

func (o options) find(key string) int {
	return slices.IndexFunc(o.Options, func(have sql.Option) bool { return have.Key == key })
}

func (o options) get(key string) string {
	if i := o.find(key); i >= 0 {
		return o.Options[i].Value
	}
	return ""
}

func (o options) set(key, value string) {
	o.drop(key)
	t := o.CreateTable
	t.Options = append(t.Options, sql.Option{Key: key, Value: value})
}

func (o options) drop(keys ...string) {
	t := o.CreateTable
	t.Options = slices.DeleteFunc(t.Options, func(have sql.Option) bool { return slices.Contains(keys, have.Key) })
}
