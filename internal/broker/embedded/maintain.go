package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kfake compacts on request, with four pitfalls that this code avoids (for retention, see
// retention.go):
//
//   - Compaction includes the records of open transactions: if one of them replaces the committed
//     value of a key and is aborted later, the key has no value left. So it runs only while no
//     transaction is open on a compacted topic; the gate holds new ones back (gate.go).
//   - Compaction deletes a partition's files and rewrites them. Hard links keep the old files until
//     it is done (links.go).
//   - Compaction removes abort markers, and kfake still reports the transactions that they end to
//     readers (compact.go).
//   - A partition without segments restarts at offset 0. Floors record its last offset (floors.go).

// Limits of the gate.
const (
	gatePatience = 500 * time.Millisecond // how long writers may be held back
	gatePoll     = time.Millisecond
)

func (b *Broker) maintain(ctx context.Context) {
	tick := time.NewTicker(b.cfg.MaintainEvery)
	defer tick.Stop()
	compacted := make(map[string]int64) // bytes of a topic after its last compaction
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
	return b.maintainOnce(ctx, make(map[string]int64))
}

func (b *Broker) maintainOnce(ctx context.Context, compacted map[string]int64) error {
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
	grown := false
	var toCompact []topicState
	for _, t := range topics {
		if !t.compacted() {
			continue
		}
		toCompact = append(toCompact, t)
		grown = grown || b.bytes(t.Name) > compacted[t.Name]+max(b.cfg.CompactBytes, compacted[t.Name]/2)
	}
	b.applyRetention(topics)
	if !grown {
		return nil
	}
	if err := b.compact(ctx, toCompact); err != nil {
		return err
	}
	for _, t := range toCompact {
		compacted[t.Name] = b.bytes(t.Name)
	}
	return nil
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

func (b *Broker) bytes(topic string) (n int64) {
	for _, p := range b.cluster.PartitionInfos(topic) {
		n += p.NumBytes
	}
	return n
}

// compact holds new transactions back, waits for those that are open on the topics to end,
// compacts, and opens the gate.
func (b *Broker) compact(ctx context.Context, topics []topicState) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ClientID("weir-maintenance"))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, gatePatience)
	defer cancel()
	b.gate.close()
	defer b.gate.open()
	admitted, err := openProducers(ctx, kadm.NewClient(client), topics)
	if err != nil {
		return err
	}
	b.gate.admit(admitted)
	for !b.stable(topics) {
		select {
		case <-ctx.Done():
			return errors.New("a transaction on a compacted topic stayed open: compaction is retried later")
		case <-time.After(gatePoll):
		}
	}
	b.gate.admit(nil)
	if err := linkPartitions(b.cfg.Dir, topics); err != nil {
		return err
	}
	failed := b.loop.compact(topics, b.data(), filepath.Join(b.cfg.Dir, linkedDir))
	return errors.Join(failed, dropLinks(b.cfg.Dir))
}

// stable reports whether no transaction is open on any partition of the topics.
func (b *Broker) stable(topics []topicState) bool {
	for _, t := range topics {
		for _, p := range b.cluster.PartitionInfos(t.Name) {
			if p.LastStableOffset < p.HighWatermark {
				return false
			}
		}
	}
	return true
}

// openProducers lists the producers that have an open transaction on any partition of the topics.
func openProducers(ctx context.Context, admin *kadm.Client, topics []topicState) (map[producer]bool, error) {
	set := make(kadm.TopicsSet)
	for _, t := range topics {
		for p := range t.Partitions {
			set.Add(t.Name, p)
		}
	}
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
