package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// recoverDir prepares a data directory before kfake opens it, and returns the transactions that are
// open. Its journal is then one of these transactions only.
//
// After a clean stop, kfake's session file has them. After a kill:
//
//  1. An unfinished compaction is undone.
//  2. Torn tails of segments, indexes and state logs are truncated.
//  3. Each transaction is either restored or ended (see decide). One that is ended gets its control
//     records, group offsets and producer state, which are logged as the broker would have.
//  4. The windows by which the broker drops a producer's duplicate batches are rebuilt from those
//     that were saved before batches were removed, and from the segments.
//  5. Snapshots of all partitions and the session file are written, from which kfake loads the
//     transactions that are restored. Without them it would abort these.
//  6. Everything is synced, and the journal is rewritten.
//
// Every step is idempotent: after a kill, the next start repeats it.
func recoverDir(dir string, log *slog.Logger) ([]*transaction, error) {
	unclean, err := exists(filepath.Join(dir, uncleanFile))
	if err != nil {
		return nil, err
	}
	if err := undoCompaction(dir); err != nil {
		return nil, fmt.Errorf("undo compaction: %w", err)
	}
	var open []*transaction
	if unclean {
		open, err = recoverUnclean(dir, log)
	} else {
		open, err = carryOver(dir)
	}
	if err != nil {
		return nil, err
	}
	if err := restoreFloors(dir); err != nil {
		return nil, fmt.Errorf("restore offsets of empty partitions: %w", err)
	}
	if err := dropWindows(dir); err != nil {
		return nil, fmt.Errorf("remove sequence numbers of deleted topics: %w", err)
	}
	if unclean {
		if err := syncDirectory(dir); err != nil {
			return nil, fmt.Errorf("sync data directory: %w", err)
		}
	}
	if err := writeJournal(dir, open); err != nil {
		return nil, fmt.Errorf("write journal: %w", err)
	}
	if !unclean {
		err = clearStarts(filepath.Join(dir, dataDir)) // the journal has them
	}
	return open, errors.Join(err, removeSlots(dir))
}

func recoverUnclean(dir string, log *slog.Logger) ([]*transaction, error) {
	r := recovery{
		data: filepath.Join(dir, dataDir), now: time.Now(),
		markers: make(map[producer]bool), newestMarker: make(map[int64]int16), windows: make(map[windowKey]*window),
	}
	if err := r.run(dir, log); err != nil {
		return nil, err
	}
	log.Info("recovered after an unclean stop", "part", "broker", "committed", r.committed, "aborted", r.aborted, "restored", len(r.restored),
		"took", time.Since(r.now).Round(time.Millisecond))
	return r.restored, nil
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
	data string
	now  time.Time

	pids     *stateLog
	known    map[int64]producerState
	holders  map[string]int64 // of transactional ids: producer ids
	groups   *stateLog
	journal  transactions
	last     *decision // of the journal, or nil
	decision *decision // the last one, if it must be completed

	logs         []*partitionLog
	markers      map[producer]bool // epochs with control records: whether they commit
	newestMarker map[int64]int16   // highest of these epochs, by producer id
	windows      map[windowKey]*window

	restored           []*transaction
	ended              []*decision
	committed, aborted int
}

func (r *recovery) run(dir string, log *slog.Logger) error {
	if err := r.readState(dir); err != nil {
		return err
	}
	all, err := partitions(r.data)
	if err != nil {
		return err
	}
	topics, err := readTopics(r.data)
	if err != nil {
		return fmt.Errorf("read topics.json: %w", err)
	}
	ids := make(map[string]string)
	for _, t := range topics {
		ids[t.Name] = t.ID
	}
	for i := range all {
		if err := r.readWindows(dir, ids, &all[i]); err != nil {
			return fmt.Errorf("read saved sequence numbers: %w", err)
		}
		if err := r.scan(&all[i]); err != nil {
			return fmt.Errorf("partition %s-%d: %w", all[i].topic, all[i].id, err)
		}
	}
	r.checkLast()
	r.settleNameless(log)
	r.decideAll()
	for _, l := range r.logs {
		if err := r.endTransactions(l); err != nil {
			return fmt.Errorf("partition %s-%d: %w", l.topic, l.id, err)
		}
	}
	if err := r.commitOffsets(); err != nil {
		return fmt.Errorf("groups.log: %w", err)
	}
	if err := r.logProducers(); err != nil {
		return fmt.Errorf("pids.log: %w", err)
	}
	if err := r.writeWindows(); err != nil {
		return fmt.Errorf("seq_windows.json: %w", err)
	}
	if err := r.writeSnapshots(); err != nil {
		return fmt.Errorf("snapshot.json: %w", err)
	}
	if err := r.writeSession(); err != nil {
		return fmt.Errorf("session_state.json: %w", err)
	}
	return nil
}

