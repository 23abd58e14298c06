package ingest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// precisions are the precisions of times, as both versions of InfluxDB's API name them.
var precisions = map[string]lineprotocol.Precision{
	"": lineprotocol.Nanosecond, "ns": lineprotocol.Nanosecond, "n": lineprotocol.Nanosecond,
	"us": lineprotocol.Microsecond, "u": lineprotocol.Microsecond, "µ": lineprotocol.Microsecond,
	"ms": lineprotocol.Millisecond, "s": lineprotocol.Second,
}

// deviceTags are the tags that name the device unless the configuration does.
var deviceTags = []string{"device_id", "device", "host"}

// lines accepts InfluxDB's line protocol. As in InfluxDB, lines that are not readings do not refuse
// the others: those are stored, and the answer names the first bad one. The bad ones become dead
// letters.
func (h *Server) lines(q *request) (*spool.Entry, answer, error) {
	precision, ok := precisions[q.URL.Query().Get("precision")]
	if !ok {
		return nil, answer{}, refuse(http.StatusBadRequest, "unknown precision %q: use ns, us, ms or s", q.URL.Query().Get("precision"))
	}
	entry := &spool.Entry{}
	a := answer{Status: http.StatusNoContent}
	origin := []source.Attribute{{Name: mapping.HeaderTopic, Value: q.URL.Path}}
	var first error
	all := strings.Split(string(q.body), "\n")
	for i := 0; i < len(all); i++ {
		number := i + 1
		line := strings.TrimSuffix(all[i], "\r")
		if text := strings.TrimSpace(line); text == "" || text[0] == '#' {
			continue
		}
		parsed, skipped, err := parseLine(line, h.cfg.Lines.DeviceTag, precision, h.now())
		if end := closing(all, i); err != nil && end > i { // a text may contain line breaks
			joined := strings.TrimSuffix(strings.Join(all[i:end+1], "\n"), "\r")
			if more, n, failed := parseLine(joined, h.cfg.Lines.DeviceTag, precision, h.now()); failed == nil {
				parsed, skipped, err, i = more, n, nil, end
			}
		}
		a.Skipped += skipped
		if err != nil {
			err = fmt.Errorf("line %d: %w", number, err)
			if first == nil {
				first = err
			}
			entry.Rejected = append(entry.Rejected, spool.Rejected{Raw: []byte(line), Reason: err.Error(), Origin: origin})
			continue
		}
		entry.Readings = append(entry.Readings, parsed...)
	}
	h.record(q, entry, a.Skipped)
	a.Accepted, a.DeadLetters = len(entry.Readings), len(entry.Rejected)
	if first != nil {
		a.Status, a.Code = http.StatusBadRequest, "invalid"
		a.Message = fmt.Sprintf("partial write: %v; %d lines are no readings and became dead letters, and %d readings of the other lines were stored: do not send them again", first, a.DeadLetters, a.Accepted)
	}
	return entry, a, nil
}

// closing returns the line at which a text that begins in line i ends; i if there is none.
func closing(all []string, i int) int {
	if quotes(all[i])%2 == 0 {
		return i
	}
	for end := i + 1; end < len(all); end++ {
		if quotes(all[end])%2 == 1 {
			return end
		}
	}
	return i
}

// quotes counts the quotes that are not escaped.
func quotes(line string) (n int) {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '"':
			n++
		}
	}
	return n
}

// parseLine returns the readings of a line, one per field that is a number or a boolean.
func parseLine(line, deviceTag string, precision lineprotocol.Precision, arrived time.Time) (all []reading.Reading, skipped int, err error) {
	d := lineprotocol.NewDecoderWithBytes([]byte(line))
	if !d.Next() {
		return nil, 0, errors.New("it has no measurement")
	}
	measurement, err := d.Measurement()
	if err != nil {
		return nil, 0, lineError(err)
	}
	device, series, err := tagsOf(d, deviceTag)
	if err != nil {
		return nil, 0, err
	}
	base := reading.Reading{DeviceID: device}
	for {
		key, value, err := d.NextField()
		if err != nil {
			return nil, 0, lineError(err)
		}
		if key == nil {
			break
		}
		v := base
		v.Sensor = string(measurement) + "_" + string(key) + series
		switch value.Kind() {
		case lineprotocol.Float:
			v.Value = value.FloatV()
		case lineprotocol.Int:
			v.Value = float64(value.IntV())
		case lineprotocol.Uint:
			v.Value = float64(value.UintV())
		case lineprotocol.Bool:
			if value.BoolV() {
				v.Value = 1
			}
		default:
			skipped++
			continue
		}
		all = append(all, v)
	}
	at, err := d.Time(precision, arrived)
	if err != nil {
		return nil, 0, lineError(err)
	}
	if d.Next() {
		return nil, 0, errors.New("something follows its end")
	}
	for i := range all {
		all[i].TS = at.UnixMilli()
		if err := all[i].Validate(); err != nil {
			return nil, 0, err
		}
	}
	if len(all) == 0 {
		return nil, 0, errors.New("none of its fields is a number or a boolean")
	}
	return all, skipped, nil
}

// tagsOf returns the device and a suffix of the other tags, which distinguish series.
func tagsOf(d *lineprotocol.Decoder, deviceTag string) (device, series string, err error) {
	tags := make(map[string]string)
	var names []string
	for {
		key, value, err := d.NextTag()
		if err != nil {
			return "", "", lineError(err)
		}
		if key == nil {
			break
		}
		if _, twice := tags[string(key)]; twice {
			return "", "", fmt.Errorf("the tag %s occurs twice", key)
		}
		tags[string(key)] = string(value)
		names = append(names, string(key))
	}
	candidates := deviceTags
	if deviceTag != "" {
		candidates = []string{deviceTag}
	}
	for _, name := range candidates {
		if _, ok := tags[name]; ok {
			deviceTag, device = name, tags[name]
			break
		}
	}
	if device == "" {
		return "", "", fmt.Errorf("it has no tag %s, which names the device: set lines.device_tag", strings.Join(candidates, ", "))
	}
	slices.Sort(names)
	var suffix []byte
	for _, name := range names {
		if name != deviceTag {
			suffix = appendLabel(suffix, name, tags[name])
		}
	}
	return device, string(suffix), nil
}

// lineError returns the cause of an error of the decoder, which only knows one line.
func lineError(err error) error {
	var d *lineprotocol.DecodeError
	if errors.As(err, &d) {
		return d.Err
	}
	return err
}
