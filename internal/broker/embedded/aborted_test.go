package embedded

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Records that a producer commits after an aborted transaction stay visible once compaction has
// removed the aborted records and their marker, also after a restart.
func TestCompactionHidesNothingCommitted(t *testing.T) {
	dir := t.TempDir()
	open := func() *Broker {
		b, err := Open(Config{Dir: dir, MaintainEvery: -1, CompactBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open()
	defer func() { _ = b.Close() }()
	connect := func(opts ...kgo.Opt) *kgo.Client {
		c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addr()))...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	other, writer := connect(kgo.TransactionalID("other")), connect(kgo.TransactionalID("writer"))
	policy := "compact"
	if _, err := kadm.NewClient(other).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy}, "t"); err != nil {
		t.Fatal(err)
	}
	write := func(c *kgo.Client, end kgo.TransactionEndTry, key, value string) {
		t.Helper()
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Key: []byte(key), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := c.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	standing := func(when string) {
		t.Helper()
		c := connect(kgo.ConsumeTopics("t"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
		defer c.Close()
		ends, err := kadm.NewClient(c).ListEndOffsets(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup("t", 0)
		got := make(map[string]string)
		for at := int64(0); at < end.Offset; {
			fetches := c.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				at = r.Offset + 1
				if !r.Attrs.IsControl() {
					got[string(r.Key)] = string(r.Value)
				}
			})
		}
		if want := "map[a:kept b:3]"; fmt.Sprint(got) != want {
			t.Errorf("%s, readers see %v, expected %s", when, got, want)
		}
	}
	write(other, kgo.TryCommit, "a", "kept") // keeps the log's start offset
	write(writer, kgo.TryCommit, "b", "1")
	write(writer, kgo.TryAbort, "b", "aborted")
	write(other, kgo.TryCommit, "b", "2")
	write(writer, kgo.TryCommit, "b", "3") // its marker is the last batch
	standing("before the compaction")
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	standing("after the compaction")
	write(other, kgo.TryCommit, "b", "4")
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(writer, kgo.TryCommit, "b", "3")
	standing("after another compaction")
	other.Close()
	writer.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open()
	standing("after a restart")
}
