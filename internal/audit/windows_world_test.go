package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	pipeline    = "per_ten_seconds"
	windowTopic = "sensor_10s"
	lateTopic   = pipeline + ".late"
	poisonTopic = pipeline + ".dlq"
	windowGroup = "weir-" + pipeline
	windowSize  = 10 * time.Second
	windowDelay = 3 * time.Second
)

func newWindowWorld(t *testing.T) *world {
	w := newWorld(t, inTopic, windowTopic, lateTopic, poisonTopic)
	w.config.Wait = time.Second
	w.config.Windows = WindowConfig{
		Topic: windowTopic, Size: windowSize, Late: lateTopic, DLQ: poisonTopic, Delay: windowDelay,
	}
	return w
}

// seeded returns a random source and logs its seed.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// street is a fleet whose readings are slightly out of order, with some late readings and invalid
// records in between.
type street struct {
	rng     *rand.Rand
	devices int
	seqs    []int64
	now     time.Time
	poison  float64
}

func newStreet(rng *rand.Rand, devices int) *street {
	return &street{
		rng: rng, devices: devices, seqs: make([]int64, devices), poison: 0.01,
		now: time.Date(2026, 1, 1, 0, 1, 0, 0, time.UTC).Add(time.Duration(rng.IntN(10_000)) * time.Millisecond),
	}
}

// next returns one reading per device; event time advances by about half a second.
func (s *street) next() batch {
	s.now = s.now.Add(time.Duration(s.rng.IntN(1000)) * time.Millisecond)
	return s.round(func() time.Time {
		ts := s.now.Add(-time.Duration(s.rng.IntN(3000)) * time.Millisecond)
		if s.rng.Float64() < 0.05 {
			ts = ts.Add(-time.Duration(s.rng.IntN(20_000)) * time.Millisecond)
		}
		return ts
	})
}

// round returns one reading per device, in random order, along with some invalid records.
func (s *street) round(at func() time.Time) (b batch) {
	for _, d := range s.rng.Perm(s.devices) {
		if s.rng.Float64() < s.poison {
			b = append(b, readingJSON(d, []string{"poison", `{"device_id":"d0"}`, `{}`, ""}[s.rng.IntN(4)], "trace", "x"))
		}
		r := readingJSON(d, fmt.Sprintf(`{"device_id":"d%d","sensor":%q,"value":%v,"unit":"Cel","ts":%q,"seq":%d,"boot":""}`,
			d, []string{"temperature", "humidity"}[s.rng.IntN(2)], s.rng.NormFloat64()*100, at().Format("2006-01-02T15:04:05.000Z"), s.seqs[d]))
		if s.rng.IntN(3) == 0 {
			r.Headers = []kgo.RecordHeader{{Key: "trace", Value: []byte{1, 2}}}
		}
		s.seqs[d]++
		b = append(b, r)
	}
	return b
}

// tail returns two rounds around the end of a window: half a second before it, and a second after
// it, which is less than the delay of the watermark.
func (s *street) tail() []batch {
	end := s.now.Truncate(windowSize).Add(windowSize)
	s.now = end.Add(-500 * time.Millisecond)
	before := s.round(func() time.Time { return s.now })
	s.now = end.Add(time.Second)
	return []batch{before, s.round(func() time.Time { return s.now })}
}

// drive returns n transactions of a few rounds each.
func (s *street) drive(n int) (all []batch) {
	for range n {
		var b batch
		for range 1 + s.rng.IntN(5) {
			b = append(b, s.next()...)
		}
		all = append(all, b)
	}
	return all
}

// windower is a correct windowed pipeline. It has one watermark per input partition, which advances
// with each row or, if lazy, every fifty rows. The hooks inject faults.
type windower struct {
	session *kgo.GroupTransactSession
	lazy    bool
	iso     bool // timestamps as ISO 8601
	open    map[windowKey]*tumbling
	clocks  map[int32]*watermark
	done    int64
	end     int64 // number of records of a bounded input; 0 if unbounded

	skip    func(r *kgo.Record) bool                      // rows to ignore
	early   func(r *kgo.Record) bool                      // rows to treat as late
	spoil   func(out *kgo.Record) []*kgo.Record           // replaces output records
	counted func(in *kgo.Record, emit func(topic string)) // sees the rows in windows, and may also write them to other topics
}

type tumbling struct {
	partition             int32
	count                 int64
	minimum, maximum, sum float64
}

type watermark struct{ largest, at int64 }

