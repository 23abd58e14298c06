package audit

import (
	"context"
	"encoding/json"
	"math"

	"github.com/twmb/franz-go/pkg/kgo"
)

// statistics compares the results per device and sensor with a recomputation from the readings
// (C4).
type statistics struct {
	report    *Report
	committed map[int32]int64     // C0; nil if the group has no offsets
	keys      map[statKey]*stat   // actual and expected results
	known     bool                // the topic of the results exists
	unsettled map[int32]bool      // partitions of that topic whose end readers can't reach
	truncated map[int32]bool      // partitions of the readings whose beginning has been deleted
	raw       map[rawStat]rawLast // used while reading
}

type statKey struct{ device, sensor string }

// stat is one key: its result, and the recomputation from the readings so far.
type stat struct {
	found     *statValue // nil without a result
	place     int32      // partition of the result
	partition int32      // of the readings
	own       running
	compared  bool // the reading at found.Offset was compared
	wrong     bool // already counted
}

// statValue is the JSON of a result. Nil pointers are missing fields.
type statValue struct {
	Device string  `json:"device_id"`
	Sensor string  `json:"sensor"`
	Count  *int64  `json:"count"`
	Min    *double `json:"min"`
	Max    *double `json:"max"`
	Mean   *double `json:"mean"`
	Last   *double `json:"last"`
	LastTS *string `json:"last_ts"`

	// Location of the last reading.
	Partition *int32 `json:"partition"`
	Offset    *int64 `json:"offset"`
}

func (v *statValue) complete() bool {
	return v.Count != nil && v.Min != nil && v.Max != nil && v.Mean != nil &&
		v.Last != nil && v.LastTS != nil && v.Partition != nil && v.Offset != nil
}

// double is a number, or a string for values that JSON numbers can't represent: a mean of doubles
// may overflow.
type double float64

func (d *double) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case `"Infinity"`:
		*d = double(math.Inf(1))
	case `"-Infinity"`:
		*d = double(math.Inf(-1))
	case `"NaN"`:
		*d = double(math.NaN())
	default:
		return json.Unmarshal(b, (*float64)(d))
	}
	return nil
}

// running is the recomputation. weight is the sum of the absolute values, the scale for rounding
// errors of a sum.
type running struct {
	count                       int64
	min, max, sum, weight, last float64
	lastTS                      int64
	untimed                     bool // lastTS is unknown
}

func (r *running) add(s *sample) {
	if r.count == 0 {
		r.min, r.max = s.value, s.value
	}
	r.count++
	r.min, r.max = min(r.min, s.value), max(r.max, s.value)
	r.sum += s.value
	r.weight += math.Abs(s.value)
	r.last, r.lastTS, r.untimed = s.value, s.ts, s.untimed
}

type rawStat struct {
	partition int32
	key       string
}

type rawLast struct {
	value  []byte
	offset int64
}

// readStats reads the last result of each key (step 3 of the package comment).
func (a *audit) readStats(ctx context.Context, first *span) (*statistics, error) {
	s := &statistics{
		report: a.report, committed: a.committed, known: a.report.hasStats,
		keys: make(map[statKey]*stat), raw: make(map[rawStat]rawLast),
	}
	if !s.known {
		return s, nil
	}
	r := reader{isolation: kgo.ReadCommitted(), maxPartitionBytes: 1 << 20, compacted: true}
	from, to := only(a.cfg.StatsTopic, first.from), only(a.cfg.StatsTopic, first.to)
	if err := a.read(ctx, r, from, to, s.take); err != nil {
		return nil, err
	}
	next, err := a.settled(ctx, a.cfg.StatsTopic)
	if err != nil {
		return nil, err
	}
	if err := a.read(ctx, r, to, next.to, s.take); err != nil {
		return nil, err
	}
	s.unsettled = a.blockedOf(a.cfg.StatsTopic)
	for k, last := range s.raw {
		s.decode(k, last)
	}
	s.raw = nil
	return s, nil
}

// only keeps one topic's partitions.
func only(topic string, offsets map[partition]int64) map[partition]int64 {
	some := make(map[partition]int64)
	for p, o := range offsets {
		if p.topic == topic {
			some[p] = o
		}
	}
	return some
}

func (a *audit) blockedOf(topic string) map[int32]bool {
	ids := make(map[int32]bool)
	for p := range a.blocked {
		if p.topic == topic {
			ids[p.id] = true
		}
	}
	return ids
}

func (s *statistics) take(r *kgo.Record) {
	k := rawStat{r.Partition, string(r.Key)}
	if r.Value == nil {
		delete(s.raw, k)
		return
	}
	// Copied, because the record's own bytes would keep its whole batch in memory.
	s.raw[k] = rawLast{append(s.raw[k].value[:0], r.Value...), r.Offset}
}

