package embedded

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// kfake loads a partition from its snapshot.json if it lists the segments with their sizes.
// Otherwise it reads all batches and aborts, in memory, every transaction that is open. Recovery
// writes snapshots so that it does not.

// partitionLog is a partition as recovery found it, with what it has appended since.
type partitionLog struct {
	partition
	segments []segmentState
	start    int64 // offset of the first batch
	end      int64 // offset after the last batch
	epoch    int32 // leader epoch of the last batch
	created  int64 // timestamp of the first batch, Unix milliseconds
	open     map[int64]openTransaction
	aborted  []abortedEntry // in the order of their control records
}

// openTransaction is a producer's open transaction on one partition.
type openTransaction struct {
	epoch       int16
	first       int64 // offset
	leaderEpoch int32
	mixed       bool // it has records of two epochs, since a control record is missing
}

type segmentState struct {
	Base     int64 `json:"base_offset"`
	Size     int64 `json:"size"`
	MinEpoch int32 `json:"min_epoch,omitempty"`
	MaxEpoch int32 `json:"max_epoch,omitempty"`
}

type abortedEntry struct {
	ProducerID int64 `json:"producer_id"`
	First      int64 `json:"first_offset"`
	Last       int64 `json:"last_offset"` // of the control record
}

type snapshot struct {
	Version    int            `json:"version"`
	End        int64          `json:"high_watermark"`
	LastStable int64          `json:"last_stable_offset"`
	Start      int64          `json:"log_start_offset"`
	Epoch      int32          `json:"epoch"`
	Created    time.Time      `json:"created_at"`
	Aborted    []abortedEntry `json:"aborted_txns,omitempty"`
	Segments   []segmentState `json:"segments"`
}

// scan reads a partition and repairs its files.
func (r *recovery) scan(p *partition) error {
	l := &partitionLog{partition: *p, start: -1, open: make(map[int64]openTransaction)}
	r.logs = append(r.logs, l)
	if len(p.bases) == 0 {
		return nil
	}
	last := p.bases[len(p.bases)-1]
	var index []byte // of the last segment
	good, err := p.scan(func(base int64, b *batch) bool {
		if base == last {
			index = append(index, indexEntry(b)...)
		}
		l.observe(base, b)
		if b.control() {
			who := producer{b.producerID, b.producerEpoch}
			r.markers[who] = b.commits
			r.newestMarker[who.id] = max(r.newestMarker[who.id], who.epoch)
		}
		r.observe(p, b)
		return true
	})
	if err != nil {
		return err
	}
	if err := p.repair(last, good, index); err != nil {
		return err
	}
	for _, base := range p.bases {
		l.stateOf(base) // also those without a batch
	}
	if l.start < 0 {
		l.start, l.end = p.bases[0], p.bases[0]
	}
	for i := range l.segments {
		info, err := os.Stat(p.segment(l.segments[i].Base))
		if err != nil {
			return err
		}
		l.segments[i].Size = info.Size()
	}
	return nil
}

// observe adds a batch.
func (l *partitionLog) observe(base int64, b *batch) {
	if l.start < 0 {
		l.start, l.created = b.baseOffset, b.firstTimestamp
	}
	l.end, l.epoch = b.endOffset(), b.leaderEpoch
	s := l.stateOf(base)
	s.MinEpoch, s.MaxEpoch = min(s.MinEpoch, b.leaderEpoch), max(s.MaxEpoch, b.leaderEpoch)
	o, open := l.open[b.producerID]
	switch {
	case b.control():
		if open && !b.commits {
			l.aborted = append(l.aborted, abortedEntry{b.producerID, o.first, b.baseOffset})
		}
		delete(l.open, b.producerID)
	case b.inTransaction && !open:
		l.open[b.producerID] = openTransaction{epoch: b.producerEpoch, first: b.baseOffset, leaderEpoch: b.leaderEpoch}
	case b.inTransaction:
		o.mixed = o.mixed || o.epoch != b.producerEpoch
		o.epoch, o.leaderEpoch = b.producerEpoch, b.leaderEpoch
		l.open[b.producerID] = o
	}
}

// stateOf returns the state of a segment. Segments are observed in order.
func (l *partitionLog) stateOf(base int64) *segmentState {
	if n := len(l.segments); n == 0 || l.segments[n-1].Base < base {
		l.segments = append(l.segments, segmentState{Base: base})
	}
	return &l.segments[len(l.segments)-1]
}

// finish appends the control record that ends an open transaction.
func (l *partitionLog) finish(d *decision, now time.Time) error {
	o := l.open[d.id]
	if err := l.appendControl(l.end, d.id, d.epoch, o.leaderEpoch, d.Commit, now); err != nil {
		return err
	}
	if !d.Commit {
		l.aborted = append(l.aborted, abortedEntry{d.id, o.first, l.end})
	}
	l.end++
	delete(l.open, d.id)
	last := &l.segments[len(l.segments)-1]
	info, err := os.Stat(l.segment(last.Base))
	if err != nil {
		return err
	}
	last.Size = info.Size()
	return nil
}

func (r *recovery) writeSnapshots() error {
	for _, l := range r.logs {
		if len(l.segments) == 0 {
			continue // kfake loads none
		}
		s := snapshot{
			Version: formatVersion, End: l.end, LastStable: l.end, Start: l.start, Epoch: l.epoch,
			Created: time.UnixMilli(l.created), Aborted: l.aborted, Segments: l.segments,
		}
		for _, o := range l.open { // restored
			s.LastStable = min(s.LastStable, o.first)
		}
		file := filepath.Join(l.dir, "snapshot.json")
		if before, err := readSnapshot(file); err != nil {
			return err
		} else if before != nil {
			s.Start = min(max(s.Start, before.Start), s.End) // records that were deleted stay deleted
		}
		data, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if err := writeFile(file, data); err != nil {
			return err
		}
	}
	return nil
}

