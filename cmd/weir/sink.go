package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/postgres"
	"weir.example/weir/internal/sink/sqlite"
	"weir.example/weir/internal/site"
)

func newSink() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sink",
		Short: "Prepare targets outside of Kafka, such as databases",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSinkDDL())
	return cmd
}

func newSinkDDL() *cobra.Command {
	var topic siteFlags
	cmd := &cobra.Command{
		Use:   "ddl FILE…",
		Short: "Print the CREATE TABLE statements of the database tables that pipelines write",
		Long: `Prints a statement for each table with the connector jdbc that a pipeline writes, and the one of weir_offsets, the table in
which sinks keep their positions. weir run creates weir_offsets itself if it may. Nothing is executed.`,
		Example: `  weir sink ddl totals.sql
  weir sink ddl totals.sql | psql postgresql://db/readings`,
		Args: someFiles,
		RunE: func(cmd *cobra.Command, files []string) error {
			at, err := topic.site()
			if err != nil {
				return err
			}
			programs, err := compileFiles(files, at)
			if err != nil {
				return err
			}
			offsets := make(map[string]bool) // the statement of each kind of database
			for _, p := range programs {
				for _, t := range p.Deliveries() {
					switch to := t.Delivery.(type) {
					case *plan.JDBC:
						offsets[postgres.CreateOffsets()] = true
						fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n", postgres.CreateTable(t, to))
					case *plan.SQLite:
						offsets[sqlite.CreateOffsets()] = true
						fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n", sqlite.CreateTable(t, to))
					}
				}
			}
			if len(offsets) == 0 {
				return errors.New("the pipelines write no tables with the connector jdbc")
			}
			for _, statement := range slices.Sorted(maps.Keys(offsets)) {
				fmt.Fprintln(cmd.OutOrStdout(), statement)
			}
			return nil
		},
	}
	topic.add(cmd, bundledScope)
	return cmd
}

// databasesOf returns the database tables that pipelines write, for their comparison with their
// topics.
func databasesOf(files []string, at site.Site, warn io.Writer) (all []audit.DatabaseConfig, err error) {
	programs, err := compileFiles(files, at)
	if err != nil {
		return nil, err
	}
	for _, p := range programs {
		for _, t := range p.Deliveries() {
			d := audit.DatabaseConfig{Sink: sink.Name(p.Name, t.Name), Topic: t.Kafka.Topic, DLQ: p.Settings.DeadLetterTopic}
			switch to := t.Delivery.(type) {
			case *plan.JDBC:
				d.Table = to.Table
				if d.Connect, err = postgres.Connection(t, secrets); err != nil {
					return nil, err
				}
			case *plan.SQLite:
				d.Table, d.File = to.Table, to.Path
			default:
				fmt.Fprintf(warn, "table %s is not compared: C7 is for databases, and its rows are delivered to %s\n", t.Name, t.Delivery)
				continue
			}
			for i, f := range t.Kafka.Value.Fields {
				d.Columns = append(d.Columns, audit.DatabaseColumn{Field: f.Name, Type: valueType(f.Type)})
				for _, k := range t.PrimaryKey {
					if t.Kafka.Value.Columns[i] == k {
						d.Key = append(d.Key, i)
					}
				}
			}
			all = append(all, d)
		}
	}
	if len(files) > 0 && len(all) == 0 {
		return nil, usage(errors.New("--sinks: the pipelines write no tables with the connector jdbc"))
	}
	return all, nil
}

// valueType returns how the values of a type are compared.
func valueType(t column.Type) audit.ValueType {
	switch t.Kind {
	case column.Boolean:
		return audit.ValueType{Kind: audit.BooleanValue}
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.Decimal:
		return audit.ValueType{Kind: audit.NumberValue}
	case column.Float:
		return audit.ValueType{Kind: audit.FloatValue}
	case column.Double:
		return audit.ValueType{Kind: audit.DoubleValue}
	case column.Bytes:
		return audit.ValueType{Kind: audit.BytesValue}
	case column.Date:
		return audit.ValueType{Kind: audit.DateValue}
	case column.Time:
		return audit.ValueType{Kind: audit.TimeValue}
	case column.Timestamp:
		return audit.ValueType{Kind: audit.TimestampValue}
	case column.TimestampLTZ:
		return audit.ValueType{Kind: audit.InstantValue}
	case column.Array:
		if elem := valueType(*t.Elem); elem.Kind != audit.ArrayValue && elem.Kind != audit.JSONValue {
			return audit.ValueType{Kind: audit.ArrayValue, Elem: &elem}
		}
		return audit.ValueType{Kind: audit.JSONValue}
	case column.Map, column.Row:
		return audit.ValueType{Kind: audit.JSONValue}
	}
	return audit.ValueType{Kind: audit.TextValue}
}
