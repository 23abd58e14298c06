package engine

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir/reading"
)

// DeviceStats keeps running statistics for each sensor of each device, and writes them to a compacted
// topic that is result and changelog in one.
//
// Key: {"device_id":…,"sensor":…}. Value: the key's fields and count, min, max, mean, sum, last, last_ts (of
// the last record in offset order) and offset (of that record in the input partition).
type DeviceStats struct {
	Topic string // the compacted topic
}

// NewTask implements Processor.
func (d *DeviceStats) NewTask(partition int32) Task {
	return &statsTask{
		topic: d.Topic, partition: partition,
		state: make(map[series]*stats), overlay: make(map[series]*stats),
	}
}

// series is what statistics are kept of.
type series struct{ device, sensor string }

type stats struct {
	Device string  `json:"device_id"`
	Sensor string  `json:"sensor"`
	Count  int64   `json:"count"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Sum    float64 `json:"sum"` // in offset order: what makes the mean the same after a restore
	Last   float64 `json:"last"`
	LastTS string  `json:"last_ts"`
	Offset int64   `json:"offset"`

	lastTS int64 // LastTS in milliseconds
}

type statsTask struct {
	topic     string
	partition int32
	decoder   reading.Decoder
	state     map[series]*stats // committed
	overlay   map[series]*stats // of the open transaction; wins over state

	spare   []*stats // overlay entries to use again
	records []kgo.Record
	buf     []byte
}

// Restore implements Task.
func (t *statsTask) Restore(r *kgo.Record) error {
	if r.Value == nil { // a tombstone that somebody wrote to forget a series
		var key stats
		if err := json.Unmarshal(r.Key, &key); err != nil {
			return fmt.Errorf("%s-%d at offset %d: key: %w", r.Topic, r.Partition, r.Offset, err)
		}
		delete(t.state, series{key.Device, key.Sensor})
		return nil
	}
	var s stats
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return fmt.Errorf("%s-%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	ms, err := reading.ParseTime([]byte(s.LastTS))
	if err != nil {
		return fmt.Errorf("%s-%d at offset %d: last_ts: %w", r.Topic, r.Partition, r.Offset, err)
	}
	s.lastTS, s.LastTS = ms, ""
	t.state[series{s.Device, s.Sensor}] = &s
	return nil
}

// Step implements Task.
func (t *statsTask) Step(in []*kgo.Record, out *Output) error {
	var r reading.Reading
	for _, rec := range in {
		if err := t.decoder.Decode(rec.Value, &r); err != nil {
			out.DeadLetter(rec, err)
			continue
		}
		t.changed(&r).add(&r, rec.Offset)
	}
	return nil
}

// changed returns the overlay's entry of a reading's series.
func (t *statsTask) changed(r *reading.Reading) *stats {
	key := series{r.DeviceID, r.Sensor}
	if s, ok := t.overlay[key]; ok {
		return s
	}
	var s *stats
	if n := len(t.spare); n > 0 {
		s, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		s = new(stats)
	}
	if old, ok := t.state[key]; ok {
		*s = *old
	} else {
		*s = stats{Device: r.DeviceID, Sensor: r.Sensor, Min: r.Value, Max: r.Value}
	}
	t.overlay[key] = s
	return s
}

func (s *stats) add(r *reading.Reading, offset int64) {
	s.Count++
	s.Min = min(s.Min, r.Value)
	s.Max = max(s.Max, r.Value)
	// JSON has no infinity: a sum that overflows stays at the largest double.
	s.Sum = max(-math.MaxFloat64, min(math.MaxFloat64, s.Sum+r.Value))
	s.Last, s.lastTS, s.Offset = r.Value, r.TS, offset
}

// Flush implements Task: one record for each series that the transaction changed.
func (t *statsTask) Flush(out *Output) error {
	if cap(t.records) < len(t.overlay) {
		t.records = make([]kgo.Record, 0, 2*len(t.overlay))
	}
	t.records, t.buf = t.records[:0], nil
	for _, s := range t.overlay {
		key := len(t.buf)
		t.buf = s.appendKey(t.buf)
		value := len(t.buf)
		t.buf = s.appendValue(t.buf)
		t.records = append(t.records, kgo.Record{
			Topic: t.topic, Partition: t.partition,
			Key: t.buf[key:value:value], Value: t.buf[value:len(t.buf):len(t.buf)],
		})
		out.Emit(&t.records[len(t.records)-1])
	}
	return nil
}

func (s *stats) appendKey(b []byte) []byte {
	b = append(b, `{"device_id":`...)
	b = reading.AppendString(b, s.Device)
	b = append(b, `,"sensor":`...)
	b = reading.AppendString(b, s.Sensor)
	return append(b, '}')
}

func (s *stats) appendValue(b []byte) []byte {
	b = append(b, `{"device_id":`...)
	b = reading.AppendString(b, s.Device)
	b = append(b, `,"sensor":`...)
	b = reading.AppendString(b, s.Sensor)
	b = append(b, `,"count":`...)
	b = strconv.AppendInt(b, s.Count, 10)
	for _, f := range [...]struct {
		name  string
		value float64
	}{{`,"min":`, s.Min}, {`,"max":`, s.Max}, {`,"mean":`, s.Sum / float64(s.Count)}, {`,"sum":`, s.Sum}, {`,"last":`, s.Last}} {
		b = append(b, f.name...)
		b = reading.AppendFloat(b, f.value)
	}
	b = append(b, `,"last_ts":"`...)
	b = reading.AppendTime(b, s.lastTS)
	b = append(b, `","offset":`...)
	b = strconv.AppendInt(b, s.Offset, 10)
	return append(b, '}')
}

// Commit implements Task.
func (t *statsTask) Commit() {
	for key, s := range t.overlay {
		if old, ok := t.state[key]; ok {
			t.spare = append(t.spare, old)
		}
		t.state[key] = s
	}
	clear(t.overlay)
}

// Abort implements Task.
func (t *statsTask) Abort() {
	for _, s := range t.overlay {
		t.spare = append(t.spare, s)
	}
	clear(t.overlay)
}
