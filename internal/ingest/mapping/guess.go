package mapping

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Guess collects messages, and proposes rules for them. Its memory is bounded.
type Guess struct {
	groups   map[groupKey]*group
	topics   map[string]bool
	bridges  map[string]bool // first levels of topics of Zigbee2MQTT
	Messages int
	Left     int // messages of topics for which there was no room
}

// maxGuessed bounds the topics that are remembered, and maxGuessedBytes what is looked at of a
// message.
const (
	maxGuessed      = 5000
	maxGuessedBytes = 64 << 10
)

// groupKey is what messages of one rule have in common.
type groupKey struct {
	kind   string
	levels int
	first  string
}

type group struct {
	topics [][]string // levels
	fields string     // settings that a message suggests
}

// NewGuess returns an empty one.
func NewGuess() *Guess {
	return &Guess{groups: make(map[groupKey]*group), topics: make(map[string]bool), bridges: make(map[string]bool)}
}

// Add adds a message.
func (g *Guess) Add(topic string, payload []byte) {
	g.Messages++
	if g.topics[topic] {
		return
	}
	levels := strings.Split(topic, "/")
	if len(g.topics) >= maxGuessed || len(topic) > 1000 || len(payload) > maxGuessedBytes {
		g.Left++
		return
	}
	g.topics[topic] = true
	if len(levels) > 2 && levels[1] == "bridge" {
		g.bridges[levels[0]] = true
	}
	kind, fields := kindOf(levels, payload)
	key := groupKey{kind, len(levels), levels[0]}
	if g.groups[key] == nil {
		g.groups[key] = &group{fields: fields}
	}
	of := g.groups[key]
	of.topics = append(of.topics, levels)
	if of.fields != fields { // not all messages have them
		of.fields = ""
	}
}

// Kinds of messages besides presets.
const (
	kindValue  = "value"
	kindObject = "object"
	kindOther  = "other"
)

// kindOf returns the preset or the form of a message, and settings that it suggests.
func kindOf(levels []string, payload []byte) (kind, fields string) {
	last := levels[len(levels)-1]
	switch {
	case levels[0] == "spBv1.0":
		return "sparkplug-b", ""
	case levels[0] == "zigbee2mqtt":
		return "zigbee2mqtt", ""
	case levels[0] == "homie" && len(levels) == 4:
		return "homie", ""
	case len(levels) == 3 && levels[0] == "tele" && last == "SENSOR":
		return "tasmota", ""
	case len(levels) == 4 && last == "state" && strings.HasSuffix(levels[1], "sensor"):
		return "esphome", ""
	}
	root, err := decodeJSON(payload)
	if err != nil {
		if _, err := bareValue(payload); err == nil {
			return kindValue, ""
		}
		return kindOther, ""
	}
	switch v := root.(type) {
	case json.Number, bool:
		return kindValue, ""
	case []any:
		if len(v) > 0 {
			record, _ := v[0].(map[string]any)
			if record["bn"] != nil || record["n"] != nil && (record["v"] != nil || record["vb"] != nil) {
				return "senml", ""
			}
		}
	case map[string]any:
		info, _ := v["deviceInfo"].(map[string]any)
		switch {
		case v["end_device_ids"] != nil:
			return "ttn", ""
		case info["devEui"] != nil:
			return "chirpstack", ""
		}
		for _, field := range v {
			if _, ok := number(field); ok {
				return kindObject, fieldsOf(v)
			}
			if _, nested := field.(map[string]any); nested {
				return kindObject, fieldsOf(v)
			}
		}
	}
	return kindOther, ""
}

// fieldsOf returns settings for fields with well-known names.
func fieldsOf(v map[string]any) string {
	var b strings.Builder
	for _, name := range []string{"device_id", "deviceId", "device", "dev_id"} {
		switch v[name].(type) {
		case string, json.Number:
			fmt.Fprintf(&b, "device: $.%s, ", name)
		default:
			continue
		}
		break
	}
	for _, name := range []string{"ts", "timestamp", "time"} {
		if format, ok := formatOf(v[name]); ok {
			fmt.Fprintf(&b, "ts: $.%s, ", name)
			if format != "" {
				fmt.Fprintf(&b, "ts_format: %s, ", format)
			}
			break
		}
	}
	if n, ok := v["seq"].(json.Number); ok && !strings.ContainsAny(n.String(), ".eE-") {
		b.WriteString("seq: $.seq, ")
		switch v["boot"].(type) {
		case string, json.Number:
			b.WriteString("boot: $.boot, ")
		}
	}
	return b.String()
}