func (w *world) newWindower(lazy, iso bool) *windower {
	w.t.Helper()
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(w.config.Broker.Brokers...),
		kgo.TransactionalID("windows-0"), kgo.ConsumerGroup(windowGroup), kgo.ConsumeTopics(inTopic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(session.Close)
	return &windower{session: session, lazy: lazy, iso: iso, open: make(map[windowKey]*tumbling), clocks: make(map[int32]*watermark)}
}

func (c *windower) step(ctx context.Context) error {
	poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	fetches := c.session.PollFetches(poll)
	cancel()
	if fetches.NumRecords() == 0 {
		return ctx.Err()
	}
	if err := c.session.Begin(); err != nil {
		return err
	}
	out := c.take(fetches.Records())
	if err := c.session.ProduceSync(ctx, out...).FirstErr(); err != nil {
		return err
	}
	committed, err := c.session.End(ctx, kgo.TryCommit)
	if err == nil && !committed {
		err = fmt.Errorf("rebalanced")
	}
	return err
}

// take processes the records of one transaction. After the last record of a bounded input, it
// closes all windows.
func (c *windower) take(in []*kgo.Record) (out []*kgo.Record) {
	emit := func(r *kgo.Record) {
		if c.spoil == nil {
			out = append(out, r)
			return
		}
		out = append(out, c.spoil(r)...)
	}
	for i, r := range in {
		c.row(r, emit)
		if !c.lazy || i%50 == 49 {
			c.tick(emit)
		}
	}
	c.tick(emit)
	c.done += int64(len(in))
	if c.end > 0 && c.done >= c.end {
		c.fire(emit, func(windowKey, *tumbling) bool { return true })
	}
	return out
}

// row processes one record.
func (c *windower) row(r *kgo.Record, emit func(*kgo.Record)) {
	var v struct {
		Device string    `json:"device_id"`
		Sensor string    `json:"sensor"`
		Value  *float64  `json:"value"`
		TS     time.Time `json:"ts"`
	}
	if json.Unmarshal(r.Value, &v) != nil || v.Value == nil {
		emit(diverted(poisonTopic, r))
		return
	}
	if c.skip != nil && c.skip(r) {
		return
	}
	ts, clock := v.TS.UnixMilli(), c.clocks[r.Partition]
	if clock == nil {
		clock = &watermark{largest: ts, at: -1 << 62}
		c.clocks[r.Partition] = clock
	}
	k := windowKey{v.Device, v.Sensor, ts - ts%windowSize.Milliseconds()}
	if k.start+windowSize.Milliseconds() <= clock.at || c.early != nil && c.early(r) {
		emit(diverted(lateTopic, r))
		return
	}
	x := c.open[k]
	if x == nil {
		x = &tumbling{partition: r.Partition, minimum: *v.Value, maximum: *v.Value}
		c.open[k] = x
	}
	x.count++
	x.minimum, x.maximum, x.sum = min(x.minimum, *v.Value), max(x.maximum, *v.Value), x.sum+*v.Value
	clock.largest = max(clock.largest, ts)
	if c.counted != nil {
		c.counted(r, func(topic string) { emit(diverted(topic, r)) })
	}
}

// tick advances the watermarks and closes the windows that they have passed.
func (c *windower) tick(emit func(*kgo.Record)) {
	moved := false
	for _, clock := range c.clocks {
		if at := clock.largest - windowDelay.Milliseconds(); at > clock.at {
			moved = moved || at/windowSize.Milliseconds() > clock.at/windowSize.Milliseconds()
			clock.at = at
		}
	}
	if moved {
		c.fire(emit, func(k windowKey, x *tumbling) bool {
			return k.start+windowSize.Milliseconds() <= c.clocks[x.partition].at
		})
	}
}

func (c *windower) fire(emit func(*kgo.Record), due func(windowKey, *tumbling) bool) {
	for k, x := range c.open {
		if due(k, x) {
			emit(c.result(k, x))
			delete(c.open, k)
		}
	}
}

func (c *windower) result(k windowKey, x *tumbling) *kgo.Record {
	format := "2006-01-02 15:04:05"
	if c.iso {
		format = "2006-01-02T15:04:05.000Z"
	}
	at := time.UnixMilli(k.start).UTC()
	value, _ := json.Marshal(map[string]any{
		"window_start": at.Format(format), "window_end": at.Add(windowSize).Format(format), "device_id": k.device, "sensor": k.sensor,
		"readings": x.count, "minimum": x.minimum, "maximum": x.maximum, "average": x.sum / float64(x.count), "total": x.sum,
	})
	return &kgo.Record{Topic: windowTopic, Partition: x.partition, Key: []byte(k.device), Value: value}
}

// diverted returns a record as it is written to the late topic or as a dead letter.
func diverted(topic string, r *kgo.Record) *kgo.Record {
	l := asDeadLetter(r)
	l.Topic = topic
	return l
}

// run processes n records, one transaction per poll.
func (w *world) run(c *windower, n int64) {
	w.t.Helper()
	if w.config.Windows.Bounded {
		c.end = n
	}
	for c.done < n {
		if err := c.step(w.ctx); err != nil {
			w.t.Fatalf("run the windows: %v after %d of %d records", err, c.done, n)
		}
	}
	c.session.Close()
}

// moveOffsets commits offsets of the windows' group without results.
func (w *world) moveOffsets(change func(partition int32, at int64) int64) {
	w.t.Helper()
	if err := w.tryMoveOffsets(change); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) tryMoveOffsets(change func(partition int32, at int64) int64) error {
	now, err := w.admin.FetchOffsets(w.ctx, windowGroup)
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	for p, o := range now[inTopic] {
		offsets.AddOffset(inTopic, p, change(p, o.At), -1)
	}
	return w.admin.CommitAllOffsets(w.ctx, windowGroup, offsets)
}
