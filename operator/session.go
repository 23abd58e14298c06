package operator

import (
	"fmt"
	"slices"

	"weir/expr"
	"weir/plan"
)

func errLate(end, watermark int64, c clock) error {
	if watermark == forever {
		return fmt.Errorf("late: its window ended at %s, and the input had ended", expr.FormatTimestamp(end, ' '))
	}
	return fmt.Errorf("late: its window ended at %s, and the watermark was at %s", expr.FormatTimestamp(end, ' '), expr.FormatTimestamp(c.wall(watermark), ' '))
}

// session groups rows in sessions: windows that end when no row has come for the gap. An entry is the open sessions of a key,
// by start; a timer is a key under the second in which its next session ends.
type session struct {
	base
	grouper
	op        *plan.Aggregate
	clock     clock
	gap       int64
	at        int // column of the input with the row's time
	watermark int64
	fired     int64
	open      []openSession
	origins   *origins // by the times of rows
}

type openSession struct {
	start, end int64 // instants; the end is the last row's time and the gap
	value      []byte
}

const timers = 2

func newSession(b base, op *plan.Aggregate) *session {
	s := &session{
		base: b, grouper: newGrouper(b, op), op: op, clock: clock{op.Window.Zone}, gap: op.Window.Gap.Microseconds(),
		at: op.Keys[op.Window.End], origins: b.task.origins(),
	}
	s.reset()
	return s
}

func (s *session) reset() {
	s.watermark, s.fired = unknown, unknown
	s.origins.clear()
}

// over reports whether a watermark is at or past the last millisecond of a session.
func (s *session) over(end, watermark int64) bool {
	return watermark == forever || watermark != unknown && end-millisecond <= watermark
}

func (s *session) push(_ int, r *rows) {
	for i := range r.N {
		if mark := r.mark(i, s.watermark); mark > s.fired {
			s.fire(mark) // a row must not join a session that is over
		}
		s.row(r, i)
	}
}

func (s *session) row(r *rows, i int) {
	at := r.Cols[s.at].I[i]
	mark := r.mark(i, s.watermark)
	s.key = appendKey(s.key[:0], r.Batch, s.keys, i)
	s.load(s.key)
	joined := openSession{start: at, end: at + s.gap}
	var touching []openSession
	kept := s.open[:0:0]
	for _, o := range s.open {
		if o.start <= joined.end && joined.start <= o.end {
			touching = append(touching, o)
		} else {
			kept = append(kept, o)
		}
	}
	if len(touching) == 0 && s.over(joined.end, mark) {
		s.task.late(r, i, s.rel.Inputs[0], errLate(s.clock.wall(joined.end), mark, s.clock))
		return
	}
	var value []byte
	for _, o := range touching {
		if value == nil {
			value = o.value
		} else {
			value = s.merge(nil, value, o.value)
		}
		joined.start, joined.end = min(joined.start, o.start), max(joined.end, o.end)
	}
	joined.value = s.add(nil, value, r.Batch, i, nil)
	kept = append(kept, joined)
	s.open = kept
	slices.SortFunc(s.open, func(a, b openSession) int { return int(min(max(a.start-b.start, -1), 1)) })
	s.save(s.key)
	s.task.store.Put(s.rel.State+timers, second(joined.end), s.key, []byte{1})
	if s.origins != nil {
		s.origins.add(r.context(i), at, s.key)
	}
}

func second(us int64) int64 { return floorTo(us, 1_000_000, 0) }

func (s *session) load(key []byte) {
	s.open = s.open[:0]
	v, ok := s.task.store.Get(s.rel.State+groups, 0, key)
	if !ok {
		return
	}
	in := &reader{b: slices.Clone(v)}
	for len(in.b) > 0 && in.err == nil {
		s.open = append(s.open, openSession{in.int64(), in.int64(), in.bytes()})
	}
	if in.err != nil {
		s.task.fail(errState)
	}
}

func (s *session) save(key []byte) {
	if len(s.open) == 0 {
		s.task.store.Delete(s.rel.State+groups, 0, key)
		return
	}
	s.value = s.value[:0]
	for _, o := range s.open {
		s.value = appendBytes(appendInt(appendInt(s.value, o.start), o.end), o.value)
	}
	s.task.store.Put(s.rel.State+groups, 0, key, s.value)
}

func (s *session) advance(_ int, watermark int64, idle bool) {
	if s.task.restoring {
		s.fired = max(s.fired, watermark)
	}
	s.fire(watermark)
	s.watermark = max(s.watermark, watermark)
	s.pass(watermark, idle)
}

// due is a session that is over.
type dueSession struct {
	key string
	openSession
}

// fire emits the sessions that a watermark has ended, by their ends.
func (s *session) fire(watermark int64) {
	if watermark <= s.fired {
		return
	}
	s.fired = watermark
	var due []dueSession
	for _, bucket := range s.task.store.Windows(s.rel.State + timers) {
		if !s.over(bucket, watermark) {
			break
		}
		var keys [][]byte
		s.task.store.Scan(s.rel.State+timers, bucket, func(key, _ []byte) bool {
			keys = append(keys, slices.Clone(key))
			return true
		})
		for _, key := range keys {
			s.load(key)
			kept := s.open[:0:0]
			waits := false
			for _, o := range s.open {
				if s.over(o.end, watermark) {
					due = append(due, dueSession{string(key), o})
				} else {
					kept = append(kept, o)
					waits = waits || second(o.end) == bucket
				}
			}
			s.open = kept
			s.save(key)
			if !waits {
				s.task.store.Delete(s.rel.State+timers, bucket, key)
			}
		}
	}
	slices.SortFunc(due, func(a, b dueSession) int {
		if a.end != b.end {
			return int(min(max(a.end-b.end, -1), 1))
		}
		if a.key < b.key {
			return -1
		}
		return 1
	})
	for _, d := range due {
		if err := s.window(s.op.Window, s.clock, s.clock.wall(d.start), s.clock.wall(d.end), []byte(d.key), d.value); err != nil {
			s.task.fail(err)
			return
		}
		if s.origins != nil {
			s.out.from = append(s.out.from, s.origins.joined(d.start-1, d.end, []byte(d.key)))
			s.origins.forget(d.start-1, d.end, []byte(d.key))
		}
	}
	s.emit(&s.out)
	s.out.clear()
}
