package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"weir.example/weir/internal/ingest/intake"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/reading"
)

// MetricsConfig says what the points of OTLP and of Prometheus's remote write are readings of.
type MetricsConfig struct {
	Device   []string `yaml:"device"`   // attributes and labels that name the device: the first of them that a point has; default see deviceLabels
	Resource []string `yaml:"resource"` // attributes of an OTLP resource that belong to the sensor; default service.namespace and service.name
	Drop     []string `yaml:"drop"`     // attributes and labels that do not belong to the sensor
}

// deviceLabels name the device unless the configuration does. The instance is before the host,
// since only the instance tells two instances of a service on one host apart.
var deviceLabels = []string{"device_id", "device.id", "device", "service.instance.id", "instance", "host.name", "host"}

// resourceLabels belong to the sensor unless the configuration names others.
var resourceLabels = []string{"service.namespace", "service.name"}

// Limits of a request with metrics.
const (
	maxPoints = 100_000
	maxLabels = 128 // of a series
)

// pointBytes is about what a point takes in memory.
const pointBytes = 128

// label is a label of Prometheus, or an attribute of OTLP.
type label struct{ name, value string }

// points are the readings of a request with metrics, and what was refused in it.
type points struct {
	cfg     *MetricsConfig
	holding *held
	arrived int64

	readings  []reading.Reading
	refused   int64
	refusals  []mapping.Refusal // at most maxReasons and one for all others
	skipped   int               // without a value
	exemplars int

	series map[[2]string]uint64 // digests of the series that are the sensors of devices
}

func (q *request) points(cfg *MetricsConfig, arrived int64) *points {
	return &points{cfg: cfg, holding: q.holding, arrived: arrived, series: make(map[[2]string]uint64)}
}

// refuse counts parts that are no readings, by reason.
func (p *points) refuse(count int, reason string) {
	if count == 0 {
		return
	}
	p.refused += int64(count)
	i := slices.IndexFunc(p.refusals, func(r mapping.Refusal) bool { return r.Reason == reason })
	switch {
	case i >= 0:
		p.refusals[i].Count += int64(count)
	case len(p.refusals) < maxReasons:
		p.refusals = append(p.refusals, mapping.Refusal{Reason: reason, Count: int64(count)})
	case len(p.refusals) == maxReasons:
		p.refusals = append(p.refusals, mapping.Refusal{Reason: "other reasons", Count: int64(count)})
	default:
		p.refusals[maxReasons].Count += int64(count)
	}
}

// message describes what was refused; "" if nothing was.
func (p *points) message() string {
	if p.refused == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d points were refused, and %d were stored: do not send them again", p.refused, len(p.readings))
	for _, r := range p.refusals[:min(5, len(p.refusals))] {
		fmt.Fprintf(&b, "; %s (%d)", r.Reason, r.Count)
	}
	if more := len(p.refusals) - 5; more > 0 {
		fmt.Fprintf(&b, "; and %d more reasons", more)
	}
	return b.String()
}