func (r *recovery) readState(dir string) (err error) {
	if r.pids, err = openStateLog(filepath.Join(r.data, "pids.log")); err != nil {
		return fmt.Errorf("read pids.log: %w", err)
	}
	r.known, r.holders = producerStates(r.pids)
	if r.journal, _, _, err = readJournal(dir); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	journaled, err := exists(journalPath(dir))
	if err != nil {
		return err
	}
	if r.groups, err = openStateLog(filepath.Join(r.data, groupsLog)); err != nil {
		return fmt.Errorf("read groups.log: %w", err)
	}
	r.last = r.journal.last
	if !journaled {
		in, err := readIntent(dir)
		if err != nil {
			return fmt.Errorf("read commit intent: %w", err)
		}
		if in != nil {
			r.last = in.decision()
		}
	}
	return nil
}

// groupsLog is kfake's log of group offsets.
const groupsLog = "groups.log"

// checkLast decides whether the last decision must be completed. A killed broker leaves its writes
// in their order, and the producer's next epoch is the last one. A power failure may leave that and
// lose control records or group offsets. Those of earlier decisions are on the disk: see
// journal.append.
func (r *recovery) checkLast() {
	if r.last == nil || r.carriedOut(r.last) && !r.isOpen(r.last.producer) && len(r.missingOffsets(r.last)) == 0 {
		return
	}
	r.decision = r.last
}

// isOpen reports whether a producer has a transaction without a control record on any partition.
func (r *recovery) isOpen(who producer) bool {
	return slices.ContainsFunc(r.logs, func(l *partitionLog) bool {
		o, ok := l.open[who.id]
		return ok && o.epoch == who.epoch
	})
}

