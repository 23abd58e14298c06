package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/suggest"
	"weir.example/weir/reading"
)

// fields are the fields of a reading in JSON; seq and boot are accepted and ignored, since the
// spool numbers the readings.
var fields = []string{"device_id", "sensor", "value", "unit", "ts", "seq", "boot"}

// readings accepts a reading, an array of readings, or one per line. One that is invalid refuses
// the whole request: nothing is stored, and the sender learns which one.
func (h *Server) readings(q *request) (*spool.Entry, answer, error) {
	entry := &spool.Entry{}
	arrived := h.now().UnixMilli()
	err := eachObject(q.body, func(raw json.RawMessage) error {
		v, err := parseReading(raw, arrived)
		if err != nil {
			return fmt.Errorf("reading %d: %w", len(entry.Readings)+1, err)
		}
		entry.Readings = append(entry.Readings, v)
		return nil
	})
	if err == nil && len(entry.Readings) == 0 {
		err = errors.New("the body has no reading")
	}
	if err != nil {
		return nil, answer{}, refuse(http.StatusBadRequest, "%v: nothing was stored", err)
	}
	h.record(q, entry, 0)
	return entry, answer{Status: http.StatusOK, Accepted: len(entry.Readings)}, nil
}

// eachObject calls fn for each object of an array, or of a sequence of objects.
func eachObject(body []byte, fn func(json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(body))
	array := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
	if array {
		if _, err := d.Token(); err != nil {
			return err
		}
	}
	for !array || d.More() {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) && !array {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the body is not JSON at byte %d: %w", d.InputOffset(), err)
		}
		if err := fn(raw); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("the body is not JSON: the array does not end: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the body is not JSON: something follows the array")
	}
	return nil
}

// parseReading parses a reading; without ts it has the time of arrival.
func parseReading(raw json.RawMessage, arrived int64) (v reading.Reading, err error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return v, errors.New("it is not an object such as {\"device_id\":\"d1\",\"sensor\":\"temperature\",\"value\":21.5}")
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(fields, name) {
			err := fmt.Errorf("unknown field %.100q", name)
			if hint := suggest.DidYouMean(name, fields); hint != "" {
				err = fmt.Errorf("%w: %s", err, hint)
			}
			return v, err
		}
	}
	v.TS = arrived
	for _, field := range []struct {
		name     string
		required bool
		to       any
	}{{"device_id", true, &v.DeviceID}, {"sensor", true, &v.Sensor}, {"value", true, &v.Value}, {"unit", false, &v.Unit}, {"ts", false, &v.TS}} {
		text, ok := object[field.name]
		if !ok || string(text) == "null" {
			if field.required {
				return v, fmt.Errorf("%s is missing", field.name)
			}
			continue
		}
		if field.name == "ts" {
			var moment string
			if json.Unmarshal(text, &moment) != nil {
				return v, errors.New("ts must be text such as \"2026-01-31T23:59:59Z\"")
			}
			if v.TS, err = reading.ParseTime([]byte(moment)); err != nil {
				return v, err
			}
			continue
		}
		if err := json.Unmarshal(text, field.to); err != nil {
			kind := "text"
			if field.name == "value" {
				kind = "a number that float64 can hold"
			}
			return v, fmt.Errorf("%s must be %s", field.name, kind)
		}
	}
	return v, v.Validate()
}
