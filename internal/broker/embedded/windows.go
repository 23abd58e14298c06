package embedded

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
)

// A broker drops a batch that a producer resends after a lost response, by the sequence numbers of
// the producer's last five batches on the partition (KIP-98). kfake saves these windows only at a
// clean stop; after a kill they are rebuilt from the batches.

type windowKey struct {
	pid       int64
	topic     string
	partition int32
}

type window struct {
	epoch   int16
	entries []windowEntry // the last five, oldest first
}

type windowEntry struct {
	FirstSequence int32 `json:"first_seq"`
	NextSequence  int32 `json:"next_seq"`
	Offset        int64 `json:"offset"`
}

const windowSize = 5

func (r *recovery) observe(p *partition, b *batch) {
	whole := b.records == b.lastOffsetDelta+1 // otherwise compaction has removed records
	if b.producerID < 0 || b.control() || b.baseSequence < 0 || !whole {
		return
	}
	key := windowKey{b.producerID, p.topic, p.id}
	w := r.windows[key]
	if w == nil || w.epoch != b.producerEpoch {
		w = &window{epoch: b.producerEpoch}
		r.windows[key] = w
	}
	next := int32((int64(b.baseSequence) + int64(b.records)) % math.MaxInt32)
	w.entries = append(w.entries, windowEntry{b.baseSequence, next, b.baseOffset})
	if len(w.entries) > windowSize {
		w.entries = w.entries[1:]
	}
}

// savedWindow is an entry of kfake's seq_windows.json: a ring of five; At is the next position.
type savedWindow struct {
	PID       int64                   `json:"pid"`
	Topic     string                  `json:"topic"`
	Partition int32                   `json:"partition"`
	Entries   [windowSize]windowEntry `json:"entries"`
	Count     int                     `json:"count"`
	At        int                     `json:"at"`
	Epoch     int16                   `json:"epoch"`
	Seen      bool                    `json:"seen"`
	Next      int32                   `json:"next_seq"`
}

func (r *recovery) writeWindows() error {
	saved := struct {
		Version int           `json:"version"`
		Windows []savedWindow `json:"windows"`
	}{Version: formatVersion}
	for key, w := range r.windows {
		s := savedWindow{
			PID: key.pid, Topic: key.topic, Partition: key.partition,
			Count: len(w.entries), At: len(w.entries) % windowSize,
			Epoch: w.epoch, Seen: true, Next: w.entries[len(w.entries)-1].NextSequence,
		}
		copy(s.Entries[:], w.entries)
		saved.Windows = append(saved.Windows, s)
	}
	if err := os.MkdirAll(r.data, 0o755); err != nil {
		return err
	}
	data, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(r.data, "seq_windows.json"), data)
}
