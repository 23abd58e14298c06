package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// expect verifies the topic and compares the faults.
func (w *world) expect(want kinds) *Report {
	w.t.Helper()
	r := w.verify()
	if diff := cmp.Diff(faults(r), orNone(want)); diff != "" {
		w.t.Errorf("faults (-got +want):\n%s", diff)
	}
	return r
}

func (w *world) acks(lines ...string) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "acks.ndjson")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.config.Acks = append(w.config.Acks, path)
}

func ack(outcome string, device int, from, to int64) string {
	return fmt.Sprintf(`{"outcome":%q,"device":"d%d","boot":"","from":%d,"to":%d}`, outcome, device, from, to)
}

func TestAcknowledgements(t *testing.T) {
	for name, c := range map[string]struct {
		acks []string
		drop int64 // seq of device 0 that is not sent; -1 for none
		want kinds
	}{
		"all acked":                         {acks: []string{ack("acked", 0, 0, 4), ack("acked", 0, 5, 9), ack("acked", 1, 0, 9)}, drop: -1},
		"acked but missing at the end":      {acks: []string{ack("acked", 0, 0, 12)}, drop: -1, want: kinds{"lost": 3}},
		"acked but missing inside":          {acks: []string{ack("acked", 0, 0, 9)}, drop: 4, want: kinds{"lost": 1}},
		"a device acked but missing":        {acks: []string{ack("acked", 7, 0, 3)}, drop: -1, want: kinds{"lost": 4}},
		"refused and absent":                {acks: []string{ack("acked", 0, 0, 3), ack("refused", 0, 4, 4), ack("acked", 0, 5, 9)}, drop: 4},
		"refused but there":                 {acks: []string{ack("acked", 0, 0, 3), ack("refused", 0, 4, 5)}, drop: -1, want: kinds{"refused_seen": 2}},
		"refused, then acked":               {acks: []string{ack("refused", 0, 4, 5), ack("acked", 0, 4, 5)}, drop: -1},
		"unknown and absent":                {acks: []string{ack("unknown", 0, 4, 4)}, drop: 4},
		"unknown and there":                 {acks: []string{ack("unknown", 0, 4, 4), ack("refused", 0, 4, 4)}, drop: -1},
		"refused and unknown at the end":    {acks: []string{ack("refused", 0, 10, 10), ack("unknown", 0, 11, 11)}, drop: -1},
		"a gap that the log doesn't excuse": {acks: []string{ack("acked", 0, 0, 3), ack("acked", 0, 5, 9)}, drop: 4, want: kinds{"lost": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, inTopic)
			all := fleet(2, 0, 10)
			if c.drop >= 0 {
				all[c.drop] = all[c.drop][1:]
			}
			w.send(all...)
			w.acks(c.acks...)
			w.expect(c.want)
		})
	}
}

func TestAcknowledgementLogRefused(t *testing.T) {
	for line, want := range map[string]string{
		`{"outcome":"maybe","device":"d","boot":"","from":0,"to":1}`:  "maybe",
		`{"outcome":"acked","device":"","boot":"","from":0,"to":1}`:   "needed",
		`{"outcome":"acked","device":"d","boot":"","to":1}`:           "needed",
		`{"outcome":"acked","device":"d","boot":"","from":2,"to":1}`:  "no range",
		`{"outcome":"acked","device":"d","boot":"","from":-1,"to":1}`: "no range",
		`half a line`: "line 2",
	} {
		path := filepath.Join(t.TempDir(), "acks")
		if err := os.WriteFile(path, []byte(ack("acked", 0, 0, 1)+"\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readAcks([]string{path}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one with %q and the path", line, err, want)
		}
	}
}

