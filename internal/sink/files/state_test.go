package files

import (
	"strings"
	"testing"

	"weir.example/weir/internal/sink"
)

// A state that names files elsewhere, or offsets that cannot be, is refused.
func TestDecodeState(t *testing.T) {
	for text, want := range map[string]string{
		`{"files": [{"file": "hall=1/readings-0-17.parquet", "temporary": "x-1.tmp"}], "next": {"0": 5}}`: "",
		`{"files": [{"file": "../../home/weir/.ssh/authorized_keys", "temporary": "x-1.tmp"}]}`:           "is not one of the table",
		`{"files": [{"file": "/etc/passwd", "temporary": "x-1.tmp"}]}`:                                    "is not one of the table",
		`{"files": [{"file": "a-0-1.parquet", "temporary": "../a"}]}`:                                     "is not one of the table",
		`{"files": [{"file": "a-0-1.parquet", "temporary": ".."}]}`:                                       "is not one of the table",
		`{"files": [{"temporary": "x-1.tmp"}]}`:                                                           "is not one of the table",
		`{"next": {"0": -1}}`:                                                                             "partition 0 is at -1",
		`{"epochs": {"-1": 1}}`:                                                                           "partition -1 is at 1",
		`{"next": {"99999999999": 1}}`:                                                                    "number",
		`{"next": {"0": 99999999999999999999}}`:                                                           "number",
		strings.Repeat("[", 1<<20):                                                                        "depth",
		"":                                                                                                "end of JSON",
	} {
		_, err := decodeState([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version": 1, "files": [{"file": "a-0-1.parquet", "temporary": "x-1.tmp"}], "next": {"0": 5}, "from": {"0": 1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := decodeState(text)
		if err != nil {
			return
		}
		again, err := decodeState(s.text())
		if err != nil {
			t.Fatalf("%s: %v", s.text(), err)
		}
		next := again.claimed([]int32{0}).delivered(&sink.Batch{Next: map[int32]int64{0: 7}}, []pending{{File: "a-0-7.csv"}})
		if at := next.placed([]int32{0, 1}).inPlace()[0]; at != 7 {
			t.Errorf("%s: after a delivery up to 7, partition 0 is at %d", text, at)
		}
	})
}
