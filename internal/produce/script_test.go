package produce_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/txtest"
)

const scriptID = "weir-produce-sized"

// script is a producer of readings whose answers of the broker a test decides.
type script struct {
	*testing.T
	broker *txtest.Broker
	total  int
	done   chan struct{} // closed once result and err are set
	result produce.Result
	err    error
}

func newScript(t *testing.T) *script {
	t.Helper()
	t.Parallel()
	return &script{T: t, broker: txtest.New(t, kfake.SeedTopics(2, "readings", "dlq"), kfake.SeedTopics(1, "progress")), total: 40}
}

// start produces all readings, ten in a transaction.
func (s *script) start() {
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.result, s.err = produce.Run(s.Context(), produce.Config{
			Broker: s.broker.Config("produce"), Topic: "readings", DLQ: "dlq", Progress: "progress", MaxRecords: 10, TransactionTimeout: 2 * time.Second,
		}, &sized{total: s.total, large: 1})
	}()
}

func (s *script) ended() error {
	s.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(txtest.Patience):
		s.Fatal("the producer does not end")
		return nil
	}
}

// all ends the script: each reading is there once, and the position says so.
func (s *script) all(aborted int64) {
	s.Helper()
	if err := s.ended(); err != nil {
		s.Fatal(err)
	}
	if n := s.consistent(); n != s.total {
		s.Errorf("%d readings are there, expected %d", n, s.total)
	}
	if s.result.Earlier+s.result.Readings != int64(s.total) || s.result.Aborted != aborted {
		s.Errorf("%+v, expected %d readings and %d transactions aborted", s.result, s.total, aborted)
	}
}

// consistent compares readings and position: what readers see is what the position says, and each
// reading once.
func (s *script) consistent() (readings int) {
	s.Helper()
	seen := make(map[string]bool)
	for _, records := range s.broker.Committed("readings") {
		for _, r := range records {
			if seen[string(r.Value)] {
				s.Errorf("it is there twice: %s", r.Value)
			}
			seen[string(r.Value)] = true
		}
	}
	position := struct{ Readings, Position int }{}
	for _, records := range s.broker.Committed("progress") {
		for _, r := range records {
			if err := json.Unmarshal(r.Value, &position); err != nil {
				s.Error(err)
			}
		}
	}
	if position.Readings != len(seen) || position.Position != len(seen) {
		s.Errorf("%d readings are there, and the position is %+v", len(seen), position)
	}
	return len(seen)
}

// second lets the first transaction pass and returns the request that commits the second one.
func (s *script) second() *txtest.Held {
	s.Helper()
	first := s.broker.Hold(txtest.Commit(scriptID))
	s.start()
	first.Await()
	second := s.broker.Hold(txtest.Commit(scriptID))
	first.Pass()
	second.Await()
	if n := s.consistent(); n != 10 {
		s.Errorf("%d readings are committed before the second commit, expected 10", n)
	}
	return second
}

// The broker answers a commit with an error that does not say what became of it: the log decides.
func TestScriptCommitAnsweredUnknown(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			commit := s.second()
			if committed {
				commit.DoAndAnswer(kerr.UnknownServerError)
				s.all(0)
			} else {
				commit.Answer(kerr.UnknownServerError)
				s.all(1)
			}
		})
	}
}

// A commit gets no answer until the producer gives up.
func TestScriptCommitUnanswered(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			commit := s.second()
			lost := s.broker.Cut(txtest.Commit(scriptID))
			if committed {
				commit.DoAndHangUp()
			} else {
				commit.HangUp()
			}
			lost.Await()
			s.broker.Refuse(txtest.Taking(scriptID), kerr.CoordinatorNotAvailable).Await() // the next session
			lost.Stop()
			s.all(map[bool]int64{true: 0, false: 1}[committed])
		})
	}
}

// A reading or the position is refused: nothing of the transaction is seen, and all of it is sent
// again.
func TestScriptWriteRefused(t *testing.T) {
	for _, topic := range []string{"readings", "progress"} {
		t.Run(topic, func(t *testing.T) {
			s := newScript(t)
			s.broker.RefuseWrite(topic, kerr.RecordListTooLarge)
			s.start()
			s.all(1)
		})
	}
}

// A newer producer of the source takes over between the flush of the older one and its commit: the
// older one stops, and leaves the source to the newer one.
func TestScriptTakenOverBeforeCommit(t *testing.T) {
	s := newScript(t)
	commit := s.second()
	newer := s.broker.TakeOver(scriptID)
	commit.Pass()
	if err := s.ended(); !broker.IsFenced(err) || !strings.Contains(err.Error(), "has taken over") {
		t.Errorf("the older producer ended with %v", err)
	}
	if n := s.consistent(); n != 10 {
		t.Errorf("%d readings are there, expected the 10 of the first transaction", n)
	}
	if now := s.broker.Producer(scriptID); now != newer {
		t.Errorf("the newer producer was %v, and %v has its transactional id now", newer, now)
	}
	s.start()
	s.all(0)
}

// The same, with a transaction that the older producer aborts: the position is refused.
func TestScriptTakenOverBeforeAbort(t *testing.T) {
	s := newScript(t)
	refused := s.broker.RefuseWrite("progress", kerr.RecordListTooLarge)
	abort := s.broker.Hold(txtest.Abort(scriptID))
	s.start()
	refused()
	abort.Await()
	newer := s.broker.TakeOver(scriptID)
	abort.Pass()
	if err := s.ended(); !broker.IsFenced(err) {
		t.Errorf("the older producer ended with %v", err)
	}
	if now := s.broker.Producer(scriptID); now != newer {
		t.Errorf("the newer producer was %v, and %v has its transactional id now", newer, now)
	}
	s.start()
	s.all(0)
}
