package operator

import (
	"cmp"
	"fmt"
	"time"

	"weir.example/weir/internal/moment"
	"weir.example/weir/internal/plan"
)

// intervalJoin joins rows whose times are close: right time - left time is within [lower, upper].
// Its entries are the rows, by the values of the equal columns and then by time, in buckets of
// time. A row meets its matches when the later of them arrives. A bucket is deleted once the
// watermark excludes further matches of all of its rows; rows without a match are emitted then.
//
// Which rows match depends on their times and their own watermarks only, not on what is still in
// the state: a row may join those that its own watermark does not exclude. These are in the state,
// since the operator's watermark is never ahead of a row's own.
type intervalJoin struct {
	joiner
	op      *plan.IntervalJoin
	lower   int64 // microseconds
	upper   int64
	bucket  int64 // length of a bucket
	delay   int64 // how far an emitted row may lag the watermark of the inputs
	between []byte
	done    progress
}

// bucketsPerInterval determines the length of a bucket: more buckets cost each row more lookups,
// fewer keep rows for longer.
const bucketsPerInterval = 8

func newIntervalJoin(b base, op *plan.IntervalJoin) (node, error) {
	j := &intervalJoin{joiner: newJoiner(b, &op.JoinOn), op: op, lower: op.Lower.Microseconds(), upper: op.Upper.Microseconds()}
	j.bucket = max(time.Second.Microseconds(), (j.upper-j.lower)/bucketsPerInterval)
	j.delay = max(0, j.upper-j.lower, j.upper, -j.lower)
	if op.Kind != plan.InnerJoin {
		j.delay += j.bucket
	}
	j.done.rollback(&j.base)
	return j, nil
}

func (j *intervalJoin) rollback() {
	j.joiner.rollback()
	j.done.rollback(&j.base)
}

func (j *intervalJoin) finishTransaction() {
	j.merged.finishTransaction(&j.base, j.merger)
	j.done.finishTransaction(&j.base, j.pending())
}

func intervalJoinEntries(op *plan.IntervalJoin) []movedEntry { return joinEntries(&op.JoinOn) }

// reach returns how long after a row of an input matches may follow: the largest difference of a
// match's time.
func (j *intervalJoin) reach(in int) int64 {
	if in == 0 {
		return j.upper
	}
	return -j.lower
}

// Flags after a row's time in the key of its entry.
const (
	rowOnTime byte = 0
	rowLate   byte = 1 // the row's own watermark follows
)

func (j *intervalJoin) push(in int, r *rowBatch) {
	for i := range r.N {
		at := r.Cols[j.op.Times[in]].I[i]
		own := int64(r.watermark(i, j.merged.now))
		if j.over(at, own) {
			j.task.late(r, i, j.rel.Inputs[in], errNoMatchLeft(at, own))
			continue
		}
		none := j.matchless(in, r.Batch, i)
		if none && !j.on.Kind.Keeps(in) {
			continue
		}
		j.between = append(ordered(j.between[:0], at), rowOnTime)
		if at <= own {
			j.between[len(j.between)-1] = rowLate
			j.between = ordered(j.between, own)
		}
		row := j.row(in, r, i, j.between)
		window := floorTo(at, j.bucket, 0)
		j.load(in, window, &row)
		if j.lineage != nil {
			j.lineage.add(r.context(i), window, row.key)
		}
		if !none {
			j.meet(in, &row, window, at, own)
		}
		row.count++
		j.save(in, window, &row)
	}
	j.deliver()
}

// over reports whether a row is too late for any match.
func (j *intervalJoin) over(at, own int64) bool {
	return at <= own && (own == maxWatermark || own-at >= j.upper-j.lower)
}

func errNoMatchLeft(at, watermark int64) error {
	if watermark == maxWatermark {
		return fmt.Errorf("late: its time is %s, and the input had ended", moment.FormatTimestamp(at, ' '))
	}
	return fmt.Errorf("late: its time is %s, and nothing can match it since the watermark has reached %s", moment.FormatTimestamp(at, ' '), moment.FormatTimestamp(watermark, ' '))
}

