package audit

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

type kinds = map[string]int64

func count(batches []batch) (n int64) {
	for _, b := range batches {
		n += int64(len(b))
	}
	return n
}

// Each case is a correct flow with at most one fault in the log of the readings, and the counters
// that must report it. A nil want is a clean report.
func TestReadings(t *testing.T) {
	const devices, seqs = 6, 20
	for name, c := range map[string]struct {
		change func(w *world, all []batch) []batch
		want   kinds
		check  func(*Report) string
	}{
		"honest": {
			change: func(_ *world, all []batch) []batch { return all },
			check: func(r *Report) string {
				return cmp.Diff([]int64{devices * seqs, devices, seqs, 2 * devices, devices * seqs}, []int64{r.Records, r.Devices, r.Transactions, r.StatsKeys, r.StatsCount})
			},
		},
		"drop one record": {
			change: func(w *world, all []batch) []batch { all[7] = all[7][1:]; return w.unmarked(all) },
			want:   kinds{"lost": 1},
		},
		"drop one marked record": {
			change: func(_ *world, all []batch) []batch { all[7] = all[7][1:]; return all },
			want:   kinds{"lost": 1, "torn": 1},
		},
		"drop a device's first records": {
			change: func(w *world, all []batch) []batch { all[0], all[1] = all[0][1:], all[1][1:]; return w.unmarked(all) },
			want:   kinds{"lost": 2},
		},
		"repeat one record": {
			change: func(w *world, all []batch) []batch { return append(all, batch{reading(3, 5)}) },
			want:   kinds{"duplicated": 1},
		},
		"repeat one transaction": {
			change: func(w *world, all []batch) []batch { return append(all, fleet(devices, 5, 6)...) },
			want:   kinds{"duplicated": devices},
		},
		"repeat one marked transaction": {
			change: func(w *world, all []batch) []batch { return append(all, all[5]) },
			want:   kinds{"duplicated": devices, "torn": 1},
		},
		"swap two records": {
			change: func(w *world, all []batch) []batch {
				all[8][2], all[9][2] = all[9][2], all[8][2]
				return w.unmarked(all)
			},
			want: kinds{"reordered": 1},
		},
		"a device on two partitions": {
			change: func(w *world, all []batch) []batch {
				all[seqs-1][2].Partition = 3
				return w.unmarked(all)
			},
			want: kinds{"reordered": 1, "stats_mismatch": 1},
		},
		"tear one transaction": {
			change: func(_ *world, all []batch) []batch { all[seqs-1] = onPartitions(all[seqs-1], 0, 1); return all },
			want:   kinds{"torn": 1},
		},
		"a transaction with a record too many": {
			change: func(_ *world, all []batch) []batch {
				return append(all, batch{reading(0, seqs, headerTx, "fleet/a/0/6")})
			},
			want: kinds{"torn": 1},
		},
		"unreadable mark": {
			change: func(_ *world, all []batch) []batch { return append(all, batch{reading(0, seqs, headerTx, "0/6")}) },
			want:   kinds{"torn": 1},
		},
		"repeats on purpose": {
			change: func(_ *world, all []batch) []batch {
				return append(all, batch{reading(1, 4, headerRepeat, "1"), reading(1, 4, headerRepeat, "2"), reading(2, 4, headerRepeat, "1")})
			},
			check: func(r *Report) string { return cmp.Diff(int64(3), r.Repeats) },
		},
		"one repeat twice": {
			change: func(_ *world, all []batch) []batch {
				return append(all, batch{reading(1, 4, headerRepeat, "1")}, batch{reading(1, 4, headerRepeat, "1")})
			},
			want: kinds{"duplicated": 1},
		},
		"a repeat of a reading that is not there": {
			change: func(_ *world, all []batch) []batch {
				return append(all, batch{reading(1, seqs, headerRepeat, "1")})
			},
			want: kinds{"lost": 1},
		},
		"a malformed repeat header excuses nothing": {
			change: func(_ *world, all []batch) []batch { return append(all, batch{reading(1, 4, headerRepeat, "yes")}) },
			want:   kinds{"duplicated": 1},
		},
		"replayed after a fix": {
			change: func(w *world, all []batch) []batch {
				all[4][1].Value = []byte(`{"device_id":"d1","sensor":"humidity","value":null,"ts":"2026-01-01T00:00:00Z","seq":4}`)
				all[6][2].Value = []byte("garbage")
				return append(all, batch{reading(1, 4, headerReplayed, dlqTopic+"/1/0"), reading(2, 6, headerReplayed, dlqTopic+"/2/0")})
			},
			check: func(r *Report) string {
				return cmp.Diff([]int64{2, 2, 2}, []int64{r.Replayed, r.Invalid, r.DeadLetters})
			},
		},
		"replayed twice": {
			change: func(w *world, all []batch) []batch {
				all[6][2].Value = []byte("garbage")
				again := reading(2, 6, headerReplayed, dlqTopic+"/2/0")
				return append(all, batch{again}, batch{again})
			},
			want: kinds{"duplicated": 1},
		},
		"garbage is a lost reading": {
			change: func(w *world, all []batch) []batch { all[6][2].Value = []byte("garbage"); return all },
			want:   kinds{"lost": 1},
		},
		"an invalid reading is not lost": {
			change: func(w *world, all []batch) []batch {
				all[6][2].Value = []byte(`{"device_id":"d2","seq":6,"boot":""}`)
				return all
			},
			check: func(r *Report) string { return cmp.Diff(int64(1), r.Invalid) },
		},
		"a quoted number that became a dead letter": {
			change: quoted,
			check:  func(r *Report) string { return cmp.Diff([]int64{1, 1}, []int64{r.Invalid, r.DeadLetters}) },
		},
		"a number in quotes that was counted": {
			change: func(w *world, all []batch) []batch { w.lenient = true; return quoted(w, all) },
			check: func(r *Report) string {
				return cmp.Diff([]int64{1, 0, devices * seqs}, []int64{r.Invalid, r.DeadLetters, r.StatsCount})
			},
		},
		"aborted transactions between": {
			change: func(w *world, all []batch) []batch {
				w.abort(batch{reading(0, 0), reading(1, 77), reading(2, 0)})
				return all
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			all := c.change(w, w.mark(fleet(devices, 0, seqs)))
			w.send(all...)
			w.consume(count(all), nil)
			r := w.verify()
			if diff := cmp.Diff(faults(r), orNone(c.want)); diff != "" {
				t.Errorf("faults (-got +want):\n%s", diff)
			}
			if r.Clean() != (c.want == nil) {
				t.Errorf("Clean() = %v with faults %v", r.Clean(), faults(r))
			}
			if c.check != nil {
				if diff := c.check(r); diff != "" {
					t.Errorf("figures: %s", diff)
				}
			}
		})
	}
}