// sensor returns a reading without a value: the device and the sensor of a series. around are
// labels that may name the device, and identity is what else tells the series from others.
func (p *points) sensor(metric, unit string, labels, around []label, identity uint64) (v reading.Reading, err error) {
	v.Unit = unit
	slices.SortFunc(labels, func(a, b label) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(labels); i++ {
		if labels[i].name == labels[i-1].name {
			return v, fmt.Errorf("the label %.100q occurs twice", labels[i].name)
		}
	}
	candidates := p.cfg.Device
	if len(candidates) == 0 {
		candidates = deviceLabels
	}
	by := ""
	for _, name := range candidates {
		if v.DeviceID = cmp.Or(valueOf(labels, name), valueOf(around, name)); v.DeviceID != "" {
			by = name
			break
		}
	}
	if v.DeviceID == "" {
		return v, fmt.Errorf("nothing names its device: it has none of %s: set metrics.device", strings.Join(candidates, ", "))
	}
	resource := p.cfg.Resource
	if resource == nil {
		resource = resourceLabels
	}
	sensor := appendEscaped(nil, metric)
	for _, all := range [][]label{labels, chosen(around, resource)} {
		for _, l := range all {
			if l.name != by && !slices.Contains(p.cfg.Drop, l.name) {
				sensor = appendLabel(sensor, l.name, l.value)
			}
		}
	}
	v.Sensor, v.TS = string(sensor), p.arrived
	if err := v.Validate(); err != nil {
		if len(sensor) > reading.MaxName {
			return v, fmt.Errorf("its name and labels have %d bytes, and a sensor at most %d: leave labels out with metrics.drop", len(sensor), reading.MaxName)
		}
		return v, err
	}
	digest := xxhash.New()
	_, _ = fmt.Fprintf(digest, "%d %q", identity, metric) // it never fails
	for _, l := range labels {
		_, _ = fmt.Fprintf(digest, "%q=%q", l.name, l.value)
	}
	key, series := [2]string{v.DeviceID, v.Sensor}, digest.Sum64()
	if known, ok := p.series[key]; ok && known != series {
		return v, fmt.Errorf("two series of the request are the sensor %s of the device %s: name the device by another label with metrics.device, or drop fewer labels", v.Sensor, v.DeviceID)
	}
	p.series[key] = series
	return v, nil
}

// valueOf returns the value of a label; "" if there is none.
func valueOf(labels []label, name string) string {
	for _, l := range labels {
		if l.name == name {
			return l.value
		}
	}
	return ""
}

// chosen returns the labels of the given names that exist, in the order of the names.
func chosen(labels []label, names []string) (found []label) {
	for _, name := range names {
		if value := valueOf(labels, name); value != "" {
			found = append(found, label{name, value})
		}
	}
	return found
}

// add adds a point of a series. A value that is no number is skipped, as Prometheus and OTLP mark
// points without a value.
func (p *points) add(series reading.Reading, value float64, ts int64) error {
	if math.IsNaN(value) {
		p.skipped++
		return nil
	}
	series.Value, series.TS = value, ts
	if _, err := mapping.InRange(ts); err != nil {
		p.refuse(1, fmt.Sprintf("%s: %v", series.Sensor, err))
		return nil
	}
	if err := series.Validate(); err != nil {
		p.refuse(1, fmt.Sprintf("%s: %v", series.Sensor, err))
		return nil
	}
	if len(p.readings) == maxPoints {
		return refuse(http.StatusRequestEntityTooLarge, "the request has more than %d points: send fewer at a time", maxPoints)
	}
	if len(p.readings)%1024 == 0 {
		if err := p.holding.reserve(1024 * pointBytes); err != nil {
			return err
		}
	}
	p.readings = append(p.readings, series)
	return nil
}

// entry records the points, and returns them as an entry that a repeat of the request does not
// store again: points have their own times, so that two requests with the same bytes are the same
// points.
func (p *points) entry(h *Server, q *request, protocol string) (*spool.Entry, answer) {
	h.intake.Record(&intake.Message{Protocol: protocol, Client: q.RemoteAddr, Topic: q.URL.Path, Payload: q.body, Arrived: h.now()},
		&mapping.Result{Rule: q.URL.Path, Readings: p.readings, Refused: p.refusals, Skipped: p.skipped, Exemplars: p.exemplars})
	a := answer{Status: http.StatusOK, Accepted: len(p.readings), Refused: p.refused, Skipped: p.skipped, Message: p.message()}
	return &spool.Entry{Readings: p.readings, Delivery: spool.Whole(protocol, intake.Digest(q.Header.Get("Content-Type"), q.body))}, a
}

// appendLabel appends a label to the name of a sensor.
func appendLabel[T string | []byte](b []byte, name, value T) []byte {
	return appendEscaped(append(appendEscaped(append(b, ','), name), '='), value)
}

// appendEscaped appends a part of the name of a sensor, such that names of different series differ.
func appendEscaped[T string | []byte](b []byte, part T) []byte {
	for i := range len(part) {
		if c := part[i]; c == ',' || c == '=' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, part[i])
	}
	return b
}

var errMalformed = errors.New("the body is cut off or is not a message of protobuf")