// The last line of a log may be incomplete while it is being written, and so may any line during
// which a producer was killed.
func TestAcknowledgementLogBeingWritten(t *testing.T) {
	line, next := ack("acked", 0, 0, 1)+"\n", ack("acked", 0, 2, 3)
	for n := range len(next) {
		for _, text := range []string{line + next, line + next[:n], next[:n] + "\n" + line} {
			path := filepath.Join(t.TempDir(), "acks")
			if err := os.WriteFile(path, []byte(strings.TrimPrefix(text, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := readAcks([]string{path})
			if err != nil {
				t.Fatal(err)
			}
			if got := a.of("d0", "").acked.count(); got != 2 {
				t.Errorf("%q: %d acknowledged, want the 2 of the complete line", text, got)
			}
		}
	}
}

// A reader that sees aborted records is detected: by comparison with the other reader, or from its
// records if both do.
func TestReadUncommitted(t *testing.T) {
	for name, c := range map[string]struct {
		readers [2]kgo.IsolationLevel
		want    kinds
	}{
		"the first":  {[2]kgo.IsolationLevel{kgo.ReadUncommitted(), kgo.ReadCommitted()}, kinds{"readers_disagree": 2, "duplicated": 2}},
		"the second": {[2]kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadUncommitted()}, kinds{"readers_disagree": 2}},
		"both":       {[2]kgo.IsolationLevel{kgo.ReadUncommitted(), kgo.ReadUncommitted()}, kinds{"duplicated": 2}},
		"none":       {[2]kgo.IsolationLevel{kgo.ReadCommitted(), kgo.ReadCommitted()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, inTopic)
			w.send(fleet(4, 0, 5)...)
			w.abort(batch{reading(0, 5), reading(1, 5)})
			w.send(fleet(4, 5, 10)...)
			w.config.loose, w.config.isolation = true, c.readers
			w.expect(c.want)
		})
	}
}

// A consumer with read_uncommitted counts aborted readings.
func TestConsumerReadsUncommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(fleet(4, 0, 5)...)
	w.abort(batch{reading(0, 5), reading(1, 5)})
	w.send(fleet(4, 5, 10)...)
	w.consumeAt(kgo.ReadUncommitted(), 42, nil)
	w.expect(kinds{"stats_mismatch": 2})
}

// An abandoned transaction hides later records on its partition. It counts as one fault: the
// records that it hides are neither lost nor torn.
func TestOpenTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Wait = time.Second
	w.send(w.mark(fleet(4, 0, 5))...)
	w.open(batch{reading(0, 100), reading(1, 100)})
	w.send(w.mark(fleet(4, 5, 10))...)
	w.acks(ack("acked", 0, 0, 9), ack("acked", 1, 0, 9), ack("acked", 2, 0, 9), ack("acked", 3, 0, 9))
	r := w.expect(kinds{"open_transactions": 1})
	if r.Records != 2*5+2*10 || r.Hidden != 2*5 || r.HiddenTransactions != 5 {
		t.Errorf("%d records, %d readings and %d transactions hidden, want 30, 10 and 5", r.Records, r.Hidden, r.HiddenTransactions)
	}
}

func TestOpenTransactionOnResults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.config.Wait = time.Second
	w.send(fleet(4, 0, 5)...)
	w.consume(20, nil)
	w.open(batch{{Topic: outTopic, Partition: 2, Key: []byte("k"), Value: []byte("v")}})
	w.send(fleet(4, 5, 10)...)
	w.consume(20, nil)
	w.expect(kinds{"open_transactions": 1})
}

// A transaction that ends while Verify waits is not a fault.
func TestTransactionEndsInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(fleet(4, 0, 5)...)
	c := w.client(kgo.TransactionalID("slow"))
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(w.ctx, fleet(4, 5, 6)[0]...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	listed := make(chan struct{}, 1)
	w.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if req.(*kmsg.ListOffsetsRequest).IsolationLevel == 1 {
			select {
			case listed <- struct{}{}:
			default:
			}
		}
		return nil, nil, false
	})
	ended := make(chan error, 1)
	go func() {
		<-listed // Verify has listed the last stable offset, which is behind
		<-listed
		ended <- c.EndTransaction(w.ctx, kgo.TryCommit)
	}()
	r := w.expect(nil)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if r.Records != 24 {
		t.Errorf("%d records, want 24: those of the transaction too", r.Records)
	}
}

