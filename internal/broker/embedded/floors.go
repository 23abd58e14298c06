package embedded

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const floorsFile = "floors.json"

// floor records the end offsets of a topic's partitions.
type floor struct {
	TopicID string  `json:"id"`
	Ends    []int64 `json:"ends"` // high watermark by partition
}

// recordFloors saves the end offset of each partition. It must be called before anything may delete
// all segments of a partition.
func (b *Broker) recordFloors() error {
	topics, err := b.topics()
	if err != nil {
		return err
	}
	floors := make(map[string]floor)
	for _, t := range topics {
		f := floor{TopicID: t.ID}
		for _, p := range b.cluster.PartitionInfos(t.Name) {
			f.Ends = append(f.Ends, p.HighWatermark)
		}
		floors[t.Name] = f
	}
	data, err := json.Marshal(floors)
	if err != nil {
		return err
	}
	return writeSynced(filepath.Join(b.cfg.Dir, floorsFile), data)
}

// onDeleteRecords records the floors, and the windows of producers, before a client may empty a
// partition.
func (b *Broker) onDeleteRecords(kreq kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	err := b.recordFloors()
	if req, ok := kreq.(*kmsg.DeleteRecordsRequest); ok {
		err = errors.Join(err, b.saveWindowsOf(req))
	}
	if err != nil {
		b.cfg.Logger.Error("record offsets and sequence numbers before records are deleted", "part", "broker", "err", err)
	}
	return nil, nil, false
}

// saveWindowsOf saves the windows of the partitions of a request.
func (b *Broker) saveWindowsOf(req *kmsg.DeleteRecordsRequest) error {
	topics, err := b.topics()
	if err != nil {
		return err
	}
	var failed error
	for _, t := range req.Topics {
		at := slices.IndexFunc(topics, func(known topicState) bool { return known.Name == t.Topic })
		if at < 0 {
			continue
		}
		for _, p := range t.Partitions {
			if p.Partition >= 0 && p.Partition < topics[at].Partitions {
				failed = errors.Join(failed, b.journal.producers.saveWindows(b.cfg.Dir, t.Topic, topics[at].ID, p.Partition))
			}
		}
	}
	return failed
}

// restoreFloors gives each partition that has no segment an empty control batch before its floor,
// so that its offsets continue from there.
func restoreFloors(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, floorsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var floors map[string]floor
	if err := json.Unmarshal(raw, &floors); err != nil {
		return err
	}
	data := filepath.Join(dir, dataDir)
	topics, err := readTopics(data)
	if err != nil {
		return err
	}
	for _, t := range topics {
		f := floors[t.Name]
		if f.TopicID != t.ID {
			continue // a newer topic with the same name
		}
		for id, end := range f.Ends {
			if err := restoreFloor(data, t.Name, int32(id), end); err != nil {
				return err
			}
		}
	}
	return nil
}

func restoreFloor(data, topic string, id int32, end int64) error {
	p := partition{dir: partitionDir(data, topic, id), topic: topic, id: id}
	var err error
	if p.bases, err = segmentBases(p.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(p.bases) > 0 || end == 0 {
		return nil
	}
	if err := os.MkdirAll(p.dir, privateDir); err != nil {
		return err
	}
	return p.appendControl(end-1, noProducer, 0, 0, false, time.Now())
}
