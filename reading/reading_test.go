package reading

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func valid() Reading {
	return Reading{DeviceID: "dev-1", Sensor: "temperature", Value: 21.5, Unit: "Cel", TS: 1767225599123, Seq: 7, Boot: "b1"}
}

func TestAppendJSON(t *testing.T) {
	r := valid()
	want := `{"device_id":"dev-1","sensor":"temperature","value":21.5,"unit":"Cel","ts":"2025-12-31T23:59:59.123Z","seq":7,"boot":"b1"}`
	if got := string(r.AppendJSON(nil)); got != want {
		t.Errorf("AppendJSON:\n got %s\nwant %s", got, want)
	}
}

// Any valid reading is decoded from its own JSON, and encoding/json reads the same values.
func TestJSONRoundTrip(t *testing.T) {
	name := rapid.StringMatching(`[ -~äπ😀]{1,20}`)
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(
			rapid.Map(rapid.IntRange(-2_000_000, 2_000_000), func(n int) float64 { return float64(n) / 1000 }),
			rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
		).Draw(t, "value")
		want := Reading{
			DeviceID: name.Draw(t, "device"), Sensor: name.Draw(t, "sensor"), Value: value, Unit: name.Draw(t, "unit"),
			TS:  rapid.Int64Range(minTS, maxTS).Draw(t, "ts"),
			Seq: rapid.Int64Range(0, math.MaxInt64).Draw(t, "seq"), Boot: name.Draw(t, "boot"),
		}
		data := want.AppendJSON(nil)
		var got Reading
		var d Decoder
		if err := d.Decode(data, &got); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: (-want +got)\n%s", data, diff)
		}
		var std struct {
			DeviceID string `json:"device_id"`
			Value    float64
			TS       time.Time
		}
		if err := json.Unmarshal(data, &std); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if std.DeviceID != want.DeviceID || std.Value != want.Value || std.TS.UnixMilli() != want.TS {
			t.Fatalf("%s: encoding/json reads %+v", data, std)
		}
	})
}

func TestDecodeAccepts(t *testing.T) {
	for _, in := range []string{
		`{"device_id":"d","sensor":"s","value":1,"ts":"2026-01-01T00:00:00Z","seq":0}`,
		` { "seq" : 0 , "ts" : "2026-01-01T01:00:00+01:00" , "value" : 1e0 , "sensor" : "s" , "device_id" : "d" } ` + "\n",
		`{"new":{"a":[1,{"b":null},"}"],"c":true},"device_id":"\u0064","sensor":"s","value":1.0,"ts":"2026-01-01T00:00:00.000Z","seq":0}`,
	} {
		var r Reading
		var d Decoder
		if err := d.Decode([]byte(in), &r); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		want := Reading{DeviceID: "d", Sensor: "s", Value: 1, TS: 1767225600000}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", in, diff)
		}
	}
}

func TestDecodeRejects(t *testing.T) {
	body := func(field, value string) string {
		fields := map[string]string{"device_id": `"d"`, "sensor": `"s"`, "value": `1`, "ts": `"2026-01-01T00:00:00Z"`, "seq": `0`}
		fields[field] = value
		var parts []string
		for k, v := range fields {
			if v != "" {
				parts = append(parts, `"`+k+`":`+v)
			}
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	for _, c := range []struct{ in, want string }{
		{``, "unexpected end"},
		{`[]`, `expected '{'`},
		{`{}`, "device_id: is missing"},
		{`{"device_id":"d"`, "unexpected end"},
		{body("seq", "0") + "x", "unexpected data"},
		{body("device_id", `""`), "device_id: is empty"},
		{body("device_id", `"`+strings.Repeat("d", 257)+`"`), "257 bytes"},
		{body("device_id", `"a\u0000"`), "U+0000"},
		{body("device_id", "\"a\xff\""), "UTF-8"},
		{body("device_id", "\"a\x01\""), "control character"},
		{body("device_id", `7`), "device_id must be a string"},
		{body("sensor", ``), "sensor: is missing"},
		{body("value", `"1"`), "expected a number"},
		{body("value", `NaN`), "expected a number"},
		{body("value", `01`), "expected a number"},
		{body("value", `1e999`), "out of range"},
		{body("value", `null`), "expected a number"},
		{body("seq", `1.5`), "64-bit integer"},
		{body("seq", `-1`), "negative"},
		{body("seq", `99999999999999999999`), "64-bit integer"},
		{body("ts", `"yesterday"`), "RFC 3339"},
		{body("ts", `"2026-02-30T00:00:00.000Z"`), "RFC 3339"},
		{body("ts", `1767225600000`), "ts must be a string"},
		{body("extra", strings.Repeat("[", 100)+strings.Repeat("]", 100)), "nested too deeply"},
	} {
		var r Reading
		var d Decoder
		err := d.Decode([]byte(c.in), &r)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.in, err, c.want)
		}
		var invalid *InvalidError
		var decode *DecodeError
		if err != nil && !errors.As(err, &invalid) && !errors.As(err, &decode) {
			t.Errorf("%s: error type %T", c.in, err)
		}
	}
}

func TestValidateNotFinite(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r := valid()
		r.Value = v
		if err := r.Validate(); err == nil {
			t.Errorf("value %v is accepted", v)
		}
	}
}

func TestAppendTimeAgreesWithTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(minTS, maxTS).Draw(t, "ms")
		got := string(AppendTime(nil, ms))
		if want := time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Fatalf("AppendTime(%d) = %s, want %s", ms, got, want)
		}
		if back, err := ParseTime([]byte(got)); err != nil || back != ms {
			t.Fatalf("ParseTime(%s) = %d, %v, want %d", got, back, err, ms)
		}
	})
}

func TestDecodeAllocatesNothingForKnownNames(t *testing.T) {
	r := valid()
	data := r.AppendJSON(nil)
	var d Decoder
	allocs := testing.AllocsPerRun(100, func() {
		if err := d.Decode(data, &r); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per reading, want 0", allocs)
	}
}

func FuzzDecode(f *testing.F) {
	r := valid()
	f.Add(r.AppendJSON(nil))
	f.Add([]byte(`{"device_id":"d","x":[{"y":"\""}],"value":-0.0e-5}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Decoder
		var first, second Reading
		if d.Decode(data, &first) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted invalid JSON: %q", data)
		}
		if err := d.Decode(first.AppendJSON(nil), &second); err != nil {
			t.Fatalf("%q: own JSON rejected: %v", data, err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("%q: (-first +second)\n%s", data, diff)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	r := valid()
	var buf []byte
	for b.Loop() {
		buf = r.AppendJSON(buf[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	r := valid()
	data := r.AppendJSON(nil)
	var d Decoder
	for b.Loop() {
		if err := d.Decode(data, &r); err != nil {
			b.Fatal(err)
		}
	}
}
