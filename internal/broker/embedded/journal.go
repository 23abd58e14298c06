package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// intent is the decision to commit one transaction, with everything that recovery needs to complete
// it, except the partitions: recovery finds them by the producer's open batches.
type intent struct {
	Number     uint64 `json:"n"` // sequence number; the highest valid one on disk is the last
	ProducerID int64  `json:"pid"`
	Epoch      int16  `json:"epoch"`
	BumpsEpoch bool   `json:"bumps"`    // EndTxn v5 and later: the producer continues with the next epoch (KIP-890)
	PIDLogSize int64  `json:"pids_log"` // size of pids.log before the end: an end logged after that position is this one's

	Offsets []groupOffset `json:"offsets,omitempty"`
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

// journal keeps the last intent on disk, in two slots written alternately, so that a torn write
// leaves the previous one intact. The broker calls its handlers one at a time, before it handles
// the request itself: when an intent is written, every earlier one has been completed.
type journal struct {
	dir    string // data directory
	sync   bool
	slots  [2]*os.File
	number uint64
	staged map[int64]stagedOffsets // by producer id, of open transactions
	wrote  map[int64]int16         // by producer id: epoch of the batches sent since its last commit

	topicName func(id [16]byte) string // empty if no topic has the id
}

type stagedOffsets struct {
	epoch   int16
	offsets []groupOffset
}

func slotPath(dir string, slot int) string {
	return filepath.Join(dir, fmt.Sprintf("commit-intent.%d", slot))
}

// openJournal continues the journal of dir. topicName resolves the topic ids of requests; handlers
// call it.
func openJournal(dir string, sync bool, topicName func(id [16]byte) string) (*journal, error) {
	last, err := readIntent(dir)
	if err != nil {
		return nil, err
	}
	j := &journal{dir: dir, sync: sync, staged: make(map[int64]stagedOffsets), wrote: make(map[int64]int16), topicName: topicName}
	if last != nil {
		j.number = last.Number
	}
	for i := range j.slots {
		if j.slots[i], err = os.OpenFile(slotPath(dir, i), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
			return nil, errors.Join(err, j.close())
		}
	}
	return j, nil
}

func (j *journal) close() error {
	var errs []error
	for _, f := range j.slots {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// onTxnOffsetCommit stages the offsets that a transaction will commit, including those that the
// broker then rejects: a client whose offsets were rejected aborts.
//
// From version 6 on, requests have only topic ids (KIP-1319), which the broker resolves in its own
// handler, after this one. The broker rejects unknown ids, so their offsets are left out.
func (j *journal) onTxnOffsetCommit(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.TxnOffsetCommitRequest)
	if !ok {
		return nil, nil, false
	}
	s := j.staged[req.ProducerID]
	if req.ProducerEpoch < s.epoch {
		return nil, nil, false // from a fenced producer
	}
	if s.epoch != req.ProducerEpoch {
		s = stagedOffsets{epoch: req.ProducerEpoch}
	}
	for _, t := range req.Topics {
		name := t.Topic
		if req.Version >= 6 {
			name = j.topicName(t.TopicID)
		}
		if name == "" {
			continue
		}
		for _, p := range t.Partitions {
			s.offsets = append(s.offsets, groupOffset{
				Group: req.Group, Topic: name, Partition: p.Partition,
				Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata,
			})
		}
	}
	j.staged[req.ProducerID] = s
	return nil, nil, false
}

// onProduce records which producers have written in a transaction.
func (j *journal) onProduce(kreq kmsg.Request) {
	req, ok := kreq.(*kmsg.ProduceRequest)
	if !ok || req.TransactionID == nil {
		return
	}
	if of, ok := producerOf(req); ok {
		if before, ok := j.wrote[of.id]; !ok || of.epoch > before {
			j.wrote[of.id] = of.epoch
		}
	}
}

// producerOf returns the producer of a request's batches; a request has batches of one producer
// only.
func producerOf(req *kmsg.ProduceRequest) (of producer, ok bool) {
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if len(p.Records) >= batchHeaderSize {
				return producer{
					id:    int64(binary.BigEndian.Uint64(p.Records[43:])), //nolint:gosec // as it was written
					epoch: int16(binary.BigEndian.Uint16(p.Records[51:])), //nolint:gosec // as it was written
				}, true
			}
		}
	}
	return producer{}, false
}

// onEndTxn writes the intent of a commit before the broker acts on it. If that fails, the commit is
// rejected with a retriable error, and the broker never receives it.
//
// A commit with nothing to commit gets no intent: it is a retry, and before version 5 its epoch is
// the same as the next one's. Recovery would mistake its intent, which no end in pids.log follows,
// for the next transaction's.
func (j *journal) onEndTxn(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	req, ok := kreq.(*kmsg.EndTxnRequest)
	if !ok {
		return nil, nil, false
	}
	s, staged := j.staged[req.ProducerID]
	if staged && req.ProducerEpoch < s.epoch {
		return nil, nil, false // from a fenced producer: the broker rejects it, and the staged offsets are the newer producer's
	}
	delete(j.staged, req.ProducerID)
	epoch, wrote := j.wrote[req.ProducerID]
	wrote = wrote && epoch == req.ProducerEpoch
	if !req.Commit || !wrote && (!staged || s.epoch != req.ProducerEpoch) {
		if wrote {
			delete(j.wrote, req.ProducerID)
		}
		return nil, nil, false
	}
	in := intent{ProducerID: req.ProducerID, Epoch: req.ProducerEpoch, BumpsEpoch: req.Version >= 5}
	if s.epoch == req.ProducerEpoch {
		in.Offsets = s.offsets
	}
	if err := j.write(in); err != nil {
		if staged {
			j.staged[req.ProducerID] = s
		}
		resp := req.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return resp, nil, true
	}
	if wrote {
		delete(j.wrote, req.ProducerID)
	}
	return nil, nil, false
}

func (j *journal) write(in intent) error {
	info, err := os.Stat(filepath.Join(j.dir, dataDir, "pids.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		in.PIDLogSize = info.Size()
	}
	in.Number = j.number + 1
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	slot := j.slots[in.Number%2]
	if j.sync {
		// Sync the batches of this transaction and the control records of the previous one first:
		// this intent overwrites the one that could complete those.
		if err := syncFilesystem(slot); err != nil {
			return err
		}
	}
	if _, err := slot.WriteAt(frameIntent(data), 0); err != nil {
		return err
	}
	if j.sync {
		if err := slot.Sync(); err != nil {
			return err
		}
	}
	j.number = in.Number
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameIntent prefixes data with its length and CRC-32C, both little-endian.
func frameIntent(data []byte) []byte {
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, len(data)+8), uint32(len(data)))
	frame = binary.LittleEndian.AppendUint32(frame, crc32.Checksum(data, castagnoli))
	return append(frame, data...)
}

// readIntent returns the last complete intent of dir, or nil if there is none.
func readIntent(dir string) (*intent, error) {
	var last *intent
	for i := range 2 {
		raw, err := os.ReadFile(slotPath(dir, i))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if in := parseIntent(raw); in != nil && (last == nil || in.Number > last.Number) {
			last = in
		}
	}
	return last, nil
}

func parseIntent(raw []byte) *intent {
	if len(raw) < 8 {
		return nil
	}
	size := int(binary.LittleEndian.Uint32(raw))
	if size > len(raw)-8 {
		return nil
	}
	data := raw[8 : 8+size]
	if crc32.Checksum(data, castagnoli) != binary.LittleEndian.Uint32(raw[4:]) {
		return nil
	}
	var in intent
	if json.Unmarshal(data, &in) != nil {
		return nil
	}
	return &in
}
