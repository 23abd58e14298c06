package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
	guards "weir.example/weir/internal/guard"
	"weir.example/weir/internal/site"
)

// deadLetterPage is the page of dead letters, with their counts.
type deadLetterPage struct {
	broker  broker.Config
	site    site.Site
	cluster *cluster
	counted deadLetterCount
}

// topics returns the topics of dead letters and of late rows, which share a format: those of the
// readings and of the pipelines.
func (d *deadLetterPage) topics() []string {
	var all []string
	for _, t := range d.cluster.state().Topics {
		if t.Name == d.site.DeadLetters() || strings.HasSuffix(t.Name, ".dlq") || strings.HasSuffix(t.Name, ".late") {
			all = append(all, t.Name)
		}
	}
	return all
}

// deadLetterCount counts dead letters. Offset differences would include transaction markers.
type deadLetterCount struct {
	mu    sync.Mutex
	next  map[partitionOf]int64 // offset up to which records have been counted
	count map[string]int64      // by topic
}

type partitionOf struct {
	topic string
	id    int32
}

// mostCounted is the maximum number of offsets that are read to count the records of a topic; for
// larger topics, the number of offsets is shown.
const mostCounted = 100_000

func (l *deadLetterCount) total() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum int64
	for _, n := range l.count {
		sum += n
	}
	return sum
}

// of returns the number of dead letters in a topic; ok is false if they are not counted.
func (l *deadLetterCount) of(topic string) (n int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, ok = l.count[topic]
	return n, ok
}

// count counts the records that arrived in the dead-letter topics since the last call.
func (d *deadLetterPage) count(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	state := d.cluster.state()
	for _, name := range d.topics() {
		if strings.HasSuffix(name, ".late") {
			continue
		}
		d.countTopic(ctx, state.topic(name))
	}
}

func (d *deadLetterPage) countTopic(ctx context.Context, t *topicState) {
	parts := make(map[int32]offsetRange)
	var offsets, records int64
	for _, p := range t.Partitions {
		from := max(p.Start, d.counted.next[partitionOf{t.Name, p.ID}])
		if from < p.Stable {
			parts[p.ID] = offsetRange{from, p.Stable}
			offsets += p.Stable - from
		}
	}
	if offsets == 0 {
		return
	}
	records = offsets
	if offsets <= mostCounted {
		records = 0
		if err := scan(ctx, d.broker, t.Name, parts, func(*kgo.Record) error { records++; return nil }); err != nil {
			return // retried at the next call
		}
	}
	d.counted.mu.Lock()
	defer d.counted.mu.Unlock()
	d.counted.count[t.Name] += records
	for id, s := range parts {
		d.counted.next[partitionOf{t.Name, id}] = s.to
	}
}

// deadLetterRow is a dead letter on the page.
type deadLetterRow struct {
	Partition int32       `json:"partition"`
	Offset    int64       `json:"offset"`
	Topic     string      `json:"topic"` // the original topic
	From      int32       `json:"origin_partition"`
	At        int64       `json:"origin_offset"`
	Source    string      `json:"source,omitempty"`
	Reason    string      `json:"reason"`
	Time      int64       `json:"t"`
	Attempt   int         `json:"attempt"`
	Truncated int         `json:"truncated,omitempty"` // size before truncation, bytes
	Replayed  bool        `json:"replayed"`
	Unsent    string      `json:"unsendable,omitempty"` // why it cannot be replayed
	Key       *payload    `json:"key"`
	Value     *payload    `json:"value"`
	Bytes     []byte      `json:"bytes"` // start of the value, for the hex dump
	Headers   []headerRow `json:"headers,omitempty"`
}

type deadLetterTopic struct {
	Name    string `json:"name"`
	Records int64  `json:"records"` // if not counted: offsets, including transaction markers
}

type deadLetterList struct {
	Topics []deadLetterTopic `json:"topics"`
	Topic  string            `json:"topic"`
	Rows   []deadLetterRow   `json:"rows"`  // newest first
	Total  int               `json:"total"` // matching
	More   bool              `json:"more"`  // there are more, or time ran out
}

