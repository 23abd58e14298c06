package embedded

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// transact writes records to partition 0 of killState in one transaction and ends it.
func transact(t *testing.T, c *kgo.Client, end kgo.TransactionEndTry, records ...*kgo.Record) {
	t.Helper()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		r.Topic = killState
	}
	if err := c.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if end == kgo.TryCommit {
		if err := broker.Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := c.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

func keyed(key, value string) *kgo.Record { return &kgo.Record{Key: []byte(key), Value: []byte(value)} }

// tombstone is older than delete.retention.ms, so that a compaction may remove it.
func tombstone(key string) *kgo.Record {
	return &kgo.Record{Key: []byte(key), Timestamp: time.Now().Add(-48 * time.Hour)}
}

// A transaction that begins between the check for open transactions and the compaction, as one of
// an admitted producer of the first protocol may, holds the compaction back: otherwise its record
// would replace the committed value of its key, and an abort would leave none.
func TestCompactionSparesOpenTransactions(t *testing.T) {
	for protocol, versions := range protocols {
		t.Run(protocol, func(t *testing.T) {
			b := open(t, Config{Dir: t.TempDir(), CompactBytes: 1})
			defer b.Close()
			plain := client(t, b)
			createTopic(t, plain, killState, map[string]string{"cleanup.policy": "compact"})
			c := client(t, b, kgo.TransactionalID("writer"), kgo.MaxVersions(versions()))
			transact(t, c, kgo.TryCommit, keyed("k", "committed"))
			if err := c.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for _, value := range []string{"open", "still open"} { // the last batch is never compacted
				r := keyed("k", value)
				r.Topic = killState
				if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			at := topicPartition{killState, 0}
			if err := linkPartition(b.cfg.Dir, at); err != nil {
				t.Fatal(err)
			}
			if err := b.loop.compact(at, b.data(), filepath.Join(b.cfg.Dir, linkedDir)); !errors.Is(err, errOpenTransaction) {
				t.Errorf("the compaction returned %v, expected %v", err, errOpenTransaction)
			}
			if err := dropLinks(b.cfg.Dir); err != nil {
				t.Fatal(err)
			}
			if err := c.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
				t.Fatal(err)
			}
			if got := latest(t, b, killState)["k"]; got != "committed" {
				t.Errorf("after the abort, the key has %q, expected its committed value", got)
			}
			if err := b.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := latest(t, b, killState)["k"]; got != "committed" {
				t.Errorf("after the compaction, the key has %q, expected its committed value", got)
			}
		})
	}
}

// Aborted records, tombstones included, neither replace committed ones nor stay after a compaction,
// before and after a kill.
func TestCompactionDropsAbortedRecords(t *testing.T) {
	for protocol, versions := range protocols {
		t.Run(protocol, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, Config{Dir: dir, CompactBytes: 1})
			createTopic(t, client(t, b), killState, map[string]string{"cleanup.policy": "compact"})
			c := client(t, b, kgo.TransactionalID("writer"), kgo.MaxVersions(versions()))
			transact(t, c, kgo.TryCommit, keyed("updated", "1"), keyed("deleted", "1"), keyed("gone", "1"), keyed("untouched", "1"))
			transact(t, c, kgo.TryAbort, keyed("updated", "aborted"), tombstone("deleted"), keyed("new", "aborted"))
			transact(t, c, kgo.TryCommit, tombstone("gone"))
			transact(t, c, kgo.TryAbort, tombstone("untouched"), keyed("gone", "aborted"))
			transact(t, c, kgo.TryCommit, keyed("last", "1"))
			check := func(when string, stored int) {
				t.Helper()
				got := latest(t, b, killState)
				if value, ok := got["gone"]; ok && value == "" { // its tombstone
					delete(got, "gone")
				}
				if want := "map[deleted:1 last:1 untouched:1 updated:1]"; fmt.Sprint(got) != want {
					t.Errorf("%s, readers see %v, expected %s", when, got, want)
				}
				if all := storedKeys(t, b); len(all) != stored {
					t.Errorf("%s, the log has the keys %q, expected %d", when, all, stored)
				}
			}
			check("before the compaction", 11)
			if err := b.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("after the compaction", 4)
			b = killed(t, b)
			defer func() { _ = b.Close() }()
			check("after a kill", 4)
			b.cfg.CompactBytes = 1
			if err := b.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("after another compaction", 4)
		})
	}
}

// storedKeys returns the key of each record in partition 0 of killState, committed or not.
func storedKeys(t *testing.T, b *Broker) (keys []string) {
	t.Helper()
	c := client(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{killState: {0: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords())
	defer c.Close()
	end := b.cluster.PartitionInfo(killState, 0).HighWatermark
	for at := int64(0); at < end; {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at = r.Offset + 1
			if !r.Attrs.IsControl() {
				keys = append(keys, string(r.Key))
			}
		})
	}
	return keys
}

// kfake's own timer would compact across open transactions, and delete by kfake's rules of
// retention. No client can start it: its interval can't be changed.
func TestClientsCannotScheduleCompaction(t *testing.T) {
	const interval, other = "log.cleaner.backoff.ms", "log.retention.ms"
	b := open(t, Config{Dir: t.TempDir()})
	defer b.Close()
	admin := kadm.NewClient(client(t, b))
	brokers := func() map[string]string {
		t.Helper()
		described, err := admin.DescribeBrokerConfigs(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		for _, c := range described[0].Configs {
			got[c.Key] = c.MaybeValue()
		}
		return got
	}
	before := brokers()[interval]
	for name, change := range map[string][]kadm.AlterConfig{
		"set":    {{Op: kadm.SetConfig, Name: interval, Value: kmsg.StringPtr("1")}},
		"delete": {{Op: kadm.DeleteConfig, Name: interval}},
		"both":   {{Op: kadm.SetConfig, Name: other, Value: kmsg.StringPtr("7")}, {Op: kadm.SetConfig, Name: interval, Value: kmsg.StringPtr("1")}},
	} {
		resp, err := admin.AlterBrokerConfigs(t.Context(), change, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp) != 1 || !errors.Is(resp[0].Err, kerr.InvalidConfig) {
			t.Errorf("%s: the broker answered %+v, expected %v", name, resp, kerr.InvalidConfig)
		}
	}
	for name, c := range map[string]struct {
		change []kadm.AlterConfig
		want   error
	}{
		"replaced":     {[]kadm.AlterConfig{{Name: interval, Value: kmsg.StringPtr("1")}}, kerr.InvalidConfig},
		"not repeated": {[]kadm.AlterConfig{{Name: other, Value: kmsg.StringPtr("604800000")}}, nil},
	} {
		resp, err := admin.AlterBrokerConfigsState(t.Context(), c.change, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp) != 1 || !errors.Is(resp[0].Err, c.want) {
			t.Errorf("%s: the broker answered %+v, expected %v", name, resp, c.want)
		}
	}
	after := brokers()
	if after[interval] != before || after[other] != "604800000" {
		t.Errorf("%s is %q, expected %q; %s is %q", interval, after[interval], before, other, after[other])
	}
}
