package operator

import (
	"weir.example/weir/internal/column"
	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/plan"
)

const millisecond int64 = 1000

// clock converts between the times of windows, which are wall clock times, and watermarks, which
// are instants if the rows' time is a TIMESTAMP_LTZ.
type clock struct {
	zone expr.Zone
	now  *int64 // of windows over PROCTIME(): the clock of the task
}

// windowTime returns the window_time of a window that ends at end. Over PROCTIME(), it is the time
// at which the window is emitted.
func (c clock) windowTime(end int64) int64 {
	if c.now != nil {
		return floorTo(*c.now, millisecond, 0)
	}
	return c.instant(end - millisecond)
}

func (c clock) wall(us int64) int64 {
	if c.zone == nil || us == minWatermark || us == maxWatermark {
		return us
	}
	return expr.ToLocal(us, c.zone)
}

// past returns the wall clock time up to which windows are over at a watermark.
func (c clock) past(watermark int64) int64 {
	if c.zone == nil || watermark == minWatermark || watermark == maxWatermark {
		return watermark
	}
	return expr.PastLocal(watermark, c.zone)
}

// passed reports whether a watermark is at or past the last millisecond of a window that ends at
// end: the last instant at which the wall clock shows it, since a window over an hour that occurs
// twice has rows of both.
func (c clock) passed(end, watermark int64) bool {
	if watermark == minWatermark || watermark == maxWatermark {
		return watermark == maxWatermark
	}
	return c.last(end-millisecond) <= watermark
}

// last returns the last instant at which the wall clock shows a time, or skips it.
func (c clock) last(us int64) int64 {
	if c.zone == nil {
		return us
	}
	return expr.LastUTC(us, c.zone)
}

// late reports whether a row arrives after the end of the window that ends at end.
func (c clock) late(end int64, watermark rowWatermark) bool { return c.passed(end, int64(watermark)) }

// instant converts a wall clock time to the first of its instants, as window_time does in Flink.
func (c clock) instant(us int64) int64 {
	if c.zone == nil {
		return us
	}
	return expr.ToUTC(us, c.zone)
}

func floorTo(x, size, offset int64) int64 {
	r := (x - offset) % size
	if r < 0 {
		r += size
	}
	return x - r
}

// windowAssigner adds the columns of windows to rows.
type windowAssigner struct {
	base
	op                       *plan.Window
	clock                    clock
	size, slide, offset, gap int64
	start, end, moment       *column.Column
	out                      rowBatch
	expanded                 rowBatch
}

func newWindowAssigner(b base, op *plan.Window) (node, error) {
	w := &windowAssigner{
		base: b, op: op, clock: clock{zone: op.Zone},
		size: op.Size.Microseconds(), slide: op.Slide.Microseconds(), offset: op.Offset.Microseconds(), gap: op.Gap.Microseconds(),
	}
	n := len(b.rel.Cols)
	w.start, w.end, w.moment = newColumn(b.rel, n-3), newColumn(b.rel, n-2), newColumn(b.rel, n-1)
	w.out.Batch = &column.Batch{Cols: make([]*column.Column, n)}
	w.expanded.Batch = batch(b.rel)
	return w, nil
}

func (w *windowAssigner) push(_ int, r *rowBatch) {
	if w.op.Deferred || w.op.Kind == plan.Tumble {
		w.assign(r)
		return
	}
	for i := range r.N {
		w.each(w.clock.wall(w.time(r, i)), func(start, end int64) { w.expand(r, i, start, end) })
		if n := len(w.expanded.more); n > 0 {
			w.expanded.more[n-1] = false
		}
	}
	w.spill()
}

// time returns the time by which a row is assigned.
func (w *windowAssigner) time(r *rowBatch, i int) int64 {
	if w.op.Proctime {
		return w.task.clock
	}
	return r.Cols[w.op.Time].I[i]
}

// expand adds a row with one of its windows.
func (w *windowAssigner) expand(r *rowBatch, i int, start, end int64) {
	if w.expanded.N == batchRows {
		w.spill()
	}
	n := len(w.rel.Cols)
	cols := w.expanded.Cols
	for c := range n - 3 {
		if cols[c] != nil {
			cols[c].AddFrom(r.Cols[c], i)
		}
	}
	w.times(cols[n-3], cols[n-2], cols[n-1], start, end)
	w.expanded.N++
	more := w.expanded.more // note replaces it with the input's
	w.expanded.note(r, i)
	more = append(more, true)
	w.expanded.more = more
}

// spill emits the rows with their windows.
func (w *windowAssigner) spill() {
	w.emit(&w.expanded)
	w.expanded.clear()
}

func (w *windowAssigner) times(start, end, moment *column.Column, from, to int64) {
	if start != nil {
		start.AddInt(from)
	}
	if end != nil {
		end.AddInt(to)
	}
	if moment != nil {
		moment.AddInt(w.clock.windowTime(to))
	}
}

// each calls fn with the windows that contain a time, in order.
func (w *windowAssigner) each(at int64, fn func(start, end int64)) {
	switch w.op.Kind {
	case plan.Tumble:
		start := floorTo(at, w.size, w.offset)
		fn(start, start+w.size)
	case plan.Hop:
		last := floorTo(at, w.slide, w.offset)
		start := last
		for start-w.slide > at-w.size {
			start -= w.slide
		}
		for ; start <= last; start += w.slide {
			if start > at-w.size {
				fn(start, start+w.size)
			}
		}
	case plan.Cumulate:
		start := floorTo(at, w.size, w.offset)
		for end := floorTo(at, w.slide, w.offset) + w.slide; end <= start+w.size; end += w.slide {
			fn(start, end)
		}
	}
}

// assign gives each row one window: its own, or the slice from which an aggregate assembles
// windows.
func (w *windowAssigner) assign(r *rowBatch) {
	n := len(w.rel.Cols)
	copy(w.out.Cols, r.Cols)
	w.start.Truncate(0)
	w.end.Truncate(0)
	w.moment.Truncate(0)
	w.out.Cols[n-3], w.out.Cols[n-2], w.out.Cols[n-1] = w.start, w.end, w.moment
	slice := w.op.Slice().Microseconds()
	for i := range r.N {
		at := w.time(r, i)
		if w.op.Kind == plan.Session {
			w.times(w.start, w.end, w.moment, at, at)
			continue
		}
		start := floorTo(w.clock.wall(at), slice, w.offset)
		w.times(w.start, w.end, w.moment, start, start+slice)
	}
	w.out.know(r)
	w.emit(&w.out)
}
