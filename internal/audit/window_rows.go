package audit

import (
	"math"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// windows compares the results of a windowed pipeline with a recomputation from the readings (C5),
// and its input with its output (C4).
//
// A result doesn't contain the offset up to which it counts, and a row that the group's offsets
// don't cover yet may be counted, late or not processed. It can be checked nevertheless, because a
// key's rows are on one partition and a window closes once: all rows that it counts precede all
// late ones. So a result of n rows must contain exactly the first n rows that are not in the late
// topic. Further rows are a fault only below C0 (see the package comment), where every outcome is
// final and visible.
//
// A window may lack a result while it is open, that is, while its end is after the watermark of the
// rows of its partition below C0: their maximum event time less the delay. The results themselves
// are not used for this: otherwise, the loss of the newest ones would look like open windows.
type windows struct {
	cfg    WindowConfig
	report *Report
	sum    *WindowReport
	topic  string // of the readings
	size   int64  // milliseconds
	delay  int64

	committed map[int32]int64 // C0 of the pipeline's group; nil if it has none
	truncated map[int32]bool  // partitions of the readings whose beginning has been deleted
	hidden    bool            // a part of the results can't be read
	columns   uint8           // required in results

	all               map[windowKey]*window
	clocks            map[int32]*clock
	late, deadLetters *deadLetters
}

type windowKey struct {
	device, sensor string
	start          int64 // milliseconds since the Unix epoch
}

// window is one window of one key: its result and the recomputation from its rows.
type window struct {
	found     windowResult
	own       running // of the first rows, as many as the result counts; of all rows without a result
	ahead     int64   // how many of these C0 doesn't cover
	more      int64   // later rows that C0 covers
	partition int32   // of the rows; -1 before the first
	last      int64   // offset of the last row of own
	spread    bool    // its rows are on more than one partition
	wrong     bool    // already counted
}

// clock is the event time of one input partition.
type clock struct {
	largest   int64    // maximum event time so far
	processed int64    // likewise, of the records that C0 covers
	passed    []passed // one entry for each time the watermark passed ends of windows
}

// passed means that from the record at offset on, the watermark is at or past the end of window
// number-1.
type passed struct{ number, offset int64 }

func newWindows(report *Report, c WindowConfig, topic string, committed map[int32]int64) *windows {
	report.Windows = &WindowReport{}
	return &windows{
		cfg: c, report: report, sum: report.Windows, topic: topic, committed: committed,
		size: c.Size.Milliseconds(), delay: c.Delay.Milliseconds(),
		all: make(map[windowKey]*window), clocks: make(map[int32]*clock),
	}
}

func (w *windows) of(k windowKey) *window {
	x := w.all[k]
	if x == nil {
		x = &window{partition: -1}
		w.all[k] = x
	}
	return x
}

// mismatch counts a window once, for the first error found.
func (w *windows) mismatch(k windowKey, x *window, format string, args ...any) {
	if x.wrong {
		return
	}
	x.wrong = true
	w.sum.Mismatch++
	w.report.find("C5", "wrong window", "device %q sensor %q from %s: "+format,
		append([]any{k.device, k.sensor, clockTime(k.start)}, args...)...)
}

func clockTime(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// demanded reports whether a record must have been processed and its outcome be visible.
func (w *windows) demanded(r *kgo.Record) bool {
	return w.cfg.Bounded || r.Offset < w.committed[r.Partition]
}

// rowFields are the fields that a record needs to be counted in a window.
const rowFields = hasDevice | hasSensor | hasValue | hasTS

// record processes one record of the readings. good has the valid fields of s; valid reports
// whether all of them are.
//
// The pipeline may treat a record that breaks the contract of the readings, but has all fields that
// a window needs, as a row or as undecodable: its dead letter decides.
func (w *windows) record(r *kgo.Record, s *sample, good int, valid bool) {
	demanded := w.demanded(r)
	if demanded {
		w.sum.Rows++
	}
	row := good&rowFields == rowFields
	switch {
	case !valid && w.deadLetters.match(r):
		if !demanded {
			w.sum.Ahead++
		}
	case row:
		w.row(r, s, demanded)
	case !demanded:
	case w.deadLetters.name == "":
		w.sum.Undecodable++
	default:
		w.deadLetters.missing(r)
	}
}

func (w *windows) row(r *kgo.Record, s *sample, demanded bool) {
	k := windowKey{s.device, s.sensor, floor(s.ts, w.size) * w.size}
	if w.cfg.Columns.Sensor == "" {
		k.sensor = ""
	}
	c := w.clocks[r.Partition]
	if c == nil {
		c = &clock{largest: math.MinInt64, processed: math.MinInt64}
		w.clocks[r.Partition] = c
	}
	defer c.see(s.ts, r.Offset, demanded, w)
	if w.late.match(r) {
		if !demanded {
			w.sum.Ahead++
		}
		w.early(r, k, c)
		return
	}
	x := w.of(k)
	if x.partition < 0 {
		x.partition = r.Partition
	}
	x.spread = x.spread || x.partition != r.Partition
	if x.found.has && x.own.count >= x.found.count {
		if demanded {
			x.more++
		}
		return
	}
	x.own.add(s)
	x.last = r.Offset
	if !demanded {
		x.ahead++
	}
}

// early detects a row in the late topic whose window was still open. Some watermark implementations
// are a millisecond ahead of others: this check assumes the earliest one, and the check for missing
// results the latest.
func (w *windows) early(r *kgo.Record, k windowKey, c *clock) {
	if w.cfg.SharedWatermark || w.truncated[r.Partition] {
		return
	}
	if end := k.start + w.size; c.largest == math.MinInt64 || c.largest-w.delay < end-1 {
		w.late.mismatch("it refers to partition %d offset %d, but no earlier row closes its window at %s with a delay of %s",
			r.Partition, r.Offset, clockTime(end), w.cfg.Delay)
	}
}

// see updates the clock with one row.
func (c *clock) see(ts, offset int64, demanded bool, w *windows) {
	if ts > c.largest {
		c.largest = ts
		number := floor(ts-w.delay+1, w.size)
		if n := len(c.passed); n == 0 || c.passed[n-1].number < number {
			c.passed = append(c.passed, passed{number, offset})
		}
	}
	if demanded {
		c.processed = c.largest
	}
}

// closer returns the offset of the first record that closes windows with this end.
func (w *windows) closer(id int32, end int64) (offset int64, ok bool) {
	c, number := w.clocks[id], end/w.size
	if c == nil {
		return 0, false
	}
	i := sort.Search(len(c.passed), func(i int) bool { return c.passed[i].number >= number })
	if i == len(c.passed) {
		return 0, false
	}
	return c.passed[i].offset, true
}

// closed reports whether the rows that C0 covers close windows with this end.
func (w *windows) closed(id int32, end int64) bool {
	if w.cfg.Bounded {
		return true
	}
	past := func(c *clock) bool { return c.processed != math.MinInt64 && c.processed-w.delay >= end }
	if !w.cfg.SharedWatermark {
		return past(w.clocks[id])
	}
	for _, c := range w.clocks {
		if c.processed != math.MinInt64 && !past(c) {
			return false
		}
	}
	return true
}

// need returns the offset that the group must have committed together with a result: past the last
// row that it counts and the record that closed it. ok is false if no record can have closed it
// yet.
func (w *windows) need(k windowKey, x *window) (offset int64, ok bool) {
	if w.cfg.Bounded || w.cfg.SharedWatermark {
		return x.last + 1, true
	}
	by, ok := w.closer(x.partition, k.start+w.size)
	return max(x.last, by) + 1, ok
}

// judgeable reports whether the rows of a result are available, so that it can be checked.
func (w *windows) judgeable(x *window) bool {
	return x.found.has && x.partition >= 0 && !x.spread && !w.truncated[x.partition]
}

// offsetsFollow reports whether the group's last offsets may be missing: Flink resumes from its
// checkpoint and commits offsets after it for information only. A drained job ends before it
// commits those of its last checkpoint.
func (w *windows) offsetsFollow() bool {
	return w.cfg.Bounded && w.cfg.SharedWatermark && w.cfg.Late == ""
}

// reach raises need to the offsets that the group must have committed together with the pipeline's
// output.
func (w *windows) reach(need map[int32]int64) {
	w.late.reach(need)
	w.deadLetters.reach(need)
	if w.offsetsFollow() {
		return
	}
	for k, x := range w.all {
		if w.judgeable(x) {
			if offset, ok := w.need(k, x); ok {
				need[x.partition] = max(need[x.partition], offset)
			}
		}
	}
}

// flagAhead reports output that the group's offsets don't cover.
func (w *windows) flagAhead(committed map[int32]int64) {
	w.late.flagAhead(committed)
	w.deadLetters.flagAhead(committed)
	if w.offsetsFollow() {
		return
	}
	for k, x := range w.all {
		if !w.judgeable(x) {
			continue
		}
		if offset, ok := w.need(k, x); ok && offset > committed[x.partition] {
			w.mismatch(k, x, "the result needs partition %d up to offset %d, but the group has committed only up to %d",
				x.partition, offset-1, committed[x.partition])
		}
	}
}

// finish runs the checks that need the whole log.
func (w *windows) finish(log *span) {
	w.late.finish(log)
	w.deadLetters.finish(log)
	for k, x := range w.all {
		if x.found.has {
			w.compare(k, x)
		} else {
			w.absent(k, x)
		}
	}
	w.balance()
}

// compare checks a result against its rows.
func (w *windows) compare(k windowKey, x *window) {
	f, o := &x.found, &x.own
	w.sum.Ahead += x.ahead
	switch {
	case x.partition < 0:
		if len(w.truncated) == 0 {
			w.mismatch(k, x, "it has no rows")
		}
		return
	case w.truncated[x.partition]:
		return
	case x.spread:
		w.mismatch(k, x, "its rows are on more than one partition")
		return
	case o.count < f.count:
		w.mismatch(k, x, "count is %d, expected %d", f.count, o.count)
		return
	case x.more > 0 && !w.late.invisible:
		w.mismatch(k, x, "count is %d, expected %d", f.count, o.count+x.more)
		return
	}
	w.compareFigures(k, x)
	if _, ok := w.need(k, x); !ok {
		w.mismatch(k, x, "it was closed at %s, which partition %d has not reached with a delay of %s",
			clockTime(k.start+w.size), x.partition, w.cfg.Delay)
	}
}

func (w *windows) compareFigures(k windowKey, x *window) {
	f, o := &x.found, &x.own
	n := float64(o.count)
	for _, g := range [...]struct {
		bit            uint8
		name           string
		got, want, off float64 // off is the tolerance
	}{
		{hasMin, "minimum", f.min, o.min, 0}, {hasMax, "maximum", f.max, o.max, 0},
		{hasSum, "sum", f.sum, o.sum, tolerance * o.weight}, {hasAvg, "average", f.avg, o.sum / n, tolerance * o.weight / n},
	} {
		if f.columns&g.bit != 0 && !math.IsInf(g.off, 0) && !(math.Abs(g.got-g.want) <= g.off) {
			w.mismatch(k, x, "%s is %v, expected %v from its %d rows", g.name, g.got, g.want, o.count)
			return
		}
	}
}

// absent checks a window without a result.
func (w *windows) absent(k windowKey, x *window) {
	rows := x.own.count - x.ahead
	if rows == 0 {
		return
	}
	if !w.closed(x.partition, k.start+w.size) {
		w.sum.OpenWindows++
		w.sum.Open += rows
		return
	}
	if w.hidden || w.late.invisible || w.truncated[x.partition] {
		return
	}
	w.mismatch(k, x, "no result, but its %d rows on partition %d, up to offset %d, and a record that closes it have been processed", rows, x.partition, x.last)
}

// balance compares input and output, unless a part of either can't be read.
func (w *windows) balance() {
	if w.unbalanced() {
		return
	}
	dead := w.sum.DeadLetters
	if w.deadLetters.name == "" {
		dead = w.sum.Undecodable
	}
	out := sum(sum(w.sum.Counted, w.sum.Late), sum(dead, w.sum.Open))
	w.sum.Difference = w.sum.Rows + w.sum.Ahead - out
	if w.sum.Difference != 0 {
		w.report.find("C4", "wrong sum", "input has %d rows, output has %d", w.sum.Rows+w.sum.Ahead, out)
	}
}

// unbalanced reports whether a part of the input or output can't be read.
func (w *windows) unbalanced() bool {
	return w.hidden || w.late.invisible || w.deadLetters.invisible || len(w.truncated) > 0
}
