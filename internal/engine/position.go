package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/saved"
	"weir.example/weir/internal/state"
)

// ledger stores the positions of the partitions that a task reads. They are entries of the task's
// state, and therefore records of its changelog, written in the transaction that reads the rows,
// changes the state and commits the group's offsets. Positions of partitions that only stateless
// stages read are in the topic <pipeline>.positions.
//
//	header       written once, before everything else: the fingerprint of the state. A changelog
//	             that has lost its beginning has no header, whatever compaction, retention and
//	             DeleteRecords have left of it.
//	state        the fingerprint since SQL was added that keeps further state; see Continue in
//	             package plan. It replaces that of the header.
//	position/T   for each topic T that is read: its id, its number of partitions, and the next
//	             offset to read. They are the last records of each transaction, so a changelog
//	             that ends otherwise was written by a version without positions.
//
// Values are JSON with a version. Keys are those of state.Store for the operator positionEntry.
type ledger struct {
	store       *state.Store
	topic       string // changelog
	stage       string // "" in the positions topic
	partition   int32
	fingerprint string   // of the state: see fingerprint; "" without state
	former      []string // fingerprints that the state may still have: see manifestStage.Former
	stale       bool     // the changelog ends with entries of a version without positions
	partly      bool     // the changelog was not read to its end
}

const (
	positionEntry   uint16 = 0 // number of a ledger's entries in the state
	positionVersion        = 1
	headerKey              = "header"
	stateKey               = "state"
	positionPrefix         = "position/"
)

// header identifies the state that a ledger belongs to.
type header struct {
	Version  int    `json:"version"`
	Pipeline string `json:"pipeline"`
	State    string `json:"state,omitempty"` // ledger.fingerprint
}

// position is how far a state covers one partition of a topic.
type position struct {
	Version    int    `json:"version"`
	ID         string `json:"id"` // of the topic, as Kafka's tools print it
	Partitions int32  `json:"partitions"`
	Next       int64  `json:"next"` // offset
	End        int64  `json:"end"`  // end of readable records at that time: how much was unread if the topic is deleted
}

// newerError says that a newer version of Weir has written something.
type newerError struct {
	what      string
	has, know int
}

func (e *newerError) Error() string {
	return fmt.Sprintf("%s has version %d, but this Weir reads only versions up to %d: run the newer Weir that wrote it", e.what, e.has, e.know)
}

// read returns the header of a ledger, nil if there is none, and its positions by topic.
func (l *ledger) read() (*header, map[string]position, error) {
	var head, current *header
	positions := make(map[string]position)
	var failed error
	l.store.Scan(positionEntry, 0, func(key, value []byte) bool {
		what := fmt.Sprintf("the entry %q of %s-%d", key, l.topic, l.partition)
		switch name, isPosition := strings.CutPrefix(string(key), positionPrefix); {
		case isPosition:
			var p position
			if failed = decodeVersioned(value, &p, what, "id", "partitions", "next"); failed == nil && (p.Partitions < 1 || p.Next < 0) {
				failed = damaged(what, fmt.Errorf("offset %d of a topic with %d partitions", p.Next, p.Partitions))
			}
			if failed == nil {
				positions[name] = p
			}
		case string(key) == headerKey:
			head = &header{}
			failed = decodeVersioned(value, head, what, "pipeline")
		case string(key) == stateKey:
			current = &header{}
			failed = decodeVersioned(value, current, what, "pipeline")
		}
		return failed == nil
	})
	if head != nil && current != nil {
		head.State = current.State
	}
	return head, positions, failed
}

// isPosition reports whether a record of a changelog is one of a ledger: a position or the header.
func isPosition(r *kgo.Record) bool {
	op, ok := state.EntryOf(r.Key)
	return ok && op == positionEntry
}

// isState reports whether a record of a changelog is an entry of an operator's state.
func isState(r *kgo.Record) bool {
	op, ok := state.EntryOf(r.Key)
	return ok && op != positionEntry
}

func decodeVersioned(value []byte, to any, what string, members ...string) error {
	var v struct{ Version int }
	if err := saved.Decode(value, &v, "version"); err != nil {
		return damaged(what, err)
	}
	switch {
	case v.Version > positionVersion:
		return &fatalError{&newerError{what, v.Version, positionVersion}}
	case v.Version < 1:
		return damaged(what, fmt.Errorf("it has version %d", v.Version))
	}
	if err := saved.Decode(value, to, members...); err != nil {
		return damaged(what, err)
	}
	return nil
}

// damaged returns the error of a record that Weir cannot have written.
func damaged(what string, err error) error {
	return &fatalError{fmt.Errorf("read %s: it is damaged, or Weir has not written it: %w. "+
		"Restore the topic from a backup, or start over without the state and the group's offsets: weir run --reset with the pipeline's name", what, err)}
}

// write adds positions to the end of the open transaction's changes, the header if it is missing,
// and the fingerprint if it has changed.
func (l *ledger) write(pipeline string, positions map[string]position) error {
	if _, known := l.store.Get(positionEntry, 0, []byte(headerKey)); !known || len(positions) == 0 {
		if err := l.put(headerKey, header{positionVersion, pipeline, l.fingerprint}); err != nil {
			return err
		}
	}
	if len(l.former) > 0 {
		if err := l.writeState(pipeline); err != nil {
			return err
		}
	}
	for topic, p := range positions {
		p.Version = positionVersion
		if err := l.put(positionPrefix+topic, p); err != nil {
			return err
		}
	}
	return nil
}

// writeState records the fingerprint if neither the header nor the last record of it has it.
func (l *ledger) writeState(pipeline string) error {
	now := header{positionVersion, pipeline, l.fingerprint}
	b, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("write fingerprint: %w", err)
	}
	last, known := l.store.Get(positionEntry, 0, []byte(stateKey))
	if !known {
		last, _ = l.store.Get(positionEntry, 0, []byte(headerKey))
	}
	if bytes.Equal(last, b) {
		return nil
	}
	return l.put(stateKey, now)
}

func (l *ledger) put(key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write position: %w", err)
	}
	l.store.Put(positionEntry, 0, []byte(key), b)
	return nil
}

// records passes the changes of the open transaction to produce, as records of the changelog, and
// returns them.
func (l *ledger) records(produce func(*kgo.Record)) (all []*kgo.Record) {
	l.store.Changes(func(key, value []byte) {
		r := &kgo.Record{Topic: l.topic, Partition: l.partition, Key: key, Value: value}
		all = append(all, r)
		produce(r)
	})
	return all
}

// fingerprint identifies the state of a stage. It changes with everything that may not change while
// the state is kept.
func fingerprint(s *plan.Stage) string { return stageManifest(s).fingerprint() }

func (m manifestStage) fingerprint() string {
	m.Former = nil
	b, err := json.Marshal(m)
	if err != nil { // strings and numbers only
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// positionsTopic returns the topic with the positions of partitions that only stateless stages
// read. Positions belong to topics there, not to stages, so that other SQL with other stage names
// finds them.
func (p *pipeline) positionsTopic() string { return p.cfg.Program.PositionsTopic() }

// statefulReaders returns the stages with state that read a topic, and so hold its positions.
func (p *pipeline) statefulReaders(topic string) (stages []*plan.Stage) {
	for _, s := range p.cfg.Program.Stages {
		for _, t := range s.Topics() {
			if t == topic && s.Stateful {
				stages = append(stages, s)
			}
		}
	}
	return stages
}