// missingOffsets returns the offsets of a decision that must be committed. Once its end is logged,
// others may have committed newer ones: these follow its own in groups.log, or are there in their
// place.
func (r *recovery) missingOffsets(d *decision) []groupOffset {
	switch {
	case !d.Commit:
		return nil
	case !r.endLogged(d):
		return d.offsets
	case d.GroupsLogSize == nil || r.groups.size < *d.GroupsLogSize: // or compacted since, with all offsets
		return nil
	}
	type key struct {
		group, topic string
		partition    int32
	}
	logged := make(map[key]bool)
	for _, entry := range r.groups.entries {
		var g groupEntry
		if entry.position >= *d.GroupsLogSize && json.Unmarshal(entry.data, &g) == nil {
			logged[key{g.Group, g.Topic, g.Partition}] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(d.offsets), func(o groupOffset) bool { return logged[key{o.Group, o.Topic, o.Partition}] })
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
	lastCommit  bool  // whether the last transaction committed: decides about a repeated EndTxn
	loadsCommit bool  // lastCommit as kfake loads it
}

// producerStates returns the state of each producer id, and which producer id each transactional id
// has.
func producerStates(log *stateLog) (states map[int64]producerState, holders map[string]int64) {
	states, holders = make(map[int64]producerState), make(map[string]int64)
	for _, e := range log.entries {
		var p pidEntry
		if json.Unmarshal(e.data, &p) != nil {
			continue
		}
		s, ok := states[p.PID]
		if !ok {
			s.lastEnd = -1
		}
		logged := p.Commit != nil && *p.Commit
		switch p.Type {
		case "init":
			s.txID, s.timeout = p.TxID, p.Timeout
			if p.TxID != "" {
				holders[p.TxID] = p.PID
			}
			// The broker does not log the outcome again with the next epoch (KIP-890).
			next := p.Commit == nil && s.lastEnd >= 0 && s.lastEndedIn == s.epoch && p.Epoch == s.epoch+1
			s.loadsCommit, s.lastCommit = logged, logged || next && s.lastCommit
		case "endtx":
			s.lastEnd, s.lastEndedIn = e.position, p.Epoch
			s.loadsCommit, s.lastCommit = logged, logged
		case "timeout":
			s.lastCommit = false
		}
		s.epoch = p.Epoch
		states[p.PID] = s
	}
	return states, holders
}

// holder returns the state of a producer that has a transactional id, in its current epoch.
func (r *recovery) holder(who producer) (producerState, bool) {
	s, ok := r.known[who.id]
	return s, ok && s.txID != "" && s.epoch == who.epoch && r.holders[s.txID] == who.id
}

// carriedOut reports whether the broker completed a decision. It logs the producer's next epoch
// last.
func (r *recovery) carriedOut(d *decision) bool {
	s := r.known[d.id]
	movedOn := s.txID != "" && (s.epoch > d.epoch || r.holders[s.txID] != d.id)
	return movedOn || r.endLogged(d) && d.NextEpoch == d.epoch
}

// endLogged reports whether the broker logged the end of the decision's transaction, which it does
// after the control records and group offsets.
func (r *recovery) endLogged(d *decision) bool {
	if r.pids.size < d.PIDLogSize {
		return true // compacted since the decision, which only logging an end triggers
	}
	s := r.known[d.id]
	return s.txID != "" && s.lastEnd >= d.PIDLogSize && s.lastEndedIn == d.epoch
}

// decideAll decides about every transaction that is in the journal or open on a partition.
func (r *recovery) decideAll() {
	written := make(map[producer]bool) // to a partition where it is open
	open := make(map[producer]*transaction)
	for _, t := range r.journal.open {
		open[t.producer] = t
	}
	for _, l := range r.logs {
		for id, o := range l.open {
			who := producer{id, o.epoch}
			written[who] = true
			if open[who] == nil || o.mixed {
				open[who] = nil
			}
		}
	}
	if r.decision != nil {
		r.ended = append(r.ended, r.decision)
		delete(open, r.decision.producer)
	}
	for who, t := range open {
		d := r.decide(who, t)
		if d == nil {
			r.restored = append(r.restored, t)
			continue
		}
		if _, current := r.holder(who); written[who] || current {
			r.ended = append(r.ended, d)
		}
	}
	for _, d := range r.ended {
		if d.Commit {
			r.committed++
		} else {
			r.aborted++
		}
	}
}

// decide returns the decision to end a transaction, or nil if it is restored. t is nil if the
// journal does not have it. It is ended if
//
//   - the journal does not have it: it may be incomplete;
//   - its producer has another epoch by now, or another producer has its transactional id;
//   - it has timed out and the broker was killed in the middle of aborting it: the broker raises
//     the epoch first, so that the control records have a higher one;
//   - it has an epoch of its own and a control record on any partition. With other clients, that
//     can be the previous transaction's.
func (r *recovery) decide(who producer, t *transaction) *decision {
	d := &decision{ending: ending{NextEpoch: min(who.epoch, maxEpoch-1) + 1}}
	if t != nil {
		d.transaction = *t
	}
	d.producer = who
	_, current := r.holder(who)
	newest, marked := r.newestMarker[who.id]
	switch {
	case t == nil || !current:
		return d
	case marked && newest > who.epoch:
		d.NextEpoch = newest
		return d
	}
	if commits, ended := r.markers[who]; ended && t.begins.OwnEpoch {
		d.Commit = commits
		return d
	}
	return nil
}

// endTransactions writes the control records of the transactions that are open on a partition and
// are not restored.
func (r *recovery) endTransactions(l *partitionLog) error {
	ended := make(map[producer]*decision)
	for _, d := range r.ended {
		ended[d.producer] = d
	}
	for id, o := range l.open {
		d := ended[producer{id, o.epoch}]
		if d == nil {
			continue
		}
		if err := l.finish(d, r.now); err != nil {
			return err
		}
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
	now := r.now.UnixMilli()
	for _, d := range r.ended {
		for _, o := range r.missingOffsets(d) {
			err := r.groups.append(groupEntry{
				Type: "commit", Group: o.Group, Topic: o.Topic, Partition: o.Partition,
				Offset: o.Offset, Epoch: o.LeaderEpoch, Metadata: o.Metadata, LastCommit: &now,
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// logProducers logs the ends of transactions and the next epochs of their producers: the old epoch
// is fenced, and a retried commit that went through is acknowledged (KIP-890).
//
// kfake forgets the outcome of a producer's last transaction when it loads the log: it would reject
// the retry of a commit that went through, and after a timeout acknowledge one that did not.
func (r *recovery) logProducers() error {
	ended := make(map[int64]bool)
	for _, d := range r.ended {
		ended[d.id] = true
		s, current := r.holder(d.producer)
		if s.txID == "" || !current && s.epoch >= d.epoch {
			continue // nothing to update: the producer is only idempotent, or has moved on
		}
		entries := []any{pidEntry{Type: "endtx", PID: d.id, Epoch: d.epoch, Commit: &d.Commit}}
		if d.NextEpoch > d.epoch {
			entries = append(entries, pidEntry{Type: "init", PID: d.id, Epoch: d.NextEpoch, TxID: s.txID, Timeout: s.timeout, Commit: &d.Commit})
		}
		if err := r.pids.append(entries...); err != nil {
			return err
		}
	}
	for id, s := range r.known {
		if ended[id] || s.txID == "" || s.lastCommit == s.loadsCommit || r.holders[s.txID] != id {
			continue
		}
		if err := r.pids.append(pidEntry{Type: "init", PID: id, Epoch: s.epoch, TxID: s.txID, Timeout: s.timeout, Commit: &s.lastCommit}); err != nil {
			return err
		}
	}
	return nil
}
