// Package fleet simulates a fleet of devices as a replayable source of readings.
//
//	simulate.go  Config, Fleet: slots, positions and the readings of a slot
//	signal.go    what the sensors measure
//	outage.go    when a device is silent, and its boot ids
//
// Everything is a pure function of the slot number and the settings, so a position is little more
// than a slot number.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// Config configures a simulated fleet. Equal settings produce equal readings.
type Config struct {
	Name    string  // of the source, at most 100 bytes; default "fleet-s" and the seed
	Seed    uint64  // of the random numbers; 0 is a seed like any other
	Devices int     // default 100, with five sensors each
	Prefix  string  // of device ids, followed by a number; default "device-"
	Rate    float64 // readings per second of the whole fleet, which spaces event times; default 0: use Interval
	Count   int64   // total number of items, repeats included; default 0: unlimited

	Start    time.Time        // event time of the first reading; default: a live fleet, whose event times follow the clock
	Now      func() time.Time // the clock; default time.Now
	Interval time.Duration    // between two readings of a sensor if Rate is 0; default 1 s

	Outages    float64 // probability that a device goes silent within a window of 256 ticks, and then reboots
	Spikes     float64 // probability of an outlier
	OutOfOrder float64 // probability of an event time up to maxDelay in the past
	Repeats    float64 // probability that a device sends a reading twice
	Noise      float64 // factor on the sensors' noise
	Drift      float64 // factor on the sensors' slow drift
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "fleet-s" + strconv.FormatUint(c.Seed, 10)
	}
	if c.Devices == 0 {
		c.Devices = 100
	}
	if c.Prefix == "" {
		c.Prefix = "device-"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	return c
}

// Validate returns an error for the first invalid setting. 0 stands for a default.
func (c Config) Validate() error {
	if c.Devices < 0 || c.Devices > 10_000_000 {
		return fmt.Errorf("invalid number of devices %d: choose 1 to 10,000,000", c.Devices)
	}
	if !(c.Rate >= 0) || c.Count < 0 || c.Interval < 0 || !(c.Noise >= 0) || !(c.Drift >= 0) {
		return errors.New("rate, count, interval, noise and drift must not be negative")
	}
	if len(c.Name) > 100 {
		return fmt.Errorf("the source's name has %d bytes, the maximum is 100", len(c.Name))
	}
	if len(c.Prefix) > reading.MaxName/2 {
		return fmt.Errorf("the device prefix has %d bytes, the maximum is %d", len(c.Prefix), reading.MaxName/2)
	}
	for _, p := range []struct {
		name  string
		value float64
	}{{"outages", c.Outages}, {"spikes", c.Spikes}, {"out-of-order", c.OutOfOrder}, {"repeats", c.Repeats}} {
		if !(p.value >= 0 && p.value <= 1) {
			return fmt.Errorf("%s must be a share from 0 to 1, got %v", p.name, p.value)
		}
	}
	return nil
}

// Fleet is a simulated fleet of devices.
//
// Time advances in ticks. In each tick, every device that is not silent sends one reading of each
// sensor. Slots are numbered consecutively: slot = (tick·devices + device)·sensors + sensor. The
// reading of a slot is a pure function of its number and the settings, so a position consists of a
// slot number and the event time of tick 0.
type Fleet struct {
	cfg     Config
	keys    fleetKeys
	outages *outages
	devices []string
	tick    float64 // milliseconds of event time between ticks

	slot    int64        // the next slot
	echo    bool         // the slot's reading was returned, and a repeat follows
	emitted atomic.Int64 // items of all runs; Progress reads it concurrently
	base    int64        // event time of tick 0 in milliseconds
	first   int64        // live only: the first slot of this run; slots before it are not repeated
}

// fleetKeys are the keys of the random number streams, one per purpose.
type fleetKeys struct{ device, sensor, noise, spike, late, repeat uint64 }

const (
	repeatLag = 2             // ticks between a reading and its repeat
	maxDelay  = int64(10_000) // of an out-of-order event time, in milliseconds
)

// New returns a fleet, or the error of Validate.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	// Boot ids distinguish fleets that share a topic, by name or else by seed.
	boots := cfg.Name + "-"
	if cfg.Name == "" {
		boots = "s" + strconv.FormatUint(cfg.Seed, 10) + "-"
	}
	cfg = cfg.withDefaults()
	key := mix(cfg.Seed + 0x9e3779b97f4a7c15)
	f := &Fleet{
		cfg: cfg,
		keys: fleetKeys{
			device: random(key, 1), sensor: random(key, 2), noise: random(key, 3),
			spike: random(key, 4), late: random(key, 5), repeat: random(key, 6),
		},
		outages: newOutages(cfg.Seed, cfg.Outages, cfg.Devices, boots),
		devices: make([]string, cfg.Devices),
		tick:    float64(cfg.Interval) / float64(time.Millisecond),
	}
	for i := range f.devices {
		f.devices[i] = fmt.Sprintf("%s%04d", cfg.Prefix, i+1)
	}
	if cfg.Rate > 0 {
		f.tick = 1000 * float64(int64(cfg.Devices)*sensors) / cfg.Rate
	}
	f.base = cfg.Start.UnixMilli()
	if f.live() {
		f.base = cfg.Now().UnixMilli()
	}
	return f, nil
}

func (f *Fleet) live() bool { return f.cfg.Start.IsZero() }

// Name implements the producer's Source.
func (f *Fleet) Name() string { return f.cfg.Name }

// Progress implements the producer's Source. Its unit is readings.
func (f *Fleet) Progress() (done, total int64) {
	if f.cfg.Count == 0 {
		return f.emitted.Load(), -1
	}
	return f.emitted.Load(), f.cfg.Count
}

