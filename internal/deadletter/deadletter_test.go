package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

var (
	topics = Topics{DLQ: "dlq", Progress: "progress"}
	now    = time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)
	input  = &kgo.Record{
		Topic: "in", Partition: 2, Offset: 77, Key: []byte{0, 0xff}, Value: []byte{1, 0xfe},
		Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte{9, 0xfd}}, {Key: "trace", Value: nil}},
	}
)

func TestLetterKeepsRecord(t *testing.T) {
	r := Record("dlq", input, errors.New("broken"), now, MaxBytes)
	l, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	want := Entry{
		Topic: "in", OriginPartition: 2, OriginOffset: 77, Reason: "broken", Time: now, Attempt: 1,
		Key: input.Key, Value: input.Value, Headers: input.Headers,
	}
	if diff := cmp.Diff(want, l); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	text, err := json.Marshal(l)
	if err != nil || !strings.Contains(string(text), `"value_base64":"Af4="`) || !strings.Contains(string(text), `"reason":"broken"`) {
		t.Errorf("JSON %s, %v", text, err)
	}
}

// A replayed record that fails again becomes a dead letter with the next attempt number. Weir's
// headers are replaced, and those of the record are kept.
func TestLetterCountsAttempts(t *testing.T) {
	l, err := Parse(Record("dlq", input, errors.New("broken"), now, MaxBytes))
	if err != nil {
		t.Fatal(err)
	}
	for attempt := 2; attempt < 5; attempt++ {
		back := l.original("dlq")
		if l, err = Parse(Record("dlq", back, errors.New("still broken"), now, MaxBytes)); err != nil {
			t.Fatal(err)
		}
		if l.Attempt != attempt || len(l.Headers) != len(input.Headers)+1 || l.Reason != "still broken" {
			t.Errorf("attempt %d: %+v", attempt, l)
		}
	}
}

func TestLetterIsTruncated(t *testing.T) {
	big := &kgo.Record{Topic: "in", Value: make([]byte, 5000), Headers: []kgo.RecordHeader{{Key: "h", Value: make([]byte, 100)}}}
	r := Record("dlq", big, errors.New("too large"), now, 2000)
	l, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if l.Truncated != 5000 || len(l.Value) >= 2000 || len(l.Value) < 1000 || len(l.Headers) != 1 {
		t.Errorf("truncated from %d to %d bytes, %d headers", l.Truncated, len(l.Value), len(l.Headers))
	}
}

func TestParseNamesInvalidHeader(t *testing.T) {
	for header, value := range map[string]string{
		HeaderTopic: "", HeaderPartition: "x", HeaderOffset: "", HeaderTime: "today", HeaderAttempt: "often", HeaderTruncated: "much",
	} {
		r := Record("dlq", input, errors.New("broken"), now, MaxBytes)
		addHeader(r, header, value)
		if _, err := Parse(r); err == nil || !strings.Contains(err.Error(), header) {
			t.Errorf("%s=%q: %v", header, value, err)
		}
	}
}

// cluster starts an in-memory broker with dead letters of n records in two partitions.
func cluster(t *testing.T, n int) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in", "dlq"), kfake.SeedTopics(1, "progress"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	fill(t, at, n)
	return at
}

