// Package trail is the audit trail of a data directory: who logged in to the embedded broker, and
// who has changed what.
//
// The trail is a file, not a topic: clients of the broker can neither read nor change nor delete
// it, and the broker can record what happens to its topics. Lines are only appended. A file that is
// full is kept under the time of its end, and the oldest ones are removed.
package trail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"weir.example/weir/internal/saved"
)

// Deed is something that somebody has done, or was refused.
type Deed struct {
	At    time.Time `json:"at"`
	Who   string    `json:"who"`             // principal without User:, empty for a client without a login
	From  string    `json:"from,omitempty"`  // address of the client, or the process on this machine
	What  string    `json:"what"`            // one of Kinds
	On    string    `json:"on,omitempty"`    // name of what was changed
	Error string    `json:"error,omitempty"` // why it was refused, or failed; empty if it was done
}

// Kinds of deeds.
const (
	Login          = "login"
	CreateTopic    = "topic-create"
	DeleteTopic    = "topic-delete"
	ConfigureTopic = "topic-configure" // or a broker
	AddPartitions  = "topic-partitions"
	DeleteRecords  = "records-delete"
	DeleteGroup    = "group-delete"
	ResetOffsets   = "group-offsets-delete"
	CreateACL      = "acl-create"
	DeleteACL      = "acl-delete"
	ChangeUser     = "user-change"
	StartProducer  = "transactional-id" // acquired: pipelines, sources, replays, repartitioning
	AbortByMarker  = "transaction-abort"
	CommitByMarker = "transaction-commit"
	Command        = "command"        // of Weir on this machine that changes something or runs pipelines: began
	CommandEnd     = "command-end"    // and ended
	ChangeSchema   = "schema-change"  // by HTTP
	Console        = "console-change" // by the console
	Denied         = "denied"         // by HTTP: the user's role does not allow it
)

// Kinds lists all of them.
var Kinds = []string{
	Login, CreateTopic, DeleteTopic, ConfigureTopic, AddPartitions, DeleteRecords, DeleteGroup, ResetOffsets, CreateACL, DeleteACL, ChangeUser,
	StartProducer, AbortByMarker, CommitByMarker, Command, CommandEnd, ChangeSchema, Console, Denied,
}

const (
	file      = "audit.jsonl"
	lockFile  = "audit.lock"
	fullFiles = "audit-*.jsonl"
	fullName  = "audit-20060102T150405.000000000Z.jsonl" // the time of its end

	fullBytes  = 8 << 20 // of a file
	keptFiles  = 8       // full ones
	maxText    = 512     // bytes of a name or an error
	maxLine    = 64 << 10
	bufferSize = 1024 // deeds that wait to be written
)

// Append writes deeds to the trail of a data directory. Several processes may do so at a time.
func Append(dir string, deeds ...Deed) error {
	var lines bytes.Buffer
	for _, d := range deeds {
		d.Who, d.On, d.Error = short(d.Who), short(d.On), short(d.Error)
		line, err := json.Marshal(d)
		if err != nil { // a time and texts
			return fmt.Errorf("audit trail: %w", err)
		}
		lines.Write(append(line, '\n'))
	}
	if err := rotate(dir); err != nil {
		return fmt.Errorf("audit trail: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // in the data directory
	if err != nil {
		return fmt.Errorf("audit trail: %w", err)
	}
	_, err = f.Write(lines.Bytes()) // one write, so that processes do not mix their lines
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("audit trail: %w", err)
	}
	return nil
}

func short(text string) string {
	if len(text) > maxText {
		return text[:maxText] + "…"
	}
	return text
}

// rotate puts a full file aside, and removes the oldest ones.
func rotate(dir string) error {
	full := func() bool {
		info, err := os.Stat(filepath.Join(dir, file))
		return err == nil && info.Size() >= fullBytes
	}
	if !full() {
		return nil
	}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Unlock() //nolint:errcheck // it is released in any case when the process ends
	if !full() {        // another process was faster
		return nil
	}
	name := time.Now().UTC().Format(fullName)
	if err := os.Rename(filepath.Join(dir, file), filepath.Join(dir, name)); err != nil {
		return err
	}
	old, err := olderFiles(dir)
	for _, path := range old[:max(0, len(old)-keptFiles)] {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// olderFiles returns the full files, oldest first.
func olderFiles(dir string) ([]string, error) {
	names, err := fs.Glob(os.DirFS(dir), fullFiles)
	slices.Sort(names)
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return names, err
}

// Filter selects deeds. Empty fields select all.
type Filter struct {
	Who, What string
	Since     time.Time
	Failed    bool // only those that were refused or failed
}

func (f *Filter) selects(d *Deed) bool {
	return (f.Who == "" || f.Who == d.Who) && (f.What == "" || f.What == d.What) && !d.At.Before(f.Since) && (!f.Failed || d.Error != "")
}

// Read calls fn with the deeds of a data directory, oldest first. A line that a crash has cut off
// is left out; unreadable is how many there are.
func Read(dir string, filter Filter, fn func(Deed) error) (unreadable int, err error) {
	files, err := olderFiles(dir)
	if err != nil {
		return 0, fmt.Errorf("audit trail: %w", err)
	}
	for _, path := range append(files, filepath.Join(dir, file)) {
		if ended, err := time.Parse(fullName, filepath.Base(path)); err == nil && ended.Before(filter.Since) {
			continue
		}
		n, err := readFile(path, filter, fn)
		if unreadable += n; err != nil && !errors.Is(err, fs.ErrNotExist) { // removed meanwhile, or none yet
			return unreadable, err
		}
	}
	return unreadable, nil
}

func readFile(path string, filter Filter, fn func(Deed) error) (unreadable int, err error) {
	f, err := os.Open(path) //nolint:gosec // in the data directory
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull) // such as the zeros that a power failure leaves
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return unreadable, fmt.Errorf("read %s: %w", path, err)
		}
		if len(line) == 0 {
			return unreadable, nil
		}
		var d Deed
		if long || saved.Decode(line, &d, "what") != nil {
			unreadable++
			continue
		}
		if !filter.selects(&d) {
			continue
		}
		if err := fn(d); err != nil {
			return unreadable, err
		}
	}
}

// Log writes deeds in the background, so that it never blocks those who report them. If they come
// faster than the disk takes them, some are dropped and counted.
type Log struct {
	dir     string
	failed  func(error)
	deeds   chan Deed
	dropped atomic.Int64

	mu     sync.RWMutex
	closed bool
	done   chan struct{}
}

// Open returns the log of a data directory. failed is called with errors of writing.
func Open(dir string, failed func(error)) *Log {
	l := &Log{dir: dir, failed: failed, deeds: make(chan Deed, bufferSize), done: make(chan struct{})}
	go l.write()
	return l
}

// Add reports a deed.
func (l *Log) Add(d Deed) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return
	}
	select {
	case l.deeds <- d:
	default:
		l.dropped.Add(1)
	}
}

// Dropped returns how many deeds were dropped, or could not be written.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

func (l *Log) write() {
	defer close(l.done)
	for d := range l.deeds {
		batch := []Deed{d}
		for len(batch) < bufferSize && len(l.deeds) > 0 {
			batch = append(batch, <-l.deeds)
		}
		if err := Append(l.dir, batch...); err != nil {
			l.dropped.Add(int64(len(batch)))
			l.failed(err)
		}
	}
}

// Close writes what was added.
func (l *Log) Close() {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if !closed {
		close(l.deeds)
	}
	<-l.done
}
