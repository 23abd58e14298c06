package embedded

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kfake's retention deletes what Kafka keeps:
//
//   - It also applies to topics whose cleanup policy is only compact, so that a changelog loses
//     each key that has not changed for seven days.
//   - One record with an old timestamp deletes everything before it, however recent.
//   - It deletes records of open transactions.
//   - It leaves less than retention.bytes, and within a segment only until the next kill.
//
// This retention deletes whole segments from the beginning of a partition, as Kafka does: while all
// records of the segment are older than retention.ms, or while retention.bytes are left without it.
// It stops at the last stable offset.

// kfakeTrim deletes the segments below a partition's log start offset. It must run in kfake's loop,
// like the other two.
//
//go:linkname kfakeTrim github.com/twmb/franz-go/pkg/kfake.(*Cluster).trimLeft
func kfakeTrim(c *kfake.Cluster, partition unsafe.Pointer)

//go:linkname kfakeRetentionMs github.com/twmb/franz-go/pkg/kfake.(*data).retentionMs
func kfakeRetentionMs(data unsafe.Pointer, topic string) int64

//go:linkname kfakeRetentionBytes github.com/twmb/franz-go/pkg/kfake.(*data).retentionBytes
func kfakeRetentionBytes(data unsafe.Pointer, topic string) int64

// limits are a topic's retention; a negative value means none.
type limits struct {
	age   time.Duration
	bytes int64
}

// sealed is what retention needs to know about a segment.
type sealed struct {
	end    int64 // offset after its last batch
	bytes  int64
	newest time.Time // latest timestamp of its records; if none has one, when it was last written
}

// checkRetention returns an error if this version of kfake lacks a field that retention reads.
func (l *loop) checkRetention() (err error) {
	defer catchUnknown(&err)
	partition := l.topics.Type().Elem().Elem().Elem()
	segment := field(partition, "segments").Elem()
	for _, f := range []struct {
		of   reflect.Type
		name string
		kind reflect.Kind
	}{
		{field(reflect.TypeFor[kfake.Cluster](), "data"), "tps", reflect.Map},
		{partition, "logStartOffset", reflect.Int64}, {partition, "lastStableOffset", reflect.Int64},
		{partition, "highWatermark", reflect.Int64},
		{segment, "maxTimestamp", reflect.Int64}, {segment, "lastModified", reflect.Int64},
		{field(segment, "index").Elem(), "lastOffsetDelta", reflect.Int32},
		{field(segment, "index").Elem(), "segPos", reflect.Int64},
	} {
		if field(f.of, f.name).Kind() != f.kind {
			return fmt.Errorf("unsupported version of kfake: %s.%s has another type", f.of, f.name)
		}
	}
	return nil
}

// sliceSegments is how many segments of a partition are deleted before other requests are handled.
const sliceSegments = 16

// applyRetention deletes what has expired, in slices.
func (b *Broker) applyRetention(topics []topicState) {
	now := time.Now()
	for _, t := range topics {
		if !t.deletes() {
			continue
		}
		for id := range t.Partitions {
			first, to, more, err := b.retain(&t, id, now)
			for more {
				_, to, more, err = b.retain(&t, id, now)
			}
			if err != nil {
				b.cfg.Logger.Warn("retention postponed: cannot save the sequence numbers of producers", "part", "broker", "topic", t.Name, "partition", id, "err", err)
			}
			if to > first {
				b.cfg.Logger.Info("retention deleted records", "part", "broker", "topic", t.Name, "partition", id, "from", first, "before", to)
			}
		}
	}
}

// deletes reports whether retention applies to the topic. kfake interprets an invalid number as 0,
// which would delete everything; such a topic keeps its records.
func (t *topicState) deletes() bool {
	for _, key := range []string{"retention.ms", "retention.bytes"} {
		if v, ok := t.Configs[key]; ok {
			if _, err := strconv.ParseInt(v, 10, 64); err != nil {
				return false
			}
		}
	}
	policy, ok := t.Configs["cleanup.policy"]
	return !ok || slices.Contains(strings.Split(strings.ReplaceAll(policy, " ", ""), ","), "delete")
}

// retain deletes up to sliceSegments expired segments of a partition. It returns the log start
// offset before and after, and whether more segments may have expired. Without the windows of
// producers, it deletes nothing.
func (b *Broker) retain(t *topicState, id int32, now time.Time) (from, to int64, more bool, err error) {
	l := b.loop
	l.do(func() {
		p := l.partition(t.Name, id)
		if !p.IsValid() {
			return // deleted meanwhile
		}
		start := reach(p.FieldByName("logStartOffset"))
		from = start.Int()
		segments := segmentsOf(p)
		n := expired(segments, p.FieldByName("lastStableOffset").Int(), l.limits(t.Name), now)
		to = from
		if n == 0 {
			return
		}
		saved := savedWindows{TopicID: t.ID, Windows: b.journal.producers.windows(t.Name, id)}
		if err = saved.write(b.cfg.Dir, t.Name, id); err != nil {
			return
		}
		more = n > sliceSegments
		to = segments[min(n, sliceSegments)-1].end
		start.SetInt(to)
		kfakeTrim(l.cluster, p.Addr().UnsafePointer())
	})
	return from, to, more, err
}

// limits returns a topic's retention, from its configuration or the broker's.
func (l *loop) limits(topic string) limits {
	data := unsafe.Pointer(reflect.ValueOf(l.cluster).Elem().FieldByName("data").UnsafeAddr()) //nolint:gosec // kfake's methods require it
	age := min(kfakeRetentionMs(data, topic), int64(maxAge/time.Millisecond))
	return limits{age: time.Duration(age) * time.Millisecond, bytes: kfakeRetentionBytes(data, topic)}
}

// maxAge is the longest retention.ms that a time.Duration can hold: longer ones mean the same.
const maxAge = 290 * 365 * 24 * time.Hour

func segmentsOf(partition reflect.Value) []sealed {
	segments := partition.FieldByName("segments")
	all := make([]sealed, 0, segments.Len())
	for i := range segments.Len() {
		s := segments.Index(i)
		index := s.FieldByName("index")
		if index.Len() == 0 {
			continue
		}
		last := index.Index(index.Len() - 1)
		newest := s.FieldByName("maxTimestamp").Int()
		if newest < 0 {
			newest = s.FieldByName("lastModified").Int()
		}
		all = append(all, sealed{
			end:    last.FieldByName("firstOffset").Int() + last.FieldByName("lastOffsetDelta").Int() + 1,
			bytes:  last.FieldByName("segPos").Int() + last.FieldByName("nbytes").Int(), // size is not set after a full replay
			newest: time.UnixMilli(newest),
		})
	}
	return all
}

// expired returns how many segments have expired, from the first one.
func expired(segments []sealed, stable int64, lim limits, now time.Time) (n int) {
	var size int64
	for _, s := range segments {
		size += s.bytes
	}
	for _, s := range segments {
		old := lim.age >= 0 && now.Sub(s.newest) > lim.age
		excess := lim.bytes >= 0 && size-s.bytes >= lim.bytes
		if s.end > stable || !old && !excess {
			break
		}
		n++
		size -= s.bytes
	}
	return n
}
