package audit

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers of a dead letter that locate its record.
const (
	headerDLQ          = "weir-dlq-"
	headerDLQTopic     = "weir-dlq-topic"
	headerDLQPartition = "weir-dlq-partition"
	headerDLQOffset    = "weir-dlq-offset"
	headerDLQTruncated = "weir-dlq-truncated" // bytes of the value before it was cut
)

// deadLetters matches records one to one with their dead letters, or with their late rows.
type deadLetters struct {
	report    *Report
	name      string // topic of the dead letters; empty if there is nothing to check
	topic     string // of the readings
	kind      string // name in findings
	other     string // description of records that should have none
	sources   bool   // producers also write here, for rows that never became a record
	count     *int64 // counter in the report
	wrong     *int64
	seed      maphash.Seed
	committed map[int32]int64        // C0; nil if the group has no offsets
	of        map[int32][]deadLetter // by partition of the record, ordered by its offset
	invisible bool                   // the beginning or end of the topic can't be read
}

// deadLetter is the dead letter of the record at offset; content is a digest of the preserved
// parts.
type deadLetter struct {
	offset     int64
	content    uint64
	kept, full int // bytes of the value here and in the record; full is -1 if not truncated
	matched    bool
}

func (a *audit) newDeadLetters(name string, count, wrong *int64, committed map[int32]int64) *deadLetters {
	return &deadLetters{
		report: a.report, name: name, topic: a.cfg.Topic, count: count, wrong: wrong, committed: committed,
		kind: "dead letter", other: "a valid reading or not a record",
		seed: maphash.MakeSeed(), of: make(map[int32][]deadLetter),
	}
}

// readDeadLetters reads the dead letters of the readings and ignores others in the topic. Call it
// after readStats.
func (a *audit) readDeadLetters(ctx context.Context) (*deadLetters, error) {
	l := a.newDeadLetters(a.cfg.DLQTopic, &a.report.DeadLetters, &a.report.DeadLetterMismatch, a.committed)
	l.sources = true
	if _, exists := a.ids[a.cfg.DLQTopic]; !exists {
		return l, nil
	}
	now, err := a.settled(ctx, a.cfg.DLQTopic)
	if err != nil {
		return nil, err
	}
	return l, l.read(ctx, a, now)
}

// read reads the topic if it exists.
func (l *deadLetters) read(ctx context.Context, a *audit, first *span) error {
	if _, exists := a.ids[l.name]; !exists {
		return nil
	}
	r := reader{isolation: kgo.ReadCommitted(), maxPartitionBytes: 1 << 20}
	if err := a.read(ctx, r, only(l.name, first.from), only(l.name, first.to), l.take); err != nil {
		return err
	}
	l.invisible = a.unseen(first, l.name)
	for _, letters := range l.of {
		slices.SortFunc(letters, func(x, y deadLetter) int { return cmp.Compare(x.offset, y.offset) })
	}
	return nil
}

func (l *deadLetters) take(r *kgo.Record) {
	if string(header(r, headerDLQTopic)) != l.topic {
		return
	}
	id, err := strconv.ParseInt(string(header(r, headerDLQPartition)), 10, 32)
	offset, err2 := strconv.ParseInt(string(header(r, headerDLQOffset)), 10, 64)
	if l.sources && err == nil && err2 == nil && id == -1 && offset == -1 {
		return // a row of a file that never became a record
	}
	*l.count++
	if err != nil || err2 != nil || id < 0 || offset < 0 {
		l.mismatch("partition %d offset %d: the location of its record is missing", r.Partition, r.Offset)
		return
	}
	x := deadLetter{offset: offset, content: l.content(r, r.Value), kept: len(r.Value), full: -1}
	if cut := header(r, headerDLQTruncated); cut != nil {
		if x.full, err = strconv.Atoi(string(cut)); err != nil || x.full <= x.kept {
			l.mismatch("partition %d offset %d: invalid truncation from %q bytes to %d", r.Partition, r.Offset, cut, x.kept)
			x.full = -1
		}
	}
	l.of[int32(id)] = append(l.of[int32(id)], x)
}

// content digests what a dead letter must preserve: key, value and all headers but its own.
func (l *deadLetters) content(r *kgo.Record, value []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	hashBytes(&h, r.Key)
	hashBytes(&h, value)
	for _, x := range r.Headers {
		if !strings.HasPrefix(x.Key, headerDLQ) {
			hashBytes(&h, []byte(x.Key))
			hashBytes(&h, x.Value)
		}
	}
	return h.Sum64()
}

func (l *deadLetters) mismatch(format string, args ...any) {
	*l.wrong++
	l.report.find("C4", l.kind, format, args...)
}

// reach raises need to the offsets that the group must have committed with the dead letters.
func (l *deadLetters) reach(need map[int32]int64) {
	for id, letters := range l.of {
		need[id] = max(need[id], letters[len(letters)-1].offset+1)
	}
}

// flagAhead reports dead letters that the group's offsets don't cover.
func (l *deadLetters) flagAhead(committed map[int32]int64) {
	for id, letters := range l.of {
		for i := range letters {
			if letters[i].offset >= committed[id] {
				letters[i].matched = true
				l.mismatch("it refers to partition %d offset %d, but the group has committed only up to %d", id, letters[i].offset, committed[id])
			}
		}
	}
}

// unusable handles an invalid record without a dead letter.
func (l *deadLetters) unusable(r *kgo.Record) {
	if r.Offset < l.committed[r.Partition] {
		l.missing(r)
	}
}

// missing reports a record without the dead letter that it must have.
func (l *deadLetters) missing(r *kgo.Record) {
	if !l.invisible {
		l.mismatch("the group has committed partition %d offset %d, which is not a valid reading, but has no dead letter", r.Partition, r.Offset)
	}
}

// match matches a record with its dead letters, and reports whether there is any.
func (l *deadLetters) match(r *kgo.Record) bool {
	letters := l.of[r.Partition]
	i, found := slices.BinarySearchFunc(letters, r.Offset, func(x deadLetter, offset int64) int { return cmp.Compare(x.offset, offset) })
	if !found {
		return false
	}
	if !l.keeps(&letters[i], r) {
		l.mismatch("that of partition %d offset %d has a different key, value or headers", r.Partition, r.Offset)
	}
	letters[i].matched = true
	for i++; i < len(letters) && letters[i].offset == r.Offset; i++ {
		letters[i].matched = true
		l.mismatch("there is more than one for partition %d offset %d", r.Partition, r.Offset)
	}
	return true
}

// keeps reports whether a dead letter preserves key, headers and value of its record; the value may
// be truncated.
func (l *deadLetters) keeps(x *deadLetter, r *kgo.Record) bool {
	if x.full < 0 {
		return x.content == l.content(r, r.Value)
	}
	return x.full == len(r.Value) && x.content == l.content(r, r.Value[:x.kept])
}

// finish finds dead letters of records that are valid, absent or not committed.
func (l *deadLetters) finish(log *span) {
	for id, letters := range l.of {
		for _, x := range letters {
			if !x.matched && x.offset >= log.begin(l.topic, id) {
				l.mismatch("it refers to partition %d offset %d, which is "+l.other, id, x.offset)
			}
		}
	}
}
