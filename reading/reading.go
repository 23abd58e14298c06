// Package reading defines the sensor reading: its fields, validation and JSON form. It imports only
// the standard library.
package reading

import (
	"fmt"
	"math"
	"unicode"
	"unicode/utf8"
)

// MaxName is the longest device id, sensor name, unit and boot id in bytes.
const MaxName = 256

// Reading is a value measured by a sensor of a device (Avro record weir.SensorReading).
//
// The Kafka key of a reading is its DeviceID, so that the readings of a device are in one
// partition, in order.
type Reading struct {
	DeviceID string  // 1 to MaxName bytes of UTF-8, no control characters
	Sensor   string  // measured quantity: temperature, humidity, …; not empty, otherwise like DeviceID
	Value    float64 // finite
	Unit     string  // UCUM code: Cel, %, hPa, …; may be empty
	TS       int64   // event time in milliseconds since the Unix epoch, UTC
	Seq      int64   // dense per (DeviceID, Boot), from 0
	Boot     string  // changes when the device restarts its sequence; may be empty
}

// Range of event times: the years 1 to 9999, as in RFC 3339.
const (
	minTS = -62135596800000
	maxTS = 253402300799999
)

// InvalidError is a field of a reading that violates a rule.
type InvalidError struct {
	Field  string // JSON name of the field
	Reason string // completes "FIELD: …"
}

// Error returns "invalid FIELD: REASON".
func (e *InvalidError) Error() string { return "invalid " + e.Field + ": " + e.Reason }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Validate returns an *InvalidError for the first rule that r violates.
func (r *Reading) Validate() error {
	if err := validName("device_id", r.DeviceID, 1); err != nil {
		return err
	}
	if err := validName("sensor", r.Sensor, 1); err != nil {
		return err
	}
	if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) {
		return invalid("value", "%v is not a finite number", r.Value)
	}
	if err := validName("unit", r.Unit, 0); err != nil {
		return err
	}
	if r.TS < minTS || r.TS > maxTS {
		return invalid("ts", "%d ms is outside the years 1 to 9999", r.TS)
	}
	if r.Seq < 0 {
		return invalid("seq", "%d is negative", r.Seq)
	}
	return validName("boot", r.Boot, 0)
}

// validName checks a text field: its length in bytes, valid UTF-8, no control characters.
func validName(field, s string, minLen int) error {
	if len(s) < minLen {
		return invalid(field, "is empty")
	}
	if len(s) > MaxName {
		return invalid(field, "has %d bytes, the maximum is %d", len(s), MaxName)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return validUnicode(field, s)
		}
	}
	return nil
}

// validUnicode is the slow path of validName, for text that is not plain ASCII.
func validUnicode(field, s string) error {
	if !utf8.ValidString(s) {
		return invalid(field, "is not valid UTF-8")
	}
	for _, c := range s {
		if unicode.IsControl(c) {
			return invalid(field, "contains the control character %U", c)
		}
	}
	return nil
}
