package console

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/reading"
)

// Bounds of the fleet: devices, their sensors, and the newest points of each sensor.
const (
	fleetBudget = 20_000 // readings read per second
	fleetBack   = 60_000 // readings before the end that are read at the start
	maxDevices  = 50_000
	maxSensors  = 32 // of a device
	maxPoints   = 48 // of a sensor
	maxDelays   = 1024
)

// A device is late after three of its usual intervals without a reading and silent after ten, but
// never before these times.
const (
	lateAfter   = 5 * time.Second
	silentAfter = 30 * time.Second
)

// fleet holds the devices that have sent readings, with their latest values.
type fleet struct {
	now     func() time.Time
	readers *readers

	mu        sync.Mutex
	decode    reading.Decoder
	devices   map[string]*device
	order     []*device // by id if sorted is set
	sorted    bool
	gap       float64   // usual interval over all devices, ms: for devices with a single reading
	untracked int64     // readings of devices above maxDevices
	unread    int64     // records that are not valid readings
	skipped   int64     // records skipped to stay within the budget
	observed  time.Time // all readings committed before this time have been read; zero: not yet
	jumped    time.Time // time of the last skip
	waits     []float64 // a ring of the latest delays from a record's timestamp until it is read here, ms
	next      int       // in waits
}

type device struct {
	id        string
	partition int32
	arrived   int64   // timestamp of its last record
	event     int64   // newest event time
	gap       float64 // usual interval of event times, ms; 0 if unknown
	sensors   []*sensor
}

type sensor struct {
	name, unit string
	at         []int64 // event times; a ring of maxPoints
	values     []float32
	next       int
	last       float64
}

func newFleet(now func() time.Time, r *readers) *fleet {
	return &fleet{now: now, readers: r, devices: make(map[string]*device), sorted: true}
}

// receive adds records that a follower has read; skipped is the number of records that it has
// skipped.
func (f *fleet) receive(records []*kgo.Record, skipped int64) {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if skipped > 0 {
		f.skipped += skipped
		f.jumped = now
	}
	var r reading.Reading
	for i, record := range records {
		if i%16 == 0 {
			f.waited(now.Sub(record.Timestamp))
		}
		if !f.read(record.Value, &r) {
			f.unread++
			continue
		}
		f.add(&r, record, now)
	}
}

// read decodes a reading from JSON or with a schema of the registry.
func (f *fleet) read(value []byte, into *reading.Reading) bool {
	return f.decode.Decode(value, into) == nil || f.readers.reading(value, into)
}

func (f *fleet) add(r *reading.Reading, record *kgo.Record, now time.Time) {
	d := f.find(r.DeviceID)
	if d == nil {
		f.untracked++
		return
	}
	d.partition = record.Partition
	d.arrived = max(d.arrived, min(record.Timestamp.UnixMilli(), now.UnixMilli()))
	if r.TS > d.event {
		if d.event > 0 {
			d.gap = average(d.gap, float64(r.TS-d.event))
			f.gap = 0.99*f.gap + 0.01*d.gap
		}
		d.event = r.TS
	}
	if s := d.sensor(r); s != nil {
		s.add(r.TS, r.Value)
	}
}

// find returns a device, creating it if necessary; nil if there are too many. f.mu must be held.
func (f *fleet) find(id string) *device {
	d := f.devices[id]
	if d == nil && len(f.devices) < maxDevices {
		d = &device{id: strings.Clone(id)}
		f.devices[d.id] = d
		f.order = append(f.order, d)
		f.sorted = false
	}
	return d
}

// average returns an exponential moving average.
func average(before, now float64) float64 {
	if before == 0 {
		return now
	}
	return 0.8*before + 0.2*now
}

// place returns the index of a sensor, or where to insert it.
func (d *device) place(name string) (int, bool) {
	return slices.BinarySearchFunc(d.sensors, name, func(s *sensor, name string) int { return strings.Compare(s.name, name) })
}

