package operator

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/plan"
)

func errLate(end int64, row rowWatermark, c clock) error {
	watermark := int64(row)
	if watermark == maxWatermark {
		return fmt.Errorf("late: its window ended at %s, and the input had ended", moment.FormatTimestamp(end, ' '))
	}
	return fmt.Errorf("late: its window ended at %s, and the watermark was at %s", moment.FormatTimestamp(end, ' '), moment.FormatTimestamp(c.wall(watermark), ' '))
}

// sessionWindow groups rows in sessions: windows that close after a gap without rows, in wall clock
// time like all windows. A state entry holds the open parts of a key's sessions, ordered by start;
// a timer is a key stored under the second in which a part ends.
//
// Lateness must not depend on which partition was read first. Therefore a part of a session has
// rows of one lane only, and a row is judged by its own lane: it belongs to the part that it
// touches and that is open at the row's own watermark. If there is none, and the row alone would be
// over at that watermark, the row is late. So a row can be in a session although its own time is
// long over, as in Flink, and another partition never makes it late.
//
// Parts of several lanes that touch form one session, which is emitted when the operator's
// watermark has passed the end of all of them, and a millisecond more (ended): a row at exactly the
// end still belongs to the session, and whether it came with that watermark or after it depends on
// how many records were read at once. Flink's result depends on that. A row that is behind its own
// watermark connects its part to other lanes only by the portion of its time that is ahead of that
// watermark (link), since earlier sessions may already have been emitted.
type sessionWindow struct {
	base
	aggregator
	op        *plan.Aggregate
	clock     clock
	gap       int64
	at        int // column of the input with the row's time
	watermark int64
	fired     int64
	open      []part
	distincts []bool   // whether each function is DISTINCT and doesn't collect its values; nil if none is
	keepsSets bool     // values are in sets: of DISTINCT, or collected
	lineage   *lineage // by the times of rows
}

// part is the part of a session that belongs to one lane. Times are wall clock times.
type part struct {
	lane       lane
	start, end int64 // end is the last row's time plus the gap
	link       int64 // time from which the part touches parts of other lanes; maxWatermark if it doesn't
	// sets are the sets of DISTINCT values whose union is that of the part: each is named by the
	// time of the row that began it. Empty without DISTINCT.
	sets  []int64
	value []byte
}

// State entries. Older versions stored sessions without lanes under groups.
const (
	parts  = 1
	timers = 2
	sets   = 3 // DISTINCT values, by function, key, value, set and lane
)

func newSessionWindow(b base, op *plan.Aggregate) *sessionWindow {
	s := &sessionWindow{
		base: b, aggregator: newAggregator(b, op), op: op, clock: clock{zone: op.Window.Zone}, gap: op.Window.Gap.Microseconds(),
		at: op.Keys[op.Window.End], lineage: b.task.newLineage(),
	}
	s.countRows(b.task, b.rel)
	for i, a := range s.aggs {
		if s.collectors[i] != nil { // it removes duplicates when the session ends
			s.keepsSets = true
			continue
		}
		if a.Distinct && s.distincts == nil {
			s.distincts = make([]bool, len(s.aggs))
		}
		if a.Distinct {
			s.distincts[i] = true
		}
	}
	s.keepsSets = s.keepsSets || s.distincts != nil
	s.rollback()
	return s
}

func (s *sessionWindow) rollback() {
	s.watermark, s.fired = minWatermark, minWatermark
	s.lineage.clear()
}

func (s *sessionWindow) push(_ int, r *rowBatch) {
	for i := range r.N {
		s.row(r, i)
	}
}

