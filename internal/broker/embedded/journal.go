package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The journal is an append-only log of what clients do to transactions. An entry is written before
// the broker handles the request; if that fails, the request is refused with a retriable error and
// never reaches the broker. Entries are framed (see frame) and numbered consecutively.
//
// The broker handles one request at a time: when the decision to end a transaction is written, all
// earlier ones have been carried out. Recovery therefore has at most one decision to complete.

const journalFile = "transactions.journal"

// Sizes in bytes at which a running broker rewrites the journal: at least minRewrite, and several
// times the size that the last rewrite left.
const (
	minRewrite    = 4 << 20
	rewriteFactor = 4
)

// entry is one record of the journal. It concerns one transaction.
type entry struct {
	Number     uint64 `json:"n"`
	ProducerID int64  `json:"pid"`
	Epoch      int16  `json:"epoch"`

	Begins     *beginning         `json:"begins,omitempty"` // in the first entry of a transaction
	Partitions map[string][]int32 `json:"parts,omitempty"`  // added, by topic
	Groups     []string           `json:"groups,omitempty"` // added
	Offsets    []groupOffset      `json:"offsets,omitempty"`
	Ends       *ending            `json:"ends,omitempty"` // in the last one
}

type beginning struct {
	At       int64 `json:"at"`                  // Unix milliseconds, from which the timeout counts
	OwnEpoch bool  `json:"own_epoch,omitempty"` // no other transaction has its epoch (KIP-890)
}

// ending is the decision to end a transaction.
type ending struct {
	Commit     bool  `json:"commit"`
	NextEpoch  int16 `json:"next"`     // of the producer, once the transaction has ended
	PIDLogSize int64 `json:"pids_log"` // size of pids.log at the decision: an end logged at or after that position is this one's

	// GroupsLogSize is the size of groups.log at the decision; nil in journals of earlier versions.
	GroupsLogSize *int64 `json:"groups_log,omitempty"`
}

// groupOffset is one offset that a transaction commits to a consumer group (KIP-98
// TxnOffsetCommit).
type groupOffset struct {
	Group       string  `json:"g"`
	Topic       string  `json:"t"`
	Partition   int32   `json:"p"`
	Offset      int64   `json:"o"`
	LeaderEpoch int32   `json:"e"`
	Metadata    *string `json:"m,omitempty"`
}

// transaction is the content of its entries.
type transaction struct {
	producer
	begins     beginning
	partitions map[topicPartition]bool
	groups     []string
	offsets    []groupOffset // in the order in which they were staged
}

func (t *transaction) started() time.Time { return time.UnixMilli(t.begins.At) }

// entry returns a single entry with the content of all.
func (t *transaction) entry() entry {
	e := entry{ProducerID: t.id, Epoch: t.epoch, Begins: &t.begins, Groups: t.groups, Offsets: t.offsets}
	for p := range t.partitions {
		e.add(p.topic, p.id)
	}
	return e
}

func (e *entry) add(topic string, partition int32) {
	if e.Partitions == nil {
		e.Partitions = make(map[string][]int32)
	}
	e.Partitions[topic] = append(e.Partitions[topic], partition)
}

// decision is an ending and the transaction that it ends.
type decision struct {
	ending
	transaction
}

// transactions is the content of a journal.
type transactions struct {
	open map[int64]*transaction // by producer id
	last *decision              // nil if the journal has none
}

func (t *transactions) apply(e entry) {
	of := t.open[e.ProducerID]
	if e.Begins != nil || of == nil || of.epoch != e.Epoch {
		of = &transaction{producer: producer{e.ProducerID, e.Epoch}, partitions: make(map[topicPartition]bool)}
		t.open[e.ProducerID] = of
	}
	if e.Begins != nil {
		of.begins = *e.Begins
		if t.last != nil && t.last.producer == of.producer {
			t.last = nil // carried out: the epoch's next transaction has begun
		}
	}
	for topic, ids := range e.Partitions {
		for _, id := range ids {
			of.partitions[topicPartition{topic, id}] = true
		}
	}
	for _, g := range e.Groups {
		if !slices.Contains(of.groups, g) {
			of.groups = append(of.groups, g)
		}
	}
	of.offsets = append(of.offsets, e.Offsets...)
	if e.Ends != nil {
		t.last = &decision{ending: *e.Ends, transaction: *of}
		delete(t.open, e.ProducerID)
	}
}

// journal appends to the journal of a running broker. Its handlers are in hooks.go.
type journal struct {
	dir       string  // data directory
	disk      *syncer // nil unless decisions wait for the disk
	producers *producers
	topicName func(id [16]byte) string // empty if no topic has the id
	mayRead   func(topic string) bool  // whether the client of the current request may

	file      journalWriter
	size      int64 // of the complete entries
	rewriteAt int64 // size
	number    uint64
	transactions
}

