package audit

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// readable reports whether the last record, although it breaks the contract of the topic, may be
// taken for a reading by a reader with the rules of SQL's JSON: numbers in quotes, texts without,
// times in other forms. Whether it was taken, its dead letter tells: there is none then.
func (d *decoder) readable() bool { return d.read&needed == needed }

// loosely reads a value that breaks the contract's rule for its field, as such a reader does. What
// the pipeline itself checks (lengths, control characters, finite values, seq from 0) holds here
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
