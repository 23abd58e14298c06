package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/flow"
	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/retry"
)

// latency has the latencies of one workload on one side, in milliseconds.
type latency struct {
	Side     string  `json:"side"`
	Workload string  `json:"workload"`
	Offered  float64 `json:"readings_per_second"` // during the measurement
	Results  int     `json:"results"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

func (l latency) String() string {
	return fmt.Sprintf("%-8s %-7s p50 %4.0f ms  p99 %4.0f ms  max %4.0f ms  %d results at %.0f readings/s", l.Side, l.Workload, l.P50, l.P99, l.Max, l.Results, l.Offered)
}

const (
	settleTime = 8 * time.Second  // from the first result to the start of measuring: startup, compilation, backlog
	readyLimit = time.Minute      // until the first result
	drainLimit = 10 * time.Second // until the last result that counts
)

func (b *bench) latencies(ctx context.Context) ([]latency, error) {
	var all []latency
	for _, side := range b.sides {
		if side == "raw" || side == "flink" || side == "streams" && !b.latencyStreams { // Flink's is its checkpoint interval
			continue
		}
		for _, workload := range workloads(side) {
			l, err := b.latencyOf(ctx, side, workload)
			if err != nil {
				return nil, fmt.Errorf("latency of %s %s: %w", side, workload, err)
			}
			command.Progress("latency  %s", l)
			all = append(all, l)
		}
	}
	return all, nil
}

// latencyOf runs a side over a topic that receives readings at a steady rate, and measures when
// their results become visible to a read_committed consumer.
//
// A row of the filter has its reading's latency: from the time in the reading, which is the
// record's CreateTime, set just before it is handed to the producer, so that batching and the
// network are included. A row of the tumble has the latency of the reading that closes its window:
// the first one of the same partition whose time is two seconds (the watermark's lateness) past the
// window's end. The result can't be known earlier; the length of the window is not the engine's
// latency.
//
// The windows are one second long here, not ten: in 20 seconds, ten-second windows would end twice,
// and two samples say little about a 99th percentile.
func (b *bench) latencyOf(ctx context.Context, side, workload string) (l latency, err error) {
	j, err := b.job(side, workload)
	if err != nil {
		return l, err
	}
	j.Source, j.Window = j.ID+"-readings", b.latencyWindow
	if err := b.create(ctx, j.Source, j.Sink); err != nil {
		return l, err
	}
	cmd, err := b.command(ctx, side, j)
	if err != nil {
		return l, err
	}
	alive, stop, err := launch(ctx, cmd, j)
	if err != nil {
		return l, err
	}
	t := &trial{bench: b, job: j, crossed: make(map[crossing]int64), seen: make(map[result]time.Time), first: make(chan struct{})}
	l, err = t.run(alive)
	l.Side, l.Workload = side, workload
	if err := errors.Join(stop(), err); err != nil {
		return l, err
	}
	return l, errors.Join(b.forget(ctx), os.RemoveAll(j.Dir))
}

// launch starts a command that runs until stop interrupts it. The returned context ends with the
// process; stop returns an error if it has exited early.
func launch(ctx context.Context, cmd *exec.Cmd, j job) (alive context.Context, stop func() error, err error) {
	log, err := os.CreateTemp(j.Dir, "log")
	if err != nil {
		return nil, nil, err
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	alive, dead := context.WithCancel(ctx)
	var exit error
	ended := make(chan struct{})
	go func() {
		exit = cmd.Wait()
		close(ended)
		dead()
	}()
	return alive, func() error {
		defer func() { _ = log.Close() }() // everything has been written
		select {
		case <-ended:
			out, err := os.ReadFile(log.Name())
			return errors.Join(fmt.Errorf("the process exited early: %s", usage.Tail(out)), exit, err)
		default:
		}
		_ = cmd.Process.Signal(os.Interrupt) // it may just have exited
		select {
		case <-ended: // with exit status 0 or 130
			return nil
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
			return errors.New("the process did not end within 30 s of an interrupt")
		}
	}, nil
}

// trial is one latency measurement, with a goroutine each to offer readings, collect results and
// watch the time.
type trial struct {
	*bench
	job   job
	first chan struct{} // closed at the first result

	mu      sync.Mutex
	offered []int64              // time of each reading, in ms since 1970
	crossed map[crossing]int64   // time of the reading that closed a window
	seen    map[result]time.Time // when a result became visible
}

// crossing identifies the closing of a window in a partition.
type crossing struct {
	partition int32
	end       int64 // of the window, in ms since 1970
}

// result is a row of a device: n is the reading's number or the window's end.
type result struct {
	device int
	n      int64
}

func (t *trial) run(ctx context.Context) (l latency, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.offer(ctx) })
	group.Go(func() error { return t.collect(ctx) })
	l, err = t.watch(ctx)
	cancel()
	return l, errors.Join(group.Wait(), err)
}

// offer produces readings at the rate until the context ends. They have the time at which they are
// produced.
func (t *trial) offer(ctx context.Context) error {
	// The buffer is large, so that a pause of the broker doesn't slow the offer down.
	client, err := t.connect(ctx, kgo.DefaultProduceTopic(t.job.Source), kgo.ProducerLinger(5*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(200_000))
	if err != nil {
		return err
	}
	defer client.Close()
	var open [partitions]int64 // end of the earliest open window
	return flow.Offer(ctx, client, t.latencyRate, func(n int64) (*kgo.Record, error) {
		now := time.Now().UTC()
		d := &t.want.fleet[n%devices]
		t.note(now.UnixMilli(), d.partition, &open[d.partition])
		value, err := t.encode(make([]byte, 0, 224), d, n, now)
		return &kgo.Record{Key: []byte(d.id), Value: value, Timestamp: now}, err
	})
}

// note records the time of a reading that is about to be produced, and the windows that it closes.
func (t *trial) note(now int64, partition int32, open *int64) {
	size := t.job.Window.Milliseconds()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.offered = append(t.offered, now)
	if *open == 0 {
		*open = now - now%size + size
	}
	for ; now >= *open+lateness.Milliseconds(); *open += size {
		t.crossed[crossing{partition, *open}] = now
	}
}

// collect reads committed results until the context ends.
func (t *trial) collect(ctx context.Context) error {
	client, err := t.connect(ctx, kgo.ConsumeTopics(t.job.Sink), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	return flow.Collect(ctx, client, t.take)
}

// take records when a result was seen.
func (t *trial) take(data []byte, now time.Time) error {
	var row struct {
		DeviceID  string `json:"device_id"`
		Seq       int64  `json:"seq"`        // of the filter
		WindowEnd string `json:"window_end"` // of the tumble
	}
	if err := json.Unmarshal(data, &row); err != nil {
		return fmt.Errorf("result %s: %w", data, err)
	}
	device, ok := t.want.devices[row.DeviceID]
	if !ok {
		return fmt.Errorf("unexpected result %s", data)
	}
	key := result{device, row.Seq}
	if t.job.Workload == "tumble" {
		end, err := parseTime(row.WindowEnd)
		if err != nil {
			return fmt.Errorf("result %s: %w", data, err)
		}
		key.n = end.UnixMilli()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[key]; ok {
		return fmt.Errorf("duplicate result %s", data)
	}
	if len(t.seen) == 0 {
		close(t.first)
	}
	t.seen[key] = now
	return nil
}

// watch waits until the side is up to speed, then for the duration of the measurement, then for its
// last results.
func (t *trial) watch(ctx context.Context) (latency, error) {
	select {
	case <-t.first:
	case <-ctx.Done():
		return latency{}, ctx.Err()
	case <-time.After(readyLimit):
		return latency{}, fmt.Errorf("no result within %s", readyLimit)
	}
	if err := retry.Sleep(ctx, settleTime); err != nil {
		return latency{}, err
	}
	from := time.Now()
	if err := retry.Sleep(ctx, t.latency); err != nil {
		return latency{}, err
	}
	to := time.Now()
	for {
		values, missing, readings := t.outcome(from.UnixMilli(), to.UnixMilli())
		if missing == 0 && len(values) > 0 {
			slices.Sort(values)
			return latency{
				Offered: float64(readings) / to.Sub(from).Seconds(), Results: len(values),
				P50: flow.Quantile(values, 0.5), P99: flow.Quantile(values, 0.99), Max: flow.Quantile(values, 1),
			}, nil
		}
		if time.Since(to) > drainLimit {
			return latency{}, fmt.Errorf("%d results missing after %s, %d received", missing, drainLimit, len(values))
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return latency{}, err
		}
	}
}

// outcome returns the latencies, in milliseconds, of the results caused by readings from the period
// from..to, the number of results still missing, and the number of readings offered in that period.
func (t *trial) outcome(from, to int64) (values []float64, missing, readings int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	size := t.job.Window.Milliseconds()
	done := make(map[result]bool)
	for i, ts := range t.offered {
		if ts >= from && ts < to {
			readings++
		}
		i := int64(i)
		device, cause := int(i%devices), ts
		key := result{device, i / devices}
		if t.job.Workload == "tumble" {
			key.n = ts - ts%size + size
			cause = t.crossed[crossing{t.want.fleet[device].partition, key.n}] // 0 while the window is open
		} else if !passes(value(i)) {
			continue
		}
		if cause < from || cause >= to || done[key] {
			continue
		}
		done[key] = true
		at, ok := t.seen[key]
		if !ok {
			missing++
			continue
		}
		values = append(values, float64(at.UnixMicro())/1000-float64(cause))
	}
	return values, missing, readings
}
