// Package source turns the outside world into readings: a simulated fleet and files.
//
// A source here can be replayed: it tells the position after the last item that it gave, and from a
// position it goes on with exactly the item that would have come next. Whoever keeps the position
// in the same transaction as the readings therefore has neither gap nor repeat after a crash.
//
// The routes through the package:
//
//   - simulate.go drives a fleet; signal.go says what its sensors measure, outage.go when a device
//     is silent. All of it is a pure function of the slot number, so a position is little more than
//     that.
//   - file.go drives a file and makes readings of its rows; content.go decodes it, lines.go cuts
//     it, csv.go and ndjson.go make cells of it. sample.go looks at the first rows, by which
//     columns.go decides what the columns mean, number.go which sign decimals have and timestamp.go
//     how event times are read; all of them look again at each row. position.go is where a run
//     resumes, unused.go what is not sent, preview.go a dry run.
//
// A source belongs to one goroutine.
package source

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"weir.example/weir/reading"
)

// Item is what a source yields: a reading, or what could not become one.
type Item struct {
	reading.Reading

	// Repeat is above 0 if the device sent this reading again on purpose: its ordinal. Every field
	// of the reading is then the same as before.
	Repeat int

	// Raw and Err stand instead of a reading that the input does not make: the raw bytes, owned by
	// the receiver, and what is wrong with them (*RowError). The item belongs to the dead letters.
	Raw []byte
	Err error
}

// ErrPosition marks the error of a Seek to a position that does not fit the source: it was kept for
// another file or other settings. No retry helps.
var ErrPosition = errors.New("the kept position does not fit")

// settings are what a position depends on, by the name that a user knows.
type settings map[string]string

// changed names the first setting that differs between the position's settings and now, or returns
// "".
func (was settings) changed(now settings) string {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if was[name] != now[name] {
			return fmt.Sprintf("%s was %q and is now %q", name, was[name], now[name])
		}
	}
	return ""
}
