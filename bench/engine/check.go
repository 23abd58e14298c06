package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// check verifies the committed results of a job, and returns the times of the first and last
// commit. The error names a missing, duplicate or wrong row.
func (b *bench) check(ctx context.Context, side string, j job) (committed span, err error) {
	row, done := b.want.checkFilter()
	if j.Workload == "tumble" {
		row, done = b.want.checkTumble(side)
	}
	err = read(ctx, b.brokers, j.Sink, func(r *kgo.Record) error {
		if !r.Attrs.IsControl() {
			return row(r.Value)
		}
		// Transactions without results leave no marker here.
		if committed.first.IsZero() || r.Timestamp.Before(committed.first) {
			committed.first = r.Timestamp
		}
		if r.Timestamp.After(committed.last) {
			committed.last = r.Timestamp
		}
		return nil
	})
	if err != nil {
		return committed, err
	}
	if committed.last.IsZero() {
		return committed, errors.New("the results are not in transactions")
	}
	return committed, done()
}

// checkFilter checks that each reading with a value above 25 occurs exactly once.
func (e *expectation) checkFilter() (row func([]byte) error, done func() error) {
	seen := make([]bool, e.rows)
	rows := int64(0)
	row = func(data []byte) error {
		var got struct {
			DeviceID string  `json:"device_id"`
			Value    float64 `json:"value"`
			TS       string  `json:"ts"`
			Seq      int64   `json:"seq"`
		}
		if err := json.Unmarshal(data, &got); err != nil {
			return fmt.Errorf("result %s: %w", data, err)
		}
		device, ok := e.devices[got.DeviceID]
		i := got.Seq*devices + int64(device)
		if !ok || i < 0 || i >= e.rows || got.Value != value(i) || !passes(got.Value) {
			return fmt.Errorf("unexpected result %s", data)
		}
		if ts, err := parseTime(got.TS); err != nil || !ts.Equal(start.Add(time.Duration(i)*step)) {
			return fmt.Errorf("result with a wrong time %s", data)
		}
		if seen[i] {
			return fmt.Errorf("duplicate result %s", data)
		}
		seen[i] = true
		rows++
		return nil
	}
	return row, func() error {
		if rows != e.passing {
			return fmt.Errorf("%d results, expected %d", rows, e.passing)
		}
		return nil
	}
}

// checkTumble checks that each window of each device occurs exactly once, with the right
// statistics.
//
// Weir's and Flink's input is bounded: its end closes all windows, and their counts add up to all
// rows. Kafka Streams has no end of input: its last windows stay open. Its results must be exactly
// the windows that the readings have closed: those with an end at least two seconds before the
// partition's latest time.
func (e *expectation) checkTumble(side string) (row func([]byte) error, done func() error) {
	seen := make([][devices]bool, len(e.windows))
	var counted int64
	row = func(data []byte) error {
		var got windowResult
		if err := json.Unmarshal(data, &got); err != nil {
			return fmt.Errorf("result %s: %w", data, err)
		}
		began, err := parseTime(got.WindowStart)
		if err != nil {
			return fmt.Errorf("result %s: %w", data, err)
		}
		ended, err := parseTime(got.WindowEnd)
		if err != nil {
			return fmt.Errorf("result %s: %w", data, err)
		}
		device, ok := e.devices[got.DeviceID]
		w := int(began.Sub(start) / window)
		if !ok || w < 0 || w >= len(e.windows) || !began.Equal(start.Add(time.Duration(w)*window)) || ended.Sub(began) != window {
			return fmt.Errorf("unexpected result %s", data)
		}
		want := e.windows[w][device]
		if got.Readings != want.readings || got.Lowest != want.lowest || got.Highest != want.highest ||
			math.Abs(got.Mean-want.sum/float64(want.readings)) > 1e-9 {
			return fmt.Errorf("wrong result %s, expected %+v", data, want)
		}
		if seen[w][device] {
			return fmt.Errorf("duplicate result %s", data)
		}
		seen[w][device] = true
		counted += got.Readings
		return nil
	}
	return row, func() error {
		var want int64
		for w := range e.windows {
			for d := range e.windows[w] {
				if side != "streams" || e.closed(w, e.fleet[d].partition) {
					want += e.windows[w][d].readings
				}
			}
		}
		if counted != want {
			return fmt.Errorf("the windows count %d readings, expected %d", counted, want)
		}
		return nil
	}
}

// windowResult is a row of the tumble workload.
type windowResult struct {
	DeviceID    string  `json:"device_id"`
	WindowStart string  `json:"window_start"`
	WindowEnd   string  `json:"window_end"`
	Readings    int64   `json:"readings"`
	Lowest      float64 `json:"lowest"`
	Highest     float64 `json:"highest"`
	Mean        float64 `json:"mean"`
}

// parseTime parses a time of SQL's JSON, with a zone or, in UTC, without one.
func parseTime(text string) (time.Time, error) {
	text = strings.TrimSuffix(strings.Replace(text, " ", "T", 1), "Z")
	return time.Parse("2006-01-02T15:04:05", text)
}
