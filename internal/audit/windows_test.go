package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nth applies f to the n-th record that the pipeline writes to a topic.
func nth(topic string, n int, f func(*kgo.Record) []*kgo.Record) func(*kgo.Record) []*kgo.Record {
	seen := 0
	return func(r *kgo.Record) []*kgo.Record {
		if r.Topic == topic {
			if seen++; seen == n {
				return f(r)
			}
		}
		return []*kgo.Record{r}
	}
}

func nothing(*kgo.Record) []*kgo.Record { return nil }

func twice(r *kgo.Record) []*kgo.Record {
	again := *r
	return []*kgo.Record{r, &again}
}

// figure changes one column of the n-th window.
func figure(n int, name string, change func(float64) any) func(*kgo.Record) []*kgo.Record {
	return nth(windowTopic, n, func(r *kgo.Record) []*kgo.Record {
		var v map[string]any
		if err := json.Unmarshal(r.Value, &v); err != nil {
			panic(err)
		}
		x, _ := v[name].(float64)
		v[name] = change(x)
		r.Value, _ = json.Marshal(v)
		return []*kgo.Record{r}
	})
}

// Each case is a correct pipeline over random readings with at most one fault, and the counters
// that must report it: once with bounded input, and once while the pipeline is running.
func TestWindows(t *testing.T) {
	late := func(w *world, id int32, offset int64) *kgo.Record {
		r := w.letterOf(id, offset)
		r.Topic = lateTopic
		return r
	}
	for name, c := range map[string]struct {
		before func(c *windower)
		after  func(w *world, s *street)
		config func(c *WindowConfig)
		want   kinds
		only   string // bounded or running, if the fault can't occur in the other mode
	}{
		"honest":          {},
		"drop one window": {before: func(c *windower) { c.spoil = nth(windowTopic, 7, nothing) }, want: kinds{"window_mismatch": 1, "window_difference": 0}},
		"double one window": {
			before: func(c *windower) { c.spoil = nth(windowTopic, 7, twice) }, want: kinds{"window_mismatch": 1, "window_difference": 0},
		},
		"count one too many": {
			before: func(c *windower) { c.spoil = figure(5, "readings", func(x float64) any { return x + 1 }) },
			want:   kinds{"window_mismatch": 1, "window_difference": -1},
		},
		"count one too few": {
			before: func(c *windower) { c.spoil = figure(5, "readings", func(x float64) any { return x - 1 }) },
			want:   kinds{"window_mismatch": 1, "window_difference": 1},
		},
		"minimum": {
			before: func(c *windower) {
				c.spoil = figure(5, "minimum", func(x float64) any { return math.Nextafter(x, 1e9) })
			},
			want: kinds{"window_mismatch": 1},
		},
		"maximum": {
			before: func(c *windower) {
				c.spoil = figure(5, "maximum", func(x float64) any { return math.Nextafter(x, -1e9) })
			},
			want: kinds{"window_mismatch": 1},
		},
		"average": {
			before: func(c *windower) { c.spoil = figure(5, "average", func(x float64) any { return x + 0.001 }) }, want: kinds{"window_mismatch": 1},
		},
		"sum": {
			before: func(c *windower) { c.spoil = figure(5, "total", func(x float64) any { return x - 0.001 }) }, want: kinds{"window_mismatch": 1},
		},
		"sum within 1e-12": {before: func(c *windower) { c.spoil = figure(5, "total", func(x float64) any { return x * (1 + 1e-12) }) }},
		"a figure missing": {
			before: func(c *windower) { c.spoil = figure(5, "total", func(float64) any { return nil }) }, want: kinds{"window_mismatch": 1},
		},
		"a wrong end": {
			before: func(c *windower) {
				c.spoil = figure(5, "window_end", func(float64) any { return "2026-01-01 00:00:01" })
			},
			want: kinds{"window_mismatch": 2, "window_difference": 0}, // it can't be decoded, and its window has no other result
		},
		"a window at another time": {
			before: func(c *windower) {
				c.spoil = nth(windowTopic, 5, func(r *kgo.Record) []*kgo.Record {
					r.Value = []byte(strings.ReplaceAll(string(r.Value), `"2026-01-01`, `"2025-01-01`))
					return []*kgo.Record{r}
				})
			},
			want: kinds{"window_mismatch": 2}, // one impossible, one missing
		},
		"a window of nothing": {
			after: func(w *world, _ *street) {
				w.send(batch{{Topic: windowTopic, Partition: 1, Value: []byte(`{"window_start":"2026-01-01 00:00:10","window_end":"2026-01-01 00:00:20","device_id":"nobody","sensor":"temperature","readings":3,"minimum":1,"maximum":2,"average":1.5,"total":4.5}`)}})
			},
			want: kinds{"window_mismatch": 1, "window_difference": -3},
		},
		"no JSON among the windows": {
			after: func(w *world, _ *street) { w.send(batch{{Topic: windowTopic, Value: []byte("window")}}) }, want: kinds{"window_mismatch": 1},
		},
		"drop one late row": {
			before: func(c *windower) { c.spoil = nth(lateTopic, 3, nothing) }, want: kinds{"window_mismatch": 1, "window_difference": 1},
		},
		"double one late row": {
			before: func(c *windower) { c.spoil = nth(lateTopic, 3, twice) }, want: kinds{"window_late": 1, "window_difference": -1},
		},
		"a late row with another value": {
			before: func(c *windower) {
				c.spoil = nth(lateTopic, 3, func(r *kgo.Record) []*kgo.Record { r.Value = append(r.Value, ' '); return []*kgo.Record{r} })
			},
			want: kinds{"window_late": 1},
		},
		"a late row with a header of its own": {
			before: func(c *windower) {
				c.spoil = nth(lateTopic, 3, func(r *kgo.Record) []*kgo.Record {
					r.Headers = append(r.Headers, kgo.RecordHeader{Key: "mine"})
					return []*kgo.Record{r}
				})
			},
			want: kinds{"window_late": 1},
		},
		"a late row of no record": {
			after: func(w *world, _ *street) { w.send(batch{late(w, 0, w.end(inTopic, 0)-1)}) }, // the offset of a marker
			want:  kinds{"window_late": 1, "window_difference": -1},
		},
		"a late row without an address": {
			after: func(w *world, _ *street) {
				r := late(w, 0, 0)
				r.Headers = r.Headers[:1]
				w.send(batch{r})
			},
			want: kinds{"window_late": 1, "window_difference": -1},
		},
		"a row both late and counted": {
			before: func(c *windower) {
				n, newest := 0, make(map[int32]time.Time)
				c.counted = func(r *kgo.Record, emit func(string)) {
					var v struct {
						TS time.Time `json:"ts"`
					}
					if json.Unmarshal(r.Value, &v) != nil || !v.TS.After(newest[r.Partition]) {
						return // it might really be late
					}
					newest[r.Partition] = v.TS
					if n++; n == 100 {
						emit(lateTopic)
					}
				}
			},
			want: kinds{"window_late": 1, "window_mismatch": 1, "window_difference": -1},
		},
		"a row diverted that was not late": {
			before: func(c *windower) {
				n := 0
				c.early = func(*kgo.Record) bool { n++; return n == 50 }
			},
			want: kinds{"window_late": 1},
		},
		"a reading passed over": {
			before: func(c *windower) {
				n := 0
				c.skip = func(*kgo.Record) bool { n++; return n == 50 }
			},
			want: kinds{"window_mismatch": 1, "window_difference": 1},
		},
		"drop one dead letter": {
			before: func(c *windower) { c.spoil = nth(poisonTopic, 1, nothing) }, want: kinds{"window_dead_letter": 1, "window_difference": 1},
		},
		"double one dead letter": {
			before: func(c *windower) { c.spoil = nth(poisonTopic, 1, twice) }, want: kinds{"window_dead_letter": 1, "window_difference": -1},
		},
		"a dead letter of a good record": {
			before: func(c *windower) {
				n := 0
				c.counted = func(_ *kgo.Record, emit func(string)) {
					if n++; n == 50 {
						emit(poisonTopic)
					}
				}
			},
			want: kinds{"window_dead_letter": 1, "window_difference": -1},
		},
		"another size": {
			config: func(c *WindowConfig) { c.Size, c.Columns = 5*time.Second, WindowColumns{} },
			want:   kinds{"window_mismatch": 0, "window_late": anyNumber, "window_difference": 0},
		},
		"without the late topic": {
			config: func(c *WindowConfig) { c.Late, c.Group = "", windowGroup },
			want:   kinds{"window_mismatch": 0, "window_difference": 0},
		},
		"without the dead letters":         {config: func(c *WindowConfig) { c.DLQ = "" }},
		"dead letters dropped and unasked": {before: func(c *windower) { c.spoil = nth(poisonTopic, 1, nothing) }, config: func(c *WindowConfig) { c.DLQ = "" }},
		"some columns": {
			before: func(c *windower) { c.spoil = figure(5, "total", func(x float64) any { return x - 1 }) },
			config: func(c *WindowConfig) { c.Columns, _ = ParseWindowColumns("count=readings,min=minimum") },
		},
		"a named column that is not there": {
			config: func(c *WindowConfig) { c.Columns, _ = ParseWindowColumns("count=readings,min=least") },
			want:   kinds{"window_mismatch": 0},
		},
		"results before offsets": {
			after: func(w *world, _ *street) { w.moveOffsets(func(_ int32, at int64) int64 { return at / 2 }) },
			want:  kinds{"window_mismatch": 0, "window_late": 0, "window_dead_letter": 0},
		},
		"offsets before results": {
			after: func(w *world, s *street) {
				s.now = s.now.Add(time.Hour)
				w.send(s.drive(20)...)
				w.moveOffsets(func(p int32, _ int64) int64 { return w.end(inTopic, p) })
			},
			want: kinds{"window_mismatch": 0, "window_difference": 0, "window_dead_letter": anyNumber},
			only: "running",
		},
		"a window closed too early": {
			before: func(c *windower) {
				n := 0
				c.counted = func(r *kgo.Record, _ func(string)) {
					if n++; n == 50 {
						c.clocks[r.Partition].largest += 60_000
					}
				}
			},
			want: kinds{"window_late": 0, "window_mismatch": anyNumber}, // the rows that this makes late
			only: "running",
		},
		"a delay that is too short": {
			config: func(c *WindowConfig) { c.Delay = 0 },
			want:   kinds{"window_mismatch": 0, "window_difference": 0},
			only:   "running",
		},
		"a delay that is too long": {
			config: func(c *WindowConfig) { c.Delay = 12 * time.Second },
			want:   kinds{"window_mismatch": 0, "window_late": anyNumber},
			only:   "running",
		},
	} {
		for _, mode := range []string{"bounded", "running"} {
			if c.only != "" && c.only != mode {
				continue
			}
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				rng := seeded(t)
				w := newWindowWorld(t)
				w.config.Windows.Bounded = mode == "bounded"
				p := w.newWindower(rng.IntN(2) == 0, rng.IntN(2) == 0)
				if c.before != nil {
					c.before(p)
				}
				s := newStreet(rng, 8)
				all := append(append(s.drive(60), batch{readingJSON(0, "poison")}), s.tail()...)
				w.send(all...)
				w.run(p, count(all))
				if c.after != nil {
					c.after(w, s)
				}
				if c.config != nil {
					c.config(&w.config.Windows)
				}
				expectKinds(t, w.verify(), c.want)
			})
		}
	}
}