func (s *sessionWindow) row(r *rowBatch, i int) {
	at := s.clock.wall(r.Cols[s.at].I[i])
	watermark := r.watermark(i, s.watermark)
	s.key = appendKey(s.key[:0], r.Batch, s.keys, i)
	s.load(s.key)
	joined := part{lane: r.lane(i), start: at, end: at + s.gap}
	joined.link = s.linkOf(at, watermark)
	kept, touching := s.open[:0:0], s.open[:0:0]
	for _, o := range s.open {
		if o.lane == joined.lane && o.start <= joined.end && joined.start <= o.end && !s.clock.passed(o.end, ended(int64(watermark))) {
			touching = append(touching, o)
		} else {
			kept = append(kept, o)
		}
	}
	if len(touching) == 0 && s.clock.late(joined.end, watermark) {
		s.task.late(r, i, s.rel.Inputs[0], errLate(joined.end, watermark, s.clock))
		s.task.ledger.session(s.rel.ID, false)
		return
	}
	s.task.ledger.session(s.rel.ID, true)
	var value []byte
	for _, o := range touching {
		value = s.mergeStates(value, o.value)
		joined.start, joined.end, joined.link = min(joined.start, o.start), max(joined.end, o.end), min(joined.link, o.link)
		joined.sets = append(joined.sets, o.sets...)
	}
	if s.keepsSets && len(joined.sets) == 0 {
		joined.sets = []int64{at}
	}
	if s.collecting {
		s.where = s.elements(s.key, joined.sets[0], joined.lane)
	}
	joined.value = s.accumulate(nil, value, r.Batch, i, r.lane(i), func(agg int) bool {
		if s.collectors[agg] != nil {
			return true
		}
		s.remember(&joined, s.distinctKey(r.Batch, i, agg))
		return false // DISTINCT values are counted at the end of the session
	})
	kept = append(kept, joined)
	s.open = kept
	slices.SortFunc(s.open, func(a, b part) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.lane, b.lane)) })
	s.save(s.key)
	s.task.store.Put(s.rel.State+timers, second(joined.end), s.key, []byte{1})
	if s.lineage != nil {
		s.lineage.add(r.context(i), at, s.key)
	}
}

// linkOf returns the time from which a row touches rows of other lanes: its own time, or the time
// after all sessions that its watermark has ended.
func (s *sessionWindow) linkOf(at int64, watermark rowWatermark) int64 {
	switch int64(watermark) {
	case minWatermark:
		return at
	case maxWatermark:
		return maxWatermark
	}
	link := max(at, s.clock.past(ended(int64(watermark)))+millisecond+1)
	if link > at+s.gap {
		return maxWatermark
	}
	return link
}

// mergeStates merges accumulators; nil stands for none.
func (s *sessionWindow) mergeStates(a, b []byte) []byte {
	if a == nil {
		return b
	}
	return s.merge(nil, a, b)
}

func second(us int64) int64 { return floorTo(us, 1_000_000, 0) }

// load reads the parts of a key.
func (s *sessionWindow) load(key []byte) {
	s.open = s.open[:0]
	v, ok := s.task.store.Get(s.rel.State+parts, 0, key)
	if !ok {
		s.loadOld(key)
		return
	}
	in := &reader{b: slices.Clone(v)}
	for len(in.b) > 0 && in.err == nil {
		o := part{lane: lane(in.varint()), start: in.int64(), end: in.int64(), link: in.int64()}
		if s.keepsSets {
			for range in.count() {
				o.sets = append(o.sets, in.int64())
			}
		}
		o.value = in.bytes()
		s.open = append(s.open, o)
	}
	if in.err != nil {
		s.task.fail(errState)
	}
}

// loadOld migrates an entry of a version that had no lanes and stored instants.
func (s *sessionWindow) loadOld(key []byte) {
	v, ok := s.task.store.Get(s.rel.State+groups, 0, key)
	if !ok {
		return
	}
	in := &reader{b: slices.Clone(v)}
	for len(in.b) > 0 && in.err == nil {
		o := part{start: s.clock.wall(in.int64()), end: s.clock.wall(in.int64()-s.gap) + s.gap, value: in.bytes()}
		o.link = o.start
		s.open = append(s.open, o)
		s.task.store.Put(s.rel.State+timers, second(o.end), key, []byte{1})
	}
	if in.err != nil {
		s.task.fail(errState)
	}
	s.task.store.Delete(s.rel.State+groups, 0, key)
	s.save(key)
}

func (s *sessionWindow) save(key []byte) {
	if len(s.open) == 0 {
		s.task.store.Delete(s.rel.State+parts, 0, key)
		return
	}
	s.value = s.value[:0]
	for _, o := range s.open {
		s.value = binary.AppendVarint(s.value, int64(o.lane))
		s.value = appendInt(appendInt(appendInt(s.value, o.start), o.end), o.link)
		if s.keepsSets {
			s.value = binary.AppendUvarint(s.value, uint64(len(o.sets)))
			for _, set := range o.sets {
				s.value = appendInt(s.value, set)
			}
		}
		s.value = appendBytes(s.value, o.value)
	}
	s.task.store.Put(s.rel.State+parts, 0, key, s.value)
}

