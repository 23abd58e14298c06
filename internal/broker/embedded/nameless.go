package embedded

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
)

// Intents from before topic ids were resolved (see onTxnOffsetCommit) have offsets without topic
// names. An incomplete one is
//
//   - aborted if none of its control records has been written: no reader has seen its rows, and the
//     commit was never acknowledged;
//   - completed otherwise, with the topic that the group has read on that partition. If there is no
//     such topic, or several, the offset is left out and logged: the group rereads the records of
//     that transaction.

func (in *intent) nameless() bool {
	return slices.ContainsFunc(in.Offsets, func(o groupOffset) bool { return o.Topic == "" })
}

// settleNameless aborts or completes r.intent, whose offsets have no topic names.
func (r *recovery) settleNameless(all []partition, log *slog.Logger) error {
	visible, err := r.anyControlRecord(all)
	if err != nil {
		return err
	}
	if !visible {
		log.Warn("aborting a commit begun by an earlier version of Weir: it has no topic names, and none of its rows is visible",
			"part", "broker", "producer", r.intent.ProducerID, "epoch", r.intent.Epoch)
		r.intent = nil
		return nil
	}
	groups, err := openStateLog(filepath.Join(r.data, "groups.log"))
	if err != nil {
		return fmt.Errorf("groups.log: %w", err)
	}
	read := topicsByGroup(groups)
	var named []groupOffset
	for _, o := range r.intent.Offsets {
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
	r.intent.Offsets = named
	return nil
}

// anyControlRecord reports whether the intent's transaction has been ended on any partition. Its
// client has an epoch for each transaction: only such clients send topic ids (KIP-890, KIP-1319).
func (r *recovery) anyControlRecord(all []partition) (found bool, err error) {
	for i := range all {
		_, err := all[i].scan(func(_ int64, b *batch) bool {
			found = found || b.control() && b.producerID == r.intent.ProducerID && b.producerEpoch == r.intent.Epoch
			return !found
		})
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
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
