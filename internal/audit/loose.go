package audit

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// readable reports whether a reader with SQL's JSON rules (quoted numbers, unquoted strings, other
// time formats) may accept the last record although it violates the contract of the topic. If it
// did, there is no dead letter.
func (d *decoder) readable() bool { return d.read&needed == needed }

// loosely parses a value that violates the contract for its field by SQL's JSON rules. The
// pipeline's own checks (lengths, control characters, finite values, non-negative seq) apply here
// too.
func (s *sample) loosely(name string, value []byte) bool {
	raw := strings.TrimSpace(string(value))
	text, quoted := raw, raw[0] == '"'
	if quoted && json.Unmarshal([]byte(raw), &text) != nil || raw == "null" {
		return false
	}
	switch name {
	case "device_id":
		s.device = text
		return !quoted && len(text) <= maxText && printable([]byte(text))
	case "sensor":
		s.sensor = text
		return !quoted && len(text) <= maxText && printable([]byte(text))
	case "value":
		text = strings.TrimSpace(text)
		v, err := strconv.ParseFloat(text, 64)
		s.value = v
		return err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) && !strings.ContainsAny(text, "xX_pPiI")
	case "seq":
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
			return n >= 0
		}
		v, err := strconv.ParseFloat(text, 64)
		return !quoted && err == nil && v > -1 && v <= math.MaxInt64
	case "ts":
		s.untimed = true
		return quoted && len(text) > len("2026-01-31T") && text[10] == 'T'
	}
	return false
}
