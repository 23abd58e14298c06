package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
	"weir.example/weir/internal/sink/files"
	"weir.example/weir/internal/sink/postgres"
	"weir.example/weir/internal/sink/sqlite"
	"weir.example/weir/internal/site"
)

func newSink() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sink",
		Short: "Prepare targets outside of Kafka, such as databases, and compact files",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSinkDDL(), newSinkCompact())
	return cmd
}

func newSinkDDL() *cobra.Command {
	var topic siteFlags
	var hypertables map[string]string
	cmd := &cobra.Command{
		Use:   "ddl FILE…",
		Short: "Print the CREATE TABLE statements of the database tables that pipelines write",
		Long: `Prints a statement for each table with the connector jdbc that a pipeline writes, and the one of weir_offsets, the table in
which sinks keep their positions. weir run creates weir_offsets itself if it may. Nothing is executed. Tables with other
connectors need no statement.

With --hypertable TABLE=COLUMN, the table in PostgreSQL becomes a hypertable of TimescaleDB, split by the times in a
column. This has not been tested with TimescaleDB.`,
		Example: `  weir sink ddl totals.sql
  weir sink ddl totals.sql | psql postgresql://db/readings
  weir sink ddl totals.sql --hypertable totals=window_start`,
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
			noStatement := 0                 // other tables
			for _, p := range programs {
				for _, t := range p.Deliveries() {
					switch to := t.Delivery.(type) {
					case *plan.JDBC:
						offsets[postgres.CreateOffsets()] = true
						statements := postgres.CreateTable(t, to)
						if name, ok := hypertables[t.Name]; ok {
							statement, err := postgres.CreateHypertable(t, to, name)
							if err != nil {
								return usage(fmt.Errorf("--hypertable: %w", err))
							}
							statements += "\n" + statement
							delete(hypertables, t.Name)
						}
						fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n", statements)
					case *plan.SQLite:
						offsets[sqlite.CreateOffsets()] = true
						fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n", sqlite.CreateTable(t, to))
					default:
						noStatement++
					}
				}
			}
			for name := range hypertables {
				return usage(fmt.Errorf("--hypertable: the pipelines write no table %s in PostgreSQL", name))
			}
			if len(offsets) == 0 && noStatement > 0 {
				return errors.New("the pipelines write no tables with the connector jdbc, and the targets of the others need no statement")
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
	cmd.Flags().StringToStringVar(&hypertables, "hypertable", nil, "make a table a hypertable of TimescaleDB by the times in a column, as TABLE=COLUMN (not tested)")
	return cmd
}

// copiesIn limits tables to those of files that weir sink compact has written to a directory. Their
// files there are compared instead of the original ones.
func copiesIn(dir string, all []audit.DatabaseConfig) (copies []audit.DatabaseConfig, err error) {
	tables, err := files.Tables(dir)
	if err != nil {
		return nil, usage(fmt.Errorf("--compacted: %w", err))
	}
	for _, d := range all {
		if d.Files == nil || !slices.Contains(tables, d.Table) {
			continue
		}
		of := *d.Files
		of.Path, of.Bucket = dir, nil
		d.Files = &of
		copies = append(copies, d)
	}
	if copies == nil {
		return nil, usage(fmt.Errorf("--compacted %s: it has no files of the tables that the pipelines of --sinks write: name the directory of weir sink compact --into", dir))
	}
	return copies, nil
}

// databasesOf returns the tables of databases and files that pipelines write, for their comparison
// with their topics. others says of each other table outside of Kafka why it is left out.
func databasesOf(names []string, at site.Site) (all []audit.DatabaseConfig, others []string, err error) {
	programs, err := compileFiles(names, at)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range programs {
		for _, t := range p.Deliveries() {
			if plan.OnlyInWeir(t.Delivery) != "" {
				others = append(others, fmt.Sprintf("table %s is not compared: its rows are sent to %s at least once, and what the receiver has of them can't be read back; its lag and dead letters are in weir status", t.Name, t.Delivery))
				continue
			}
			d := audit.DatabaseConfig{Sink: sink.Name(p.Name, t.Name), Topic: t.Kafka.Topic, DLQ: p.Settings.DeadLetterTopic}
			typeOf := valueType
			switch to := t.Delivery.(type) {
			case *plan.JDBC:
				d.Table = to.Table
				if d.Connect, err = postgres.Connection(t, secrets); err != nil {
					return nil, nil, err
				}
			case *plan.SQLite:
				d.Table, d.File = to.Table, to.Path
			case *plan.Files:
				d.Table, typeOf = t.Name, fileType
				d.Files = &audit.FilesConfig{Path: to.Path, Format: to.Format}
				if to.Bucket != nil {
					if d.Files.Bucket, err = files.Connect(t, secrets); err != nil {
						return nil, nil, err
					}
				}
				for _, c := range t.Partitioned {
					d.Files.Partitioned = append(d.Files.Partitioned, slices.Index(t.Kafka.Value.Columns, c))
				}
			case *plan.Print:
				continue // what was printed can't be read again
			default:
				return nil, nil, fmt.Errorf("--sinks: table %s is delivered to %s, which can't be compared", t.Name, t.Delivery)
			}
			for i, f := range t.Kafka.Value.Fields {
				d.Columns = append(d.Columns, audit.DatabaseColumn{Field: f.Name, Type: typeOf(f.Type)})
				for _, k := range t.PrimaryKey {
					if t.Kafka.Value.Columns[i] == k {
						d.Key = append(d.Key, i)
					}
				}
			}
			all = append(all, d)
		}
	}
	if len(names) > 0 && len(all) == 0 {
		return nil, nil, usage(errors.New(strings.Join(append([]string{"--sinks: the pipelines write no tables with the connectors jdbc and filesystem, so there is nothing to compare"}, others...), "; ")))
	}
	return all, others, nil
}

// valueKinds has how the values of types are compared; those of others are text.
var valueKinds = map[column.Kind]audit.ValueKind{
	column.Boolean: audit.BooleanValue, column.TinyInt: audit.NumberValue, column.SmallInt: audit.NumberValue, column.Int: audit.NumberValue,
	column.BigInt: audit.NumberValue, column.Decimal: audit.NumberValue, column.Float: audit.FloatValue, column.Double: audit.DoubleValue,
	column.Bytes: audit.BytesValue, column.Date: audit.DateValue, column.Time: audit.TimeValue, column.Timestamp: audit.TimestampValue,
	column.TimestampLTZ: audit.InstantValue, column.Array: audit.JSONValue, column.Multiset: audit.JSONValue, column.Map: audit.JSONValue, column.Row: audit.JSONValue,
}

// valueType returns how the values of a type are compared.
func valueType(t column.Type) audit.ValueType {
	if t.Kind == column.Array {
		if elem := valueType(*t.Elem); elem.Kind != audit.ArrayValue && elem.Kind != audit.JSONValue {
			return audit.ValueType{Kind: audit.ArrayValue, Elem: &elem}
		}
	}
	return audit.ValueType{Kind: cmp.Or(valueKinds[t.Kind], audit.TextValue)}
}

// fileType returns how the values of a type in files are compared: nested ones by their types too,
// because Parquet does not have them as text.
func fileType(t column.Type) audit.ValueType {
	switch t.Kind {
	case column.Array:
		elem := fileType(*t.Elem)
		return audit.ValueType{Kind: audit.ArrayValue, Elem: &elem}
	case column.Multiset, column.Map:
		elem := fileType(*t.Elem)
		return audit.ValueType{Kind: audit.MapValue, Elem: &elem}
	case column.Row:
		row := audit.ValueType{Kind: audit.RowValue}
		for _, f := range t.Fields {
			row.Fields = append(row.Fields, audit.DatabaseColumn{Field: f.Name, Type: fileType(f.Type)})
		}
		return row
	}
	return valueType(t)
}
