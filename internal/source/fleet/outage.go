package fleet

import (
	"math"
	"strconv"
)

// A device's time is divided into windows of outageWindow ticks. With the configured probability,
// the device is silent once within a window: from a tick in the first half, for shortestOutage
// ticks up to half a window, so that an outage ends in the window in which it began. The device
// reboots when the outage ends.
const (
	outageWindow   = 256
	shortestOutage = 16
)

// outages determines when devices are silent. It is a pure function of key and chance; current
// caches the spell of each device, so that the past is not searched for each reading.
type outages struct {
	key     uint64
	chance  chance
	prefix  string // of boot ids
	current []spell
}

// spell is a range of ticks [first, end) in which a device is silent or has one boot id.
type spell struct {
	first, end int64
	silent     bool
	booted     int64  // the tick at which the device booted
	boot       string // the boot id
}

func newOutages(seed uint64, p float64, devices int, prefix string) *outages {
	o := &outages{
		key:     mix(seed ^ 0x6f7574616765),
		chance:  chanceOf(p),
		prefix:  prefix,
		current: make([]spell, devices),
	}
	if o.chance == 0 {
		boot := o.boot(0)
		for i := range o.current {
			o.current[i] = spell{end: math.MaxInt64, boot: boot}
		}
	}
	return o
}

// at returns the spell of a device at a tick.
func (o *outages) at(device, tick int64) *spell {
	s := &o.current[device]
	if tick < s.first || tick >= s.end {
		*s = o.find(device, tick, *s)
	}
	return s
}

// find computes the spell at a tick; before is any other spell of the device.
func (o *outages) find(device, tick int64, before spell) spell {
	window := tick / outageWindow
	first, end := window*outageWindow, (window+1)*outageWindow
	if from, until, ok := o.outage(device, window); ok {
		switch {
		case tick >= until:
			return spell{first: until, end: end, booted: until, boot: o.boot(window + 1)}
		case tick >= from:
			return spell{first: from, end: until, silent: true}
		}
		end = from
	}
	if before.end == first && before.boot != "" { // no outage between the two spells
		return spell{first: first, end: end, booted: before.booted, boot: before.boot}
	}
	for window--; window >= 0; window-- {
		if _, until, ok := o.outage(device, window); ok {
			return spell{first: first, end: end, booted: until, boot: o.boot(window + 1)}
		}
	}
	return spell{first: first, end: end, boot: o.boot(0)}
}

// outage returns the ticks [from, until) of a window in which a device is silent, if any.
func (o *outages) outage(device, window int64) (from, until int64, ok bool) {
	h := random(random(o.key, device), window)
	if !o.chance.hits(h) {
		return 0, 0, false
	}
	const half = outageWindow / 2
	from = window*outageWindow + int64(h>>32%half)
	return from, from + shortestOutage + int64(h>>48%(half-shortestOutage+1)), true
}

// boot returns a boot id: n is 0 for the first boot, otherwise 1 + the window of the preceding
// outage.
func (o *outages) boot(n int64) string { return o.prefix + strconv.FormatInt(n, 10) }
