package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Columns of a result that may be absent.
const (
	hasEnd = 1 << iota
	hasMin
	hasMax
	hasAvg
	hasSum
)

// windowResult is the pipeline's result for one window.
type windowResult struct {
	has                bool // the window has a result
	columns            uint8
	partition          int32 // location of the result
	offset             int64
	count              int64
	min, max, avg, sum float64
}

// readWindows reads the results of the windows, and the late rows and dead letters of their
// pipeline.
func (a *audit) readWindows(ctx context.Context, first *span) (*windows, error) {
	if a.cfg.Windows.Topic == "" {
		return nil, nil
	}
	if err := a.checkRepeatable(ctx); err != nil {
		return nil, err
	}
	w := newWindows(a.report, a.cfg.Windows, a.cfg.Topic, a.windowCommitted)
	r := reader{isolation: kgo.ReadCommitted(), maxPartitionBytes: 1 << 20}
	if err := a.read(ctx, r, only(a.cfg.Windows.Topic, first.from), only(a.cfg.Windows.Topic, first.to), w.take); err != nil {
		return nil, err
	}
	a.deleted = make(map[string]int)
	for _, topic := range []string{a.cfg.Windows.Topic, a.cfg.Windows.Late, a.cfg.Windows.DLQ} {
		a.deleted[topic] = len(first.truncated(topic))
	}
	w.hidden = a.unseen(first, a.cfg.Windows.Topic)
	w.settleColumns()

	w.late = a.newDeadLetters(a.cfg.Windows.Late, &w.sum.Late, &w.sum.LateMismatch, a.windowCommitted)
	w.late.kind, w.late.other = "late row", "not a valid row or not a record"
	w.deadLetters = a.newDeadLetters(a.cfg.Windows.DLQ, &w.sum.DeadLetters, &w.sum.DeadLetterMismatch, a.windowCommitted)
	for _, l := range []*deadLetters{w.late, w.deadLetters} {
		if err := l.read(ctx, a, first); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// unseen reports whether a part of a topic has been deleted or is hidden by an open transaction.
func (a *audit) unseen(s *span, topic string) bool {
	return len(a.blockedOf(topic)) > 0 || len(s.truncated(topic)) > 0
}

// take adds one result.
func (w *windows) take(r *kgo.Record) {
	w.sum.Results++
	k, found, err := w.decode(r)
	if err != nil {
		w.sum.Mismatch++
		w.report.find("C5", "malformed result", "%s partition %d offset %d: %v", w.cfg.Topic, r.Partition, r.Offset, err)
		return
	}
	w.sum.Counted = sum(w.sum.Counted, max(0, found.count))
	w.columns |= found.columns
	x := w.of(k)
	if x.found.has {
		w.mismatch(k, x, "there are two results, at partition %d offset %d and partition %d offset %d",
			x.found.partition, x.found.offset, r.Partition, r.Offset)
		return
	}
	x.found = found
	if found.count < 1 {
		w.mismatch(k, x, "count is %d, but a window has at least one row", found.count)
	}
}

// settleColumns determines the columns to check: those that the user named, or else those that any
// result has. A result that lacks one of them is wrong.
func (w *windows) settleColumns() {
	if w.cfg.Columns.named {
		w.columns = 0
		for _, c := range w.optional() {
			if c.name != "" {
				w.columns |= c.bit
			}
		}
	}
	for k, x := range w.all {
		if x.found.has && x.found.columns != w.columns {
			w.mismatch(k, x, "the result at partition %d offset %d lacks a required column", x.found.partition, x.found.offset)
		}
	}
}

type optionalColumn struct {
	bit  uint8
	name string
}

func (w *windows) optional() [5]optionalColumn {
	c := &w.cfg.Columns
	return [...]optionalColumn{{hasEnd, c.End}, {hasMin, c.Min}, {hasMax, c.Max}, {hasAvg, c.Avg}, {hasSum, c.Sum}}
}

// decode decodes a result. Null counts as absent.
func (w *windows) decode(r *kgo.Record) (k windowKey, found windowResult, err error) {
	found = windowResult{has: true, partition: r.Partition, offset: r.Offset}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(r.Value, &fields); err != nil || fields == nil {
		return k, found, fmt.Errorf("%.80q is not a JSON object", r.Value)
	}
	at := func(name string) []byte {
		if v := fields[name]; !bytes.Equal(v, []byte("null")) {
			return v
		}
		return nil
	}
	if k.device, err = textColumn(at, w.cfg.Columns.Device); err != nil {
		return k, found, err
	}
	if w.cfg.Columns.Sensor != "" {
		if k.sensor, err = textColumn(at, w.cfg.Columns.Sensor); err != nil {
			return k, found, err
		}
	}
	if k.start, err = timeColumn(at, w.cfg.Columns.Start); err != nil {
		return k, found, err
	}
	if floor(k.start, w.size)*w.size != k.start {
		return k, found, fmt.Errorf("%s is not a multiple of %s", at(w.cfg.Columns.Start), w.cfg.Size)
	}
	if found.count, err = strconv.ParseInt(string(at(w.cfg.Columns.Count)), 10, 64); err != nil {
		return k, found, fmt.Errorf("column %s is %.40q, not a whole number", w.cfg.Columns.Count, at(w.cfg.Columns.Count))
	}
	figures := map[uint8]*float64{hasMin: &found.min, hasMax: &found.max, hasAvg: &found.avg, hasSum: &found.sum}
	for _, c := range w.optional() {
		if c.name == "" || at(c.name) == nil {
			continue
		}
		found.columns |= c.bit
		if c.bit == hasEnd {
			if end, err := timeColumn(at, c.name); err != nil || end != k.start+w.size {
				return k, found, fmt.Errorf("column %s is %.40q, not %s after the start", c.name, at(c.name), w.cfg.Size)
			}
			continue
		}
		x, err := strconv.ParseFloat(string(at(c.name)), 64)
		if err != nil || math.IsNaN(x) {
			return k, found, fmt.Errorf("column %s is %.40q, not a number", c.name, at(c.name))
		}
		*figures[c.bit] = x
	}
	return k, found, nil
}

func textColumn(at func(string) []byte, name string) (string, error) {
	var s *string
	if err := json.Unmarshal(at(name), &s); err != nil || s == nil {
		return "", fmt.Errorf("column %s is %.40q, not a string", name, at(name))
	}
	return *s, nil
}

func timeColumn(at func(string) []byte, name string) (ms int64, err error) {
	text, err := textColumn(at, name)
	if err != nil {
		return 0, err
	}
	ms, ok := parseTimestamp(text)
	if !ok {
		return 0, fmt.Errorf("column %s is %.40q, neither yyyy-MM-dd HH:mm:ss[.SSS] nor ISO 8601", name, text)
	}
	return ms, nil
}

// parseTimestamp parses a timestamp in SQL format (yyyy-MM-dd HH:mm:ss with an optional fraction)
// or in ISO 8601 (with T, and optionally Z or an offset). Without an offset it is UTC.
func parseTimestamp(text string) (ms int64, ok bool) {
	const date = len("yyyy-MM-dd")
	b := []byte(text)
	if len(b) <= date {
		return 0, false
	}
	if b[date] == ' ' {
		b[date] = 'T'
	}
	if !bytes.ContainsAny(b[date:], "Zz+-") {
		b = append(b, 'Z')
	}
	return parseTime(b)
}
