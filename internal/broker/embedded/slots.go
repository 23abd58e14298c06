package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
)

// Earlier versions of Weir had no journal, but the last decision to commit, the intent, in one of
// two slots that they wrote alternately. Recovery reads them once, in a directory without a
// journal; it then aborts all transactions without an intent, since nothing else is known about
// them.
//
// The oldest of these versions did not resolve topic ids, so their intents have offsets without
// topic names. An incomplete one is
//
//   - aborted if none of its control records has been written: no reader has seen its rows, and the
//     commit was never acknowledged;
//   - completed otherwise, with the topic that the group has read on that partition. If there is no
//     such topic, or several, the offset is left out and logged: the group rereads the records of
//     that transaction.

type intent struct {
	Number     uint64 `json:"n"` // sequence number; the highest valid one on disk is the last
	ProducerID int64  `json:"pid"`
	Epoch      int16  `json:"epoch"`
	BumpsEpoch bool   `json:"bumps"`    // EndTxn v5 and later
	PIDLogSize int64  `json:"pids_log"` // see ending

	Offsets []groupOffset `json:"offsets,omitempty"`
}

func slotPath(dir string, slot int) string {
	return filepath.Join(dir, fmt.Sprintf("commit-intent.%d", slot))
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
		data, ok := unframe(raw)
		var in intent
		if ok && json.Unmarshal(data, &in) == nil && (last == nil || in.Number > last.Number) {
			last = &in
		}
	}
	return last, nil
}

// removeSlots is called once the journal exists.
func removeSlots(dir string) error {
	return errors.Join(removeFile(slotPath(dir, 0)), removeFile(slotPath(dir, 1)))
}

func (in *intent) decision() *decision {
	d := &decision{
		ending:      ending{Commit: true, NextEpoch: in.Epoch, PIDLogSize: in.PIDLogSize},
		transaction: transaction{producer: producer{in.ProducerID, in.Epoch}, offsets: in.Offsets},
	}
	if in.BumpsEpoch && in.Epoch < maxEpoch {
		d.NextEpoch++
	}
	return d
}

// settleNameless aborts or completes r.decision if its offsets have no topic names. Its client has
// an epoch for each transaction: only such clients send topic ids (KIP-890, KIP-1319).
func (r *recovery) settleNameless(log *slog.Logger) {
	d := r.decision
	if d == nil || !slices.ContainsFunc(d.offsets, func(o groupOffset) bool { return o.Topic == "" }) {
		return
	}
	if _, visible := r.markers[d.producer]; !visible {
		log.Warn("aborting a commit begun by an earlier version of Weir: it has no topic names, and none of its rows is visible",
			"part", "broker", "producer", d.id, "epoch", d.epoch)
		r.decision = nil
		return
	}
	read := topicsByGroup(r.groups)
	var named []groupOffset
	for _, o := range d.offsets {
		if o.Topic == "" {
			topics := read[groupPartition{o.Group, o.Partition}]
			if len(topics) != 1 {
				log.Error("leaving out an offset of a commit begun by an earlier version of Weir: it has no topic name, so the group may read records twice",
					"part", "broker", "group", o.Group, "partition", o.Partition, "offset", o.Offset, "topics", topics)
				continue
			}
			o.Topic = topics[0]
		}
		named = append(named, o)
	}
	d.offsets = named
}

type groupPartition struct {
	group     string
	partition int32
}

// topicsByGroup returns the topics with committed offsets, by group.
func topicsByGroup(groups *stateLog) map[groupPartition][]string {
	topics := make(map[groupPartition][]string)
	for _, entry := range groups.entries {
		var e groupEntry
		if json.Unmarshal(entry.data, &e) != nil || e.Type != "commit" || e.Topic == "" {
			continue
		}
		key := groupPartition{e.Group, e.Partition}
		if !slices.Contains(topics[key], e.Topic) {
			topics[key] = append(topics[key], e.Topic)
		}
	}
	return topics
}
