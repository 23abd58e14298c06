package fleet

import (
	"math"
	"time"
)

// signal is what one sensor measures: a level that differs from device to device, a daily cycle, a
// slow wander of the zero point, noise and, rarely, a spike.
type signal struct {
	sensor   string
	unit     string  // UCUM
	mean     float64 // level over all devices
	spread   float64 // a device's own level is within mean ± spread
	swing    float64 // amplitude of the daily cycle; negative: lowest in the afternoon
	noise    float64 // standard deviation
	drift    float64 // amplitude of the wander
	spike    float64 // a spike is 1 to 2 times this, up or down
	min, max float64 // physical range; a spike is a fault and may leave it
	scale    float64 // readings are whole multiples of 1/scale
}

// signals are the sensors of each device, in the order in which it sends them.
var signals = [...]signal{
	{sensor: "temperature", unit: "Cel", mean: 18, spread: 4, swing: 6, noise: 0.3, drift: 0.8, spike: 25, min: -60, max: 80, scale: 100},
	{sensor: "humidity", unit: "%", mean: 55, spread: 10, swing: -14, noise: 1, drift: 2, spike: 40, min: 0, max: 100, scale: 100},
	{sensor: "pressure", unit: "hPa", mean: 1013, spread: 6, swing: 1.5, noise: 0.4, drift: 4, spike: 80, min: 870, max: 1085, scale: 100},
	{sensor: "light", unit: "lx", mean: 250, spread: 80, swing: 500, noise: 12, drift: 10, spike: 3000, min: 0, max: 100_000, scale: 100},
	{sensor: "battery", unit: "V", mean: 3.7, spread: 0.15, swing: 0.05, noise: 0.004, drift: 0.08, spike: 1.2, min: 0, max: 5, scale: 1000},
}

const sensors = int64(len(signals))

const (
	dayMillis    = int64(24 * time.Hour / time.Millisecond)
	wanderMillis = 9 * dayMillis       // the zero point wanders up and down once in this time
	peakMillis   = 15 * dayMillis / 24 // the daily cycle is highest at 15:00, give or take the device's phase
	phaseMillis  = 4 * dayMillis / 24  // a device's day is shifted by up to half of this either way
)

// level is the signal without noise and spikes at ts. who is a random number that belongs to the
// sensor of the device, device one that belongs to the device: its sensors share their daily phase.
func (s *signal) level(ts int64, device, who uint64, drift float64) float64 {
	phase := int64(device%uint64(phaseMillis)) - phaseMillis/2
	angle := float64((ts-peakMillis+phase)%dayMillis) * (2 * math.Pi / float64(dayMillis))
	own := s.mean + s.spread*(2*unit32(who)-1)
	return own + s.swing*math.Cos(angle) + s.drift*drift*wander(ts+int64(who>>32))
}

// wander is a triangle wave between -1 and 1.
func wander(ts int64) float64 {
	at := ts % wanderMillis
	if at < 0 {
		at += wanderMillis
	}
	return 4*math.Abs(float64(at)/float64(wanderMillis)-0.5) - 1
}

// bounded keeps a value in the sensor's physical range.
func (s *signal) bounded(v float64) float64 { return min(max(v, s.min), s.max) }

// rounded is v at the sensor's resolution, never minus zero.
func (s *signal) rounded(v float64) float64 {
	r := math.Round(v*s.scale) / s.scale
	if r == 0 {
		return 0
	}
	return r
}

// mix scatters x over 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// random is the i-th random number of the stream that key names.
func random(key uint64, i int64) uint64 { return mix(key + uint64(i)*0x9e3779b97f4a7c15) }

// unit32 makes a number in [0, 1) of the low half of h.
func unit32(h uint64) float64 { return float64(uint32(h)) / (1 << 32) }

// normal makes a number of mean 0 and variance 1 of h: the sum of four uniform ones, which is close
// enough to a normal distribution and bounded at ±3.5.
func normal(h uint64) float64 {
	sum := h&0xffff + h>>16&0xffff + h>>32&0xffff + h>>48
	return (float64(sum)/0xffff - 2) * math.Sqrt(3)
}

// chance is a probability in the form that a random half word is compared with.
type chance uint64

func chanceOf(p float64) chance { return chance(math.Round(p * (1 << 32))) }

// hits says whether the low half of h falls under the probability.
func (c chance) hits(h uint64) bool { return uint64(uint32(h)) < uint64(c) }
