package spool

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"weir.example/weir/reading"
)

// Count is a device's own number of a message. It has nothing to do with the spool's numbers: it
// tells what the device has sent, and is missing, and what it has sent again.
type Count struct {
	Device string
	Boot   string // tells the runs of the counter apart; "" if the device does not say
	Seq    int64  // from 0

	// At is a time in milliseconds that later messages exceed, if the counter may begin again
	// although the boot stays the same; 0 if it does not.
	At int64

	From, To int // the readings of the entry that it is about
}

// Devices is what the devices' own numbers say.
type Devices struct {
	Missing  int64 `json:"missing"`  // numbers that were skipped and have not come since
	Repeated int64 `json:"repeated"` // messages whose numbers were known, so that nothing was stored; of this process
	Restarts int64 `json:"restarts"` // counters that began again without a new boot; of this process

	Uncounted int64 `json:"uncounted"` // messages whose numbers were ignored because there are too many counters; of this process
}

// Limits of what is known about a counter.
const (
	maxRuns = 4         // boots, so that what an earlier one sent can still be recognized
	maxGaps = 64        // of a run
	maxJump = 1_000_000 // more missing numbers at once mean another counter
)

// counter is what is known about a device's numbers.
type counter struct {
	runs    []run // the latest last
	missing int64
}

// run is the numbers of one boot: all from low to high but those in gaps have come.
type run struct {
	boot      string
	low, high int64
	at        int64 // the latest Count.At
	cut       bool  // numbers below low may have come
	gaps      []gap // in order
}

type gap struct{ from, to int64 }

// skipped is a range of numbers of a device that have not come.
type skipped struct {
	device, boot string
	gap
}

// verdict is what a number says about its message.
type verdict int

const (
	fresh    verdict = iota
	known            // the message came before
	restart          // the counter began again
	skipping         // numbers before it are missing
)

// take adds a number, unless it is known. Without a boot, no number is ever known: the device may
// have begun again.
func (c *counter) take(n *Count) verdict {
	i := slices.IndexFunc(c.runs, func(r run) bool { return r.boot == n.Boot })
	if i < 0 {
		c.begin(n)
		return fresh
	}
	r := &c.runs[i]
	switch v := c.place(r, n); v {
	case known:
		if n.Boot == "" && n.Seq == r.high {
			return fresh
		}
		if n.Boot != "" && n.At <= r.at {
			return known
		}
		c.runs = slices.Delete(c.runs, i, i+1)
		c.begin(n)
		return restart
	case restart:
		c.runs = slices.Delete(c.runs, i, i+1)
		c.begin(n)
		return v
	default:
		r.at = max(r.at, n.At)
		return v
	}
}

// begin begins a run.
func (c *counter) begin(n *Count) {
	if len(c.runs) == maxRuns {
		c.runs = slices.Delete(c.runs, 0, 1)
	}
	c.runs = append(c.runs, run{boot: n.Boot, low: n.Seq, high: n.Seq, at: n.At})
}

// place adds a number to a run.
func (c *counter) place(r *run, n *Count) verdict {
	seq := n.Seq
	switch {
	case seq > r.high && seq-r.high > maxJump, seq < r.low && n.Boot == "":
		return restart
	case seq == r.high+1:
		r.high = seq
		return fresh
	case seq > r.high:
		c.open(r, len(r.gaps), gap{r.high + 1, seq - 1})
		r.high = seq
		return skipping
	case seq < r.low && (r.cut || r.low-seq > maxJump):
		return fresh // it may have come before
	case seq < r.low:
		if seq+1 < r.low {
			c.open(r, 0, gap{seq + 1, r.low - 1})
		}
		r.low = min(r.low, seq)
		return fresh
	}
	for i := range r.gaps {
		g := r.gaps[i]
		if seq < g.from || seq > g.to {
			continue
		}
		c.missing--
		var parts []gap
		if g.from < seq {
			parts = append(parts, gap{g.from, seq - 1})
		}
		if seq < g.to {
			parts = append(parts, gap{seq + 1, g.to})
		}
		r.gaps = slices.Replace(r.gaps, i, i+1, parts...)
		r.limit()
		return fresh
	}
	return known
}

// open adds a gap.
func (c *counter) open(r *run, i int, g gap) {
	c.missing += g.to - g.from + 1
	r.gaps = slices.Insert(r.gaps, i, g)
	r.limit()
}

// limit gives up the oldest gap if there are too many: its numbers stay missing.
func (r *run) limit() {
	for len(r.gaps) > maxGaps {
		r.low, r.cut = r.gaps[0].to+1, true
		r.gaps = slices.Delete(r.gaps, 0, 1)
	}
}