// sensor returns the sensor of a reading, creating it if necessary; nil if the device has too many.
func (d *device) sensor(r *reading.Reading) *sensor {
	i, ok := d.place(r.Sensor)
	if ok {
		if s := d.sensors[i]; s.unit == "" {
			s.unit = r.Unit // statistics have no units
		}
		return d.sensors[i]
	}
	if len(d.sensors) >= maxSensors {
		return nil
	}
	s := &sensor{name: r.Sensor, unit: r.Unit} // the decoder interns both
	d.sensors = slices.Insert(d.sensors, i, s)
	return s
}

func (s *sensor) add(at int64, value float64) {
	s.last = value
	if len(s.at) < maxPoints {
		s.at, s.values = append(s.at, at), append(s.values, float32(value))
		return
	}
	s.at[s.next], s.values[s.next] = at, float32(value)
	s.next = (s.next + 1) % maxPoints
}

// points calls fn with the last n points, oldest first.
func (s *sensor) points(n int, fn func(at int64, value float32)) {
	n = min(n, len(s.at))
	for i := range n {
		j := (s.next + len(s.at) - n + i) % len(s.at)
		fn(s.at[j], s.values[j])
	}
}

// reached records that all readings committed before a time have been read.
func (f *fleet) reached(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observed = at
}

// reachInterval is how often the follower of the readings calls reached.
const reachInterval = 3 * time.Second

// until returns the time, in milliseconds since 1970, up to which all readings are known: while the
// follower lags or the broker is down, it is unknown whether devices have been silent since. f.mu
// must be held.
func (f *fleet) until(now time.Time) int64 {
	if now.Sub(f.observed) <= reachInterval {
		return now.UnixMilli()
	}
	if !f.observed.IsZero() {
		return f.observed.UnixMilli()
	}
	var newest int64 // nothing is known about silence yet
	for _, d := range f.order {
		newest = max(newest, d.arrived)
	}
	return newest
}

// recall adds the last value of a sensor from the statistics, for readings older than those that
// the console reads.
func (f *fleet) recall(id, name string, partition int32, last float64, at int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at = min(at, f.now().UnixMilli())
	d := f.find(id)
	if d == nil {
		return
	}
	if d.arrived == 0 {
		d.partition = partition
	}
	d.arrived, d.event = max(d.arrived, at), max(d.event, at)
	if s := d.sensor(&reading.Reading{Sensor: strings.Clone(name)}); s != nil && len(s.at) == 0 {
		s.last = last
	}
}

// status returns a device's status at a time. f.mu must be held.
func (f *fleet) status(d *device, now int64) api.DeviceStatus {
	gap := d.gap
	if gap == 0 {
		gap = f.gap
	}
	idle := float64(now - d.arrived)
	switch {
	case idle > max(10*gap, float64(silentAfter.Milliseconds())):
		return api.Silent
	case idle > max(3*gap, float64(lateAfter.Milliseconds())):
		return api.Late
	}
	return api.Online
}

// byID returns the devices ordered by id. f.mu must be held.
func (f *fleet) byID() []*device {
	if !f.sorted {
		slices.SortFunc(f.order, func(a, b *device) int { return strings.Compare(a.id, b.id) })
		f.sorted = true
	}
	return f.order
}

func (f *fleet) counts() api.DeviceCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := api.DeviceCounts{Total: len(f.order), Untracked: f.untracked, Unread: f.unread}
	now := f.now()
	until := f.until(now)
	c.Sampled = now.Sub(f.jumped) < 10*time.Second
	if until < now.Add(-reachInterval).UnixMilli() {
		c.Until = until
	}
	for _, d := range f.order {
		c.Count(f.status(d, until))
	}
	return c
}

func (f *fleet) waited(d time.Duration) {
	if d < 0 || d > time.Minute {
		return // an old record or clock skew
	}
	if len(f.waits) < maxDelays {
		f.waits = append(f.waits, milliseconds(d))
		return
	}
	f.waits[f.next] = milliseconds(d)
	f.next = (f.next + 1) % maxDelays
}

// delays returns the median and 99th percentile of the time from a record's timestamp until it is
// read here, in milliseconds.
func (f *fleet) delays() (p50, p99 float64) {
	f.mu.Lock()
	sorted := slices.Clone(f.waits)
	f.mu.Unlock()
	if len(sorted) == 0 {
		return 0, 0
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100]
}