// fleetPosition is the position of a fleet.
type fleetPosition struct {
	Slot     int64           `json:"slot"`
	Echo     bool            `json:"echo,omitempty"`
	Emitted  int64           `json:"emitted"`
	Base     int64           `json:"base_ms"`
	Settings source.Settings `json:"settings"`
}

// settings returns the settings that determine the identity of readings. Others may change between
// runs; with other devices or another seed, sequence numbers would collide.
func (f *Fleet) settings() source.Settings {
	return source.Settings{
		"seed":    strconv.FormatUint(f.cfg.Seed, 10),
		"devices": strconv.Itoa(f.cfg.Devices),
		"prefix":  f.cfg.Prefix,
		"outages": strconv.FormatFloat(f.cfg.Outages, 'g', -1, 64),
		"repeats": strconv.FormatFloat(f.cfg.Repeats, 'g', -1, 64),
	}
}

// Position implements the producer's Source.
func (f *Fleet) Position() []byte {
	p, err := json.Marshal(fleetPosition{Slot: f.slot, Echo: f.echo, Emitted: f.emitted.Load(), Base: f.base, Settings: f.settings()})
	if err != nil { // numbers and strings always marshal
		panic(err)
	}
	return p
}

var positionForm = source.PositionForm{
	Of: "a simulated fleet", Members: []string{"slot", "emitted", "base_ms", "settings"}, Otherwise: "another seed simulates another fleet, from its beginning",
}

// maxSlot bounds the slots of positions: event times are computed from them as float64.
const maxSlot = 1 << 53

// Seek implements the producer's Source. A live fleet continues at the current time, without event
// times from its downtime.
func (f *Fleet) Seek(position []byte) error {
	var p fleetPosition
	if err := positionForm.Decode(position, &p, func() bool { return p.Slot >= 0 && p.Slot <= maxSlot && p.Emitted >= 0 }); err != nil {
		return err
	}
	if change := p.Settings.Changed(f.settings()); change != "" {
		return fmt.Errorf("%w: %s: keep the settings, or choose another seed for another fleet", source.ErrPosition, change)
	}
	f.slot, f.echo, f.base = p.Slot, p.Echo, p.Base
	f.emitted.Store(p.Emitted)
	if f.live() {
		f.base = f.cfg.Now().UnixMilli() - int64(float64(f.slot/f.perTick())*f.tick)
		if f.echo { // the repeated reading is from before the downtime
			f.echo = false
			f.slot++
		}
		f.first = f.slot
	}
	return nil
}

func (f *Fleet) perTick() int64 { return int64(f.cfg.Devices) * sensors }

// Next implements the producer's Source.
func (f *Fleet) Next(dst []source.Item) (n int, err error) {
	if f.cfg.Count > 0 {
		left := f.cfg.Count - f.emitted.Load()
		if left <= 0 {
			return 0, io.EOF
		}
		dst = dst[:min(int64(len(dst)), left)]
	}
	for n < len(dst) {
		if f.step(&dst[n]) {
			n++
		}
	}
	f.emitted.Add(int64(n))
	return n, nil
}

// step advances by one reading or repeat, and reports whether it set it.
func (f *Fleet) step(it *source.Item) bool {
	if !f.echo {
		ok := f.at(f.slot, it)
		it.Repeat = 0
		if f.repeats() {
			f.echo = true
		} else {
			f.slot++
		}
		return ok
	}
	f.echo = false
	earlier := f.slot - repeatLag*f.perTick()
	f.slot++
	if !f.at(earlier, it) {
		return false
	}
	it.Repeat = 1
	return true
}

// repeats reports whether a repeat of an earlier reading follows the slot's reading.
func (f *Fleet) repeats() bool {
	if f.cfg.Repeats == 0 {
		return false
	}
	earlier := f.slot - repeatLag*f.perTick()
	return earlier >= f.first && chanceOf(f.cfg.Repeats).hits(random(f.keys.repeat, earlier))
}

// at sets it to the reading of a slot. It returns false if the device is silent.
func (f *Fleet) at(slot int64, it *source.Item) bool {
	sensor := slot % sensors
	row := slot / sensors
	device, tick := row%int64(f.cfg.Devices), row/int64(f.cfg.Devices)
	spell := f.outages.at(device, tick)
	if spell.silent {
		return false
	}
	s := &signals[sensor]
	ts := f.base + int64(float64(tick)*f.tick)
	it.Reading = reading.Reading{
		DeviceID: f.devices[device], Sensor: s.sensor, Unit: s.unit,
		Value: f.value(s, slot, ts, device, sensor),
		TS:    f.displaced(slot, ts),
		Seq:   (tick-spell.booted)*sensors + sensor,
		Boot:  spell.boot,
	}
	it.Raw, it.Err = nil, nil
	return true
}

func (f *Fleet) value(s *signal, slot, ts, device, sensor int64) float64 {
	v := s.level(ts, random(f.keys.device, device), random(f.keys.sensor, device*sensors+sensor), f.cfg.Drift)
	if f.cfg.Noise > 0 {
		v += f.cfg.Noise * s.noise * normal(random(f.keys.noise, slot))
	}
	v = s.bounded(v)
	if h := random(f.keys.spike, slot); chanceOf(f.cfg.Spikes).hits(h) {
		size := s.spike * (1 + unit32(h>>32))
		if h>>63 == 0 {
			size = -size
		}
		v += size
	}
	return s.rounded(v)
}

// displaced returns ts, or an earlier event time for out-of-order readings.
func (f *Fleet) displaced(slot, ts int64) int64 {
	if f.cfg.OutOfOrder == 0 {
		return ts
	}
	h := random(f.keys.late, slot)
	if !chanceOf(f.cfg.OutOfOrder).hits(h) {
		return ts
	}
	return ts - 1 - int64(h>>32)%maxDelay
}
