package audit

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

func TestDecode(t *testing.T) {
	var d decoder
	for in, want := range map[string]sample{
		`{"device_id":"d","sensor":"s","value":-21.5,"unit":"Cel","ts":"2026-01-31T23:59:59.123Z","seq":7,"boot":"b"}`:                  {"d", "s", "b", -21.5, 1769903999123, 7, false},
		"\t{ \"seq\" : 0 , \"ts\" : \"2026-01-01T01:00:00+01:00\" ,\r\n \"value\" : 1E0 , \"sensor\":\"s\",\"device_id\":\"d\" } ":      {"d", "s", "", 1, 1767225600000, 0, false},
		`{"x":{"a":[1,{"b":null},"}"],"c":[]},"device_id":"\u0064\"","sensor":"ü","value":0.1,"ts":"2024-02-29T00:00:00.000Z","seq":1}`: {`d"`, "ü", "", 0.1, 1709164800000, 1, false},
		`{"device_id":"d","device_id":"e","sensor":"s","value":123456789012345678,"ts":"2026-01-01T00:00:00Z","seq":9223372036854775807}`: {"e", "s", "", 123456789012345678, 1767225600000,
			math.MaxInt64, false},
	} {
		var got sample
		named, err := d.decode([]byte(in), &got)
		if err != nil || !named || got != want {
			t.Errorf("%s:\n got %+v, %v, %v\nwant %+v", in, got, named, err, want)
		}
	}
}

// Invalid input is refused; named is whether it still identifies a reading.
func TestDecodeRefuses(t *testing.T) {
	with := func(field, value string) string {
		parts := []string{}
		for _, f := range [][2]string{{"device_id", `"d"`}, {"sensor", `"s"`}, {"value", `1`}, {"ts", `"2026-01-01T00:00:00Z"`}, {"seq", `3`}, {"boot", `""`}, {"unit", `""`}} {
			if f[0] == field {
				f[1] = value
			}
			if f[1] != "" {
				parts = append(parts, `"`+f[0]+`":`+f[1])
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	long := `"` + strings.Repeat("x", 257) + `"`
	for in, named := range map[string]bool{
		``: false, `{}`: false, `[]`: false, `null`: false, `{"device_id":"d"`: false, `{"device_id":"d",}`: false,
		with("seq", "3") + "x": false, with("seq", "3,"): false, with("sensor", `"a`+"\n"+`"`): false,
		with("device_id", ""): false, with("device_id", `""`): false, with("device_id", long): false, with("device_id", `7`): false,
		with("device_id", `"\u0000"`): false, with("device_id", "\"\xff\""): false, with("device_id", `"`+"\u0085"+`"`): false,
		with("seq", ""): false, with("seq", "-1"): false, with("seq", "1.0"): false, with("seq", `"1"`): false, with("seq", "9223372036854775808"): false,
		with("boot", "1"): false, with("boot", long): false,
		with("sensor", ""): true, with("sensor", `""`): true, with("sensor", long): true, with("unit", "null"): true, with("unit", long): true,
		with("value", ""): true, with("value", "null"): true, with("value", `"1"`): true, with("value", "1e999"): true,
		with("value", "01"): false, with("value", "1."): false, with("value", "NaN"): false, with("value", "-"): false,
		with("ts", ""): true, with("ts", "1"): true, with("ts", `"yesterday"`): true, with("ts", `"2026-02-29T00:00:00.000Z"`): true,
		with("ts", `"0000-06-01T00:00:00.000Z"`): true, with("ts", `"2026-01-01 00:00:00Z"`): true,
		with("extra", "1"): true,
		`{"x":` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001) + `,"device_id":"d","seq":1}`: false,
	} {
		var d decoder
		var s sample
		got, err := d.decode([]byte(in), &s)
		if in == with("extra", "1") {
			if err != nil {
				t.Errorf("%s: %v, want none: nothing is wrong with it", in, err)
			}
			continue
		}
		if err == nil || got != named {
			t.Errorf("%s: error %v and named %v, want one and %v", in, err, got, named)
		}
	}
}

// Values that break the contract, but that SQL's JSON rules may accept.
func TestReadable(t *testing.T) {
	const rest = `"device_id":"d","sensor":"s","value":1,"ts":"2026-01-01T00:00:00Z","seq":3`
	for in, want := range map[string]bool{
		`"unit":null`: true, `"boot":7`: true, `"value":" 2.5 "`: true, `"seq":"4"`: true, `"seq":4.9`: true, `"device_id":12`: true, `"sensor":{"a":1}`: true,
		`"ts":"2026-01-01T00:00Z"`: true, `"value":"x","value":2`: true, `"value":2,"value":"x"`: false,
		`"value":null`: false, `"value":"NaN"`: false, `"value":"0x1p3"`: false, `"value":1e999`: false, `"value":"warm"`: false, `"value":true`: false,
		`"seq":-1`: false, `"seq":"-1"`: false, `"seq":null`: false, `"seq":1e30`: false, `"device_id":null`: false, `"device_id":""`: false, `"device_id":"\u0000"`: false,
		`"sensor":"` + strings.Repeat("x", 257) + `"`: false, `"sensor":` + strings.Repeat("7", 257): false, `"ts":"yesterday"`: false, `"ts":7`: false, `"ts":null`: false, `"ts":"2026-01-01 00:00:00Z"`: false,
	} {
		var d decoder
		var s sample
		_, err := d.decode([]byte("{"+rest+","+in+"}"), &s)
		if err == nil || d.readable() != want {
			t.Errorf("%s: readable %v (%v), want %v", in, d.readable(), err, want)
		}
	}
	var d decoder
	if _, err := d.decode([]byte(`{"device_id":"d"}`), new(sample)); err == nil || d.readable() {
		t.Error("readable without the fields")
	}
}

// Whatever the decoder accepts is JSON, and encoding/json decodes it to the same values.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"device_id":"d","sensor":"s","value":-21.5,"unit":"Cel","ts":"2026-01-31T23:59:59.123Z","seq":7,"boot":"b"}`))
	f.Add([]byte(`{"x":[{"y":"\""}],"device_id":"\u0064","sensor":"s","value":1.25e-3,"ts":"2026-01-31T23:59:59+02:00","seq":0}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var d decoder
		var s sample
		if _, err := d.decode(in, &s); err != nil {
			return
		}
		// A map, because names are matched exactly here, not case-insensitively.
		var fields map[string]any
		if err := json.Unmarshal(in, &fields); err != nil {
			t.Fatalf("%q was taken: %v", in, err)
		}
		ts, err := time.Parse(time.RFC3339Nano, fields["ts"].(string))
		if err != nil || ts.UnixMilli() != s.ts || fields["device_id"] != s.device || fields["sensor"] != s.sensor || fields["value"] != s.value {
			t.Fatalf("%q: read %+v, encoding/json %v", in, s, fields)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	in := []byte(`{"device_id":"device-000017","sensor":"temperature","value":21.534,"unit":"Cel","ts":"2026-01-31T23:59:59.123Z","seq":123456,"boot":"b1"}`)
	var d decoder
	var s sample
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.decode(in, &s); err != nil {
			b.Fatal(err)
		}
	}
}
