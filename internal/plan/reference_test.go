package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"weir.example/weir/internal/reference"
)

// docs/reference/connectors.md lists the options that connectors declare.
func TestReference(t *testing.T) {
	const file = "../../docs/reference/connectors.md"
	var want strings.Builder
	want.WriteString(`# Connectors

Generated from the options that the connectors declare, by ` + "`make reference`" + `. Any other option is refused, with the nearest name.

- [Results in databases and files](../guides/sinks.md), [results to servers and devices](../guides/send.md), [lookups](../guides/enrich.md)
  and [topics](../guides/sql.md) describe what the connectors do. Formats have options of their own, such as ` + "`json.ignore-parse-errors`" + `:
  [SQL](../guides/sql.md), [schemas](../guides/schemas.md).
- **Flink**: *yes* is an option of Flink's connector with the same meaning; *ignored* is one that Weir accepts without an effect; *no* is an
  option that only Weir has. [flink-differences.md](flink-differences.md) says where results differ.
- Values of the types String, Integer, Double, Boolean, Duration (` + "`30 s`, `5 min`" + `), MemorySize (` + "`128 MB`" + `), Enum and List (separated by semicolons)
  are written as strings, as in Flink. Values of secrets may be ` + "`${env:NAME}` or `${file:PATH}`" + `.
`)
	for _, name := range slices.Sorted(maps.Keys(connectors)) {
		fmt.Fprintf(&want, "\n## %s\n\n", name)
		writeOptions(t, &want, name, connectors[name].options())
		if name == "datagen" {
			want.WriteString("\nOptions of a column are `fields.COLUMN.` and:\n\n")
			writeOptions(t, &want, name, datagen{}.columnOptions())
		}
	}
	reference.Check(t, file, want.String())
}

func writeOptions(t *testing.T, to *strings.Builder, connector string, all []option) {
	t.Helper()
	to.WriteString("| option | type | default | Flink | |\n|---|---|---|---|---|\n")
	for _, o := range all {
		key, otherwise := o.key, o.otherwise
		if strings.HasSuffix(key, ".") {
			key += "NAME"
		}
		if otherwise == "" && len(o.values) > 0 {
			otherwise = o.values[0]
		}
		about, in := o.about, "yes"
		if o.kind == enumOption {
			about += " One of `" + strings.Join(o.values, "`, `") + "`."
		}
		switch {
		case o.onlyWeir:
			in = "no"
		case o.ignored:
			in = "ignored"
		}
		if !strings.HasSuffix(o.about, ".") || o.kind == "" {
			t.Errorf("%s: option %s has no type, or no sentence: %q", connector, o.key, o.about)
		}
		fmt.Fprintf(to, "| `%s` | %s | %s | %s | %s |\n", key, o.kind, otherwise, in, about)
	}
}