// readSnapshot returns nil if there is no readable snapshot.
func readSnapshot(file string) (*snapshot, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // inside the data directory
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s snapshot
	if json.Unmarshal(raw, &s) != nil {
		return nil, nil
	}
	return &s, nil
}

// sessionFile is written by kfake at a clean stop, and by recovery. kfake removes it when it has
// loaded it.
const sessionFile = "session_state.json"

// session is the part of the file that concerns transactions.
type session struct {
	ShutdownAt   time.Time            `json:"shutdownAt"`
	Transactions []sessionTransaction `json:"inProgressTxns,omitempty"`
}

// sessionTransaction has no start if recovery wrote it. kfake would otherwise abort one that has
// timed out without raising its producer's epoch, so that the producer could continue as if nothing
// had happened. See producers.restore.
type sessionTransaction struct {
	ProducerID   int64                                         `json:"pid"`
	Start        time.Time                                     `json:"txStart"`
	FirstOffsets map[string]map[int32]int64                    `json:"txPartFirstOffsets"`
	Groups       []string                                      `json:"txGroups,omitempty"`
	Offsets      map[string]map[string]map[int32]sessionOffset `json:"txOffsets,omitempty"` // by group, topic, partition
}

type sessionOffset struct {
	Offset      int64   `json:"o"`
	LeaderEpoch int32   `json:"e,omitempty"`
	Metadata    *string `json:"m,omitempty"`
}

// writeSession writes the transactions that are restored, and adds the partitions on which they are
// open.
func (r *recovery) writeSession() error {
	file := filepath.Join(r.data, sessionFile)
	if len(r.restored) == 0 {
		return removeFile(file)
	}
	s := session{ShutdownAt: r.now}
	for _, t := range r.restored {
		if t.begins.At == 0 {
			t.begins.At = r.now.UnixMilli()
		}
		st := sessionTransaction{ProducerID: t.id, FirstOffsets: make(map[string]map[int32]int64), Groups: t.groups}
		for _, l := range r.logs {
			if o, open := l.open[t.id]; open {
				t.partitions[topicPartition{l.topic, l.id}] = true
				putOffset(st.FirstOffsets, l.topic, l.id, o.first)
			}
		}
		for _, o := range t.offsets {
			if st.Offsets == nil {
				st.Offsets = make(map[string]map[string]map[int32]sessionOffset)
			}
			if st.Offsets[o.Group] == nil {
				st.Offsets[o.Group] = make(map[string]map[int32]sessionOffset)
			}
			putOffset(st.Offsets[o.Group], o.Topic, o.Partition, sessionOffset{o.Offset, o.LeaderEpoch, o.Metadata})
		}
		s.Transactions = append(s.Transactions, st)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeFile(file, data)
}

func putOffset[V any](in map[string]map[int32]V, topic string, partition int32, v V) {
	if in[topic] == nil {
		in[topic] = make(map[int32]V)
	}
	in[topic][partition] = v
}

// carryOver returns the transactions that a clean stop left open. kfake's session file has them,
// without partitions that have no records; the journal adds those and when they began.
func carryOver(dir string) ([]*transaction, error) {
	data := filepath.Join(dir, dataDir)
	raw, err := os.ReadFile(filepath.Join(data, sessionFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s session
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, nil // kfake ignores it, too
	}
	journal, _, _, err := readJournal(dir)
	if err != nil {
		return nil, err
	}
	pids, err := openStateLog(filepath.Join(data, "pids.log"))
	if err != nil {
		return nil, err
	}
	known, _ := producerStates(pids)
	var open []*transaction
	for _, st := range s.Transactions {
		who := producer{st.ProducerID, known[st.ProducerID].epoch}
		t := journal.open[who.id]
		if t == nil || t.epoch != who.epoch {
			t = &transaction{producer: who, begins: beginning{At: st.Start.UnixMilli()}, partitions: make(map[topicPartition]bool)}
			if st.Start.IsZero() {
				t.begins.At = time.Now().UnixMilli()
			}
		}
		for topic, partitions := range st.FirstOffsets {
			for id := range partitions {
				t.partitions[topicPartition{topic, id}] = true
			}
		}
		t.groups, t.offsets = st.Groups, nil
		for group, topics := range st.Offsets {
			for topic, partitions := range topics {
				for id, o := range partitions {
					t.offsets = append(t.offsets, groupOffset{group, topic, id, o.Offset, o.LeaderEpoch, o.Metadata})
				}
			}
		}
		open = append(open, t)
	}
	return open, nil
}

// clearStarts removes the starts from the session file of a clean stop, and keeps everything else
// in it.
func clearStarts(data string) error {
	file := filepath.Join(data, sessionFile)
	raw, err := os.ReadFile(file) //nolint:gosec // inside the data directory
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all map[string]json.RawMessage
	var s session
	if json.Unmarshal(raw, &all) != nil || json.Unmarshal(raw, &s) != nil || len(s.Transactions) == 0 {
		return nil
	}
	for i := range s.Transactions {
		s.Transactions[i].Start = time.Time{}
	}
	if all["inProgressTxns"], err = json.Marshal(s.Transactions); err != nil {
		return err
	}
	if raw, err = json.Marshal(all); err != nil {
		return err
	}
	return writeSynced(file, raw)
}
