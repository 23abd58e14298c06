package embedded

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fullDisk is a journal that can't be written while it is full.
type fullDisk struct {
	*os.File
	full bool
}

func (d *fullDisk) WriteAt(p []byte, at int64) (int, error) {
	if !d.full {
		return d.File.WriteAt(p, at)
	}
	n, err := d.File.WriteAt(p[:len(p)/2], at)
	return n, errors.Join(err, io.ErrShortWrite)
}

// Requests whose entry can't be written are refused with a retriable error, and nothing happens to
// the transaction. They succeed once there is space.
func TestRequestsWaitForTheJournal(t *testing.T) {
	for protocol, versions := range protocols {
		t.Run(protocol, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, Config{Dir: dir})
			c := client(t, b, kgo.TransactionalID(crashID), kgo.MaxVersions(versions()), kgo.RetryTimeout(time.Second))
			who := openTransactionOn(t, b, c)
			raw := client(t, b, kgo.MaxVersions(versions()), kgo.RequestRetries(0), kgo.RetryTimeout(time.Millisecond))
			file, ok := b.journal.file.(*os.File)
			if !ok {
				t.Fatal("the journal is not a file")
			}
			disk := &fullDisk{File: file, full: true}
			b.loop.do(func() { b.journal.file = disk })
			for name, request := range map[string]func() error{
				"commit":   func() error { return endRaw(t, raw, who, true) },
				"abort":    func() error { return endRaw(t, raw, who, false) },
				"recovery": func() error { _, err := initID(t, raw, who); return err },
				"takeover": func() error { _, err := initID(t, raw, producer{-1, -1}); return err },
				"partition": func() error {
					req := kmsg.NewPtrAddPartitionsToTxnRequest()
					req.TransactionalID, req.ProducerID, req.ProducerEpoch = crashID, who.id, who.epoch
					req.Version = 3
					req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: crashSource, Partitions: []int32{2}}}
					if versions().HasKey(int16(kmsg.AddPartitionsToTxn)) && protocol == "v2" {
						return kerr.CoordinatorNotAvailable // its clients do not send this request
					}
					resp, err := req.RequestWith(t.Context(), raw)
					if err != nil {
						return err
					}
					return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
				},
				"group": func() error {
					req := kmsg.NewPtrAddOffsetsToTxnRequest()
					req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = crashID, who.id, who.epoch, "another"
					resp, err := req.RequestWith(t.Context(), raw)
					if err != nil {
						return err
					}
					return kerr.ErrorForCode(resp.ErrorCode)
				},
			} {
				if err := request(); !errors.Is(err, kerr.CoordinatorNotAvailable) {
					t.Errorf("%s with a full disk returned %v", name, err)
				}
			}
			if got := outcomeOf(t, b, "with a full disk"); got != isOpen {
				t.Errorf("the transaction is %s", got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := c.ProduceSync(ctx, &kgo.Record{Topic: crashSource, Partition: 2, Value: []byte("late")}).FirstErr(); err == nil {
				t.Error("a record was written to a partition that is not in the journal")
			}
			if end := b.cluster.PartitionInfo(crashSource, 2).HighWatermark; end != 0 {
				t.Errorf("the partition has %d records", end)
			}
			b.loop.do(func() { disk.full = false })
			if err := endRaw(t, raw, who, true); err != nil {
				t.Errorf("with space again, the commit returned %v", err)
			}
			copied := filepath.Join(t.TempDir(), "copy")
			copyGolden(t, dir, copied)
			c.Close()
			raw.Close()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = open(t, Config{Dir: copied})
			if got := outcomeOf(t, b, "after a kill"); got != isCommitted {
				t.Errorf("after a kill, the transaction is %s", got)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The journal has what the broker does, and nothing of what it rejects.
func TestJournalFollowsTheBroker(t *testing.T) {
	b := open(t, Config{Dir: t.TempDir()})
	c := client(t, b, kgo.TransactionalID(crashID), kgo.MaxVersions(protocols["v1"]()))
	raw := client(t, b, kgo.MaxVersions(protocols["v1"]()))
	who := openTransactionOn(t, b, c)
	state := func() (open []producer, last *decision, entries uint64) {
		b.loop.do(func() {
			for _, t := range b.journal.open {
				open = append(open, t.producer)
			}
			last, entries = b.journal.last, b.journal.number
		})
		return open, last, entries
	}
	open, _, before := state()
	if !slices.Equal(open, []producer{who}) {
		t.Errorf("open transactions %v, expected that of %v", open, who)
	}
	fenced := producer{who.id, who.epoch - 1}
	if err := endRaw(t, raw, fenced, true); err == nil {
		t.Error("a fenced producer committed")
	}
	if _, _, entries := state(); entries != before {
		t.Errorf("a rejected commit has %d entries", entries-before)
	}
	mustEnd(t, raw, who, true)
	open, last, before := state()
	if len(open) > 0 || last == nil || last.producer != who || !last.Commit {
		t.Errorf("after the commit, %v is open and %+v the last decision", open, last)
	}
	mustEnd(t, raw, who, true) // its response was lost
	if _, _, entries := state(); entries != before {
		t.Errorf("a repeated commit has %d entries: a crash during the epoch's next transaction would commit it", entries-before)
	}
	c.Close()
	raw.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// A running broker rewrites the journal before it grows large, and keeps what is open.
func TestJournalIsRewritten(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	stays := client(t, b, kgo.TransactionalID(crashID))
	who := openTransactionOn(t, b, stays)
	b.loop.do(func() { b.journal.rewriteAt = 2000 })
	busy := client(t, b, kgo.TransactionalID("busy"))
	for range 30 {
		if err := busy.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := busy.ProduceSync(t.Context(), &kgo.Record{Topic: crashTopic, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := busy.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		b.loop.do(func() { b.journal.rewriteAt = min(b.journal.rewriteAt, 2000) })
	}
	content, size, _, err := readJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(journalPath(dir))
	if err != nil || info.Size() != size || size > 4000 {
		t.Errorf("the journal has %d bytes, %d of them valid: %v", info.Size(), size, err)
	}
	kept := content.open[who.id]
	if kept == nil || kept.producer != who || len(kept.partitions) != crashPartitions || len(kept.offsets) != 2 || kept.begins.At == 0 {
		t.Errorf("the open transaction is %+v among %v", kept, slices.Collect(maps.Keys(content.open)))
	}
	stays.Close()
	busy.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// A directory that an earlier version left, after a stop or a kill, opens. Its intents are
// completed, and read only once.
func TestUpgradeFromIntents(t *testing.T) {
	for _, step := range []string{intentWritten, someMarkers, allOffsets, allWritten} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			c := startChild(t, dir, endStep{true, step}.env(2))
			setUpCopying(t, c.addr)
			if !copyUntilDead(t, c, false) {
				t.Fatal("the broker was not killed")
			}
			content, _, _, err := readJournal(dir)
			if err != nil || content.last == nil {
				t.Fatalf("no decision: %v", err)
			}
			d := content.last
			writeIntent(t, dir, intent{Number: 1, ProducerID: d.id, Epoch: d.epoch, BumpsEpoch: true, PIDLogSize: d.PIDLogSize, Offsets: d.offsets})
			c = startChild(t, dir)
			defer c.kill(t)
			if _, err := os.Stat(slotPath(dir, 1)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the intent is still there: %v", err)
			}
			if rows := checkCopied(t, c.addr, step); rows <= 3*killPartitions {
				t.Errorf("%d rows are committed, expected those of two transactions", rows)
			}
		})
	}
}