func (c *counter) clone() *counter {
	if c == nil {
		return &counter{}
	}
	copied := &counter{runs: slices.Clone(c.runs), missing: c.missing}
	for i := range copied.runs {
		copied.runs[i].gaps = slices.Clone(copied.runs[i].gaps)
	}
	return copied
}

func (c *counter) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(c.missing))
	b = binary.AppendUvarint(b, uint64(len(c.runs)))
	for _, r := range c.runs {
		b = appendText(b, r.boot)
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(r.low)), uint64(r.high))
		b = binary.AppendVarint(b, r.at)
		cut := byte(0)
		if r.cut {
			cut = 1
		}
		b = binary.AppendUvarint(append(b, cut), uint64(len(r.gaps)))
		for _, g := range r.gaps {
			b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(g.from)), uint64(g.to))
		}
	}
	return b
}

func (d *decoder) counter() *counter {
	c := &counter{missing: d.count()}
	for n := d.count(); n > 0 && !d.failed; n-- {
		r := run{boot: d.text(), low: d.count(), high: d.count(), at: d.varint(), cut: d.byte() == 1}
		for gaps := d.count(); gaps > 0 && !d.failed; gaps-- {
			r.gaps = append(r.gaps, gap{d.count(), d.count()})
		}
		c.runs = append(c.runs, r)
	}
	return c
}

// dropRepeats determines the readings of an entry whose devices' own numbers are not known. The
// numbers count once apply is called.
func (w *writer) dropRepeats(a *appended, numbers *numbering) (apply func()) {
	e := a.entry
	a.readings, a.counts, a.repeated = e.Readings, e.Counts, false
	if len(e.Counts) == 0 {
		return func() {}
	}
	touched := make(map[string]*counter)
	var change Devices
	var gaps []skipped
	var kept []reading.Reading
	var counts []Count
	at := 0
	for i := range e.Counts {
		n := &e.Counts[i]
		c := touched[n.Device]
		if c == nil {
			c = numbers.counters[n.Device]
			if c == nil {
				c = w.counters[n.Device]
			}
			c = c.clone()
			touched[n.Device] = c
		}
		before := c.missing
		kept = append(kept, e.Readings[at:n.From]...)
		at = n.To
		v := c.take(n)
		change.Missing += c.missing - before
		switch v {
		case known:
			change.Repeated++
			continue
		case restart:
			change.Restarts++
		case skipping:
			gaps = append(gaps, skipped{n.Device, n.Boot, gap{n.Seq - (c.missing - before), n.Seq - 1}})
		}
		kept = append(kept, e.Readings[n.From:n.To]...)
		counts = append(counts, *n)
	}
	kept = append(kept, e.Readings[at:]...)
	added := 0
	for device := range touched {
		if w.counters[device] == nil && numbers.counters[device] == nil {
			added++
		}
	}
	if added > 0 && len(w.counters)+len(numbers.counters)+added > w.s.cfg.MaxDevices {
		a.counts = nil
		return func() { numbers.devices.Uncounted++ }
	}
	a.readings, a.counts = kept, counts
	a.repeated = len(counts) == 0 && len(kept) == 0
	return func() {
		maps.Copy(numbers.counters, touched)
		numbers.devices.Missing += change.Missing
		numbers.devices.Repeated += change.Repeated
		numbers.devices.Restarts += change.Restarts
		numbers.skipped = append(numbers.skipped, gaps...)
	}
}

// keep takes over the counters of a batch that is durable, and reports what is missing.
func (w *writer) keep(numbers *numbering) {
	maps.Copy(w.counters, numbers.counters)
	w.s.mu.Lock()
	w.s.devices.Missing += numbers.devices.Missing
	w.s.devices.Repeated += numbers.devices.Repeated
	w.s.devices.Restarts += numbers.devices.Restarts
	first := w.s.devices.Uncounted == 0 && numbers.devices.Uncounted > 0
	w.s.devices.Uncounted += numbers.devices.Uncounted
	missing := w.s.devices.Missing
	w.s.mu.Unlock()
	if first {
		w.s.cfg.Logger.Error("there are too many counters of devices: repeats and losses of further ones are not noticed", "counters", len(w.counters))
	}
	if now := w.s.cfg.now(); len(numbers.skipped) > 0 && now.Sub(w.logged) >= time.Second {
		w.logged = now
		g := numbers.skipped[0]
		w.s.cfg.Logger.Warn("numbers of a device are missing: what it sent was lost before it arrived here",
			"device", g.device, "boot", g.boot, "from", g.from, "to", g.to, "of_all_devices", missing)
	}
}
