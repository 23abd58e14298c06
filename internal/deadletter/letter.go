// Package deadletter is the dead-letter topic: how a record that can't be processed is kept there
// with where it came from and why (letter.go), how letters are read (list.go), and how they are
// sent back after a fix, never twice (replay.go).
package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Headers of a dead letter. They come after the record's own.
const (
	HeaderTopic     = "weir-dlq-topic"     // where the record was, or was meant to go
	HeaderPartition = "weir-dlq-partition" // decimal; -1 where the record never was in a topic
	HeaderOffset    = "weir-dlq-offset"    // decimal; -1 likewise
	HeaderReason    = "weir-dlq-reason"
	HeaderTime      = "weir-dlq-time"      // RFC 3339 in UTC with milliseconds
	HeaderAttempt   = "weir-dlq-attempt"   // 1, and one more for each replay that failed
	HeaderSource    = "weir-dlq-source"    // name of the producer's source, where there is no record
	HeaderTruncated = "weir-dlq-truncated" // decimal: bytes of the value before it was cut to fit

	// HeaderReplayed is on a record that was sent back: "dead-letter topic/partition/offset".
	HeaderReplayed = "weir-replayed"
)

// ours is the prefix of the headers that belong to the letter and not to the record.
const ours = "weir-dlq-"

// MaxBytes is the largest letter: what Kafka takes by default (message.max.bytes 1,048,588), less
// the batch.
const MaxBytes = 1_000_000

// timeFormat is RFC 3339 with milliseconds, for times in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// Record makes the dead letter of a record: key, value and headers as they are, and ours behind
// them. A value that would make the letter larger than maxBytes is cut, and its length told in a
// header.
func Record(dlq string, in *kgo.Record, reason error, now time.Time, maxBytes int) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(in.Headers)+8)
	attempt := 1
	for _, h := range in.Headers {
		switch {
		case h.Key == HeaderAttempt:
			if n, err := strconv.Atoi(string(h.Value)); err == nil {
				attempt = n + 1
			}
		case strings.HasPrefix(h.Key, ours):
		default:
			headers = append(headers, h)
		}
	}
	r := &kgo.Record{Topic: dlq, Key: in.Key, Value: in.Value, Headers: headers}
	add(r, HeaderTopic, in.Topic)
	add(r, HeaderPartition, strconv.Itoa(int(in.Partition)))
	add(r, HeaderOffset, strconv.FormatInt(in.Offset, 10))
	add(r, HeaderAttempt, strconv.Itoa(attempt))
	finish(r, reason, now, maxBytes)
	return r
}

// FromSource makes the dead letter of raw input that never became a record: a row of a file. It is
// cut to maxBytes as in Record.
func FromSource(dlq, topic, source string, raw []byte, reason error, now time.Time, maxBytes int) *kgo.Record {
	r := &kgo.Record{Topic: dlq, Value: raw}
	add(r, HeaderTopic, topic)
	add(r, HeaderPartition, "-1")
	add(r, HeaderOffset, "-1")
	add(r, HeaderAttempt, "1")
	add(r, HeaderSource, source)
	finish(r, reason, now, maxBytes)
	return r
}

func add(r *kgo.Record, key, value string) {
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
}

func finish(r *kgo.Record, reason error, now time.Time, maxBytes int) {
	because := reason.Error() // it may quote a value
	if most := max(100, maxBytes/4); len(because) > most {
		because = strings.ToValidUTF8(because[:most], "") + "…"
	}
	add(r, HeaderReason, because)
	add(r, HeaderTime, now.UTC().Format(timeFormat))
	const perHeader, perRecord = 12, 64 // more than the lengths that Kafka's record format adds
	size := perRecord + len(r.Key)
	for _, h := range r.Headers {
		size += perHeader + len(h.Key) + len(h.Value)
	}
	if room := max(0, maxBytes-size); len(r.Value) > room {
		add(r, HeaderTruncated, strconv.Itoa(len(r.Value)))
		r.Value = r.Value[:max(0, room-perHeader-len(HeaderTruncated)-20)]
	}
}

