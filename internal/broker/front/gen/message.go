package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// message is one of Kafka's message definitions.
type message struct {
	APIKey           int16     `json:"apiKey"`
	Type             string    `json:"type"` // request, response, header or data
	Name             string    `json:"name"`
	ValidVersions    versions  `json:"validVersions"`
	FlexibleVersions versions  `json:"flexibleVersions"`
	Fields           []field   `json:"fields"`
	CommonStructs    []message `json:"commonStructs"`
}

type field struct {
	Name             string   `json:"name"`
	Type             string   `json:"type"`
	Versions         versions `json:"versions"`
	NullableVersions versions `json:"nullableVersions"`
	TaggedVersions   versions `json:"taggedVersions"`
	FlexibleVersions versions `json:"flexibleVersions"`
	Tag              int      `json:"tag"`
	Fields           []field  `json:"fields"`
}

// parseMessage parses a definition: JSON with comments on lines of their own.
func parseMessage(text []byte) (message, error) {
	var clean strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(strings.TrimSpace(line), "//") {
			clean.WriteString(line)
		}
	}
	var m message
	err := json.Unmarshal([]byte(clean.String()), &m)
	return m, err
}

// versions is a range such as "3+", "0-12", "4" or "none".
type versions struct {
	from, to int16
	some     bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *versions) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "none" {
		return nil
	}
	from, to, isRange := strings.Cut(s, "-")
	if open, ok := strings.CutSuffix(s, "+"); ok {
		from, to, isRange = open, strconv.Itoa(math.MaxInt16), true
	}
	if !isRange {
		to = from
	}
	a, err := strconv.ParseInt(from, 10, 16)
	if err != nil {
		return fmt.Errorf("parse versions %q: %w", s, err)
	}
	z, err := strconv.ParseInt(to, 10, 16)
	if err != nil {
		return fmt.Errorf("parse versions %q: %w", s, err)
	}
	*v = versions{int16(a), int16(z), true}
	return nil
}

func (v versions) has(version int16) bool { return v.some && v.from <= version && version <= v.to }