// journalWriter is an *os.File.
type journalWriter interface {
	io.WriterAt
	io.Closer
	Sync() error
}

func journalPath(dir string) string { return filepath.Join(dir, journalFile) }

// openJournal continues the journal of dir, which writeJournal has created.
func openJournal(dir string, disk *syncer) (*journal, error) {
	content, size, number, err := readJournal(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(journalPath(dir), os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{dir: dir, disk: disk, file: f, size: size, rewriteAt: max(minRewrite, rewriteFactor*size), number: number, transactions: content}, nil
}

func (j *journal) close() error { return j.file.Close() }

// append writes an entry. If it fails, the next one replaces what was written of it.
func (j *journal) append(e entry) error {
	if j.size >= j.rewriteAt {
		if err := j.rewrite(); err != nil {
			return fmt.Errorf("rewrite the journal: %w", err)
		}
	}
	replaces := e.Begins != nil && j.last != nil && j.last.producer == producer{e.ProducerID, e.Epoch}
	synced := j.disk != nil && (e.Ends != nil || replaces)
	if synced {
		// Sync the records of this transaction, and the control records of the previous one: this
		// entry replaces the decision that could complete those.
		if err := j.disk.wait(); err != nil {
			return err
		}
	}
	e.Number = j.number + 1
	framed, err := frame(e)
	if err != nil {
		return err
	}
	if _, err := j.file.WriteAt(framed, j.size); err != nil {
		return err
	}
	if synced { // before anything of what it decides, or of the transaction that it begins, can be on the disk
		if err := j.file.Sync(); err != nil {
			return err
		}
	}
	j.size += int64(len(framed))
	j.number = e.Number
	j.apply(e)
	return nil
}

// rewrite replaces the journal by the transactions that are open in the broker. Others have timed
// out. Every decision has been carried out: the request that calls it comes after.
func (j *journal) rewrite() error {
	if j.disk != nil {
		if err := j.disk.wait(); err != nil {
			return err
		}
	}
	for id := range j.open {
		if j.current(id) == nil {
			delete(j.open, id)
		}
	}
	if err := writeJournal(j.dir, slices.Collect(maps.Values(j.open))); err != nil {
		return err
	}
	next, err := openJournal(j.dir, j.disk)
	if err != nil {
		return err
	}
	_ = j.file.Close() // everything in it is in the next one
	j.file, j.size, j.rewriteAt, j.number, j.transactions = next.file, next.size, next.rewriteAt, next.number, next.transactions
	return nil
}

// current returns the open transaction of a producer, or nil if the broker has ended it: timeouts
// have no request.
func (j *journal) current(id int64) *transaction {
	t := j.open[id]
	live, ok := j.producers.withID(id)
	if t == nil || !ok || !live.inTransaction || live.epoch != t.epoch {
		return nil
	}
	return t
}

// writeJournal atomically replaces the journal of dir by one of open transactions.
func writeJournal(dir string, open []*transaction) error {
	var content []byte
	for i, t := range open {
		e := t.entry()
		e.Number = uint64(i) + 1 //nolint:gosec // an index
		framed, err := frame(e)
		if err != nil {
			return err
		}
		content = append(content, framed...)
	}
	return writeSynced(journalPath(dir), content)
}

// readJournal returns the content of a journal up to the first torn entry, with the size of its
// complete entries and the number of the last one. Without a journal, all are zero.
func readJournal(dir string) (content transactions, size int64, number uint64, err error) {
	content.open = make(map[int64]*transaction)
	raw, err := os.ReadFile(journalPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return content, 0, 0, nil
	}
	if err != nil {
		return content, 0, 0, err
	}
	for {
		data, ok := unframe(raw[size:])
		var e entry
		if !ok || json.Unmarshal(data, &e) != nil || e.Number != number+1 {
			return content, size, number, nil
		}
		content.apply(e)
		size += int64(frameHeader + len(data))
		number = e.Number
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const frameHeader = 8

// frame encodes a value as JSON after its length and CRC-32C, both 4 bytes, little-endian.
func frame(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	framed := binary.LittleEndian.AppendUint32(make([]byte, 0, len(data)+frameHeader), uint32(len(data)))
	framed = binary.LittleEndian.AppendUint32(framed, crc32.Checksum(data, castagnoli))
	return append(framed, data...), nil
}

// unframe returns the data of the first frame, if it is complete.
func unframe(raw []byte) (data []byte, ok bool) {
	if len(raw) < frameHeader {
		return nil, false
	}
	size := int64(binary.LittleEndian.Uint32(raw))
	if size > int64(len(raw)-frameHeader) {
		return nil, false
	}
	data = raw[frameHeader : frameHeader+size]
	return data, crc32.Checksum(data, castagnoli) == binary.LittleEndian.Uint32(raw[4:])
}
