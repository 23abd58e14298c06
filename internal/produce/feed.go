package produce

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/source"
	"weir.example/weir/internal/trace"
)

// chunkItems bounds the items of a chunk. It is small compared with a transaction, but large enough
// that the cost of handing over a chunk is negligible.
const chunkItems = 1024

// chunk is a sequence of encoded items and the position after them.
type chunk struct {
	records     []kgo.Record   // of readings, in order
	deadLetters []*kgo.Record  // dead letters
	messages    []*kgo.Record  // for topics of their own
	facts       []*kgo.Record  // of the source, for the topic of the positions
	causes      map[string]int // of the dead letters; nil if there are none
	bytes       int            // of the keys and values of the readings
	position    []byte
	ranges      []ackRange
	spans       []trace.Span // of the traced readings

	arena []byte // backs the values
}

// feed reads items from the source at the configured rate and encodes them, while the session
// writes and commits earlier chunks.
type feed struct {
	cfg     Config
	src     Source
	chunks  chan *chunk
	free    chan *chunk // for reuse
	err     error       // set before chunks is closed; nil at the end of the source
	withAck bool
	tracer  *trace.Tracer
	sampler *trace.Sampler

	recordLimit, deadLetterLimit int // in bytes, as in broker.CheckSize
	limits                       broker.Limits

	items []source.Item
	keys  map[string][]byte // device id → key
	start time.Time
	sent  int64
}

// maxMark bounds the bytes of HeaderTransaction's value without the transactional id: two numbers.
const maxMark = 42

// maxKeys bounds the cached keys; beyond it, all are discarded.
const maxKeys = 100_000

// startFeed starts reading the source from its current position. The feed ends, and closes its
// channel, at the end of the source, at an error, or when ctx is done. The caller must wait for the
// channel to be closed before it uses the source again.
func startFeed(ctx context.Context, cfg Config, src Source, limits broker.Limits) *feed {
	const ahead = 8 // buffered chunks
	f := &feed{
		cfg: cfg, src: src, withAck: cfg.AckLog != "", tracer: cfg.Broker.Tracer(), sampler: cfg.Broker.Tracer().Sampler(),
		chunks: make(chan *chunk, ahead),
		free:   make(chan *chunk, 4*cfg.MaxRecords/chunkItems+2*ahead),
		items:  make([]source.Item, chunkItems),
		keys:   make(map[string][]byte),
		start:  time.Now(),

		limits:          limits,
		recordLimit:     limits.Record(cfg.Topic),
		deadLetterLimit: min(deadletter.MaxBytes, limits.Record(cfg.DLQ)),
	}
	if f.tracer != nil {
		f.recordLimit -= 128 // trace headers
	}
	if cfg.MarkTransactions {
		f.recordLimit -= broker.HeaderOverhead + len(HeaderTransaction) + len(transactionalID(src.Name())) + maxMark
	}
	go f.run(ctx)
	return f
}

func (f *feed) run(ctx context.Context) {
	defer close(f.chunks)
	for {
		n, err := f.allowed(ctx)
		if err != nil {
			return
		}
		n, err = f.src.Next(f.items[:n])
		if n > 0 {
			f.sent += int64(n)
			c := f.encode(f.items[:n])
			select {
			case f.chunks <- c:
			case <-ctx.Done():
				return
			}
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			f.err = &sourceError{err}
			return
		}
	}
}

// paceStep bounds the pauses of a paced feed.
const paceStep = 20 * time.Millisecond

// allowed waits until the rate allows at least one item, and returns the number allowed.
func (f *feed) allowed(ctx context.Context) (int, error) {
	limit := int64(min(chunkItems, f.cfg.MaxRecords))
	if f.cfg.Rate == 0 {
		return int(limit), ctx.Err()
	}
	for {
		due := int64(time.Since(f.start).Seconds()*f.cfg.Rate) + 1 - f.sent
		if due > 0 {
			// Do not make up for lost time, such as an outage of the broker, in one burst.
			if due > int64(f.cfg.Rate)+chunkItems {
				f.start = time.Now()
				f.sent = 0
				due = 1
			}
			return int(min(due, limit)), ctx.Err()
		}
		next := time.Duration(float64(f.sent) / f.cfg.Rate * float64(time.Second))
		if err := retry.Sleep(ctx, min(max(time.Until(f.start.Add(next)), time.Millisecond), paceStep)); err != nil {
			return 0, err
		}
	}
}

