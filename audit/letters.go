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

// Headers of a dead letter: where its record is in the log.
const (
	headerDLQ          = "weir-dlq-"
	headerDLQTopic     = "weir-dlq-topic"
	headerDLQPartition = "weir-dlq-partition"
	headerDLQOffset    = "weir-dlq-offset"
)

// deadLetters matches records that can't be used with their dead letters, one to one.
type deadLetters struct {
	report    *Report
	topic     string
	seed      maphash.Seed
	committed map[int32]int64    // C0; nil where the group has no offsets
	of        map[int32][]letter // by partition of the record, in the order of its offset
	invisible bool               // the end or the beginning of the dead letters can't be read
}

// letter is a dead letter of the record at offset; content is a digest of what it keeps of it.
type letter struct {
	offset  int64
	content uint64
	matched bool
}

// readLetters reads the dead letters of the topic of the readings; others in it are left alone.
func (a *audit) readLetters(ctx context.Context, first *span) (*deadLetters, error) {
	l := &deadLetters{
		report: a.report, topic: a.Topic, seed: maphash.MakeSeed(),
		committed: a.committed, of: make(map[int32][]letter),
	}
	if !a.report.hasLetters {
		return l, nil
	}
	r := reader{isolation: kgo.ReadCommitted(), maxPartitionBytes: 1 << 20}
	if err := a.read(ctx, r, only(a.DLQTopic, first.from), only(a.DLQTopic, first.to), l.take); err != nil {
		return nil, err
	}
	l.invisible = len(a.blockedOf(a.DLQTopic)) > 0 || len(first.truncated(a.DLQTopic)) > 0
	for _, letters := range l.of {
		slices.SortFunc(letters, func(x, y letter) int { return cmp.Compare(x.offset, y.offset) })
	}
	return l, nil
}

func (l *deadLetters) take(r *kgo.Record) {
	if string(header(r, headerDLQTopic)) != l.topic {
		return
	}
	l.report.DeadLetters++
	id, err := strconv.ParseInt(string(header(r, headerDLQPartition)), 10, 32)
	offset, err2 := strconv.ParseInt(string(header(r, headerDLQOffset)), 10, 64)
	if err != nil || err2 != nil || id < 0 || offset < 0 {
		l.mismatch("the dead letter at partition %d offset %d doesn't say which record it is of", r.Partition, r.Offset)
		return
	}
	l.of[int32(id)] = append(l.of[int32(id)], letter{offset: offset, content: l.content(r)})
}

// content digests what a dead letter must keep: key, value and the headers but its own.
func (l *deadLetters) content(r *kgo.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	hashBytes(&h, r.Key)
	hashBytes(&h, r.Value)
	for _, x := range r.Headers {
		if !strings.HasPrefix(x.Key, headerDLQ) {
			hashBytes(&h, []byte(x.Key))
			hashBytes(&h, x.Value)
		}
	}
	return h.Sum64()
}

func (l *deadLetters) mismatch(format string, args ...any) {
	l.report.DeadLetterMismatch++
	l.report.find("C4", "dead letter", format, args...)
}

// reach raises need to the offsets that the group must have committed with the dead letters.
func (l *deadLetters) reach(need map[int32]int64) {
	for id, letters := range l.of {
		need[id] = max(need[id], letters[len(letters)-1].offset+1)
	}
}

// flagAhead marks the dead letters that the group's offsets don't cover.
func (l *deadLetters) flagAhead(committed map[int32]int64) {
	for id, letters := range l.of {
		for i := range letters {
			if letters[i].offset >= committed[id] {
				letters[i].matched = true
				l.mismatch("there is one of partition %d offset %d, but the group has committed only up to %d", id, letters[i].offset, committed[id])
			}
		}
	}
}

// unusable takes a record that breaks a rule, and looks for its one dead letter.
func (l *deadLetters) unusable(r *kgo.Record) {
	letters := l.of[r.Partition]
	i, found := slices.BinarySearchFunc(letters, r.Offset, func(x letter, offset int64) int { return cmp.Compare(x.offset, offset) })
	if !found {
		if r.Offset < l.committed[r.Partition] && !l.invisible {
			l.mismatch("the group has committed partition %d offset %d, which can't be used, but there is none of it", r.Partition, r.Offset)
		}
		return
	}
	if letters[i].content != l.content(r) {
		l.mismatch("the one of partition %d offset %d has another key, value or headers", r.Partition, r.Offset)
	}
	letters[i].matched = true
	for i++; i < len(letters) && letters[i].offset == r.Offset; i++ {
		letters[i].matched = true
		l.mismatch("there is more than one of partition %d offset %d", r.Partition, r.Offset)
	}
}

// finish finds the dead letters of records that are none: in order, absent, or not committed.
func (l *deadLetters) finish(log *span) {
	for id, letters := range l.of {
		for _, x := range letters {
			if !x.matched && x.offset >= log.begin(l.topic, id) {
				l.mismatch("there is one of partition %d offset %d, which is a usable record or none", id, x.offset)
			}
		}
	}
}