// After the beginning of the topic has been deleted, the deleted readings don't count as lost, and
// the remaining ones are still checked.
func TestTruncated(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world, all []batch)
		spoil  func([]*kgo.Record) []*kgo.Record
		want   kinds
	}{
		"honest": {},
		"a loss after it": {
			change: func(w *world, all []batch) { all[15] = all[15][1:]; w.unmarked(all) },
			want:   kinds{"lost": 1},
		},
		"a duplicate after it": {
			change: func(w *world, all []batch) { all[17] = append(all[17], reading(0, 15)); w.unmarked(all) },
			want:   kinds{"duplicated": 1},
		},
		"a torn transaction after it": {
			change: func(_ *world, all []batch) { all[19] = all[19][:2] },
			want:   kinds{"torn": 1},
		},
		"a repeat of a deleted reading": {
			change: func(w *world, all []batch) {
				all[19] = append(all[19], reading(0, 2, headerRepeat, "1"), reading(1, 2, headerReplayed, "sensor_data_dlq/0/0"))
				w.unmarkedBut(all, all[19][len(all[19])-2:])
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			all := w.mark(fleet(4, 0, 20))
			if c.change != nil {
				c.change(w, all)
			}
			w.send(all...)
			w.consume(count(all), c.spoil)
			for _, id := range []int32{0, 1} { // mid-transaction: a record and a marker each
				if err := w.cluster.DeleteRecords(inTopic, id, 16+int64(id)*2); err != nil {
					t.Fatal(err)
				}
			}
			w.acks(ack("acked", 0, 0, 14), ack("acked", 1, 0, 14))
			r := w.expect(c.want)
			if r.Truncated != 2 {
				t.Errorf("truncated = %d, want 2", r.Truncated)
			}
			if d := detail(r, "C4"); !strings.Contains(d, "stats not checkable: the topic's beginning has been deleted") {
				t.Errorf("details of C4: %q", d)
			}
		})
	}
}

// Readings that were deleted before the group read them are a fault, even if the group has results.
// Once the group has moved past them, this can't be detected from outside, and the report does not
// claim that nothing is wrong.
func TestDeletedUnread(t *testing.T) {
	for name, passed := range map[string]bool{"past the group's offset": false, "up to the group's offset": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			all := w.mark(fleet(4, 0, 20))
			w.send(all[:10]...)
			w.consume(count(all[:10]), nil)
			read := w.end(inTopic, 1)
			w.send(all[10:]...)
			w.config.Wait = 200 * time.Millisecond
			to, want := read, kinds(nil)
			if !passed {
				to, want = read+5, kinds{"unread": 6} // plus the marker before them
			}
			if err := w.cluster.DeleteRecords(inTopic, 1, to); err != nil {
				t.Fatal(err)
			}
			r := w.expect(want)
			var text strings.Builder
			if err := r.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text.String(), "Nothing is wrong.\n") || !strings.Contains(detail(r, "C10"), "offsets were deleted") {
				t.Errorf("report:\n%s", text.String())
			}
		})
	}
}

func (w *world) unmarkedBut(all []batch, keep batch) {
	kept := make(map[*kgo.Record][]kgo.RecordHeader)
	for _, r := range keep {
		kept[r] = r.Headers
	}
	w.unmarked(all)
	for r, headers := range kept {
		r.Headers = headers
	}
}

func detail(r *Report, id string) string {
	for _, c := range r.Checks {
		if c.ID == id {
			return string(c.Verdict) + ": " + c.Detail
		}
	}
	return ""
}

// Verifying a running flow raises no false alarm.
func TestLiveFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const devices = 12
	producer := w.client(kgo.TransactionalID("fleet/a"))
	var seq int64
	stopProducer := background(w.ctx, t, func(ctx context.Context) error {
		ctx = context.WithoutCancel(ctx) // finish a transaction once begun
		if seq%20 == 11 {
			if err := transact(ctx, producer, w.mark(fleet(devices, seq, seq+1))[0], kgo.TryAbort); err != nil {
				return err
			}
		}
		b := w.mark(fleet(devices, seq, seq+1))[0]
		if seq%50 == 7 {
			b = append(b, readingJSON(3, "poison"))
		}
		seq++
		return transact(ctx, producer, b, kgo.TryCommit)
	})
	c := w.newConsumer(kgo.ReadCommitted())
	stopConsumer := background(w.ctx, t, func(ctx context.Context) error { return c.step(context.WithoutCancel(ctx)) })
	var last int64
	for last < 20_000 && w.ctx.Err() == nil && !t.Failed() {
		r, err := Verify(w.ctx, w.config)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Clean() {
			_ = r.WriteText(testLog{t})
			t.Fatalf("a false alarm: %v", faults(r))
		}
		last = r.Records
	}
	stopProducer()
	stopConsumer()
	c.session.Close()
	r := w.expect(nil)
	if r.Records < 20_000 || r.Transactions == 0 || r.Invalid == 0 || r.DeadLetters == 0 || r.StatsCount == 0 {
		t.Errorf("the flow was too thin to prove anything: %+v", r)
	}
}

