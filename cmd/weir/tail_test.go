package main

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Output distinguishes missing keys, values and header values from empty ones, and from the text
// null.
func TestTailDistinguishesNullFromEmpty(t *testing.T) {
	for _, c := range []struct {
		bytes []byte
		want  string
	}{
		{nil, "0:7  null  null  h=null\n"}, {[]byte{}, "0:7  \"\"  \"\"  h=\"\"\n"}, {[]byte("null"), "0:7  \"null\"  \"null\"  h=\"null\"\n"}, {[]byte("x"), "0:7  x  x  h=x\n"},
	} {
		var out bytes.Buffer
		if err := writeRecordText(&out, &kgo.Record{Offset: 7, Key: c.bytes, Value: c.bytes, Headers: []kgo.RecordHeader{{Key: "h", Value: c.bytes}}}); err != nil {
			t.Fatal(err)
		}
		if out.String() != c.want {
			t.Errorf("%q is shown as %q, want %q", c.bytes, out.String(), c.want)
		}
	}
}