// Letter is a dead letter: the record as it was, and what happened to it.
type Letter struct {
	Partition int32 // in the dead-letter topic
	Offset    int64

	Topic           string // origin
	OriginPartition int32  // -1 where the input never was a record
	OriginOffset    int64
	Source          string // name of the producer's source, where there is no origin
	Reason          string
	Time            time.Time
	Attempt         int
	Truncated       int // bytes of the value before it was cut; 0 where it was not

	Key, Value []byte
	Headers    []kgo.RecordHeader // the record's own

	Replayed bool // it was sent back
}

// Parse reads a record of the dead-letter topic. The error names the header that is missing or
// wrong.
func Parse(r *kgo.Record) (Letter, error) {
	l := Letter{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Attempt: 1}
	text := make(map[string]string)
	for _, h := range r.Headers {
		if strings.HasPrefix(h.Key, ours) {
			text[h.Key] = string(h.Value)
			continue
		}
		l.Headers = append(l.Headers, h)
	}
	l.Topic, l.Reason, l.Source = text[HeaderTopic], text[HeaderReason], text[HeaderSource]
	if l.Topic == "" {
		return l, fmt.Errorf("no dead letter at %s-%d offset %d: header %s is missing", r.Topic, r.Partition, r.Offset, HeaderTopic)
	}
	wrong := func(header string, err error) (Letter, error) {
		return l, fmt.Errorf("dead letter at %s-%d offset %d: header %s: %w", r.Topic, r.Partition, r.Offset, header, err)
	}
	partition, err := strconv.ParseInt(text[HeaderPartition], 10, 32)
	if err != nil {
		return wrong(HeaderPartition, err)
	}
	l.OriginPartition = int32(partition)
	if l.OriginOffset, err = strconv.ParseInt(text[HeaderOffset], 10, 64); err != nil {
		return wrong(HeaderOffset, err)
	}
	if l.Time, err = time.Parse(time.RFC3339, text[HeaderTime]); err != nil {
		return wrong(HeaderTime, err)
	}
	if a, ok := text[HeaderAttempt]; ok {
		if l.Attempt, err = strconv.Atoi(a); err != nil {
			return wrong(HeaderAttempt, err)
		}
	}
	if t, ok := text[HeaderTruncated]; ok {
		if l.Truncated, err = strconv.Atoi(t); err != nil {
			return wrong(HeaderTruncated, err)
		}
	}
	return l, nil
}

// MarshalJSON writes a letter for programs. Bytes that are not UTF-8 are in base64, under
// key_base64 and value_base64.
func (l Letter) MarshalJSON() ([]byte, error) {
	m := map[string]any{
		"partition": l.Partition, "offset": l.Offset, "topic": l.Topic,
		"origin_partition": l.OriginPartition, "origin_offset": l.OriginOffset,
		"reason": l.Reason, "time": l.Time.UTC().Format(timeFormat), "attempt": l.Attempt, "replayed": l.Replayed,
	}
	if l.Source != "" {
		m["source"] = l.Source
	}
	if l.Truncated > 0 {
		m["truncated"] = l.Truncated
	}
	putBytes(m, "key", l.Key)
	putBytes(m, "value", l.Value)
	if len(l.Headers) > 0 {
		var headers []map[string]any
		for _, h := range l.Headers {
			one := map[string]any{"key": h.Key}
			putBytes(one, "value", h.Value)
			headers = append(headers, one)
		}
		m["headers"] = headers
	}
	return json.Marshal(m)
}

func putBytes(m map[string]any, name string, b []byte) {
	switch {
	case b == nil:
		m[name] = nil
	case utf8.Valid(b):
		m[name] = string(b)
	default:
		m[name+"_base64"] = base64.StdEncoding.EncodeToString(b)
	}
}