func (s *sessionWindow) advance(_ int, watermark int64, idle bool) {
	sessions := ended(watermark)
	if s.task.restoring {
		s.fired = max(s.fired, sessions)
	}
	s.fire(sessions)
	s.watermark = max(s.watermark, watermark)
	s.forwardWatermark(sessions, idle)
}

// ended returns the watermark up to which sessions have ended at a watermark, and which is that of
// the results.
func ended(watermark int64) int64 {
	if watermark == minWatermark || watermark == maxWatermark {
		return watermark
	}
	return watermark - millisecond
}

// dueSession is a session that has ended.
type dueSession struct {
	key string
	part
	from []valuePlace // its collected values
}

// fire emits the sessions that a watermark has ended, ordered by their ends.
func (s *sessionWindow) fire(watermark int64) {
	if watermark <= s.fired {
		return
	}
	s.fired = watermark
	var due []dueSession
	for _, bucket := range s.task.store.Windows(s.rel.State + timers) {
		if !s.clock.passed(bucket, watermark) {
			break
		}
		var keys [][]byte
		s.task.store.Scan(s.rel.State+timers, bucket, func(key, _ []byte) bool {
			keys = append(keys, slices.Clone(key))
			return true
		})
		for _, key := range keys {
			if waits := s.end(key, bucket, watermark, &due); !waits {
				s.task.store.Delete(s.rel.State+timers, bucket, key)
			}
		}
	}
	slices.SortFunc(due, func(a, b dueSession) int {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.key, b.key), cmp.Compare(a.start, b.start))
	})
	for _, d := range due {
		s.from = d.from
		if err := s.window(s.op.Window, s.clock, d.start, d.end, []byte(d.key), d.value); err != nil {
			s.task.fail(err)
			return
		}
		s.dropCollected(d.from)
		if s.lineage != nil {
			s.out.records = append(s.out.records, s.lineage.joined(d.start-1, d.end, []byte(d.key)))
			s.lineage.forget(d.start-1, d.end, []byte(d.key))
		}
		if s.out.N == batchRows {
			s.deliver()
		}
	}
	s.deliver()
}

func (s *sessionWindow) deliver() {
	s.emit(&s.out)
	s.out.clear()
}

// end moves the ended sessions of a key from its entry to due. waits reports whether a part that
// ends in the second of bucket is still open.
func (s *sessionWindow) end(key []byte, bucket, watermark int64, due *[]dueSession) (waits bool) {
	s.load(key)
	kept := s.open[:0:0]
	for _, together := range groupLinked(s.open) {
		whole := part{start: together[0].start, end: together[0].end}
		for _, o := range together {
			whole.start, whole.end = min(whole.start, o.start), max(whole.end, o.end)
		}
		if !s.clock.passed(whole.end, watermark) {
			kept = append(kept, together...)
			for _, o := range together {
				waits = waits || second(o.end) == bucket && !s.clock.passed(o.end, watermark)
			}
			continue
		}
		for _, o := range together {
			whole.value = s.mergeStates(whole.value, o.value)
		}
		if s.distincts != nil {
			whole.value = s.countDistinct(key, together, whole.value)
		}
		*due = append(*due, dueSession{string(key), whole, s.collectedIn(key, together)})
	}
	slices.SortFunc(kept, func(a, b part) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.lane, b.lane)) })
	s.open = kept
	s.save(key)
	return waits
}

// groupLinked groups parts into sessions: parts of different lanes are in one session if they
// touch. The parts of each session keep their order by start.
func groupLinked(all []part) [][]part {
	group := make([]int, len(all)) // of each part
	for i := range all {
		group[i] = i
	}
	for i := range all {
		for j := range i {
			a, b := &all[i], &all[j]
			if a.lane == b.lane || a.link == maxWatermark || b.link == maxWatermark || a.link > b.end || b.link > a.end || group[i] == group[j] {
				continue
			}
			from, to := group[i], group[j]
			for k := range i + 1 {
				if group[k] == from {
					group[k] = to
				}
			}
		}
	}
	var sessions [][]part
	place := make(map[int]int)
	for i, o := range all {
		n, known := place[group[i]]
		if !known {
			n = len(sessions)
			place[group[i]] = n
			sessions = append(sessions, nil)
		}
		sessions[n] = append(sessions[n], o)
	}
	return sessions
}
