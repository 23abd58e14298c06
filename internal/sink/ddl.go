package sink

import (
	"fmt"
	"strings"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// CreateTable returns the statement that creates the table of a database that takes the rows of a
// table. name is its name as SQL; quoted and typeOf return names and types of columns as SQL.
func CreateTable(t *plan.Table, name string, quoted func(string) string, typeOf func(column.Type) string) string {
	var lines []string
	for i, f := range t.Kafka.Value.Fields {
		line := "  " + quoted(f.Name) + " " + typeOf(f.Type)
		if t.Columns[t.Kafka.Value.Columns[i]].Type.NotNull {
			line += " NOT NULL"
		}
		lines = append(lines, line)
	}
	if len(t.PrimaryKey) > 0 {
		var names []string
		for _, f := range t.Kafka.Key.Fields {
			names = append(names, quoted(f.Name))
		}
		lines = append(lines, fmt.Sprintf("  PRIMARY KEY (%s)", strings.Join(names, ", ")))
	}
	return fmt.Sprintf("CREATE TABLE %s (\n%s\n);", name, strings.Join(lines, ",\n"))
}
