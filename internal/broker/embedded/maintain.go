package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kfake compacts and retains when told to, with four traps that this file keeps away from:
//
//   - Compaction counts the records of open transactions: a later abort would have taken the
//     committed value of a key with it. It runs only while no transaction is open on a compacted
//     topic; a gate holds back those that would begin.
//   - Compaction deletes a partition's files and rewrites them. Hard links keep the old ones until
//     it is done.
//   - Compaction takes abort markers, and kfake still tells readers of the transactions that they
//     end (compact.go).
//   - A partition without segments starts again at offset 0. Floors remember where it was.

// Limits of the gate: how long writers may be held back, and the pause before the next try.
const (
	gatePatience = 500 * time.Millisecond
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
			b.cfg.Logger.Warn("maintenance put off", "part", "broker", "err", err)
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
	if !grown {
		b.cluster.ApplyRetention()
		return nil
	}
	err = b.compact(ctx, toCompact)
	b.cluster.ApplyRetention()
	if err != nil {
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

// compact holds new transactions back, waits for those that are open on the topics, compacts, and
// lets go.
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
			return errors.New("a transaction on a compacted topic stayed open: compaction is tried again later")
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

// gate holds produce requests back while it is closed, but for those of admitted producers: they
// have work on a compacted topic and must be able to finish it.
//
// A broker has one gate, and kfake one function for it, from start to end: a second function on a
// request that has slept in a first one races inside kfake.
type gate struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when the fields below change
	closed   bool
	decided  bool // admitted is known
	admitted map[producer]bool
}

func newGate() *gate { return &gate{changed: make(chan struct{})} }

// hold is a handler of produce requests: it lets one sleep until it may pass.
func (g *gate) hold(sleep func(wakeup func())) handler {
	return func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req, ok := kreq.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		for {
			pass, changed := g.ask(req)
			if pass {
				return nil, nil, false
			}
			sleep(func() { <-changed })
		}
	}
}

func (g *gate) ask(req *kmsg.ProduceRequest) (pass bool, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		return true, nil
	}
	if !g.decided {
		return false, g.changed
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if len(p.Records) < batchHeaderSize {
				continue
			}
			h := parseHeader(p.Records)
			if !g.admitted[producer{h.producerID, h.producerEpoch}] {
				return false, g.changed
			}
		}
	}
	return true, nil
}

// close starts to hold every produce request back.
func (g *gate) close() { g.set(true, false, nil) }

// admit says who may pass a closed gate; nil lets nobody pass.
func (g *gate) admit(who map[producer]bool) { g.set(true, true, who) }

// open lets everybody pass.
func (g *gate) open() { g.set(false, false, nil) }

func (g *gate) set(closed, decided bool, admitted map[producer]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.decided, g.admitted = closed, decided, admitted
	close(g.changed)
	g.changed = make(chan struct{})
}

// Folders of a compaction under way: links being made, links complete, compaction done.
const (
	linkingDir = "compacting.tmp"
	linkedDir  = "compacting"
	doneDir    = "compacted.tmp"
)

// linkPartitions keeps the files of the topics' partitions alive under other names.
func linkPartitions(dir string, topics []topicState) error {
	tmp := filepath.Join(dir, linkingDir)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	for _, t := range topics {
		for p := range t.Partitions {
			from := partitionDir(filepath.Join(dir, dataDir), t.Name, p)
			if err := linkFiles(from, filepath.Join(tmp, filepath.Base(from))); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, linkedDir))
}

func linkFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if !isSegmentFile(e.Name()) {
			continue
		}
		if err := os.Link(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func isSegmentFile(name string) bool {
	return slices.Contains([]string{".dat", ".idx"}, filepath.Ext(name))
}

func dropLinks(dir string) error {
	if err := os.Rename(filepath.Join(dir, linkedDir), filepath.Join(dir, doneDir)); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, doneDir))
}

// undoCompaction brings the files back that a compaction was replacing when the process was killed.
func undoCompaction(dir string) error {
	for _, left := range []string{linkingDir, doneDir} {
		if err := os.RemoveAll(filepath.Join(dir, left)); err != nil {
			return err
		}
	}
	linked := filepath.Join(dir, linkedDir)
	saved, err := os.ReadDir(linked)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range saved {
		if err := replaceFiles(filepath.Join(linked, s.Name()), filepath.Join(dir, dataDir, "partitions", s.Name())); err != nil {
			return err
		}
	}
	return dropLinks(dir)
}

// replaceFiles makes the segments of a partition the linked ones. It links again rather than moves,
// so that it can be repeated.
func replaceFiles(from, to string) error {
	entries, err := os.ReadDir(to)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if isSegmentFile(e.Name()) || e.Name() == "snapshot.json" {
			if err := os.Remove(filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return linkFiles(from, to)
}

const floorsFile = "floors.json"

// floor is how far a partition's offsets had come.
type floor struct {
	TopicID string  `json:"id"`
	Ends    []int64 `json:"ends"` // high watermark by partition
}

// recordFloors writes how far each partition has come, before something may delete all of its
// segments.
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

// onDeleteRecords records the floors before a client may empty a partition.
func (b *Broker) onDeleteRecords(kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's signature
	if err := b.recordFloors(); err != nil {
		b.cfg.Logger.Error("record offsets before records are deleted", "part", "broker", "err", err)
	}
	return nil, nil, false
}

// restoreFloors gives each partition that has no segment an empty control batch before its floor,
// so that its offsets go on from there.
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
			continue // another topic of that name
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
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	return p.appendControl(end-1, noProducer, 0, 0, false, time.Now())
}

// noProducer is the producer id of batches without one.
const noProducer = -1
