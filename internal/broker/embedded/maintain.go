package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kfake compacts on request, with five pitfalls that this code avoids (for retention, see
// retention.go):
//
//   - Compaction includes the records of open transactions: if one of them replaces the committed
//     value of a key and is aborted later, the key has no value left. So it runs only while no
//     transaction is open on the partition; the gate holds new ones back (gate.go).
//   - Compaction deletes a partition's files and rewrites them. Hard links keep the old files until
//     it is done (links.go).
//   - Compaction removes abort markers, and kfake still reports the transactions that they end to
//     readers (compact.go).
//   - A partition without segments restarts at offset 0. Floors record its last offset (floors.go).
//   - Recovery reads the sequence numbers of producers from their batches. Those of removed batches
//     are saved (windows.go).

// Limits of the gate.
const (
	gatePatience = 500 * time.Millisecond // how long writers may be held back
	gatePoll     = time.Millisecond
)

func (b *Broker) maintain(ctx context.Context) {
	tick := time.NewTicker(b.cfg.MaintainEvery)
	defer tick.Stop()
	compacted := make(map[topicPartition]int64) // bytes after the last compaction
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := b.maintainOnce(ctx, compacted); err != nil && ctx.Err() == nil {
			b.cfg.Logger.Warn("maintenance postponed", "part", "broker", "err", err)
		}
	}
}

// Maintain compacts every compacted topic that has grown and applies retention to all topics, now.
func (b *Broker) Maintain(ctx context.Context) error {
	return b.maintainOnce(ctx, make(map[topicPartition]int64))
}

func (b *Broker) maintainOnce(ctx context.Context, compacted map[topicPartition]int64) error {
	b.oneMaintenance.Lock()
	defer b.oneMaintenance.Unlock()
	defer b.tighten()
	topics, err := b.topics()
	if err != nil {
		return err
	}
	if err := b.recordFloors(); err != nil {
		return err
	}
	b.applyRetention(topics)
	var failed error
	for _, t := range topics {
		if !t.compacted() {
			continue
		}
		for id := range t.Partitions {
			at := topicPartition{t.Name, id}
			last := compacted[at]
			if b.bytes(at) <= last+max(b.cfg.CompactBytes/int64(t.Partitions), last/2) {
				continue
			}
			if err := b.compact(ctx, at, t.ID); err != nil {
				failed = errors.Join(failed, fmt.Errorf("compact %s-%d: %w", at.topic, at.id, err))
				continue
			}
			compacted[at] = b.bytes(at)
		}
	}
	return failed
}

// topicState is an entry of kfake's topics.json.
type topicState struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

func (t *topicState) compacted() bool {
	return strings.Contains(t.Configs["cleanup.policy"], "compact")
}

func readTopics(data string) ([]topicState, error) {
	raw, err := os.ReadFile(filepath.Join(data, "topics.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var saved struct {
		Topics []topicState `json:"topics"`
	}
	return saved.Topics, json.Unmarshal(raw, &saved)
}

func (b *Broker) data() string { return filepath.Join(b.cfg.Dir, dataDir) }

func (b *Broker) topics() ([]topicState, error) { return readTopics(b.data()) }

// bytes returns the size of a partition; 0 if it has been deleted.
func (b *Broker) bytes(at topicPartition) int64 {
	p := b.cluster.PartitionInfo(at.topic, at.id)
	if p == nil {
		return 0
	}
	return p.NumBytes
}

// compact holds new transactions on a partition back, waits for those that are open on it to end,
// compacts, and opens the gate. Requests to other partitions only wait while kfake compacts.
func (b *Broker) compact(ctx context.Context, at topicPartition, topicID string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ClientID("weir-maintenance"))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, gatePatience)
	defer cancel()
	b.gate.close(at)
	defer b.gate.open()
	admitted, err := openProducers(ctx, kadm.NewClient(client), at)
	if err != nil {
		return err
	}
	b.gate.admit(at, admitted)
	for !b.stable(at) {
		select {
		case <-ctx.Done():
			return errOpenTransaction
		case <-time.After(gatePoll):
		}
	}
	b.gate.admit(at, nil)
	if err := b.journal.producers.saveWindows(b.cfg.Dir, at.topic, topicID, at.id); err != nil {
		return err
	}
	if err := linkPartition(b.cfg.Dir, at); err != nil {
		return err
	}
	failed := b.loop.compact(at, b.data(), filepath.Join(b.cfg.Dir, linkedDir))
	return errors.Join(failed, dropLinks(b.cfg.Dir))
}

// topicPartition is one partition of a topic.
type topicPartition struct {
	topic string
	id    int32
}

// stable reports whether no transaction is open on a partition.
func (b *Broker) stable(at topicPartition) bool {
	p := b.cluster.PartitionInfo(at.topic, at.id)
	return p == nil || p.LastStableOffset == p.HighWatermark
}

// openProducers lists the producers that have an open transaction on a partition.
func openProducers(ctx context.Context, admin *kadm.Client, at topicPartition) (map[producer]bool, error) {
	set := make(kadm.TopicsSet)
	set.Add(at.topic, at.id)
	described, err := admin.DescribeProducers(ctx, set)
	if err != nil {
		return nil, err
	}
	open := make(map[producer]bool)
	described.EachProducer(func(p kadm.DescribedProducer) {
		if p.CurrentTxnStartOffset >= 0 {
			open[producer{p.ProducerID, p.ProducerEpoch}] = true
		}
	})
	return open, nil
}

// noProducer is the producer id of batches without one.
const noProducer = -1