func quoted(_ *world, all []batch) []batch {
	all[6][2].Value = []byte(`{"device_id":"d2","sensor":"temperature","value":"12.5","ts":"2026-01-01T00:00:00Z","seq":6}`)
	return all
}

func orNone(k kinds) kinds {
	if k == nil {
		return kinds{}
	}
	return k
}

func (w *world) unmarked(all []batch) []batch {
	for _, b := range all {
		for _, r := range b {
			r.Headers = nil
		}
	}
	return all
}

func onPartitions(b batch, ids ...int32) (some batch) {
	for _, r := range b {
		for _, id := range ids {
			if r.Partition == id {
				some = append(some, r)
			}
		}
	}
	return some
}

// Each case corrupts the consumer's output or offsets.
func TestResults(t *testing.T) {
	const devices, seqs = 6, 20
	bad := func(all []batch) []batch {
		all[3][1].Value = []byte(`{"device_id":"d1","seq":3,"boot":""}`)
		all[9][2].Value = []byte(`{"device_id":"d2","seq":9,"boot":"","sensor":"s","value":"high"}`)
		all[9][2].Headers = append(all[9][2].Headers, kgo.RecordHeader{Key: "trace", Value: []byte("x")})
		return all
	}
	topic := func(name string, f func(i int, r *kgo.Record) []*kgo.Record) func([]*kgo.Record) []*kgo.Record {
		n := 0
		return func(out []*kgo.Record) (spoilt []*kgo.Record) {
			for _, r := range out {
				if r.Topic != name {
					spoilt = append(spoilt, r)
					continue
				}
				spoilt = append(spoilt, f(n, r)...)
				n++
			}
			return spoilt
		}
	}
	field := func(name string, change func(any) any) func([]*kgo.Record) []*kgo.Record {
		return topic(outTopic, func(_ int, r *kgo.Record) []*kgo.Record {
			var v map[string]any
			if err := json.Unmarshal(r.Value, &v); err != nil {
				panic(err)
			}
			if v["device_id"] == "d4" && v["sensor"] == "humidity" {
				if v[name] = change(v[name]); v[name] == nil {
					delete(v, name)
				}
				r.Value, _ = json.Marshal(v)
			}
			return []*kgo.Record{r}
		})
	}
	plus := func(d float64) func(any) any { return func(x any) any { return x.(float64) + d } }
	first := func(f func(r *kgo.Record) []*kgo.Record) func([]*kgo.Record) []*kgo.Record {
		return topic(dlqTopic, func(i int, r *kgo.Record) []*kgo.Record {
			if i == 0 {
				return f(r)
			}
			return []*kgo.Record{r}
		})
	}
	for name, c := range map[string]struct {
		spoil  func([]*kgo.Record) []*kgo.Record
		commit func(p int32, at int64) int64
		after  func(w *world)
		want   kinds
	}{
		"honest":            {},
		"count":             {spoil: field("count", plus(1)), want: kinds{"stats_mismatch": 1}},
		"min":               {spoil: field("min", plus(-1)), want: kinds{"stats_mismatch": 1}},
		"max":               {spoil: field("max", plus(0.001)), want: kinds{"stats_mismatch": 1}},
		"mean":              {spoil: field("mean", plus(0.001)), want: kinds{"stats_mismatch": 1}},
		"last":              {spoil: field("last", plus(1)), want: kinds{"stats_mismatch": 1}},
		"last_ts":           {spoil: field("last_ts", func(any) any { return "2026-01-31T00:00:00.000Z" }), want: kinds{"stats_mismatch": 1}},
		"no mean":           {spoil: field("mean", func(any) any { return nil }), want: kinds{"stats_mismatch": 1}},
		"offset before":     {spoil: field("offset", plus(-1)), want: kinds{"stats_mismatch": 1}},
		"offset past":       {spoil: field("offset", plus(1000)), want: kinds{"stats_mismatch": 1}},
		"another partition": {spoil: field("partition", plus(1)), want: kinds{"stats_mismatch": 1}},
		"another device":    {spoil: field("device_id", func(any) any { return "d5" }), want: kinds{"stats_mismatch": 1}},
		"mean within 1e-12": {spoil: field("mean", func(x any) any { return x.(float64) * (1 + 1e-12) })},
		"one result missing": {
			spoil: topic(outTopic, func(_ int, r *kgo.Record) []*kgo.Record {
				if bytes.Contains(r.Key, []byte(`"d4","sensor":"hum`)) {
					return nil
				}
				return []*kgo.Record{r}
			}),
			want: kinds{"stats_mismatch": 1},
		},
		"one result deleted": {
			after: func(w *world) {
				w.send(batch{{Topic: outTopic, Partition: place("d4"), Key: []byte(`{"device_id":"d4","sensor":"humidity"}`)}})
			},
			want: kinds{"stats_mismatch": 1},
		},
		"a result on two partitions": {
			spoil: topic(outTopic, func(_ int, r *kgo.Record) []*kgo.Record {
				if !bytes.Contains(r.Key, []byte(`"d4","sensor":"hum`)) {
					return []*kgo.Record{r}
				}
				again := *r
				again.Partition = (r.Partition + 1) % partitions
				return []*kgo.Record{r, &again}
			}),
			want: kinds{"stats_mismatch": 1},
		},
		"commit offsets early": {
			after: func(w *world) {
				more := w.mark(fleet(devices, seqs, seqs+2))
				w.send(more...)
				w.commit(func(p int32, _ int64) int64 { return w.end(inTopic, p) })
			},
			want: kinds{"stats_mismatch": 2 * devices},
		},
		"commit offsets apart and late": {
			commit: func(p int32, at int64) int64 {
				if p == 3 {
					return at - 12 // the last six transactions of its only device: a record and a marker each
				}
				return at
			},
			want: kinds{"stats_mismatch": 2},
		},
		"drop one dead letter": {
			spoil: first(func(*kgo.Record) []*kgo.Record { return nil }),
			want:  kinds{"dead_letter_mismatch": 1},
		},
		"two dead letters of one record": {
			spoil: first(func(r *kgo.Record) []*kgo.Record {
				again := *r
				return []*kgo.Record{r, &again}
			}),
			want: kinds{"dead_letter_mismatch": 1},
		},
		"a dead letter with another value": {
			spoil: first(func(r *kgo.Record) []*kgo.Record { r.Value = []byte("x"); return []*kgo.Record{r} }),
			want:  kinds{"dead_letter_mismatch": 1},
		},
		"a dead letter without the record's headers": {
			spoil: topic(dlqTopic, func(_ int, r *kgo.Record) []*kgo.Record {
				r.Headers = r.Headers[len(r.Headers)-4:]
				return []*kgo.Record{r}
			}),
			want: kinds{"dead_letter_mismatch": 2},
		},
		"a dead letter of a good record": {
			after: func(w *world) { w.send(batch{w.letterOf(0, 0)}) },
			want:  kinds{"dead_letter_mismatch": 1},
		},
		"a dead letter of no record": {
			after: func(w *world) { w.send(batch{w.letterOf(0, 2)}) }, // the offset of a marker
			want:  kinds{"dead_letter_mismatch": 1},
		},
		"a dead letter ahead of the group": {
			after: func(w *world) { w.send(batch{w.letterOf(0, 1000)}) },
			want:  kinds{"dead_letter_mismatch": 1},
		},
		"a dead letter without an address": {
			after: func(w *world) {
				r := w.letterOf(0, 0)
				r.Headers = r.Headers[:1]
				w.send(batch{r})
			},
			want: kinds{"dead_letter_mismatch": 1},
		},
		"a dead letter of another topic": {
			after: func(w *world) {
				r := w.letterOf(0, 0)
				r.Headers[0].Value = []byte("elsewhere")
				w.send(batch{r})
			},
		},
		"compacted results": {after: func(w *world) {
			more := w.mark(fleet(devices, seqs, seqs+2))
			w.send(more...)
			w.consume(count(more), nil)
			w.cluster.Compact()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.config.Wait = 2 * time.Second
			all := bad(w.mark(fleet(devices, 0, seqs)))
			w.send(all...)
			w.consume(count(all), c.spoil)
			if c.commit != nil {
				w.commit(c.commit)
			}
			if c.after != nil {
				c.after(w)
			}
			r := w.verify()
			if diff := cmp.Diff(faults(r), orNone(c.want)); diff != "" {
				t.Errorf("faults (-got +want):\n%s", diff)
			}
		})
	}
}

func (w *world) letterOf(id int32, offset int64) *kgo.Record {
	return asDeadLetter(&kgo.Record{Topic: inTopic, Partition: id, Offset: offset, Key: []byte("d0"), Value: []byte("?")})
}

func (w *world) end(topic string, id int32) int64 {
	w.t.Helper()
	ends, err := w.admin.ListEndOffsets(w.ctx, topic)
	if err != nil {
		w.t.Fatal(err)
	}
	o, _ := ends.Lookup(topic, id)
	return o.Offset
}
