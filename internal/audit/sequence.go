package audit

import (
	"math"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers of a reading that was intentionally sent more than once.
const (
	headerRepeat   = "weir-repeat"   // ordinal of a repeat by the device itself, from 1
	headerReplayed = "weir-replayed" // topic/partition/offset of the original dead letter
)

// sequences checks the sequence numbers of each device (C1, C2).
type sequences struct {
	report    *Report
	devices   map[string]*device
	replayed  map[string]struct{} // dead letters that were replayed
	truncated map[int32]bool      // partitions whose beginning has been deleted
	blocked   map[int32]bool      // partitions whose end readers can't reach
}

type device struct {
	partition int32
	boots     map[string]*boot
	recent    *boot // boot of the last reading, usually also that of the next one
	name      string
}

// boot is one sequence of a device.
type boot struct {
	seen    seqSet            // readings, without repeats
	invalid seqSet            // invalid readings with a known sequence number
	repeats map[int64]*seqSet // by ordinal
	last    int64             // highest so far in log order, -1 before the first
	end     int64             // one past the largest number in the log
	base    int64             // lower numbers were deleted with the partition's beginning
	started bool              // seen is initialized by a first reading
}

func (q *sequences) boot(s *sample, id int32) (*device, *boot) {
	d := q.devices[s.device]
	if d == nil {
		d = &device{partition: id, boots: make(map[string]*boot, 1)}
		q.devices[s.device] = d
	}
	if d.recent != nil && d.name == s.boot {
		return d, d.recent
	}
	b := d.boots[s.boot]
	if b == nil {
		b = &boot{last: -1}
		d.boots[s.boot] = b
	}
	d.recent, d.name = b, s.boot
	return d, b
}

// marksOf reads the headers of repeats and replays.
func marksOf(r *kgo.Record) (repeat int64, replayed string) {
	for _, h := range r.Headers {
		switch h.Key {
		case headerRepeat:
			if n, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil && n > 0 {
				repeat = n
			}
		case headerReplayed:
			replayed = string(h.Value)
		}
	}
	return repeat, replayed
}

// firstReplay records a replayed dead letter; a second replay of the same one is a duplicate.
func (q *sequences) firstReplay(r *kgo.Record, from string) bool {
	if _, twice := q.replayed[from]; twice {
		q.report.Duplicated++
		q.report.find("C1", "duplicated", "partition %d offset %d: dead letter %s was already replayed", r.Partition, r.Offset, from)
		return false
	}
	q.replayed[from] = struct{}{}
	q.report.Replayed++
	return true
}

// record adds one valid reading.
func (q *sequences) record(r *kgo.Record, s *sample) {
	d, b := q.boot(s, r.Partition)
	var repeat int64
	var replayed string
	if len(r.Headers) > 0 {
		repeat, replayed = marksOf(r)
	}
	if replayed != "" && !q.firstReplay(r, replayed) {
		return
	}
	switch {
	case repeat > 0:
		q.repeat(r, s, b, repeat)
	case replayed != "":
		if q.truncated[r.Partition] && (!b.started || s.seq < b.base) {
			return // its original position has been deleted; firstReplay detects duplicates
		}
		q.once(r, s, b)
	default:
		q.original(r, s, d, b)
	}
	b.end = max(b.end, after(s.seq))
}

// after returns n+1, or n at the maximum.
func after(n int64) int64 {
	if n == math.MaxInt64 {
		return n
	}
	return n + 1
}

func (q *sequences) repeat(r *kgo.Record, s *sample, b *boot, ordinal int64) {
	q.report.Repeats++
	if b.repeats == nil {
		b.repeats = make(map[int64]*seqSet, 1)
	}
	if b.repeats[ordinal] == nil {
		b.repeats[ordinal] = &seqSet{}
	}
	if !b.repeats[ordinal].add(s.seq) {
		q.report.Duplicated++
		q.report.find("C1", "duplicated", "%s at partition %d offset %d: repeat %d already exists", s, r.Partition, r.Offset, ordinal)
	}
}

// once adds a reading that must be unique.
func (q *sequences) once(r *kgo.Record, s *sample, b *boot) bool {
	if b.seen.add(s.seq) {
		return true
	}
	q.report.Duplicated++
	q.report.find("C1", "duplicated", "%s at partition %d offset %d: already exists", s, r.Partition, r.Offset)
	return false
}

// original adds a reading that is neither a repeat nor a replay.
func (q *sequences) original(r *kgo.Record, s *sample, d *device, b *boot) {
	if !b.started {
		b.started = true
		if q.truncated[r.Partition] {
			b.base, b.seen.dense = s.seq, s.seq
		}
	}
	if s.seq < b.base {
		q.misplaced(r, s, "it follows seq %d", b.last)
		return
	}
	if !q.once(r, s, b) {
		return
	}
	if d.partition != r.Partition {
		q.misplaced(r, s, "other readings of the device are on partition %d", int64(d.partition))
		return
	}
	if s.seq < b.last {
		q.misplaced(r, s, "it follows seq %d", b.last)
	}
	b.last = max(b.last, s.seq)
}

func (q *sequences) misplaced(r *kgo.Record, s *sample, why string, n int64) {
	q.report.Reordered++
	q.report.find("C2", "reordered", "%s at partition %d offset %d: "+why, s, r.Partition, r.Offset, n)
}

// unusable adds an invalid record with a known sequence number, so that its reading doesn't count
// as lost.
func (q *sequences) unusable(r *kgo.Record, s *sample) {
	repeat, replayed := marksOf(r)
	if replayed != "" && !q.firstReplay(r, replayed) || replayed != "" || repeat > 0 {
		return
	}
	_, b := q.boot(s, r.Partition)
	b.end = max(b.end, after(s.seq))
	if !b.invalid.add(s.seq) {
		q.report.Duplicated++
		q.report.find("C1", "duplicated", "%s at partition %d offset %d: already exists, also invalid", s, r.Partition, r.Offset)
	}
}

// finish counts missing readings (C1).
func (q *sequences) finish(acks *acknowledgements) {
	q.report.Devices = int64(len(q.devices))
	for name, d := range q.devices {
		for bootName, b := range d.boots {
			q.absent(name, bootName, d, b, acks.of(name, bootName))
		}
	}
	for name, boots := range acks.devices {
		for bootName, o := range boots {
			q.report.Acknowledged = sum(q.report.Acknowledged, o.acked.count())
			d := q.devices[name]
			if d == nil || d.boots[bootName] == nil {
				q.unacknowledged(name, bootName, d, o)
			}
		}
	}
}

// absent checks the missing numbers of one boot. A gap is a loss unless its transaction was refused
// or its outcome is unknown; past the last number, only acknowledged readings can be lost.
func (q *sequences) absent(name, bootName string, d *device, b *boot, o *outcomes) {
	if !b.started && q.truncated[d.partition] {
		return // only repeats and replays remain
	}
	missing := b.seen.missing(max(b.end, o.acked.end())).minus(b.invalid.present(b.end))
	excused := o.refused.or(o.unknown)
	gaps := missing.below(b.end).minus(excused)
	tail := missing.from(b.end).and(o.acked)
	if q.blocked[d.partition] {
		q.report.Hidden = sum(q.report.Hidden, tail.count())
		tail = nil
	}
	q.lost(name, bootName, gaps.or(tail))
	q.refusedSeen(name, bootName, o.refused.below(b.end).from(b.base).minus(missing))
}

// unacknowledged checks a boot without any reading in the log.
func (q *sequences) unacknowledged(name, bootName string, d *device, o *outcomes) {
	blocked, truncated := len(q.blocked) > 0, len(q.truncated) > 0
	if d != nil {
		blocked, truncated = q.blocked[d.partition], q.truncated[d.partition]
	}
	switch {
	case blocked:
		q.report.Hidden = sum(q.report.Hidden, o.acked.count())
	case !truncated: // otherwise retention may have deleted all of it
		q.lost(name, bootName, o.acked)
	}
}

func (q *sequences) lost(name, bootName string, r ranges) {
	q.report.Lost = sum(q.report.Lost, r.count())
	for _, x := range r {
		q.report.find("C1", "lost", "device %q boot %q seq %d to %d", name, bootName, x.from, x.to-1)
	}
}

func (q *sequences) refusedSeen(name, bootName string, r ranges) {
	q.report.RefusedSeen = sum(q.report.RefusedSeen, r.count())
	for _, x := range r {
		q.report.find("C1", "refused but seen", "device %q boot %q seq %d to %d", name, bootName, x.from, x.to-1)
	}
}
