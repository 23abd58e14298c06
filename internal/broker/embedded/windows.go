package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// A broker drops a batch that a producer resends after a lost response, and rejects one that leaves
// a gap, by the sequence numbers of the producer's last five batches on the partition (KIP-98).
// kfake saves these windows only at a clean stop; after a kill they are rebuilt from the batches.
//
// Compaction, retention and DeleteRecords remove batches, so the windows of a partition are saved
// before they do, in a file of the partition. Recovery begins with the saved windows and adds the
// batches that were appended later.

// windowsDir has a file for each partition that may have lost batches.
const windowsDir = "windows"

type windowKey struct {
	pid       int64
	topic     string
	partition int32
}

type window struct {
	epoch   int16
	entries []windowEntry // the last five, oldest first
	saved   int64         // offset of the last batch in a saved window, otherwise -1
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
	if w != nil && b.baseOffset <= w.saved {
		return
	}
	if w == nil || w.epoch != b.producerEpoch {
		w = &window{epoch: b.producerEpoch, saved: -1}
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

// savedWindows is the content of a partition's file in windowsDir.
type savedWindows struct {
	TopicID string        `json:"id"`
	Windows []savedWindow `json:"windows"`
}

func windowsFile(dir, topic string, id int32) string {
	return filepath.Join(dir, windowsDir, filepath.Base(partitionDir("", topic, id))+".json")
}

// saveWindows saves the windows of a partition. It must be called before batches of the partition
// are removed; none may be appended in between.
func (p *producers) saveWindows(dir, topic, topicID string, id int32) error {
	saved := savedWindows{TopicID: topicID}
	p.loop.do(func() { saved.Windows = p.windows(topic, id) })
	return saved.write(dir, topic, id)
}

func (s *savedWindows) write(dir, topic string, id int32) error {
	if len(s.Windows) == 0 {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, windowsDir), privateDir); err != nil {
		return err
	}
	return writeSynced(windowsFile(dir, topic, id), data)
}

// windows returns the windows of a partition. It must run in kfake's loop.
func (p *producers) windows(topic string, id int32) (all []savedWindow) {
	for each := p.byID.MapRange(); each.Next(); {
		of := each.Value().Elem().FieldByName("windows").MapIndex(reflect.ValueOf(topic))
		if !of.IsValid() {
			continue
		}
		w := of.MapIndex(reflect.ValueOf(id))
		if !w.IsValid() || !w.Elem().FieldByName("seen").Bool() {
			continue // its first batch was rejected
		}
		w = w.Elem()
		s := savedWindow{
			PID: each.Key().Int(), Topic: topic, Partition: id,
			Count: int(w.FieldByName("count").Uint()), At: int(w.FieldByName("at").Uint()), //nolint:gosec // at most windowSize
			Epoch: int16(w.FieldByName("epoch").Int()), Seen: true, Next: int32(w.FieldByName("nextSeq").Int()), //nolint:gosec // its types
		}
		entries := w.FieldByName("entries")
		for i := range s.Entries {
			e := entries.Index(i)
			s.Entries[i] = windowEntry{
				FirstSequence: int32(e.FieldByName("firstSeq").Int()), //nolint:gosec // its type
				NextSequence:  int32(e.FieldByName("nextSeq").Int()),  //nolint:gosec // its type
				Offset:        e.FieldByName("offset").Int(),
			}
		}
		all = append(all, s)
	}
	return all
}

// checkWindows returns an error, or panics, if this version of kfake has other windows.
func checkWindows(producer reflect.Type) error {
	windows := field(producer, "windows")
	if windows.Kind() != reflect.Map || windows.Elem().Kind() != reflect.Map || windows.Elem().Elem().Kind() != reflect.Pointer {
		return errors.New("unsupported version of kfake: pidinfo.windows has another type")
	}
	w := windows.Elem().Elem().Elem()
	entry := field(w, "entries").Elem()
	for _, f := range []struct {
		of   reflect.Type
		name string
		kind reflect.Kind
	}{
		{w, "count", reflect.Uint8}, {w, "at", reflect.Uint8}, {w, "seen", reflect.Bool}, {w, "epoch", reflect.Int16},
		{w, "nextSeq", reflect.Int32}, {entry, "firstSeq", reflect.Int32}, {entry, "nextSeq", reflect.Int32}, {entry, "offset", reflect.Int64},
	} {
		if field(f.of, f.name).Kind() != f.kind {
			return fmt.Errorf("unsupported version of kfake: %s.%s has another type", f.of, f.name)
		}
	}
	if field(w, "entries").Len() != windowSize {
		return errors.New("unsupported version of kfake: pidwindow has another size")
	}
	return nil
}

// readWindows loads the saved windows of a partition. Those of a deleted topic with the same name
// are ignored.
func (r *recovery) readWindows(dir string, topicIDs map[string]string, p *partition) error {
	raw, err := os.ReadFile(windowsFile(dir, p.topic, p.id))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var saved savedWindows
	if err := json.Unmarshal(raw, &saved); err != nil {
		return fmt.Errorf("%s: %w", windowsFile(dir, p.topic, p.id), err)
	}
	if saved.TopicID != topicIDs[p.topic] {
		return nil
	}
	for _, s := range saved.Windows {
		w := &window{epoch: s.Epoch}
		for i := range s.Count {
			w.entries = append(w.entries, s.Entries[(s.At-s.Count+i+windowSize)%windowSize])
		}
		w.saved = w.entries[len(w.entries)-1].Offset
		r.windows[windowKey{s.PID, p.topic, p.id}] = w
	}
	return nil
}

// dropWindows removes the saved windows of topics that have been deleted.
func dropWindows(dir string) error {
	files, err := os.ReadDir(filepath.Join(dir, windowsDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := partitions(filepath.Join(dir, dataDir))
	if err != nil {
		return err
	}
	var failed error
	for _, f := range files {
		path := filepath.Join(dir, windowsDir, f.Name())
		if !slices.ContainsFunc(all, func(p partition) bool { return path == windowsFile(dir, p.topic, p.id) }) {
			failed = errors.Join(failed, os.Remove(path))
		}
	}
	return failed
}