// formatOf returns the format of a time; ok is false if it is none that can be told.
func formatOf(v any) (format string, ok bool) {
	switch v := v.(type) {
	case string:
		_, err := time.Parse(time.RFC3339Nano, v)
		return "", err == nil
	case json.Number:
		for _, unit := range []string{"unix", "unix-ms", "unix-us", "unix-ns"} {
			ms, err := epoch(v.String(), epochs[unit])
			if err != nil {
				continue
			}
			if _, err := InRange(ms); err == nil {
				return unit, true
			}
		}
	}
	return "", false
}

// Rules returns the proposed rules as lines of YAML, below topics.
func (g *Guess) Rules() string {
	var b strings.Builder
	done := make(map[string]bool)
	keys := slices.SortedFunc(maps.Keys(g.groups), func(a, b groupKey) int {
		return cmp.Or(cmp.Compare(rank(a.kind), rank(b.kind)), cmp.Compare(a.first, b.first), cmp.Compare(a.levels, b.levels), cmp.Compare(a.kind, b.kind))
	})
	for _, key := range keys {
		of := g.groups[key]
		kind := key.kind
		if g.bridges[key.first] && (kind == kindObject || kind == kindOther || kind == kindValue) {
			kind = "zigbee2mqtt"
		}
		filter, settings := propose(kind, key, of)
		if done[filter] {
			continue
		}
		done[filter] = true
		line := fmt.Sprintf("  %s: { %s }", strconv.Quote(filter), settings)
		if kind == kindOther {
			line = "  # no numbers; for SQL: " + line[2:]
		}
		fmt.Fprintf(&b, "%s # %d topics, such as %.100q\n", line, len(of.topics), strings.Join(of.topics[0], "/"))
	}
	return b.String()
}

// rank orders rules: the first that matches counts.
func rank(kind string) int {
	switch kind {
	case kindObject:
		return 1
	case kindValue:
		return 2
	case kindOther:
		return 3
	}
	return 0
}

// propose returns the filter and the settings of a rule.
func propose(kind string, key groupKey, of *group) (filter, settings string) {
	first := literal(key.first)
	switch kind {
	case "sparkplug-b":
		return "spBv1.0/#", "preset: sparkplug-b"
	case "zigbee2mqtt":
		return first + "/#device", "preset: zigbee2mqtt"
	case "homie":
		return "homie/+device/+node/+property", `preset: homie, sensor: "$node-$property"`
	case "tasmota":
		return "tele/+device/SENSOR", "preset: tasmota, timezone: UTC"
	case "esphome":
		return "+device/+kind/+sensor/state", "preset: esphome"
	case "ttn", "chirpstack", "senml":
		levels, _ := generalize(of.topics, 0)
		return strings.Join(levels, "/"), "preset: " + kind
	case kindValue:
		levels, _ := generalize(of.topics, 2)
		n := len(levels)
		levels[n-1] = "+sensor"
		if n == 1 {
			return "+sensor", "value: payload, device: mqtt"
		}
		levels[n-2] = "+device"
		return strings.Join(levels, "/"), "value: payload"
	case kindObject:
		levels, varying := generalize(of.topics, 0)
		if strings.Contains(of.fields, "device: ") {
			return strings.Join(levels, "/"), strings.TrimSuffix(of.fields, ", ")
		}
		if len(varying) == 0 {
			varying = []int{len(levels) - 1}
		}
		if len(varying) == 1 {
			levels[varying[0]] = "+device"
			return strings.Join(levels, "/"), strings.TrimSuffix(of.fields, ", ")
		}
		var device []string
		for _, i := range varying {
			levels[i] = fmt.Sprint("+level", i+1)
			device = append(device, fmt.Sprint("$level", i+1))
		}
		return strings.Join(levels, "/"), of.fields + "device: " + strconv.Quote(strings.Join(device, "-"))
	}
	levels, _ := generalize(of.topics, 0)
	return strings.Join(levels, "/"), "to: mqtt_raw"
}

// literal returns a level for a filter: one that a filter cannot have is a wildcard.
func literal(level string) string {
	if strings.ContainsAny(level, "+#") {
		return "+"
	}
	return level
}

// generalize returns the levels that topics have in common, and + for the others, which are listed
// as well. The last ones may be wildcards in any case.
func generalize(topics [][]string, wildcards int) (levels []string, varying []int) {
	levels = slices.Clone(topics[0])
	for i := range levels {
		same := !slices.ContainsFunc(topics, func(t []string) bool { return t[i] != levels[i] })
		if !same || i >= len(levels)-wildcards {
			levels[i] = "+"
			varying = append(varying, i)
			continue
		}
		levels[i] = literal(levels[i])
	}
	return levels, varying
}
