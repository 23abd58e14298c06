package operator

import (
	"slices"
	"time"
)

// A task whose windows are over PROCTIME() has a clock: the time of its transactions, except that
// it never goes back, whatever the clock of the machine does or which machine takes over. The state
// keeps it, so that a window that has been emitted stays closed. It is set at the beginning of a
// transaction, before any of its rows, and all rows of the transaction are in the windows of that
// time.

// clocked is an operator whose windows close by the clock of the task.
type clocked interface {
	// tick emits the windows that are over at the task's clock.
	tick()
	// overAt reports whether a clock would close windows.
	overAt(clock int64) bool
}

// clockKey is the watermark entry that stores the clock of a task.
var clockKey = []byte("clock")

// restoreClock reads the clock from the state, before the operators do.
func (t *Task) restoreClock() {
	t.clock, t.savedClock = minWatermark, minWatermark
	if v, ok := t.store.Get(watermarkEntry, 0, clockKey); ok {
		t.clock = (&reader{b: v}).int64()
		t.savedClock = t.clock
	}
}

// setClock moves the clock on, and emits the windows that are over.
func (t *Task) setClock(to int64) {
	if len(t.clocked) == 0 || to <= t.clock {
		return
	}
	t.clock = to
	for _, n := range t.clocked {
		n.tick()
	}
}

// saveClock stores the clock in the state.
func (t *Task) saveClock() {
	if len(t.clocked) > 0 && t.clock != t.savedClock {
		t.store.Put(watermarkEntry, 0, clockKey, appendInt(nil, t.clock))
		t.savedClock = t.clock
	}
}

// past returns the last millisecond that is over at a clock: the watermark of windows over
// PROCTIME().
func past(clock int64) int64 {
	if clock == minWatermark {
		return minWatermark
	}
	return floorTo(clock, millisecond, 0) - millisecond
}

// WindowsDue reports whether a transaction at this time would emit windows over PROCTIME() without
// a record. Windows that did not fit into one transaction are Pending instead.
func (t *Task) WindowsDue(now time.Time) bool {
	clock := max(t.clock, now.UnixMicro())
	return slices.ContainsFunc(t.clocked, func(n clocked) bool { return n.overAt(clock) })
}

// Tick emits the windows over PROCTIME() that are over.
func (t *Task) Tick(now time.Time, out *Output) error {
	t.begin(now, out)
	return t.err
}
