package fleet

import (
	"math"
	"time"
)

// signal is the signal of a sensor: a level per device, a daily cycle, a slow drift of the zero
// point, noise and occasional spikes.
type signal struct {
	sensor   string
	unit     string  // UCUM
	mean     float64 // level over all devices
	spread   float64 // a device's level is within mean ± spread
	swing    float64 // amplitude of the daily cycle; negative: lowest in the afternoon
	noise    float64 // standard deviation
	drift    float64 // amplitude of the drift
	spike    float64 // size of a spike: 1 to 2 times this, up or down
	min, max float64 // physical range, which a spike may exceed
	scale    float64 // values are multiples of 1/scale
}

// signals lists the sensors of each device, in sending order.
var signals = [...]signal{
	{sensor: "temperature", unit: "Cel", mean: 18, spread: 4, swing: 6, noise: 0.3, drift: 0.8, spike: 25, min: -60, max: 80, scale: 100},
	{sensor: "humidity", unit: "%", mean: 55, spread: 10, swing: -14, noise: 1, drift: 2, spike: 40, min: 0, max: 100, scale: 100},
	{sensor: "pressure", unit: "hPa", mean: 1013, spread: 6, swing: 1.5, noise: 0.4, drift: 4, spike: 80, min: 870, max: 1085, scale: 100},
	{sensor: "light", unit: "lx", mean: 250, spread: 80, swing: 500, noise: 12, drift: 10, spike: 3000, min: 0, max: 100_000, scale: 100},
	{sensor: "battery", unit: "V", mean: 3.7, spread: 0.15, swing: 0.05, noise: 0.004, drift: 0.08, spike: 1.2, min: 0, max: 5, scale: 1000},
}

const sensors = int64(len(signals))

const (
	dayMillis   = int64(24 * time.Hour / time.Millisecond)
	driftMillis = 9 * dayMillis       // period of the drift
	peakMillis  = 15 * dayMillis / 24 // peak of the daily cycle: 15:00 plus the device's phase
	phaseMillis = 4 * dayMillis / 24  // range of the phases of devices, half of it in either direction
)

// level returns the signal at ts without noise and spikes. device and sensor are random numbers of
// the device and of its sensor; the sensors of a device share the daily phase.
func (s *signal) level(ts int64, device, sensor uint64, drift float64) float64 {
	phase := int64(device%uint64(phaseMillis)) - phaseMillis/2
	angle := float64((ts-peakMillis+phase)%dayMillis) * (2 * math.Pi / float64(dayMillis))
	own := s.mean + s.spread*(2*unit32(sensor)-1)
	return own + s.swing*math.Cos(angle) + s.drift*drift*triangle(ts+int64(sensor>>32))
}

// triangle is a triangle wave between -1 and 1 with the period of the drift.
func triangle(ts int64) float64 {
	at := ts % driftMillis
	if at < 0 {
		at += driftMillis
	}
	return 4*math.Abs(float64(at)/float64(driftMillis)-0.5) - 1
}

// bounded limits a value to the sensor's physical range.
func (s *signal) bounded(v float64) float64 { return min(max(v, s.min), s.max) }

// rounded rounds v to the sensor's resolution. It never returns -0.
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

// random returns the i-th random number of the stream with a key.
func random(key uint64, i int64) uint64 { return mix(key + uint64(i)*0x9e3779b97f4a7c15) }

// unit32 maps the low half of h to [0, 1).
func unit32(h uint64) float64 { return float64(uint32(h)) / (1 << 32) }

// normal maps h to a number of mean 0 and variance 1: a sum of four uniform numbers, which is close
// enough to a normal distribution and bounded by ±3.5.
func normal(h uint64) float64 {
	sum := h&0xffff + h>>16&0xffff + h>>32&0xffff + h>>48
	return (float64(sum)/0xffff - 2) * math.Sqrt(3)
}

// chance is a probability, scaled for comparison with a random 32-bit number.
type chance uint64

func chanceOf(p float64) chance { return chance(math.Round(p * (1 << 32))) }

// hits reports whether the low half of h is below the probability.
func (c chance) hits(h uint64) bool { return uint64(uint32(h)) < uint64(c) }
