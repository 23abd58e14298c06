package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"
)

// recoverDir repairs a data directory before kfake opens it.
//
// After a clean stop, only partitions without segments need repair (see restoreFloors). After a
// kill:
//
//  1. An unfinished compaction is undone.
//  2. Torn tails of segments, indexes and state logs are truncated.
//  3. Each transaction that is open on a partition gets its control record: a commit if it is the
//     journal's last intent, an abort otherwise. An abort decision needs no journal, since a
//     transaction without an intent was never acknowledged as committed.
//  4. The intent's offsets and producer state are logged as the broker would have.
//  5. The windows by which the broker drops a producer's duplicate batches are rebuilt from the
//     segments.
//
// Every step is idempotent: after a kill, the next start repeats it.
func recoverDir(dir string, log *slog.Logger) error {
	data := filepath.Join(dir, dataDir)
	unclean, err := exists(filepath.Join(dir, uncleanFile))
	if err != nil {
		return err
	}
	if err := undoCompaction(dir); err != nil {
		return fmt.Errorf("undo compaction: %w", err)
	}
	if unclean {
		started := time.Now()
		r := recovery{data: data, now: started, open: make(map[producer]bool), windows: make(map[windowKey]*window)}
		if err := r.run(dir, log); err != nil {
			return err
		}
		log.Info("recovered after an unclean stop", "part", "broker", "committed", r.committed, "aborted", r.aborted,
			"took", time.Since(started).Round(time.Millisecond))
	}
	if err := restoreFloors(dir); err != nil {
		return fmt.Errorf("restore offsets of empty partitions: %w", err)
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// producer is one epoch of a producer id.
type producer struct {
	id    int64
	epoch int16
}

type recovery struct {
	data    string
	now     time.Time
	intent  *intent           // the one to complete, or nil
	open    map[producer]bool // producers whose transactions were open
	windows map[windowKey]*window

	committed, aborted int // transactions
}

func (r *recovery) run(dir string, log *slog.Logger) error {
	pids, err := openStateLog(filepath.Join(r.data, "pids.log"))
	if err != nil {
		return fmt.Errorf("read pids.log: %w", err)
	}
	known := producerStates(pids)
	last, err := readIntent(dir)
	if err != nil {
		return fmt.Errorf("read commit journal: %w", err)
	}
	rewritten := last != nil && pids.size < last.PIDLogSize // compacted since then, which only logging an end triggers
	if last != nil && !rewritten && !finished(last, known[last.ProducerID]) {
		r.intent = last
	}
	all, err := partitions(r.data)
	if err != nil {
		return err
	}
	if r.intent != nil && r.intent.nameless() {
		if err := r.settleNameless(all, log); err != nil {
			return fmt.Errorf("complete a commit without topic names: %w", err)
		}
	}
	for i := range all {
		if err := r.endTransactions(&all[i]); err != nil {
			return fmt.Errorf("partition %s-%d: %w", all[i].topic, all[i].id, err)
		}
	}
	if err := r.commitOffsets(); err != nil {
		return fmt.Errorf("groups.log: %w", err)
	}
	if err := r.logProducers(pids, known); err != nil {
		return fmt.Errorf("pids.log: %w", err)
	}
	if err := r.writeWindows(); err != nil {
		return fmt.Errorf("seq_windows.json: %w", err)
	}
	// The session file of an earlier clean stop lists transactions that have now ended.
	if err := os.Remove(filepath.Join(r.data, "session_state.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// pidEntry is an entry of kfake's pids.log.
type pidEntry struct {
	Type    string `json:"type"` // init, endtx, timeout
	PID     int64  `json:"pid"`
	Epoch   int16  `json:"epoch"`
	TxID    string `json:"txid,omitempty"`
	Timeout int32  `json:"timeout,omitempty"`
	Commit  *bool  `json:"commit,omitempty"`
}

// producerState is the final state of a producer id in pids.log.
type producerState struct {
	epoch       int16
	txID        string
	timeout     int32
	lastEnd     int64 // position of the last endtx entry, -1 without one
	lastEndedIn int16 // its epoch
}

func producerStates(log *stateLog) map[int64]producerState {
	states := make(map[int64]producerState)
	for _, e := range log.entries {
		var p pidEntry
		if json.Unmarshal(e.data, &p) != nil {
			continue
		}
		s, ok := states[p.PID]
		if !ok {
			s.lastEnd = -1
		}
		s.epoch = p.Epoch
		switch p.Type {
		case "init":
			s.txID, s.timeout = p.TxID, p.Timeout
		case "endtx":
			s.lastEnd, s.lastEndedIn = e.position, p.Epoch
		}
		states[p.PID] = s
	}
	return states
}

// finished reports whether the broker completed an intent, or rejected it as a fenced producer's.
// It logs the end of a transaction last: an end of this producer after the size that pids.log had
// at the decision, or a later epoch, proves that everything else was written.
func finished(in *intent, s producerState) bool {
	if s.epoch > in.Epoch {
		return true
	}
	return s.lastEnd >= in.PIDLogSize && s.lastEndedIn == in.Epoch && s.txID != ""
}

// openTransaction is a producer's open transaction on one partition.
type openTransaction struct {
	epoch       int16
	leaderEpoch int32
}

// endTransactions repairs the partition's files and ends every transaction that is open on it.
func (r *recovery) endTransactions(p *partition) error {
	open := make(map[int64]openTransaction)
	indexes := make(map[int64][]byte, len(p.bases))
	var end int64
	good, err := p.scan(func(base int64, b *batch) bool {
		indexes[base] = append(indexes[base], indexEntry(b)...)
		end = b.endOffset()
		switch {
		case b.control():
			delete(open, b.producerID)
		case b.inTransaction:
			open[b.producerID] = openTransaction{epoch: b.producerEpoch, leaderEpoch: b.leaderEpoch}
		}
		r.observe(p, b)
		return true
	})
	if err != nil {
		return err
	}
	if len(p.bases) == 0 {
		return nil
	}
	last := p.bases[len(p.bases)-1]
	if err := p.repair(last, good, indexes[last]); err != nil {
		return err
	}
	for id, t := range open {
		who := producer{id: id, epoch: t.epoch}
		commit := r.intent != nil && r.intent.ProducerID == id && r.intent.Epoch == t.epoch
		if err := p.appendControl(end, id, t.epoch, t.leaderEpoch, commit, r.now); err != nil {
			return err
		}
		end++
		if !commit && !r.open[who] {
			r.aborted++
		}
		r.open[who] = true
	}
	return nil
}

// groupEntry is a commit entry of kfake's groups.log.
type groupEntry struct {
	Type       string  `json:"type"`
	Group      string  `json:"g"`
	Topic      string  `json:"t,omitempty"`
	Partition  int32   `json:"p,omitempty"`
	Offset     int64   `json:"o,omitempty"`
	Epoch      int32   `json:"e,omitempty"`
	Metadata   *string `json:"m,omitempty"`
	LastCommit *int64  `json:"lc,omitempty"`
}

func (r *recovery) commitOffsets() error {
	groups, err := openStateLog(filepath.Join(r.data, "groups.log"))
	if err != nil || r.intent == nil {
		return err
	}
	now := r.now.UnixMilli()
	for _, o := range r.intent.Offsets {
		err := groups.append(groupEntry{
			Type: "commit", Group: o.Group, Topic: o.Topic, Partition: o.Partition,
			Offset: o.Offset, Epoch: o.LeaderEpoch, Metadata: o.Metadata, LastCommit: &now,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// logProducers gives each producer whose transaction was ended its next epoch: the old epoch is
// fenced, and a retried commit that went through is acknowledged (KIP-890).
func (r *recovery) logProducers(log *stateLog, known map[int64]producerState) error {
	committed := producer{id: -1}
	if r.intent != nil {
		committed = producer{id: r.intent.ProducerID, epoch: r.intent.Epoch}
		r.open[committed] = true // it may have only offsets
		r.committed++
	}
	for who := range r.open {
		s, ok := known[who.id]
		if !ok || s.txID == "" {
			continue // its data is aborted; there is no coordinator state to update
		}
		commit := who == committed
		if err := log.append(pidEntry{Type: "endtx", PID: who.id, Epoch: who.epoch, Commit: &commit}); err != nil {
			return err
		}
		if commit && !r.intent.BumpsEpoch || who.epoch == math.MaxInt16 {
			continue
		}
		next := pidEntry{Type: "init", PID: who.id, Epoch: max(s.epoch, who.epoch+1), TxID: s.txID, Timeout: s.timeout, Commit: &commit}
		if err := log.append(next); err != nil {
			return err
		}
	}
	return nil
}
