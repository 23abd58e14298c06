package main

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// start is the event time of the first reading, the start of a window.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// step is the difference in event time between readings: each device sends one per second.
const step = time.Second / devices

// device is the constant part of one device's readings. Reading i of all is number i/devices of
// device i%devices.
type device struct {
	id        string
	partition int32
	head      string // JSON up to the value
	boot      string
	unit      string // JSON after the value, up to ts
	tail      string // JSON after seq
}

// fleet returns the devices, in the partitions that every client's default partitioner chooses.
func fleet() []device {
	partitioner := kgo.StickyKeyPartitioner(nil).ForTopic("")
	all := make([]device, devices)
	for i := range all {
		id := fmt.Sprintf("device-%06d", i)
		boot := fmt.Sprintf("boot-%x", sha256.Sum256([]byte(id))) // makes a reading about 200 bytes
		all[i] = device{
			id:        id,
			partition: int32(partitioner.Partition(&kgo.Record{Key: []byte(id)}, partitions)), //nolint:gosec // below partitions
			head:      `{"device_id":"` + id + `","sensor":"temperature","value":`,
			unit:      `,"unit":"Cel","ts":"`,
			boot:      boot,
			tail:      `,"boot":"` + boot + `"}`,
		}
	}
	return all
}

// appendJSON appends reading i, of device d, at event time ts.
func (d *device) appendJSON(dst []byte, i int64, ts time.Time) []byte {
	dst = append(dst, d.head...)
	dst = strconv.AppendFloat(dst, value(i), 'f', -1, 64)
	dst = append(dst, d.unit...)
	dst = ts.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendInt(dst, i/devices, 10)
	return append(dst, d.tail...)
}

// value returns the value of reading i: 15.00 to 35.00, scattered evenly (the finalizer of
// SplitMix64).
func value(i int64) float64 {
	z := uint64(i) * 0x9e3779b97f4a7c15 //nolint:gosec // a hash
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(1500+z%2001) / 100
}

// passes is the filter in the SQL.
func passes(v float64) bool { return v > 25 }

// stats has the statistics of one device in one window.
type stats struct {
	readings        int64
	lowest, highest float64
	sum             float64
}

// expectation has the expected results of the workloads.
type expectation struct {
	rows      int64
	meanBytes float64
	passing   int64
	fleet     []device
	devices   map[string]int        // index in fleet
	windows   [][devices]stats      // by number of the window from start
	lastTime  [partitions]time.Time // the latest event time in each partition
}

func expect(rows int64) (*expectation, error) {
	e := &expectation{rows: rows, fleet: fleet(), devices: make(map[string]int, devices)}
	for i := range e.fleet {
		e.devices[e.fleet[i].id] = i
	}
	var line []byte
	var bytes int64
	for i := range rows {
		ts, v := start.Add(time.Duration(i)*step), value(i)
		d := &e.fleet[i%devices]
		line = d.appendJSON(line[:0], i, ts)
		bytes += int64(len(line))
		if passes(v) {
			e.passing++
		}
		w := int(ts.Sub(start) / window)
		if w == len(e.windows) {
			e.windows = append(e.windows, [devices]stats{})
		}
		e.windows[w][i%devices].add(v)
		e.lastTime[d.partition] = ts
	}
	e.meanBytes = float64(bytes) / float64(rows)
	for p, last := range e.lastTime {
		if last.IsZero() {
			return nil, fmt.Errorf("no device has its key in partition %d", p)
		}
	}
	return e, nil
}

func (s *stats) add(v float64) {
	if s.readings == 0 {
		s.lowest, s.highest = math.Inf(1), math.Inf(-1)
	}
	s.readings++
	s.lowest, s.highest, s.sum = min(s.lowest, v), max(s.highest, v), s.sum+v
}

// closed reports whether the readings of a partition have closed window w, without an end of input.
func (e *expectation) closed(w int, partition int32) bool {
	end := start.Add(time.Duration(w+1) * window)
	return !e.lastTime[partition].Before(end.Add(lateness))
}
