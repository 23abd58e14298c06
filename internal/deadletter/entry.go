// Package deadletter defines the dead-letter topic, which keeps records that could not be
// processed.
//
//	entry.go   Entry: the record with its origin and the reason
//	cause.go   causes, by which dead letters are counted
//	list.go    listing dead letters
//	replay.go  replaying dead letters to their topic after a fix, each at most once
package deadletter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// Headers of a dead letter, after those of the record.
const (
	HeaderTopic     = "weir-dlq-topic"     // topic that the record was read from, or intended for
	HeaderPartition = "weir-dlq-partition" // decimal; -1 if the input was never a record
	HeaderOffset    = "weir-dlq-offset"    // decimal; -1 likewise
	HeaderReason    = "weir-dlq-reason"
	HeaderTime      = "weir-dlq-time"      // RFC 3339 in UTC with milliseconds
	HeaderAttempt   = "weir-dlq-attempt"   // 1, incremented by each replay after which the record failed again
	HeaderSource    = "weir-dlq-source"    // name of the producer's source, if the input was never a record
	HeaderTruncated = "weir-dlq-truncated" // decimal: length of the value before truncation, in bytes

	// HeaderReplayed marks a replayed record: "dead-letter topic/partition/offset".
	HeaderReplayed = "weir-replayed"
)

// headerPrefix is the prefix of the headers that Weir adds to a dead letter.
const headerPrefix = "weir-dlq-"

// MaxBytes is the largest dead letter: Kafka's default limit (message.max.bytes 1,048,588) less the
// overhead of a batch.
const MaxBytes = 1_000_000

// timeFormat is RFC 3339 with milliseconds, for times in UTC.
const timeFormat = "2006-01-02T15:04:05.000Z"

// Record returns the dead letter of a record: the same key, value and headers, followed by Weir's
// headers. A value that would make it larger than maxBytes is truncated, and HeaderTruncated has
// its original length.
func Record(dlq string, in *kgo.Record, reason error, now time.Time, maxBytes int) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(in.Headers)+8)
	attempt := 1
	for _, h := range in.Headers {
		switch {
		case h.Key == HeaderAttempt:
			if n, err := strconv.Atoi(string(h.Value)); err == nil {
				attempt = n + 1
			}
		case strings.HasPrefix(h.Key, headerPrefix):
		default:
			headers = append(headers, h)
		}
	}
	r := &kgo.Record{Topic: dlq, Key: in.Key, Value: in.Value, Headers: headers}
	addHeader(r, HeaderTopic, in.Topic)
	addHeader(r, HeaderPartition, strconv.Itoa(int(in.Partition)))
	addHeader(r, HeaderOffset, strconv.FormatInt(in.Offset, 10))
	addHeader(r, HeaderAttempt, strconv.Itoa(attempt))
	finish(r, reason, now, maxBytes)
	return r
}

// FromSource returns the dead letter of raw input that never became a record, such as a row of a
// file, with headers that say where it came from. It is truncated to maxBytes as in Record.
func FromSource(dlq, topic, source string, raw []byte, headers []kgo.RecordHeader, reason error, now time.Time, maxBytes int) *kgo.Record {
	r := &kgo.Record{Topic: dlq, Value: raw, Headers: headers}
	addHeader(r, HeaderTopic, topic)
	addHeader(r, HeaderPartition, "-1")
	addHeader(r, HeaderOffset, "-1")
	addHeader(r, HeaderAttempt, "1")
	addHeader(r, HeaderSource, source)
	finish(r, reason, now, maxBytes)
	return r
}

func addHeader(r *kgo.Record, key, value string) {
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
}

// finish adds the reason and the time, and truncates the value if needed.
func finish(r *kgo.Record, reason error, now time.Time, maxBytes int) {
	text := reason.Error() // may quote a value, so its length is bounded
	if limit := max(100, maxBytes/4); len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	addHeader(r, HeaderReason, text)
	addHeader(r, HeaderTime, now.UTC().Format(timeFormat))
	const perHeader, perRecord = 12, 64 // upper bounds of the overhead in Kafka's record format
	size := perRecord + len(r.Key)
	for _, h := range r.Headers {
		size += perHeader + len(h.Key) + len(h.Value)
	}
	if room := max(0, maxBytes-size); len(r.Value) > room {
		addHeader(r, HeaderTruncated, strconv.Itoa(len(r.Value)))
		r.Value = bytes.Clone(r.Value[:max(0, room-perHeader-len(HeaderTruncated)-20)]) // so that the rest can be freed
	}
}

// Entry is a dead letter: the original record, its origin, and why it failed.
type Entry struct {
	Partition int32 // in the dead-letter topic
	Offset    int64

	Topic           string // origin
	OriginPartition int32  // -1 if the input was never a record
	OriginOffset    int64
	Source          string // name of the producer's source, if the input was never a record
	Reason          string
	Time            time.Time
	Attempt         int
	Truncated       int // length of the value before truncation, in bytes; 0 if it is complete

	Key, Value []byte
	Headers    []kgo.RecordHeader // of the record itself

	Replayed bool // it has been replayed
}

// Parse parses a record of the dead-letter topic. The error names the header that is missing or
// invalid.
func Parse(r *kgo.Record) (Entry, error) {
	l := Entry{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Attempt: 1}
	values := make(map[string]string)
	for _, h := range r.Headers {
		if strings.HasPrefix(h.Key, headerPrefix) {
			values[h.Key] = string(h.Value)
			continue
		}
		l.Headers = append(l.Headers, h)
	}
	l.Topic, l.Reason, l.Source = values[HeaderTopic], values[HeaderReason], values[HeaderSource]
	if l.Topic == "" {
		return l, fmt.Errorf("not a dead letter at %s-%d offset %d: header %s is missing", r.Topic, r.Partition, r.Offset, HeaderTopic)
	}
	invalid := func(header string, err error) (Entry, error) {
		return l, fmt.Errorf("dead letter at %s-%d offset %d: header %s: %w", r.Topic, r.Partition, r.Offset, header, err)
	}
	partition, err := strconv.ParseInt(values[HeaderPartition], 10, 32)
	if err != nil {
		return invalid(HeaderPartition, err)
	}
	l.OriginPartition = int32(partition)
	if l.OriginOffset, err = strconv.ParseInt(values[HeaderOffset], 10, 64); err != nil {
		return invalid(HeaderOffset, err)
	}
	if l.Time, err = time.Parse(time.RFC3339, values[HeaderTime]); err != nil {
		return invalid(HeaderTime, err)
	}
	if text, ok := values[HeaderAttempt]; ok {
		if l.Attempt, err = strconv.Atoi(text); err != nil {
			return invalid(HeaderAttempt, err)
		}
	}
	if text, ok := values[HeaderTruncated]; ok {
		if l.Truncated, err = strconv.Atoi(text); err != nil {
			return invalid(HeaderTruncated, err)
		}
	}
	return l, nil
}

// MarshalJSON encodes a dead letter for programs. Keys and values that are not UTF-8 are encoded in
// base64, as key_base64 and value_base64.
func (l Entry) MarshalJSON() ([]byte, error) {
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
	broker.PutBytes(m, "key", l.Key)
	broker.PutBytes(m, "value", l.Value)
	if len(l.Headers) > 0 {
		m["headers"] = broker.JSONHeaders(l.Headers)
	}
	return json.Marshal(m)
}