// fill writes dead letters of n records to two partitions.
func fill(t *testing.T, at broker.Config, n int) {
	t.Helper()
	client, err := broker.Connect(t.Context(), at, kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range n {
		in := &kgo.Record{Topic: "in", Partition: int32(i % 2), Offset: int64(i), Key: []byte("k"), Value: fmt.Appendf(nil, "value %d", i)}
		r := Record("dlq", in, fmt.Errorf("reason %d", i%3), now.Add(time.Duration(i)*time.Second), MaxBytes)
		r.Partition = in.Partition
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func list(t *testing.T, at broker.Config, f Filter) (values []string) {
	t.Helper()
	err := List(t.Context(), at, topics, f, func(l Entry) error {
		values = append(values, string(l.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestListFilters(t *testing.T) {
	at := cluster(t, 9)
	for _, c := range []struct {
		filter Filter
		want   int
	}{
		{Filter{}, 9}, {Filter{Topic: "in"}, 9}, {Filter{Topic: "other"}, 0}, {Filter{Reason: "REASON 1"}, 3},
		{Filter{Since: now.Add(5 * time.Second)}, 4}, {Filter{Pending: true}, 9},
	} {
		if got := list(t, at, c.filter); len(got) != c.want {
			t.Errorf("%+v selects %q, want %d", c.filter, got, c.want)
		}
	}
	err := List(t.Context(), at, Topics{DLQ: "none", Progress: "progress"}, Filter{}, nil)
	if err == nil || !strings.Contains(err.Error(), "topic none") || !strings.Contains(err.Error(), "weir topics apply") {
		t.Errorf("missing topic: %v", err)
	}
}

// replayed counts the replayed records by value, and checks that each is in its original partition.
func replayed(t *testing.T, at broker.Config) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	err := broker.ReadAll(t.Context(), at, "in", nil, func(r *kgo.Record) error {
		counts[string(r.Value)]++
		var n int
		if _, err := fmt.Sscanf(string(r.Value), "value %d", &n); err != nil || r.Partition != int32(n%2) {
			t.Errorf("%q is in partition %d", r.Value, r.Partition)
		}
		if last := r.Headers[len(r.Headers)-1]; last.Key != HeaderReplayed {
			t.Errorf("%q has no header %s: %v", r.Value, HeaderReplayed, r.Headers)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

func requireEachOnce(t *testing.T, at broker.Config, n int) {
	t.Helper()
	counts := replayed(t, at)
	if len(counts) != n {
		t.Errorf("%d dead letters were replayed, want %d", len(counts), n)
	}
	for value, times := range counts {
		if times != 1 {
			t.Errorf("%q was replayed %d times", value, times)
		}
	}
}

func TestReplayOnce(t *testing.T) {
	at := cluster(t, 20)
	ctx := t.Context()
	dry, err := Replay(ctx, at, ReplayConfig{Topics: topics, DryRun: true})
	if err != nil || dry.Replayed != 20 || len(replayed(t, at)) != 0 {
		t.Errorf("dry run: %+v, %v", dry, err)
	}
	some, err := Replay(ctx, at, ReplayConfig{Topics: topics, Filter: Filter{Reason: "reason 2"}, BatchSize: 2})
	if err != nil || some.Replayed != 6 {
		t.Errorf("with a filter: %+v, %v", some, err)
	}
	rest, err := Replay(ctx, at, ReplayConfig{Topics: topics, BatchSize: 3})
	if err != nil || rest.Replayed != 14 || rest.Earlier != 6 {
		t.Errorf("the rest: %+v, %v", rest, err)
	}
	again, err := Replay(ctx, at, ReplayConfig{Topics: topics})
	if err != nil || again.Replayed != 0 || again.Earlier != 20 {
		t.Errorf("again: %+v, %v", again, err)
	}
	requireEachOnce(t, at, 20)
	if pending := list(t, at, Filter{Pending: true}); pending != nil {
		t.Errorf("still pending: %q", pending)
	}
}

// However many replays run concurrently, each dead letter is replayed once: newer replays fence
// older ones.
func TestConcurrentReplays(t *testing.T) {
	at := cluster(t, 40)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { _, _ = Replay(t.Context(), at, ReplayConfig{Topics: topics, BatchSize: 1}) }) // fenced ones fail
	}
	all.Wait()
	if _, err := Replay(t.Context(), at, ReplayConfig{Topics: topics}); err != nil {
		t.Fatal(err)
	}
	requireEachOnce(t, at, 40)
}

// A replay that dies after writing records and markers, but before the commit, has replayed
// nothing; the next one does.
func TestReplayAfterCrash(t *testing.T) {
	at := cluster(t, 5)
	dead, err := broker.Connect(t.Context(), at, kgo.TransactionalID("weir-replay-dlq"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*kgo.Record{{Topic: "in", Value: []byte("value 0")}, {Topic: "progress", Key: []byte(topics.markerKey(position{0, 0})), Value: []byte("{}")}} {
		if err := dead.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	dead.Close()
	result, err := Replay(t.Context(), at, ReplayConfig{Topics: topics})
	if err != nil || result.Replayed != 5 {
		t.Errorf("%+v, %v", result, err)
	}
	requireEachOnce(t, at, 5)
}

func TestReplaySkipsIncomplete(t *testing.T) {
	at := cluster(t, 0)
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	big := &kgo.Record{Topic: "in", Value: make([]byte, 5000)}
	for _, r := range []*kgo.Record{Record("dlq", big, errors.New("big"), now, 1000), FromSource("dlq", "in", "file:x", []byte("row"), nil, errors.New("bad"), now, 1000)} {
		if err := client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	result, err := Replay(t.Context(), at, ReplayConfig{Topics: topics})
	if err != nil || result.Replayed != 0 || len(result.Skipped) != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	reasons := result.Skipped[0].Reason + result.Skipped[1].Reason
	if !strings.Contains(reasons, "truncated from 5000 bytes") || !strings.Contains(reasons, "raw row of source file:x") {
		t.Errorf("reasons %s", reasons)
	}
}

// A truncated value, a raw row of a source and a computed row were never records of the topic, and
// cannot be replayed.
func TestUnreplayable(t *testing.T) {
	for _, c := range []struct {
		entry Entry
		want  string
	}{
		{Entry{Topic: "t", OriginPartition: 1, OriginOffset: 0}, ""},
		{Entry{Topic: "t", OriginPartition: 1, OriginOffset: 7, Truncated: 9}, "truncated from 9 bytes"},
		{Entry{Topic: "t", OriginPartition: -1, OriginOffset: -1, Source: "file:x"}, "raw row of source file:x"},
		{Entry{Topic: "t", OriginPartition: 1, OriginOffset: -1}, "computed from several records, and was never a record of topic t"},
	} {
		if got := c.entry.Unreplayable(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.entry, got, c.want)
		}
	}
}

// A null key, value or header value stays distinct from an empty one: in the dead letter, in its
// JSON and in the replayed record.
func TestLettersKeepNull(t *testing.T) {
	for _, c := range []struct {
		key, value, header []byte
		want               string
	}{
		{nil, nil, nil, `"headers":[{"key":"h","value":null}],"key":null,`},
		{[]byte{}, []byte{}, []byte{}, `"headers":[{"key":"h","value":""}],"key":"",`},
	} {
		in := &kgo.Record{Topic: "t", Key: c.key, Value: c.value, Headers: []kgo.RecordHeader{{Key: "h", Value: c.header}}}
		l, err := Parse(Record("dlq", in, errors.New("why"), time.Now(), MaxBytes))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(l)
		if err != nil || !strings.Contains(string(text), c.want) {
			t.Errorf("%s %v, want %s", text, err, c.want)
		}
		back := l.original("dlq")
		if (back.Key == nil) != (c.key == nil) || (back.Value == nil) != (c.value == nil) || (back.Headers[0].Value == nil) != (c.header == nil) {
			t.Errorf("%q %q %v are replayed as %q %q %v", c.key, c.value, c.header, back.Key, back.Value, back.Headers[0].Value)
		}
	}
}
