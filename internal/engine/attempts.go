package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A record on which the process dies, by a bug or for lack of memory, is read again by the next
// process. To find such a record, a process notes in a file which records of a partition it is
// about to process, until it has committed past the offset from which it started. After three
// processes that died there, the next ones read less at a time, until a single record is left:
//
//   - If processes die again while they compute that record, it becomes a dead letter.
//   - If they die elsewhere, for example while they write, the pipeline stops.
//
// Nothing is noted once a partition has made progress, so this costs a write or two a start. The
// file only decides how records are grouped in transactions, except for that dead letter. It is
// local, as deaths are: a machine counts those of its own processes.

const (
	deathsAtOffset = 3  // before a process reads less
	narrowing      = 16 // factor by which it does, with each further death
	deathsAtRecord = 2  // while it was computed, before it becomes a dead letter
	deathsBeside   = 3  // with one record in the transaction, before the pipeline stops
)

// attempt is what is known of the records at which processes may have died.
type attempt struct {
	ID        string `json:"id"`        // of the topic
	First     int64  `json:"first"`     // offset of the first record; -1: whichever follows
	End       int64  `json:"end"`       // offset after the last one
	Records   int    `json:"records"`   // read in this attempt
	Running   bool   `json:"running"`   // the process has not survived it, unless it is still in it
	Computing bool   `json:"computing"` // of a single record: it is in the operators
	Deaths    int    `json:"deaths"`
	Limit     int    `json:"limit"` // of records in a transaction; 0: as many as usual
	Until     int64  `json:"until"` // offset at which the limit ends
	Blamed    int    `json:"blamed"`
	Beside    int    `json:"beside"`
}

// died counts the death of the process that made the attempt.
func (a *attempt) died() {
	alone := a.Records == 1
	a.Running = false
	a.Deaths++
	switch {
	case alone && a.Computing:
		a.Blamed++
	case alone && a.Limit > 0:
		a.Beside++
	}
	if a.Deaths < deathsAtOffset {
		return
	}
	if a.Limit == 0 {
		a.Limit = max(a.Records, 1)
	}
	a.Limit = max(1, min(a.Limit, a.Records)/narrowing)
	a.Until = max(a.Until, a.End)
}

// attempts are those of a pipeline's partitions in this process. Files that can't be read or
// written are ignored: then nothing is known.
type attempts struct {
	dir string // "" keeps none

	mu     sync.Mutex
	open   map[topicPartition]*attempt
	proven map[topicPartition]bool // this process has made progress
}

func newAttempts(cfg *Config) *attempts {
	a := &attempts{open: make(map[topicPartition]*attempt), proven: make(map[topicPartition]bool)}
	if cfg.StateDir != "" && cfg.Program != nil {
		a.dir = filepath.Join(cfg.StateDir, ".attempts", cfg.Program.Name)
	}
	return a
}

func (a *attempts) file(tp topicPartition) string {
	return filepath.Join(a.dir, fmt.Sprintf("%s-%d.json", tp.topic, tp.partition))
}

// assigned reads what earlier processes have noted about a partition of the topic with an id.
func (a *attempts) assigned(tp topicPartition, id string) {
	if a.dir == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.proven[tp] || a.open[tp] != nil {
		return
	}
	found := &attempt{ID: id, First: -1}
	var noted attempt
	if text, err := os.ReadFile(a.file(tp)); err == nil && json.Unmarshal(text, &noted) == nil && noted.ID == id {
		found = &noted
	}
	if found.Running {
		found.died()
		a.write(tp, found)
	}
	a.open[tp] = found
}

// limit returns how many records a transaction may read, 0 for no limit.
func (a *attempts) limit() (limit int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.open {
		if at.Limit > 0 && (limit == 0 || at.Limit < limit) {
			limit = at.Limit
		}
	}
	return limit
}

// begin notes that records of a partition are about to be processed. poison reports that processes
// died computing the first of them, which must not be computed again; err that they died with it,
// but not from it.
func (a *attempts) begin(tp topicPartition, records []*kgo.Record) (poison bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.open[tp]
	if at == nil || len(records) == 0 {
		return false, nil
	}
	first := records[0].Offset
	if at.First >= 0 && at.First != first && !at.Running { // the pipeline was reset, or retention has removed records
		*at = attempt{ID: at.ID, First: -1}
	}
	if at.Beside >= deathsBeside {
		a.forget(tp)
		return false, &fatalError{fmt.Errorf("the process has died %d times while it processed %s-%d from offset %d, the last %d times with that record alone, but not while it computed it: "+
			"look for the cause, such as the memory limit or the disk, and start the pipeline again", at.Deaths, tp.topic, tp.partition, first, at.Beside)}
	}
	if !at.Running {
		at.First, at.Records = first, 0
	}
	at.End, at.Records, at.Running, at.Computing = records[len(records)-1].Offset+1, at.Records+len(records), true, false
	if poison = at.Blamed >= deathsAtRecord; !poison {
		a.write(tp, at)
	}
	return poison, nil
}

// computing notes whether the operators process the records of a partition, if a process has died
// with only one of them.
func (a *attempts) computing(tp topicPartition, now bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := a.open[tp]; at != nil && at.Limit == 1 && at.Records == 1 && at.Running {
		at.Computing = now
		a.write(tp, at)
	}
}

// survived notes that the process has not died of a transaction that has ended otherwise.
func (a *attempts) survived(partitions map[topicPartition]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for tp := range partitions {
		if at := a.open[tp]; at != nil && at.Running {
			at.Running, at.Computing = false, false
			a.write(tp, at)
		}
	}
}

// revoked notes that this process no longer reads a partition.
func (a *attempts) revoked(tp topicPartition) {
	a.survived(map[topicPartition]bool{tp: true})
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, tp)
}

// committed notes that the records of a transaction are committed.
func (a *attempts) committed(partitions map[topicPartition]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for tp := range partitions {
		at := a.open[tp]
		switch {
		case at == nil || !at.Running:
		case at.Limit == 0 || at.End >= at.Until:
			a.forget(tp)
			a.proven[tp] = true
		default:
			at.First, at.Running, at.Computing, at.Blamed, at.Beside = -1, false, false, 0, 0
			at.Limit *= 2
			a.write(tp, at)
		}
	}
}

// forget deletes what is noted about a partition. Call it with mu held.
func (a *attempts) forget(tp topicPartition) {
	delete(a.open, tp)
	_ = os.Remove(a.file(tp)) // the next start ignores it, or reads less for a while
}

// write needs no sync: the file outlives the process, and that is all it has to.
func (a *attempts) write(tp topicPartition, at *attempt) {
	text, err := json.Marshal(at)
	if err != nil { // numbers only
		panic(err)
	}
	if err = os.WriteFile(a.file(tp), text, 0o600); errors.Is(err, os.ErrNotExist) {
		if os.MkdirAll(a.dir, 0o700) == nil {
			_ = os.WriteFile(a.file(tp), text, 0o600)
		}
	}
}

// errPoison is the reason of the dead letter.
var errPoison = errors.New("the process has died each time it computed this record")