// encode encodes items into a chunk. It reuses a committed chunk if there is one.
func (f *feed) encode(items []source.Item) *chunk {
	var c *chunk
	select {
	case c = <-f.free:
		*c = chunk{records: c.records[:0], arena: c.arena[:0]}
	default:
		c = &chunk{records: make([]kgo.Record, 0, chunkItems), arena: make([]byte, 0, 192*chunkItems)}
	}
	var last map[string]int
	if f.withAck {
		last = make(map[string]int)
	}
	for i := range items {
		it := &items[i]
		if it.Message != nil {
			f.addMessage(c, it.Message)
			continue
		}
		if it.Fact != nil {
			c.facts = append(c.facts, &kgo.Record{Topic: f.cfg.Progress, Key: []byte(factKeys(f.src.Name()) + it.Fact.Key), Value: it.Fact.Value})
			continue
		}
		if it.Err == nil {
			it.Err = it.Validate()
			if it.Err != nil {
				it.Raw = it.AppendJSON(nil)
			}
		}
		if it.Err != nil {
			f.reject(c, it.Raw, deadletter.Because(deadletter.Unreadable, it.Err), it.Origin...)
			continue
		}
		if err := f.add(c, it); err != nil {
			f.reject(c, it.AppendJSON(nil), err)
			continue
		}
		if f.withAck {
			c.ranges = rangesOf(c.ranges, last, it)
		}
	}
	c.position = f.src.Position()
	return c
}

// reject adds a dead letter for an item that cannot be a record of the topic.
func (f *feed) reject(c *chunk, raw []byte, reason error, origin ...source.Attribute) {
	c.deadLetters = append(c.deadLetters, deadletter.FromSource(f.cfg.DLQ, f.cfg.Topic, f.src.Name(), raw, headersOf(origin), reason, time.Now(), f.deadLetterLimit))
	if c.causes == nil {
		c.causes = make(map[string]int)
	}
	c.causes[deadletter.Cause(reason)]++
}

func headersOf(all []source.Attribute) (headers []kgo.RecordHeader) {
	for _, a := range all {
		headers = append(headers, kgo.RecordHeader{Key: a.Name, Value: []byte(a.Value)})
	}
	return headers
}

// addMessage adds the record of a message that is kept as it is. One that is too large is a dead
// letter.
func (f *feed) addMessage(c *chunk, m *source.Message) {
	r := &kgo.Record{Topic: m.Topic, Key: []byte(m.Key), Value: m.Value, Timestamp: time.UnixMilli(m.TS), Headers: headersOf(m.Headers)}
	if err := broker.CheckSize(r, f.limits.Record(m.Topic)); err != nil {
		f.reject(c, m.Value, err, m.Headers...)
		return
	}
	c.messages = append(c.messages, r)
}

// add adds the record of a reading, or returns why it cannot.
func (f *feed) add(c *chunk, it *source.Item) error {
	from := len(c.arena)
	arena, err := f.cfg.Encoding.Append(c.arena, &it.Reading)
	if err != nil {
		return err
	}
	key := f.key(it.DeviceID)
	r := kgo.Record{Topic: f.cfg.Topic, Key: key, Value: arena[from:len(arena):len(arena)]}
	if it.Repeat > 0 {
		r.Headers = []kgo.RecordHeader{{Key: HeaderRepeat, Value: strconv.AppendInt(nil, int64(it.Repeat), 10)}}
	}
	if err := broker.CheckSize(&r, f.recordLimit); err != nil {
		return err
	}
	c.arena, c.records = arena, append(c.records, r)
	if f.sampler.Take() {
		c.spans = append(c.spans, f.tracer.Ingest(&c.records[len(c.records)-1], f.src.Name()))
	}
	c.bytes += len(key) + len(c.arena) - from
	return nil
}

// key returns the cached record key of a device.
func (f *feed) key(device string) []byte {
	if k, ok := f.keys[device]; ok {
		return k
	}
	if len(f.keys) >= maxKeys {
		clear(f.keys)
	}
	k := []byte(device)
	f.keys[device] = k
	return k
}

// recycle makes a chunk available for reuse once the client no longer refers to its records.
func (f *feed) recycle(c *chunk) {
	select {
	case f.free <- c:
	default:
	}
}

// Headers of readings.
const (
	HeaderRepeat      = "weir-repeat" // the ordinal of a reading that the device sent again on purpose
	HeaderTransaction = "weir-tx"     // "transactional id/ordinal/records" of the transaction, with Config.MarkTransactions
)
