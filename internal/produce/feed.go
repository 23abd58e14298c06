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

// chunkItems is the most that a chunk holds: small beside a transaction, large beside the cost of
// handing it on.
const chunkItems = 1024

// chunk is a run of encoded items and the position behind them.
type chunk struct {
	records  []kgo.Record // of readings, in order
	letters  []*kgo.Record
	causes   map[string]int // of letters; nil where there are none
	bytes    int            // of the readings' keys and values
	position []byte
	ranges   []ackRange
	spans    []trace.Span // of the readings that are followed

	arena []byte // of the values
}

// feed takes items from the source, at the rate that is asked for, and encodes them, while the
// session writes and commits the chunks before.
type feed struct {
	cfg     Config
	src     Source
	chunks  chan *chunk
	free    chan *chunk
	err     error // set before chunks is closed; nil at the source's end
	withAck bool
	tracer  *trace.Tracer
	sampler *trace.Sampler

	recordLimit, letterLimit int // in bytes, as of broker.CheckSize

	items []source.Item
	keys  map[string][]byte // device id → key
	start time.Time
	sent  int64
}

// maxMark is more than the value of HeaderTransaction has beside the transactional id: two numbers.
const maxMark = 42

// maxKeys bounds the memory for keys; past it they are made anew.
const maxKeys = 100_000

// startFeed begins to read the source where it stands. The feed ends, and closes its channel, at
// the source's end, at its error, or when ctx is done.
func startFeed(ctx context.Context, cfg Config, src Source, limits broker.Limits) *feed {
	const ahead = 8 // chunks that may wait
	f := &feed{
		cfg: cfg, src: src, withAck: cfg.AckLog != "", tracer: cfg.Broker.Tracer(), sampler: cfg.Broker.Tracer().Sampler(),
		chunks: make(chan *chunk, ahead),
		free:   make(chan *chunk, 4*cfg.MaxRecords/chunkItems+2*ahead),
		items:  make([]source.Item, chunkItems),
		keys:   make(map[string][]byte),
		start:  time.Now(),

		recordLimit: limits.Record(cfg.Topic),
		letterLimit: min(deadletter.MaxBytes, limits.Record(cfg.DLQ)),
	}
	if f.tracer != nil {
		f.recordLimit -= 128 // its headers
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

// paceStep is how often a paced feed looks at the clock.
const paceStep = 20 * time.Millisecond

// allowed waits until the rate allows at least one item, and returns how many.
func (f *feed) allowed(ctx context.Context) (int, error) {
	most := int64(min(chunkItems, f.cfg.MaxRecords))
	if f.cfg.Rate == 0 {
		return int(most), ctx.Err()
	}
	for {
		due := int64(time.Since(f.start).Seconds()*f.cfg.Rate) + 1 - f.sent
		if due > 0 {
			// Time that was lost, to a broker that was away for example, is not made up in one
			// burst.
			if due > int64(f.cfg.Rate)+chunkItems {
				f.start = time.Now()
				f.sent = 0
				due = 1
			}
			return int(min(due, most)), ctx.Err()
		}
		next := time.Duration(float64(f.sent) / f.cfg.Rate * float64(time.Second))
		if err := retry.Sleep(ctx, min(max(time.Until(f.start.Add(next)), time.Millisecond), paceStep)); err != nil {
			return 0, err
		}
	}
}

// encode makes a chunk of items. It reuses one that was committed, where there is one.
func (f *feed) encode(items []source.Item) *chunk {
	var c *chunk
	select {
	case c = <-f.free:
		*c = chunk{records: c.records[:0], arena: c.arena[:0]}
	default:
		c = &chunk{records: make([]kgo.Record, 0, chunkItems), arena: make([]byte, 0, 192*chunkItems)}
	}
	var open map[string]int
	if f.withAck {
		open = make(map[string]int)
	}
	for i := range items {
		it := &items[i]
		if it.Err == nil {
			it.Err = it.Validate()
			if it.Err != nil {
				it.Raw = it.AppendJSON(nil)
			}
		}
		if it.Err != nil {
			f.setAside(c, it.Raw, deadletter.Because(deadletter.Unreadable, it.Err))
			continue
		}
		if err := f.add(c, it); err != nil {
			f.setAside(c, it.AppendJSON(nil), err)
			continue
		}
		if f.withAck {
			c.ranges = rangesOf(c.ranges, open, it)
		}
	}
	c.position = f.src.Position()
	return c
}

// setAside makes a dead letter of an item that is no record of the topic.
func (f *feed) setAside(c *chunk, raw []byte, reason error) {
	c.letters = append(c.letters, deadletter.FromSource(f.cfg.DLQ, f.cfg.Topic, f.src.Name(), raw, reason, time.Now(), f.letterLimit))
	if c.causes == nil {
		c.causes = make(map[string]int)
	}
	c.causes[deadletter.Cause(reason)]++
}

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

// recycle gives back a chunk whose records the client no longer holds.
func (f *feed) recycle(c *chunk) {
	select {
	case f.free <- c:
	default:
	}
}

// Headers of readings.
const (
	HeaderRepeat      = "weir-repeat" // the ordinal of a reading that the device sent again on purpose
	HeaderTransaction = "weir-tx"     // "transactional id/ordinal/records": what belongs together, with Config.MarkTransactions
)
