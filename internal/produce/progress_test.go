package produce

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzProgress reads a source's record of the progress topic: it is refused, or has a position,
// which is written back unchanged.
func FuzzProgress(f *testing.F) {
	p := progress{Position: []byte(`{"row":7,"settings":{}}`), Readings: 21}
	r, err := p.record("weir.progress", "s")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Value)
	for _, other := range []string{``, `null`, `{}`, `7`, `{"readings":3}`, `{"position":null,"readings":3}`, `{"position":{},"readings":-3}`, `{"position":7}`} {
		f.Add([]byte(other))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		p, err := decodeProgress(value)
		if err != nil {
			return
		}
		if len(p.Position) == 0 || string(p.Position) == "null" || p.Readings < 0 {
			t.Fatalf("%q has no position: %+v", value, p)
		}
		r, err := p.record("weir.progress", "s")
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeProgress(r.Value)
		if err != nil || again.Readings != p.Readings {
			t.Fatalf("%q is written as %q: %v", value, r.Value, err)
		}
		if !bytes.Equal(compact(t, p.Position), compact(t, again.Position)) {
			t.Fatalf("the position %s is written as %s", p.Position, again.Position)
		}
	})
}

// compact returns JSON without spaces, and with the escapes of encoding/json.
func compact(t *testing.T, text []byte) []byte {
	t.Helper()
	var b, escaped bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Fatal(err)
	}
	json.HTMLEscape(&escaped, b.Bytes())
	return escaped.Bytes()
}
