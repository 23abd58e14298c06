package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/cockroachdb/datadriven"
	"github.com/goccy/go-yaml"
)

var arrived = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func parse(t testing.TB, text string) (*Mapping, error) {
	t.Helper()
	var rules Rules
	if err := yaml.UnmarshalWithOptions([]byte(text), &rules, yaml.Strict()); err != nil {
		return nil, err
	}
	return New(rules)
}

// show prints a result.
func show(r Result) string {
	var b strings.Builder
	if r.Ignored != "" {
		fmt.Fprintf(&b, "ignored: %s\n", r.Ignored)
	}
	for i := range r.Readings {
		fmt.Fprintf(&b, "%s\n", r.Readings[i].AppendJSON(nil))
	}
	for _, d := range r.Rejected {
		fmt.Fprintf(&b, "rejected: %s: %s\n", d.Reason, d.Raw)
	}
	for _, m := range r.Messages {
		fmt.Fprintf(&b, "to %s: %s\n", m.Topic, m.Value)
	}
	for _, c := range r.Counts {
		fmt.Fprintf(&b, "count: %q boot %q seq %d, readings %d to %d", c.Device, c.Boot, c.Seq, c.From, c.To)
		if c.At > 0 {
			fmt.Fprintf(&b, ", at %d", c.At)
		}
		fmt.Fprintln(&b)
	}
	if r.Skipped > 0 {
		fmt.Fprintf(&b, "skipped: %d\n", r.Skipped)
	}
	return b.String()
}

// The scripts have rules, each followed by messages: a topic, and the payload on the next lines.
func TestMapping(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		var m *Mapping
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "rules":
				var err error
				if m, err = parse(t, d.Input); err != nil {
					text, _, _ := strings.Cut(err.Error(), "\n")
					return "error: " + text
				}
				return "ok"
			case "message":
				topic, payload, _ := strings.Cut(d.Input, "\n")
				return show(m.Map(&Message{Topic: topic, Payload: []byte(payload), Arrived: arrived}))
			}
			t.Fatalf("unknown command %s", d.Cmd)
			return ""
		})
	})
}

func FuzzMap(f *testing.F) {
	m, err := parse(f, `
"site/+device/+sensor": { value: payload }
"z/#device": { preset: zigbee2mqtt }
"tele/+device/SENSOR": { preset: tasmota, timezone: Europe/Paris }
"factory/+line/data": { each: $.points, device: "$line-$.id", sensor: $.name, value: $.v, ts: $.t, ts_format: unix-ms, unit: $.u, seq: $.n, boot: $$.boot }
"raw/#": { to: raw }
"ttn": { preset: ttn }
"chirpstack": { preset: chirpstack }
"senml": { preset: senml }
`)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][2]string{
		{"site/a/b", "7"}, {"z/kitchen/th", `{"temperature":1}`}, {"tele/p/SENSOR", `{"Time":"2018-02-15T01:00:50","BME280":{"Temperature":21.3}}`},
		{"factory/1/data", `{"points":[{"id":1,"name":"t","v":"7","t":1700000000000,"u":"Cel"}]}`}, {"senml", `[{"bn":"urn:dev:ow:10e2","bt":1.3e9,"n":"t","v":23.1}]`},
	} {
		f.Add(s[0], []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		r := m.Map(&Message{Topic: topic, Payload: payload, Arrived: arrived})
		if r.Ignored == "" && len(r.Readings)+len(r.Rejected)+len(r.Messages) == 0 {
			t.Fatalf("%q %q: neither a reading nor a dead letter", topic, payload)
		}
		at := 0
		for _, c := range r.Counts {
			if c.From < at || c.To < c.From || c.To > len(r.Readings) || c.Seq < 0 {
				t.Fatalf("%q %q: counts %+v of %d readings", topic, payload, r.Counts, len(r.Readings))
			}
			at = c.To
		}
		for i := range r.Readings {
			if err := r.Readings[i].Validate(); err != nil {
				t.Fatalf("%q %q: %v", topic, payload, err)
			}
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"$line-$.id", `$.["a b"][0].c`, "$$", "$$.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl, err := parseTemplate(text, map[string]bool{"line": true})
		if err == nil {
			_, _ = tmpl.expand(&scope{names: captures{{"line", "1"}}})
		}
		_, _ = parseWholePath(text)
		_, _ = parseFilter(text)
	})
}
