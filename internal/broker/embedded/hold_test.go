package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// disk is what a power failure would leave of a directory: its files at the beginning of the last
// sync, since everything written later may be lost.
type disk struct {
	t    *testing.T
	live string

	mu    sync.Mutex
	image string
}

// sync is called instead of a sync of the file system.
func (d *disk) sync() error {
	image := filepath.Join(d.t.TempDir(), "disk")
	copyGolden(d.t, d.live, image)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.image = image
	return nil
}

// syncedJournal is a journal whose syncs change the disk.
type syncedJournal struct {
	*os.File
	disk *disk
}

func (f syncedJournal) Sync() error {
	content, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return os.WriteFile(journalPath(f.disk.image), content, 0o600)
}

// afterPowerFailure opens what the disk has. It may have written some files without a sync.
func (d *disk) afterPowerFailure(unsynced func(name string) bool) *Broker {
	d.t.Helper()
	d.mu.Lock()
	image := d.image
	d.mu.Unlock()
	dir := filepath.Join(d.t.TempDir(), "failed")
	copyGolden(d.t, image, dir)
	for _, name := range d.files() {
		if !unsynced(name) {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(d.live, name))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), raw, 0o600)
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
	return open(d.t, Config{Dir: dir})
}

// files lists kfake's files, relative to the directory.
func (d *disk) files() (names []string) {
	walk(d.t, filepath.Join(d.live, dataDir), func(path string, info os.FileInfo) {
		name, err := filepath.Rel(d.live, path)
		if err != nil {
			d.t.Fatal(err)
		}
		if !info.IsDir() {
			names = append(names, name)
		}
	})
	return names
}

// With Sync, a power failure loses nothing that was acknowledged: neither a transaction that is
// prepared, with its offsets, nor the decision to end it.
func TestPowerFailureLosesNothingAcknowledged(t *testing.T) {
	for protocol, versions := range protocols {
		t.Run(protocol, func(t *testing.T) {
			d := &disk{t: t, live: t.TempDir()}
			b := open(t, Config{Dir: d.live, Sync: true})
			file, ok := b.journal.file.(*os.File)
			if !ok {
				t.Fatal("the journal is not a file")
			}
			b.loop.do(func() {
				b.disk.mu.Lock()
				b.disk.sync = d.sync
				b.disk.mu.Unlock()
				b.journal.file = syncedJournal{file, d}
			})
			c := client(t, b, kgo.TransactionalID(crashID), kgo.MaxVersions(versions()))
			raw := client(t, b, kgo.MaxVersions(versions()))
			who := openTransactionOn(t, b, c)
			check := func(when string, want outcome, unsynced func(string) bool) {
				t.Helper()
				failed := d.afterPowerFailure(unsynced)
				if got := outcomeOf(t, failed, when); got != want {
					t.Errorf("%s, the transaction is %s, expected %s", when, got, want)
				}
				if want == isOpen {
					r := client(t, failed, kgo.MaxVersions(versions()))
					mustEnd(t, r, who, true)
					r.Close()
					if got := outcomeOf(t, failed, when+" and a commit"); got != isCommitted {
						t.Errorf("%s, and then committed, the transaction is %s", when, got)
					}
				}
				if err := failed.Close(); err != nil {
					t.Fatal(err)
				}
			}
			none := func(string) bool { return false }
			check("after a power failure of a prepared transaction", isOpen, none)
			mustEnd(t, raw, who, true)
			check("after a power failure of a committed transaction", isCommitted, none)
			for _, only := range d.files() {
				check("after a power failure of a committed transaction, with all of "+only, isCommitted, func(name string) bool { return name == only })
				check("after a power failure of a committed transaction, without the end of "+only, isCommitted, func(name string) bool { return name != only })
			}
			for n := range 20 {
				chosen := rand.New(rand.NewPCG(uint64(n), 0)) //nolint:gosec // an index
				check(fmt.Sprint("after a power failure of a committed transaction, with choice ", n), isCommitted, func(string) bool { return chosen.IntN(2) == 0 })
			}
			c.Close()
			raw.Close()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Those who wait while a sync runs share the next one, and each waits for one that began after its
// call.
func TestSyncsAreShared(t *testing.T) {
	var syncs atomic.Int32
	begin, release := make(chan struct{}), make(chan struct{})
	s := newSyncer(func() error {
		syncs.Add(1)
		begin <- struct{}{}
		<-release
		return nil
	})
	var all sync.WaitGroup
	wait := func() {
		all.Go(func() {
			if err := s.wait(); err != nil {
				t.Error(err)
			}
		})
	}
	wait()
	<-begin
	for range 10 {
		wait()
	}
	for waiting := 0; waiting < 10; time.Sleep(time.Millisecond) { // until they have called
		s.mu.Lock()
		waiting = s.waiting
		s.mu.Unlock()
	}
	release <- struct{}{}
	<-begin
	release <- struct{}{}
	all.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d syncs, expected 2", n)
	}
}

// Once the disk has failed, nothing is acknowledged any more.
func TestFailedDiskAcknowledgesNothing(t *testing.T) {
	broken := errors.New("input/output error")
	s := newSyncer(func() error { return broken })
	client, server := net.Pipe()
	defer client.Close()
	c := &heldConn{Conn: server, disk: s}
	frame := func(key kmsg.Key, correlation uint32) []byte {
		raw := binary.BigEndian.AppendUint32(nil, 10)
		raw = binary.BigEndian.AppendUint16(raw, uint16(key)) //nolint:gosec // small
		raw = binary.BigEndian.AppendUint16(raw, 3)
		raw = binary.BigEndian.AppendUint32(raw, correlation)
		return append(raw, 0, 0)
	}
	answer := func(correlation uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 4), correlation)
	}
	go func() {
		for i, key := range []kmsg.Key{kmsg.Produce, kmsg.Metadata, kmsg.Produce} {
			_, _ = client.Write(frame(key, uint32(i))) //nolint:gosec // small
		}
		_, _ = io.ReadAll(client)
	}()
	if _, err := io.ReadFull(c, make([]byte, 3*len(frame(0, 0)))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(answer(1)); err != nil { // 0 has none: acks=0
		t.Errorf("an answer that is not held returned %v", err)
	}
	if _, err := c.Write(answer(2)); !errors.Is(err, broken) {
		t.Errorf("a record was acknowledged that is not on the disk: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