// anyNumber allows a fault that may or may not accompany another one.
const anyNumber = math.MinInt64

// expectKinds compares the faults; a want of 0 means any number but 0.
func expectKinds(t *testing.T, r *Report, want kinds) {
	t.Helper()
	got := faults(r)
	for name, n := range want {
		if _, there := got[name]; n == 0 && there || n == anyNumber {
			got[name] = n
		}
	}
	if diff := cmp.Diff(got, orNone(want)); diff != "" {
		t.Errorf("faults (-got +want):\n%s", diff)
	}
	if r.Clean() != (len(want) == 0) {
		t.Errorf("Clean() = %v with faults %v", r.Clean(), faults(r))
	}
}

// The report of a correct bounded run includes output of every kind, which adds up to the input.
// The checks are ok even without device statistics.
func TestWindowReport(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	w := newWindowWorld(t)
	w.config.Windows.Bounded = true
	all := append(newStreet(rng, 8).drive(60), batch{readingJSON(0, "poison")})
	w.send(all...)
	w.run(w.newWindower(false, false), count(all))
	r := w.expect(nil)
	x := r.Windows
	if x.Rows != count(all) || x.Ahead != 0 || x.Open != 0 || x.Late == 0 || x.DeadLetters == 0 || x.Results == 0 ||
		x.Counted+x.Late+x.DeadLetters != x.Rows {
		t.Errorf("figures %+v of %d records", *x, count(all))
	}
	for id, want := range map[string]string{"C4": "ok: windows: ", "C5": "ok: "} {
		if d := detail(r, id); !strings.HasPrefix(d, want) {
			t.Errorf("details of %s: %q, want %q", id, d, want)
		}
	}
	if d := detail(r, "C4"); !strings.Contains(d, "topic device_stats does not exist") {
		t.Errorf("details of C4: %q", d)
	}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"windows":{"rows":`) {
		t.Errorf("JSON %s, %v", b, err)
	}
}

// A window that no later row closes is open while the pipeline runs, and missing once it has ended.
// A window whose end the watermark has just reached is missing, even if it is the newest one: it
// must not count as open.
func TestOpenWindows(t *testing.T) {
	t.Parallel()
	at := func(seq int64, ms int) *kgo.Record {
		return readingJSON(0, fmt.Sprintf(`{"device_id":"d0","sensor":"temperature","value":1,"ts":"2026-01-01T00:00:%02d.%03dZ","seq":%d}`, ms/1000, ms%1000, seq))
	}
	for name, c := range map[string]struct {
		last    int // milliseconds; the previous window ends at 10,000
		bounded bool
		shared  bool
		want    kinds
		open    int64
	}{
		"open for a millisecond more": {last: 12_999, open: 3},
		"closed":                      {last: 13_000, want: kinds{"window_mismatch": 1, "window_difference": 2}, open: 1},
		"ended":                       {last: 12_999, bounded: true, want: kinds{"window_mismatch": 2, "window_difference": 3}},
		"another partition is behind": {last: 13_000, shared: true, open: 4},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWindowWorld(t)
			w.config.Windows.Bounded, w.config.Windows.SharedWatermark = c.bounded, c.shared
			n := int64(3)
			w.send(batch{at(0, 1000), at(1, 9_999), at(2, c.last)})
			if c.shared {
				w.send(batch{readingJSON(1, `{"device_id":"d1","sensor":"temperature","value":1,"ts":"2026-01-01T00:00:01.000Z","seq":0}`)})
				n++
			}
			p := w.newWindower(false, false)
			p.spoil = func(r *kgo.Record) []*kgo.Record { return nil }
			w.run(p, n)
			r := w.expect(c.want)
			if r.Windows.Open != c.open {
				t.Errorf("%d rows in open windows, want %d", r.Windows.Open, c.open)
			}
		})
	}
}

// The offsets must cover the row that closed a window, not only the rows that it counts.
func TestResultBeforeItsCloser(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	w := newWindowWorld(t)
	s := newStreet(rng, 1)
	s.poison = 0
	all := s.drive(60)
	w.send(all...)
	p := w.newWindower(false, false)
	var last int64 // offset of the record that caused the last result
	p.counted = func(r *kgo.Record, _ func(string)) { last = max(last, r.Offset) }
	var closer int64
	p.spoil = func(r *kgo.Record) []*kgo.Record {
		if r.Topic == windowTopic {
			closer = last
		}
		return []*kgo.Record{r}
	}
	w.run(p, count(all))
	w.moveOffsets(func(int32, int64) int64 { return closer + 1 })
	r := w.verify()
	if n := faults(r)["window_mismatch"]; n != 0 {
		t.Errorf("%d wrong windows with the offsets just behind the last closer, want none", n)
	}
	w.moveOffsets(func(int32, int64) int64 { return closer })
	if n := faults(w.verify())["window_mismatch"]; n == 0 {
		t.Error("the offsets don't cover what closed a window, and none is wrong")
	}
}

// After a Flink job is drained, its group's offsets are behind its output. For a Weir pipeline,
// this is a fault.
func TestDrainedGroupIsBehind(t *testing.T) {
	for name, shared := range map[string]bool{"flink": true, "weir": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWindowWorld(t)
			w.config.Windows.Bounded, w.config.Windows.SharedWatermark = true, shared
			w.config.Windows.Late, w.config.Windows.Group = "", windowGroup
			s := newStreet(seeded(t), 3)
			s.poison = 0
			all := s.drive(60)
			w.send(all...)
			p := w.newWindower(false, false)
			p.end = count(all)
			w.run(p, count(all))
			before := faults(w.verify())["window_mismatch"]
			w.moveOffsets(func(_ int32, at int64) int64 { return at / 2 })
			if n := faults(w.verify())["window_mismatch"]; (n == before) != shared {
				t.Errorf("%d windows are wrong, %d before", n, before)
			}
		})
	}
}

// Verifying a running pipeline raises no false alarm, however its watermarks advance.
func TestLiveWindows(t *testing.T) {
	for name, lazy := range map[string]bool{"by row": false, "by fifty rows": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWindowWorld(t)
			w.config.Wait = 10 * time.Second
			s := newStreet(seeded(t), 12)
			producer := w.client(kgo.TransactionalID("fleet/a"))
			stopProducer := background(w.ctx, t, func(ctx context.Context) error {
				ctx = context.WithoutCancel(ctx)
				time.Sleep(10 * time.Millisecond)
				if s.rng.IntN(20) == 0 {
					if err := transact(ctx, producer, batch{reading(1, 1), readingJSON(2, "aborted")}, kgo.TryAbort); err != nil {
						return err
					}
				}
				return transact(ctx, producer, s.drive(1)[0], kgo.TryCommit)
			})
			p := w.newWindower(lazy, false)
			stopPipeline := background(w.ctx, t, func(ctx context.Context) error { return p.step(context.WithoutCancel(ctx)) })
			var last *Report
			for checks := 0; (checks < 12 || last.Records < 3000) && w.ctx.Err() == nil && !t.Failed(); checks++ {
				r, err := Verify(w.ctx, w.config)
				if err != nil {
					t.Fatal(err)
				}
				if !r.Clean() {
					_ = r.WriteText(testLog{t})
					t.Fatalf("a false alarm: %v", faults(r))
				}
				last = r
			}
			stopProducer()
			stopPipeline()
			p.session.Close()
			r := w.expect(nil)
			x := r.Windows
			if x.Results == 0 || x.Late == 0 || x.DeadLetters == 0 || x.Open == 0 {
				t.Errorf("the flow was too thin to prove anything: %+v", *x)
			}
		})
	}
}

// Results ahead of the offsets that Verify saw first are not a fault if the offsets follow.
func TestWindowsAhead(t *testing.T) {
	for name, share := range map[string]int64{"half of it": 2, "nearly all of it": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := seeded(t)
			w := newWindowWorld(t)
			w.config.Wait = 10 * time.Second
			all := newStreet(rng, 8).drive(60)
			w.send(all...)
			w.run(w.newWindower(rng.IntN(2) == 0, false), count(all))
			w.moveOffsets(func(_ int32, at int64) int64 { return at / share })
			listed := make(chan struct{}, 1)
			w.cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				select {
				case listed <- struct{}{}: // Verify has read C0
				default:
				}
				return nil, nil, false
			})
			ends := make(map[int32]int64)
			for p := range int32(partitions) {
				ends[p] = w.end(inTopic, p)
			}
			for len(listed) > 0 {
				<-listed // sent by our own requests
			}
			moved := make(chan error, 1)
			go func() {
				<-listed
				moved <- w.tryMoveOffsets(func(p int32, _ int64) int64 { return ends[p] })
			}()
			r := w.expect(nil)
			if err := <-moved; err != nil {
				t.Fatal(err)
			}
			if r.Windows.Ahead == 0 || r.Windows.Rows == 0 {
				t.Errorf("%d rows ahead of %d, want some of both", r.Windows.Ahead, r.Windows.Rows)
			}
		})
	}
}

// After the beginning of the readings has been deleted, windows are not checked, and the report
// says so.
func TestWindowsTruncated(t *testing.T) {
	t.Parallel()
	w := newWindowWorld(t)
	all := newStreet(seeded(t), 8).drive(40)
	w.send(all...)
	w.run(w.newWindower(false, false), count(all))
	if err := w.cluster.DeleteRecords(inTopic, 1, w.end(inTopic, 1)/2); err != nil {
		t.Fatal(err)
	}
	r := w.expect(nil)
	for _, id := range []string{"C4", "C5"} {
		if d := detail(r, id); !strings.HasPrefix(d, "partly checked: ") || !strings.Contains(d, "windows not checkable") {
			t.Errorf("details of %s: %q", id, d)
		}
	}
}

// An open transaction on the output is one fault; the output that it hides does not count as
// missing.
func TestWindowsHidden(t *testing.T) {
	for _, topic := range []string{windowTopic, lateTopic, poisonTopic} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			w := newWindowWorld(t)
			w.config.Wait = time.Second
			s := newStreet(seeded(t), 8)
			first, second := s.drive(30), s.drive(30)
			w.send(first...)
			p := w.newWindower(false, false)
			for p.done < count(first) {
				if err := p.step(w.ctx); err != nil {
					t.Fatal(err)
				}
			}
			w.open(batch{{Topic: topic, Partition: 1, Value: []byte("v")}})
			w.send(second...)
			w.run(p, count(first)+count(second))
			w.expect(kinds{"open_transactions": 1})
		})
	}
}

// Without offsets of the group, existing output is checked, but no output is required.
func TestWindowsWithoutGroup(t *testing.T) {
	t.Parallel()
	w := newWindowWorld(t)
	all := newStreet(seeded(t), 8).drive(40)
	w.send(all...)
	p := w.newWindower(false, false)
	p.spoil = nth(windowTopic, 7, nothing)
	w.run(p, count(all))
	w.config.Windows.Group = "weir-another"
	r := w.expect(nil)
	if d := detail(r, "C5"); !strings.HasPrefix(d, "partly checked: ") || !strings.Contains(d, "group weir-another has no offsets") {
		t.Errorf("details of C5: %q", d)
	}
}

func TestWindowTopicMissing(t *testing.T) {
	w := newWorld(t, inTopic)
	w.config.Windows = WindowConfig{Topic: windowTopic, Size: windowSize, Group: windowGroup}
	if _, err := Verify(w.ctx, w.config); err == nil || !strings.Contains(err.Error(), windowTopic) {
		t.Errorf("error %v, want one that names the topic", err)
	}
}

func TestWindowConfig(t *testing.T) {
	good := WindowConfig{Topic: "w", Size: time.Minute, Late: "p.late"}
	for want, change := range map[string]func(*WindowConfig){
		"":               func(*WindowConfig) {},
		"window size":    func(c *WindowConfig) { c.Size = 0 },
		"milliseconds":   func(c *WindowConfig) { c.Size = time.Millisecond + 1 },
		"delay":          func(c *WindowConfig) { c.Delay = -1 },
		"consumer group": func(c *WindowConfig) { c.Late = "late" },
		"columns":        func(c *WindowConfig) { c.Columns.Count = "n" },
	} {
		c := good
		change(&c)
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	good.applyDefaults()
	if good.Group != "weir-p" {
		t.Errorf("group %q, want weir-p", good.Group)
	}
}

func TestParseWindowColumns(t *testing.T) {
	c, err := ParseWindowColumns("count=n, max=hi,key=dev,start=from")
	if want := (WindowColumns{Start: "from", Device: "dev", Count: "n", Max: "hi", named: true}); err != nil || c != want {
		t.Errorf("%+v, %v, want %+v", c, err, want)
	}
	for _, text := range []string{"", "count", "count=", "mean=x", "key=a+b+c", "key=+b", "key=a+"} {
		if _, err := ParseWindowColumns(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestParseTimestamp(t *testing.T) {
	for text, want := range map[string]int64{
		"2026-01-01 00:01:00": 1767225660000, "2026-01-01 00:01:00.5": 1767225660500, "2026-01-01 00:01:00.123": 1767225660123,
		"2026-01-01T00:01:00Z": 1767225660000, "2026-01-01T00:01:00.000Z": 1767225660000, "2026-01-01T00:01:00": 1767225660000,
		"2026-01-01T01:01:00+01:00": 1767225660000,
	} {
		if got, ok := parseTimestamp(text); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "2026-01-01", "2026-01-01 00:01", "yesterday at noon", "2026-01-01  00:01:00"} {
		if _, ok := parseTimestamp(text); ok {
			t.Errorf("%q was taken", text)
		}
	}
}

// A truncated dead letter preserves the beginning of its record. A row of a file that never became
// a record is not a dead letter of this topic.
func TestDeadLettersOfOtherFormats(t *testing.T) {
	for name, c := range map[string]struct {
		cut  string
		want kinds
	}{
		"cut":             {cut: "6"},
		"cut differently": {cut: "7", want: kinds{"dead_letter_mismatch": 1}},
		"not cut":         {cut: "3", want: kinds{"dead_letter_mismatch": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.send(batch{readingJSON(0, "poison")})
			w.consume(1, func(out []*kgo.Record) []*kgo.Record {
				for _, r := range out {
					r.Value = r.Value[:3]
					r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerDLQTruncated, Value: []byte(c.cut)})
				}
				return out
			})
			row := w.letterOf(-1, -1)
			row.Partition = 0
			w.send(batch{row})
			w.expect(c.want)
		})
	}
}