// meet joins a row with the rows of the other input that are close to it.
func (j *intervalJoin) meet(in int, row *joinRow, window, at, own int64) {
	from, to := at+j.lower, at+j.upper
	if in == 1 {
		from, to = at-j.upper, at-j.lower
	}
	other := 1 - in
	prefix := row.key[:row.equal]
	for bucket := floorTo(from, j.bucket, 0); bucket <= to; bucket += j.bucket {
		start := ordered(append(j.key[:0], prefix...), max(from, bucket))
		j.key = start
		j.each(other, bucket, prefix, start, func(o *joinRow) bool {
			when := unordered(o.key[o.equal:])
			if when > to {
				return false
			}
			if !j.meets(in, at, own, o, when) {
				return true
			}
			j.read(other, o)
			if !j.matches(kindInsert) {
				return true
			}
			j.add(kindInsert, [2]bool{true, true}, o.count, cmp.Or(j.caused(window, row), j.caused(bucket, o)))
			row.match = 1
			if j.on.Kind.Keeps(other) && o.match == 0 {
				o.match = 1
				j.save(other, bucket, o)
			}
			return true
		})
	}
}

// meets reports whether neither of two rows is excluded by the watermark of the other.
func (j *intervalJoin) meets(in int, at, own int64, o *joinRow, when int64) bool {
	if at <= own && own-when >= j.reach(1-in) {
		return false
	}
	if o.key[o.equal+8] == rowLate {
		return unordered(o.key[o.equal+9:])-at < j.reach(in)
	}
	return true
}

func (j *intervalJoin) advance(in int, watermark int64, idle bool) {
	j.merge(in, watermark, idle)
	if !j.task.restoring {
		j.fire()
	}
	j.done.forward(&j.base, j.pending(), j.delayed(), j.idle)
}

// due returns the first bucket whose rows have no further matches.
func (j *intervalJoin) due() (bucket int64, ok bool) {
	for in := range 2 {
		if first, some := j.task.store.FirstWindow(j.entry(in)); some && j.passed(in, first) && (!ok || first < bucket) {
			bucket, ok = first, true
		}
	}
	return bucket, ok
}

// passed reports whether the watermark excludes further matches of a bucket's rows.
func (j *intervalJoin) passed(in int, bucket int64) bool {
	return j.merged.now == maxWatermark || j.merged.now != minWatermark && j.merged.now >= bucket+j.bucket-1+j.reach(in)
}

func (j *intervalJoin) pending() bool {
	_, ok := j.due()
	return ok
}

func (j *intervalJoin) resume() {
	if j.pending() {
		j.fire()
		j.done.forward(&j.base, j.pending(), j.delayed(), j.idle)
	}
}

// delayed returns the watermark of the rows that the join emits, whose times are behind that of the
// inputs.
func (j *intervalJoin) delayed() int64 {
	if j.merged.now == minWatermark || j.merged.now == maxWatermark {
		return j.merged.now
	}
	return j.merged.now - j.delay
}

// fire deletes the buckets that are due, up to the transaction's limit, and emits those of their
// rows that have no match.
func (j *intervalJoin) fire() {
	for in := range 2 {
		for _, bucket := range j.task.store.Windows(j.entry(in)) {
			if !j.passed(in, bucket) || j.task.full() {
				break
			}
			j.expire(in, bucket)
		}
	}
	j.deliver()
}

func (j *intervalJoin) expire(in int, bucket int64) {
	if j.on.Kind.Keeps(in) {
		j.each(in, bucket, nil, nil, func(row *joinRow) bool {
			if row.match == 0 {
				j.task.countFired()
				j.read(in, row)
				j.add(kindInsert, [2]bool{in == 0, in == 1}, row.count, j.caused(bucket, row))
			}
			return true
		})
	}
	j.task.clear(j.entry(in), bucket)
	j.lineage.drop(bucket)
}
