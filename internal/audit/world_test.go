package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

const (
	partitions = 4
	inTopic    = "sensor_data_tx"
	outTopic   = "device_stats"
	dlqTopic   = "sensor_data_dlq"
	group      = "weir-device-stats"
)

// world is a broker with a correct writer and a correct consumer, which share no code with the
// product.
type world struct {
	t       *testing.T
	ctx     context.Context
	cluster *kfake.Cluster
	config  Config
	admin   *kadm.Client
	ordinal int64                        // of the next marked transaction
	stats   map[[2]string]map[string]any // the consumers' state
	lenient bool                         // the consumers accept a quoted number
}

func newWorld(t *testing.T, topics ...string) *world {
	t.Helper()
	if len(topics) == 0 {
		topics = []string{inTopic, outTopic, dlqTopic}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	for _, topic := range topics {
		configs := map[string]string{}
		if topic == outTopic {
			configs["cleanup.policy"] = "compact"
		}
		if err := cluster.CreateTopic(topic, partitions, configs); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, ctx: ctx, cluster: cluster, stats: make(map[[2]string]map[string]any)}
	w.config = Config{Broker: broker.Config{Brokers: cluster.ListenAddrs()}, Wait: 10 * time.Second}
	w.admin = kadm.NewClient(w.client())
	return w
}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	opts = append([]kgo.Opt{kgo.SeedBrokers(w.config.Broker.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)
	c, err := kgo.NewClient(opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.CloseAllowingRebalance)
	return c
}

// reading returns a reading of a device; the device's number determines the partition.
func reading(device int, seq int64, headers ...string) *kgo.Record {
	return readingJSON(device, fmt.Sprintf(`{"device_id":"d%d","sensor":"%s","value":%g,"unit":"Cel","ts":"2026-01-31T23:59:%02d.%03dZ","seq":%d,"boot":""}`,
		device, []string{"temperature", "humidity"}[seq%2], float64(device)-1.5*float64(seq), seq%60, seq%1000, seq), headers...)
}

func readingJSON(device int, value string, headers ...string) *kgo.Record {
	r := &kgo.Record{Topic: inTopic, Partition: int32(device % partitions), Key: []byte("d" + strconv.Itoa(device)), Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

type batch []*kgo.Record

// fleet returns one transaction per sequence number, with one reading for each of the devices d0,
// d1, …
func fleet(devices int, from, to int64) []batch {
	var all []batch
	for seq := from; seq < to; seq++ {
		var b batch
		for d := range devices {
			b = append(b, reading(d, seq))
		}
		all = append(all, b)
	}
	return all
}

// mark adds the weir-tx header to the records of transactions.
func (w *world) mark(batches []batch) []batch {
	for _, b := range batches {
		for _, r := range b {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerTx, Value: fmt.Appendf(nil, "fleet/a/%d/%d", w.ordinal, len(b))})
		}
		w.ordinal++
	}
	return batches
}

// send writes each batch in its own transaction.
func (w *world) send(batches ...batch) {
	w.t.Helper()
	c := w.client(kgo.TransactionalID("fleet/a"))
	for _, b := range batches {
		if err := transact(w.ctx, c, b, kgo.TryCommit); err != nil {
			w.t.Fatal(err)
		}
	}
	c.Close()
}

func transact(ctx context.Context, c *kgo.Client, b batch, end kgo.TransactionEndTry) error {
	if err := c.BeginTransaction(); err != nil {
		return err
	}
	if err := c.ProduceSync(ctx, b...).FirstErr(); err != nil {
		return err
	}
	return c.EndTransaction(ctx, end)
}

// abort writes a batch and aborts it.
func (w *world) abort(b batch) {
	w.t.Helper()
	c := w.client(kgo.TransactionalID("aborter"))
	if err := transact(w.ctx, c, b, kgo.TryAbort); err != nil {
		w.t.Fatal(err)
	}
}

// open writes a batch in a transaction that stays open for the rest of the test.
func (w *world) open(b batch) {
	w.t.Helper()
	c := w.client(kgo.TransactionalID("sleeper"), kgo.TransactionTimeout(time.Minute))
	if err := c.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	if err := c.ProduceSync(w.ctx, b...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// consumer is a correct transactional consumer. spoil, if set, replaces its output.
type consumer struct {
	session *kgo.GroupTransactSession
	stats   map[[2]string]map[string]any
	spoil   func([]*kgo.Record) []*kgo.Record
	lenient bool
	done    int64 // records processed
}

func (w *world) newConsumer(isolation kgo.IsolationLevel) *consumer {
	w.t.Helper()
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(w.config.Broker.Brokers...),
		kgo.TransactionalID("stats-0"), kgo.ConsumerGroup(group), kgo.ConsumeTopics(inTopic), kgo.FetchIsolationLevel(isolation),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(session.Close)
	return &consumer{session: session, stats: w.stats, lenient: w.lenient}
}

// step processes one poll in one transaction.
func (c *consumer) step(ctx context.Context) error {
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
	if c.spoil != nil {
		out = c.spoil(out)
	}
	if err := c.session.ProduceSync(ctx, out...).FirstErr(); err != nil {
		return err
	}
	committed, err := c.session.End(ctx, kgo.TryCommit)
	if err == nil && !committed {
		err = fmt.Errorf("rebalanced")
	}
	c.done += int64(fetches.NumRecords())
	return err
}

func (c *consumer) take(in []*kgo.Record) (out []*kgo.Record) {
	touched := make(map[[2]string]bool)
	for _, r := range in {
		var v struct {
			Device string    `json:"device_id"`
			Sensor string    `json:"sensor"`
			Value  *float64  `json:"value"`
			TS     time.Time `json:"ts"`
		}
		text := r.Value
		if c.lenient {
			text = bytes.ReplaceAll(text, []byte(`"12.5"`), []byte("12.5"))
		}
		if json.Unmarshal(text, &v) != nil || v.Value == nil {
			out = append(out, asDeadLetter(r))
			continue
		}
		k := [2]string{v.Device, v.Sensor}
		s := c.stats[k]
		if s == nil {
			s = map[string]any{"device_id": v.Device, "sensor": v.Sensor, "count": int64(0), "min": *v.Value, "max": *v.Value, "mean": 0.0}
			c.stats[k] = s
		}
		s["count"] = s["count"].(int64) + 1
		s["min"], s["max"] = min(s["min"].(float64), *v.Value), max(s["max"].(float64), *v.Value)
		s["mean"] = s["mean"].(float64) + (*v.Value-s["mean"].(float64))/float64(s["count"].(int64))
		s["last"], s["last_ts"], s["partition"], s["offset"] = *v.Value, v.TS.Format("2006-01-02T15:04:05.000Z"), r.Partition, r.Offset
		touched[k] = true
	}
	for k := range touched {
		key, _ := json.Marshal(map[string]string{"device_id": k[0], "sensor": k[1]})
		value, _ := json.Marshal(c.stats[k])
		out = append(out, &kgo.Record{Topic: outTopic, Partition: place(k[0]), Key: key, Value: value})
	}
	return out
}

// place returns the partition of a device's results, which differs from that of its readings.
func place(device string) int32 { return int32(device[len(device)-1]-'0'+1) % partitions }

func asDeadLetter(r *kgo.Record) *kgo.Record {
	headers := append(slices.Clone(r.Headers),
		kgo.RecordHeader{Key: "weir-dlq-topic", Value: []byte(r.Topic)},
		kgo.RecordHeader{Key: "weir-dlq-partition", Value: strconv.AppendInt(nil, int64(r.Partition), 10)},
		kgo.RecordHeader{Key: "weir-dlq-offset", Value: strconv.AppendInt(nil, r.Offset, 10)},
		kgo.RecordHeader{Key: "weir-dlq-reason", Value: []byte("can't be used")})
	return &kgo.Record{Topic: dlqTopic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: headers}
}

// consume processes the topic until n records have been processed.
func (w *world) consume(n int64, spoil func([]*kgo.Record) []*kgo.Record) {
	w.t.Helper()
	w.consumeAt(kgo.ReadCommitted(), n, spoil)
}

func (w *world) consumeAt(isolation kgo.IsolationLevel, n int64, spoil func([]*kgo.Record) []*kgo.Record) {
	w.t.Helper()
	c := w.newConsumer(isolation)
	c.spoil = spoil
	for c.done < n {
		if err := c.step(w.ctx); err != nil {
			w.t.Fatalf("consume: %v after %d of %d records", err, c.done, n)
		}
	}
	c.session.Close()
}

// commit commits offsets of the group without results.
func (w *world) commit(change func(partition int32, at int64) int64) {
	w.t.Helper()
	now, err := w.admin.FetchOffsets(w.ctx, group)
	if err != nil {
		w.t.Fatal(err)
	}
	var offsets kadm.Offsets
	for p, o := range now[inTopic] {
		offsets.AddOffset(inTopic, p, change(p, o.At), -1)
	}
	if err := w.admin.CommitAllOffsets(w.ctx, group, offsets); err != nil {
		w.t.Fatal(err)
	}
}

// verify checks the topic and logs the report.
func (w *world) verify() *Report {
	w.t.Helper()
	r, err := Verify(w.ctx, w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.WriteText(testLog{w.t}); err != nil {
		w.t.Fatal(err)
	}
	return r
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) { l.t.Log(string(p)); return len(p), nil }

// faults returns the nonzero fault counters by their JSON names.
func faults(r *Report) map[string]int64 {
	all := map[string]int64{
		"lost": r.Lost, "duplicated": r.Duplicated, "refused_seen": r.RefusedSeen, "reordered": r.Reordered, "torn": r.Torn,
		"stats_mismatch": r.StatsMismatch, "dead_letter_mismatch": r.DeadLetterMismatch,
		"readers_disagree": r.ReadersDisagree, "open_transactions": r.OpenTransactions, "unread": r.Unread,
	}
	if x := r.Windows; x != nil {
		all["window_mismatch"], all["window_difference"] = x.Mismatch, x.Difference
		all["window_late"], all["window_dead_letter"] = x.LateMismatch, x.DeadLetterMismatch
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// background runs f repeatedly until stop is called, and reports its error.
func background(ctx context.Context, t *testing.T, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for ctx.Err() == nil {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("background: %v", err)
				return
			}
		}
	}()
	return func() { cancel(); wg.Wait() }
}
