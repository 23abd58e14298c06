package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/reading"
)

// number returns the value of a number or a boolean; ok is false for anything else. A number that
// float64 cannot hold is NaN or infinite, which no reading may be.
func number(v any) (f float64, ok bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return math.Inf(1), true
		}
		return f, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// explicitNumber returns the value of a field that a rule names: text may be a number, too.
func explicitNumber(v any) (float64, error) {
	if f, ok := number(v); ok {
		return f, nil
	}
	if text, ok := v.(string); ok {
		return bareValue([]byte(text))
	}
	return 0, errors.New("the value is neither a number nor a boolean")
}

var errBare = errors.New("the value is not a number, true, false, on or off")

// bareValue parses a payload that is nothing but a value.
func bareValue(payload []byte) (float64, error) {
	text := strings.TrimSpace(string(payload))
	switch strings.ToLower(text) {
	case "true", "on":
		return 1, nil
	case "false", "off":
		return 0, nil
	case "":
		return 0, errors.New("the value is empty")
	}
	if strings.ContainsAny(text, "xX_pP") { // Go's own notations
		return 0, errBare
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, errBare
	}
	return f, nil
}

// flatten adds a reading for each number and boolean below v. Its sensor is the path of keys,
// joined by _, after the rule's sensor.
func (r *rule) flatten(msg *Message, s *scope, raw []byte, v reading.Reading, name string, field any, result *Result) {
	switch field := field.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(field)) {
			if name != "" || !slices.Contains(r.skip, key) {
				r.flatten(msg, s, raw, v, join(name, key), field[key], result)
			}
		}
	case []any:
		for i, element := range field {
			r.flatten(msg, s, raw, v, join(name, strconv.Itoa(i)), element, result)
		}
	default:
		if r.used[name] {
			return
		}
		value, ok := number(field)
		if !ok {
			result.Skipped++
			return
		}
		if name == "" {
			result.reject(msg, raw, errors.New("the message is a bare value: the rule needs value: payload"))
			return
		}
		v.Sensor, v.Value = join(v.Sensor, name), value
		if s.sensors[v.Sensor] {
			result.reject(msg, raw, fmt.Errorf("two fields are the sensor %s", v.Sensor))
			return
		}
		if s.sensors == nil {
			s.sensors = make(map[string]bool)
		}
		s.sensors[v.Sensor] = true
		unit, err := r.unitOf(v.Sensor, s)
		if err == nil && unit == "" && r.preset != nil && r.preset.unit != nil {
			unit = r.preset.unit(v.Sensor, s.root)
		}
		if err != nil {
			result.reject(msg, raw, fmt.Errorf("unit: %w", err))
			return
		}
		v.Unit = unit
		result.add(msg, raw, v)
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "_" + b
}
