package expr

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"weir.example/weir/internal/column"
)

// TestScripts evaluates each input line as an expression. The output is its type and value, or the
// error. zone=Europe/Berlin sets the session time zone.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			b := &binder{zone: time.UTC}
			if d.HasArg("zone") {
				var name string
				d.ScanArgs(t, "zone", &name)
				zone, err := time.LoadLocation(name)
				if err != nil {
					t.Fatal(err)
				}
				b.zone = zone
			}
			var out strings.Builder
			for _, line := range strings.Split(d.Input, "\n") {
				out.WriteString(b.run(line) + "\n")
			}
			return out.String()
		})
	})
}

func (b *binder) run(text string) string {
	n, err := b.parse(text)
	if err != nil {
		return "error: " + strings.Split(err.Error(), "\n")[0]
	}
	var tx Transaction
	tx.Begin(time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC), [32]byte{})
	tx.Watermark = noWatermark
	c, err := Compile(In(n, &tx))
	if err != nil {
		return "error: " + err.Error()
	}
	batch := &column.Batch{N: 1}
	v := c.Box(batch, 0)
	if batch.Err != nil {
		return "error: " + batch.Err.Error()
	}
	return n.Type().String() + ": " + b.show(v, n.Type())
}

// show formats a value like CAST to STRING, with strings in quotes.
func (b *binder) show(v any, t column.Type) string {
	if _, text := v.(string); text || v == nil {
		return Format(v, t)
	}
	return castText(v, t, b.zone)
}
