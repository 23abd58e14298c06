package saved

import (
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		`{"next":7,"name":"n"}`:          "",
		`{"next":0,"name":"","later":1}`: "",
		`{"name":"n"}`:                   `no "next"`,
		`{"next":null,"name":"n"}`:       `no "next"`,
		`{"Next":7,"name":"n"}`:          `no "next"`,
		`{"next":7,"name":1}`:            "string",
		`{"next":1e30,"name":""}`:        "number",
		`null`:                           `no "next"`,
		`{}`:                             `no "next"`,
		`[]`:                             "array",
		`7`:                              "number",
		``:                               "end of JSON",
		`{"next":7,"name":"n"} {}`:       "after top-level",
		strings.Repeat(`{"a":`, 20_000):  "depth",
	} {
		var v struct {
			Next int64
			Name string
		}
		if err := Decode([]byte(text), &v, "next", "name"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}
