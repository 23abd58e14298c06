package console

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// Bounds of a live view of a topic. It is shared by all pages that show the topic.
const (
	tailBudget = 2000 // records per second
	tailBack   = 50
	tailKept   = 100
)

// tails holds the live views of topics.
type tails struct {
	broker broker.Config
	decode decoder
	now    func() time.Time
	logger *slog.Logger

	reading sync.WaitGroup // the goroutines of all tails
}

type tail struct {
	all    *tails
	topic  string
	stop   context.CancelFunc
	mu     sync.Mutex
	rows   []*kgo.Record // newest last
	total  int64         // read and skipped
	marks  []rateMark
	jumped time.Time
	read   bool // the end has been reached at least once
}

type rateMark struct {
	at    time.Time
	total int64
}

// feed starts reading a topic. The hub shares feeds of the same name, so each topic is read once.
func (t *tails) feed(topic string) (feed, error) {
	if topic == "" {
		return nil, badRequest("tail needs a topic")
	}
	ctx, stop := context.WithCancel(context.Background())
	one := &tail{all: t, topic: topic, stop: stop}
	f := follower{broker: t.broker, topic: topic, budget: tailBudget, back: tailBack, logger: t.logger, reached: one.reached}
	t.reading.Go(func() { f.run(ctx, one.receive) })
	return one, nil
}

func (t *tail) reached(time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = true
}

func (t *tail) receive(records []*kgo.Record, skipped int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total += int64(len(records)) + skipped
	if skipped > 0 {
		t.jumped = t.all.now()
	}
	t.rows = append(t.rows, records...)
	if extra := len(t.rows) - tailKept; extra > 0 {
		t.rows = slices.Delete(t.rows, 0, extra)
	}
}

type tailFrame struct {
	Topic   string      `json:"topic"`
	Rate    float64     `json:"rate"`
	Sampled bool        `json:"sampled"`
	Reading bool        `json:"reading,omitempty"` // the end has not been reached yet, so there may be more
	Rows    []recordRow `json:"rows"`              // newest first
}

func (t *tail) frame() any {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.all.now()
	t.marks = append(t.marks, rateMark{now, t.total})
	for len(t.marks) > 2 && now.Sub(t.marks[0].at) > 5*time.Second {
		t.marks = t.marks[1:]
	}
	f := tailFrame{Topic: t.topic, Rate: rate(t.total-t.marks[0].total, now.Sub(t.marks[0].at).Seconds()), Sampled: now.Sub(t.jumped) < 10*time.Second, Reading: !t.read, Rows: []recordRow{}}
	for i := len(t.rows) - 1; i >= 0; i-- {
		f.Rows = append(f.Rows, rowOf(t.rows[i], t.all.decode))
	}
	return f
}

func (t *tail) period() time.Duration { return 500 * time.Millisecond }
func (t *tail) close()                { t.stop() }

// Bounds of reading records of a topic.
const (
	maxFound   = 500
	maxScanned = 200_000
	scanTime   = 10 * time.Second
)

// recordList is the response of GET /api/records.
type recordList struct {
	Rows    []recordRow `json:"rows"`
	Scanned int         `json:"scanned"`
	More    bool        `json:"more"` // it stopped at a limit
}

// recordQuery is where to start reading a topic and what to search for.
type recordQuery struct {
	topic     string
	partition int32 // -1: all
	from      string
	offset    int64     // for from=offset
	at        time.Time // for from=time
	text      string    // substring of key or value, lower case; case-insensitive
	limit     int
}

