package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

const testRows = 45_500 // the fifth window is incomplete

// results returns the correct rows of a workload, as written by a side with a bounded input.
func results(t *testing.T, e *expectation, workload string) [][]byte {
	t.Helper()
	var rows [][]byte
	if workload == "filter" {
		for i := range e.rows {
			if passes(value(i)) {
				rows = append(rows, e.fleet[i%devices].appendJSON(nil, i, start.Add(time.Duration(i)*step)))
			}
		}
		return rows
	}
	for w := range e.windows {
		for d, s := range e.windows[w] {
			began := start.Add(time.Duration(w) * window)
			row, err := json.Marshal(windowResult{
				DeviceID: e.fleet[d].id, WindowStart: began.Format("2006-01-02T15:04:05"), WindowEnd: began.Add(window).Format("2006-01-02 15:04:05.000"),
				Readings: s.readings, Lowest: s.lowest, Highest: s.highest, Mean: s.sum / float64(s.readings),
			})
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// The checks accept correct results, and detect each single fault.
func TestChecks(t *testing.T) {
	e, err := expect(testRows)
	if err != nil {
		t.Fatal(err)
	}
	if e.meanBytes < 195 || e.meanBytes > 205 {
		t.Errorf("readings of %.1f bytes, want about 200", e.meanBytes)
	}
	faults := []struct {
		name string
		do   func(rows [][]byte) [][]byte
		want string // in the error
	}{
		{"none", func(rows [][]byte) [][]byte { return rows }, ""},
		{"lost", func(rows [][]byte) [][]byte { return rows[1:] }, "expected"},
		{"twice", func(rows [][]byte) [][]byte { return append(rows, rows[7]) }, "duplicate"},
		{"wrong", func(rows [][]byte) [][]byte {
			rows[3] = bytes.Replace(rows[3], []byte(`"device-000`), []byte(`"device-001`), 1)
			return rows
		}, "unexpected"},
	}
	for _, workload := range workloads("weir") {
		for _, fault := range faults {
			t.Run(workload+" "+fault.name, func(t *testing.T) {
				row, done := e.checkFilter()
				if workload == "tumble" {
					row, done = e.checkTumble("weir")
				}
				var err error
				for _, r := range fault.do(results(t, e, workload)) {
					if err = row(r); err != nil {
						break
					}
				}
				if err == nil {
					err = done()
				}
				if (err == nil) != (fault.want == "") || err != nil && !strings.Contains(err.Error(), fault.want) {
					t.Errorf("error %v, want one with %q", err, fault.want)
				}
			})
		}
	}
}

// Without an end of input, the last window stays open: the latest reading is at about 45.5 s, and
// the window ends less than two seconds before it.
func TestClosed(t *testing.T) {
	e, err := expect(testRows)
	if err != nil {
		t.Fatal(err)
	}
	for partition := range int32(partitions) {
		var closed []int
		for w := range e.windows {
			if e.closed(w, partition) {
				closed = append(closed, w)
			}
		}
		if !slices.Equal(closed, []int{0, 1, 2, 3}) {
			t.Errorf("partition %d: windows %v are closed, want 0 to 3", partition, closed)
		}
	}
}

// The SQL is bounded only if rows are given.
func TestSQL(t *testing.T) {
	for _, workload := range workloads("weir") {
		for _, rows := range []int64{0, 5} {
			var sql strings.Builder
			j := job{ID: "id", Workload: workload, Brokers: "127.0.0.1:9092", Format: "json", Source: "in", Sink: "out", Rows: rows, Window: window}
			if err := sqlTemplates.ExecuteTemplate(&sql, workload+".sql", j); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(sql.String(), "scan.bounded.mode") != (rows > 0) {
				t.Errorf("%d rows: %s", rows, sql.String())
			}
			t.Log(sql.String())
		}
	}
}