func TestEmptyTopic(t *testing.T) {
	w := newWorld(t)
	if r := w.expect(nil); r.Records != 0 || !r.Clean() || len(r.Checks) != 10 {
		t.Errorf("an empty topic: %+v", r)
	}
}

func TestMissingTopic(t *testing.T) {
	w := newWorld(t)
	w.config.Topic = "sensor_data"
	_, err := Verify(w.ctx, w.config)
	var missing *MissingTopicError
	if !errors.As(err, &missing) || missing.Topic != "sensor_data" || !strings.Contains(err.Error(), `"sensor_data"`) {
		t.Errorf("error %v, want one that names the topic", err)
	}
}

// Whatever can't be checked is reported as such.
func TestNothingToCompare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTopic)
	w.send(fleet(2, 0, 3)...)
	w.expect(nil)
	for id, want := range map[string]string{
		"C3": "not checked: no record carries", "C4": "not checked: ", "C5": "not checked: ", "C7": "not checked: ", "C1": "ok: 6 records",
	} {
		if d := detail(w.verify(), id); !strings.HasPrefix(d, want) {
			t.Errorf("details of %s: %q, want %q", id, d, want)
		}
	}
	if d := detail(w.verify(), "C4"); !strings.Contains(d, "topic device_stats does not exist") || !strings.Contains(d, "group weir-device-stats has no offsets") {
		t.Errorf("details of C4: %q", d)
	}
}

// A partition that ends with aborted records and their marker is read to its end.
func TestAbortedTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(fleet(4, 0, 5)...)
	w.consume(20, nil)
	w.abort(fleet(4, 5, 6)[0])
	w.abort(fleet(4, 5, 6)[0])
	if r := w.expect(nil); r.Records != 20 {
		t.Errorf("%d records, want 20", r.Records)
	}
}

// If records of a partition don't arrive, Verify fails with an error that names the partition, even
// if the broker returns none: unless the log is compacted, a record precedes the last stable
// offset.
func TestReadStalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inTopic)
	w.config.stall = 2 * time.Second
	w.send(fleet(4, 0, 5)...)
	w.hideEnd(inTopic, 2)
	_, err := Verify(w.ctx, w.config)
	if err == nil || !strings.Contains(err.Error(), "sensor_data_tx partition 2") {
		t.Errorf("error %v, want one that names partition 2", err)
	}
}

// If compaction has removed the tail of a log, the broker reports no more records, and the read
// ends there. If records are missing, other checks detect it.
func TestCompactedTail(t *testing.T) {
	for name, c := range map[string]struct {
		devices int
		want    kinds
	}{
		"of nothing that counts": {devices: 2},
		"of results":             {devices: 3, want: kinds{"stats_mismatch": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.config.stall = 4 * time.Second
			w.send(fleet(c.devices, 0, 5)...)
			w.consume(int64(5*c.devices), nil)
			w.abort(batch{{Topic: outTopic, Partition: place("d2"), Key: []byte("k"), Value: []byte("v")}})
			w.hideEnd(outTopic, place("d2"))
			w.expect(c.want)
		})
	}
}

// hideEnd makes fetches of one partition return nothing.
func (w *world) hideEnd(topic string, id int32) {
	end := w.end(topic, id)
	topicID := w.cluster.TopicInfo(topic).TopicID
	w.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		for _, t := range req.(*kmsg.FetchRequest).Topics {
			for i := range t.Partitions {
				if t.TopicID == topicID && t.Partitions[i].Partition == id {
					t.Partitions[i].FetchOffset = end // no records there yet
				}
			}
		}
		return nil, nil, false
	})
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	c := Config{}
	c.Broker.Brokers = []string{"127.0.0.1:1"}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := Verify(ctx, c); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("error %v, want one that names the broker", err)
	}
}

func TestProgress(t *testing.T) {
	w := newWorld(t)
	w.send(fleet(4, 0, 50)...)
	var done, total int64
	w.config.Progress = func(d, n int64) {
		if d < done || d > n {
			t.Errorf("progress went from %d to %d of %d", done, d, n)
		}
		done, total = d, n
	}
	w.expect(nil)
	if done == 0 || done != total {
		t.Errorf("progress ended at %d of %d", done, total)
	}
}