// records serves GET
// /api/records?topic=&partition=&from=end|start|offset|time&offset=&time=&q=&limit=
func (c *Console) records(r *http.Request) (any, error) {
	q := recordQuery{topic: r.FormValue("topic"), from: r.FormValue("from"), text: strings.ToLower(r.FormValue("q"))}
	partition, err := intParam(r, "partition", -1, -1, 1<<20)
	if err != nil {
		return nil, err
	}
	q.partition = int32(partition) //nolint:gosec // bounded above
	limit, err := intParam(r, "limit", 100, 1, maxFound)
	if err != nil {
		return nil, err
	}
	q.limit = int(limit)
	switch q.from {
	case "":
		q.from = "end"
	case "end", "start":
	case "offset":
		if q.offset, err = intParam(r, "offset", 0, 0, 1<<62); err != nil {
			return nil, err
		}
	case "time":
		if q.at, err = time.Parse(time.RFC3339, r.FormValue("time")); err != nil {
			return nil, badRequest("invalid time=%s: must be like 2026-01-31T12:00:00Z", r.FormValue("time"))
		}
	default:
		return nil, badRequest("invalid from=%s: must be end, start, offset or time", q.from)
	}
	return c.find(r.Context(), q)
}

// find reads the matching records; with from=end, the newest ones.
func (c *Console) find(ctx context.Context, q recordQuery) (recordList, error) {
	list := recordList{Rows: []recordRow{}}
	parts, err := c.ranges(ctx, &q)
	if err != nil {
		return list, err
	}
	ctx, cancel := context.WithTimeout(ctx, scanTime)
	defer cancel()
	var found []*kgo.Record
	err = scan(ctx, c.cfg.Broker, q.topic, parts, func(r *kgo.Record) error {
		if list.Scanned++; list.Scanned > maxScanned {
			return errEnough
		}
		if !q.matches(r) {
			return nil
		}
		found = append(found, r)
		if len(found) >= q.limit && q.from != "end" {
			return errEnough
		}
		return nil
	})
	list.More = err != nil
	if err != nil && !errors.Is(err, errEnough) && ctx.Err() == nil {
		return list, err
	}
	if q.from == "end" {
		slices.SortStableFunc(found, func(a, b *kgo.Record) int {
			return cmp.Or(b.Timestamp.Compare(a.Timestamp), cmp.Compare(b.Offset, a.Offset))
		})
		found = found[:min(len(found), q.limit)]
	}
	c.readers.await(ctx, found)
	for _, r := range found {
		list.Rows = append(list.Rows, rowOf(r, c.tails.decode))
	}
	return list, nil
}

func (q *recordQuery) matches(r *kgo.Record) bool {
	return q.text == "" || strings.Contains(strings.ToLower(string(r.Key)), q.text) || strings.Contains(strings.ToLower(string(r.Value)), q.text)
}

// ranges returns the offsets to read, by partition.
func (c *Console) ranges(ctx context.Context, q *recordQuery) (map[int32]offsetRange, error) {
	starts, err := c.admin.ListStartOffsets(ctx, q.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, notFound("topic %s: %w", q.topic, err)
	}
	ends, err := c.admin.ListCommittedOffsets(ctx, q.topic)
	if err != nil {
		return nil, err
	}
	var after kadm.ListedOffsets
	if q.from == "time" {
		if after, err = c.admin.ListOffsetsAfterMilli(ctx, q.at.UnixMilli(), q.topic); err != nil {
			return nil, err
		}
	}
	parts := make(map[int32]offsetRange)
	starts.Each(func(start kadm.ListedOffset) {
		p := start.Partition
		if q.partition >= 0 && p != q.partition {
			return
		}
		end, _ := ends.Lookup(q.topic, p)
		at := start.Offset
		switch q.from {
		case "end":
			back := int64(q.limit) * 3 / 2 // transaction markers also occupy offsets
			if q.text != "" {
				back = maxScanned / int64(len(starts[q.topic]))
			}
			at = end.Offset - back
		case "offset":
			at = q.offset
		case "time":
			if o, ok := after.Lookup(q.topic, p); ok {
				at = o.Offset
			}
		}
		parts[p] = offsetRange{max(at, start.Offset), end.Offset}
	})
	return parts, nil
}