const (
	maxDeadLetters  = 200
	deadLetterBytes = 4096
	deadLetterTime  = 20 * time.Second
)

// list serves GET /api/letters?topic=&reason=&pending=true
func (d *deadLetterPage) list(r *http.Request) (any, error) {
	list := deadLetterList{Topics: []deadLetterTopic{}, Topic: r.FormValue("topic"), Rows: []deadLetterRow{}}
	state := d.cluster.state()
	for _, name := range d.topics() {
		t := state.topic(name)
		n, ok := d.counted.of(name)
		if !ok {
			n = t.Records
		}
		list.Topics = append(list.Topics, deadLetterTopic{name, n})
	}
	if list.Topic == "" {
		list.Topic = d.site.DeadLetters()
	}
	if !slices.ContainsFunc(list.Topics, func(t deadLetterTopic) bool { return t.Name == list.Topic }) {
		return list, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), deadLetterTime)
	defer cancel()
	filter := deadletter.Filter{Reason: r.FormValue("reason"), Pending: r.FormValue("pending") == "true"}
	err := deadletter.List(ctx, d.broker, deadletter.Topics{DLQ: list.Topic}, filter, func(l deadletter.Entry) error {
		list.Total++
		list.Rows = append(list.Rows, deadLetterRowOf(&l))
		if len(list.Rows) > 2*maxDeadLetters {
			list.newest()
		}
		return nil
	})
	if ctx.Err() != nil && r.Context().Err() == nil {
		err, list.More = nil, true
	}
	list.newest()
	list.More = list.More || list.Total > len(list.Rows)
	return list, err
}

// newest drops all but the newest dead letters.
func (l *deadLetterList) newest() {
	slices.SortStableFunc(l.Rows, func(a, b deadLetterRow) int { return int(b.Time - a.Time) })
	l.Rows = l.Rows[:min(len(l.Rows), maxDeadLetters)]
}

func deadLetterRowOf(l *deadletter.Entry) deadLetterRow {
	row := deadLetterRow{
		Partition: l.Partition, Offset: l.Offset, Topic: l.Topic, From: l.OriginPartition, At: l.OriginOffset, Source: l.Source,
		Reason: l.Reason, Time: l.Time.UnixMilli(), Attempt: l.Attempt, Truncated: l.Truncated, Replayed: l.Replayed,
		Unsent: l.Unreplayable(), Key: show(l.Key, nil), Value: show(l.Value, nil), Bytes: l.Value[:min(len(l.Value), deadLetterBytes)],
	}
	for _, h := range l.Headers {
		row.Headers = append(row.Headers, headerOf(h))
	}
	return row
}

func headerOf(h kgo.RecordHeader) headerRow { return headerRow{h.Key, show(h.Value, nil)} }

// replay serves POST /api/letters/replay {"topic", "reason", "dry"}: matching dead letters that
// have not been replayed are written back to their original topics.
func (d *deadLetterPage) replay(r *http.Request) (any, error) {
	var in struct {
		Topic  string `json:"topic"`
		Reason string `json:"reason"`
		Dry    bool   `json:"dry"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	guards.Note(r.Context(), "replay dead letters of %s, reason %q, dry run: %t", in.Topic, in.Reason, in.Dry)
	if !slices.Contains(d.topics(), in.Topic) {
		return nil, badRequest("%q is not a dead-letter topic", in.Topic)
	}
	result, err := deadletter.Replay(r.Context(), d.broker, deadletter.ReplayConfig{
		Topics: deadletter.Topics{DLQ: in.Topic}, Filter: deadletter.Filter{Reason: in.Reason}, DryRun: in.Dry,
	})
	if errors.Is(err, context.Canceled) {
		err = errors.New("replay interrupted: replayed records are marked and will not be replayed again")
	}
	return result, err
}