func (s *statistics) decode(k rawStat, last rawLast) {
	var key struct {
		Device *string `json:"device_id"`
		Sensor *string `json:"sensor"`
	}
	if err := json.Unmarshal([]byte(k.key), &key); err != nil || key.Device == nil || key.Sensor == nil {
		s.report.StatsMismatch++
		s.report.find("C4", "result without a key", "partition %d offset %d: invalid key %.80q, expected {\"device_id\",\"sensor\"}", k.partition, last.offset, k.key)
		return
	}
	at := statKey{*key.Device, *key.Sensor}
	if s.keys[at] != nil {
		s.mismatch(at, s.keys[at], "there are two results, on partitions %d and %d", s.keys[at].place, k.partition)
		return
	}
	x := &stat{found: &statValue{}, place: k.partition}
	s.keys[at] = x
	err := json.Unmarshal(last.value, x.found)
	if err != nil || !x.found.complete() || x.found.Device != at.device || x.found.Sensor != at.sensor {
		x.found = nil
		s.mismatch(at, x, "the result at partition %d offset %d is malformed, lacks a field or has another key", k.partition, last.offset)
		return
	}
	x.partition = *x.found.Partition
	s.report.StatsKeys++
	s.report.StatsCount = sum(s.report.StatsCount, *x.found.Count)
}

// mismatch counts a key once, for the first error found.
func (s *statistics) mismatch(k statKey, x *stat, format string, args ...any) {
	if x.wrong {
		return
	}
	x.wrong = true
	s.report.StatsMismatch++
	s.report.find("C4", "wrong result", "device %q sensor %q: "+format, append([]any{k.device, k.sensor}, args...)...)
}

// reach raises need to the offsets that the group must have committed together with the results.
func (s *statistics) reach(need map[int32]int64) {
	for _, x := range s.keys {
		if x.found != nil {
			need[x.partition] = max(need[x.partition], *x.found.Offset+1)
		}
	}
}

// flagAhead reports results that the group's offsets don't cover.
func (s *statistics) flagAhead(committed map[int32]int64) {
	for k, x := range s.keys {
		if x.found != nil && *x.found.Offset >= committed[x.partition] {
			s.mismatch(k, x, "the result refers to offset %d, but the group has committed partition %d only up to %d",
				*x.found.Offset, x.partition, committed[x.partition])
		}
	}
}

// record adds one reading.
func (s *statistics) record(r *kgo.Record, m *sample) {
	if !s.known {
		return
	}
	k := statKey{m.device, m.sensor}
	x := s.keys[k]
	if x == nil {
		x = &stat{partition: r.Partition}
		s.keys[k] = x
	}
	x.own.add(m)
	if x.wrong {
		return
	}
	if x.found != nil && x.partition != r.Partition {
		s.mismatch(k, x, "the result refers to partition %d, but a reading is on partition %d", x.partition, r.Partition)
		return
	}
	if r.Offset < s.committed[r.Partition] && (x.found == nil || *x.found.Offset < r.Offset) && !s.hidden(x) {
		s.behind(k, x, r)
		return
	}
	if x.found != nil && r.Offset == *x.found.Offset {
		x.compared = true
		s.compare(k, x)
	}
}

// hidden reports whether an open transaction may hide a newer result. Without any result, its
// partition is unknown.
func (s *statistics) hidden(x *stat) bool {
	if x.found == nil {
		return len(s.unsettled) > 0
	}
	return s.unsettled[x.place]
}

func (s *statistics) behind(k statKey, x *stat, r *kgo.Record) {
	if x.found == nil {
		s.mismatch(k, x, "no result, but the group has committed a reading at partition %d offset %d", r.Partition, r.Offset)
		return
	}
	s.mismatch(k, x, "the result covers readings up to offset %d, but the group has committed a reading at partition %d offset %d",
		*x.found.Offset, r.Partition, r.Offset)
}

// tolerance is the allowed error of a result relative to its inputs.
const tolerance = 1e-9

// compare checks the result against the readings up to its offset. If the beginning of the
// partition has been deleted, it checks only what depends on the last reading alone.
func (s *statistics) compare(k statKey, x *stat) {
	f, o := x.found, &x.own
	type figure struct {
		name      string
		got, want float64
		scale     float64
	}
	figures := []figure{{"last", float64(*f.Last), o.last, math.Abs(o.last)}}
	if !s.truncated[x.partition] {
		if *f.Count != o.count {
			s.mismatch(k, x, "count is %d, expected %d from the readings up to offset %d", *f.Count, o.count, *f.Offset)
			return
		}
		n := float64(o.count)
		figures = append(figures,
			figure{"min", float64(*f.Min), o.min, math.Abs(o.min)}, figure{"max", float64(*f.Max), o.max, math.Abs(o.max)},
			figure{"mean", float64(*f.Mean), o.sum / n, o.weight / n})
	}
	for _, g := range figures {
		if !math.IsInf(g.scale, 0) && !(math.Abs(g.got-g.want) <= tolerance*g.scale) {
			s.mismatch(k, x, "%s is %v, expected %v from the readings up to offset %d", g.name, g.got, g.want, *f.Offset)
			return
		}
	}
	if ts, ok := parseTime([]byte(*f.LastTS)); !ok || ts != o.lastTS && !o.untimed {
		s.mismatch(k, x, "last_ts is %q, which differs from the reading at offset %d", *f.LastTS, *f.Offset)
	}
}

// finish finds results without a corresponding reading, unless that reading has been deleted.
func (s *statistics) finish(log *span, topic string) {
	for k, x := range s.keys {
		if x.found == nil || x.compared || x.wrong || *x.found.Offset < log.begin(topic, x.partition) && *x.found.Offset >= 0 {
			continue
		}
		s.mismatch(k, x, "the result refers to offset %d on partition %d, which is not a committed reading of this key", *x.found.Offset, x.partition)
	}
}
