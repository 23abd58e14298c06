package produce_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/source"
	"weir.example/weir/internal/txtest"
)

const scriptID = "weir-produce-sized"

// script is a producer with a broker whose responses the test controls.
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

// start produces all readings, ten per transaction.
func (s *script) start() {
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.result, s.err = produce.Run(s.Context(), produce.Config{
			Broker: s.broker.Config("produce"), Topic: "readings", DLQ: "dlq", Progress: "progress", MaxRecords: 10, TransactionTimeout: 2 * time.Second,
		}, &sized{total: s.total, large: 1})
	}()
}

// ended waits for the producer and returns its error.
func (s *script) ended() error {
	s.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(txtest.Patience):
		s.Fatal("the producer did not return")
		return nil
	}
}

// all waits for the producer, and checks that each reading was committed once and that the position
// is at the end.
func (s *script) all(aborted int64) {
	s.Helper()
	if err := s.ended(); err != nil {
		s.Fatal(err)
	}
	if n := s.consistent(); n != s.total {
		s.Errorf("%d readings were committed, want %d", n, s.total)
	}
	if s.result.Earlier+s.result.Readings != int64(s.total) || s.result.Aborted != aborted {
		s.Errorf("%+v, want %d readings and %d aborted transactions", s.result, s.total, aborted)
	}
}

// consistent checks that the committed position matches the committed readings, and that there are
// no duplicates. It returns the number of readings.
func (s *script) consistent() (readings int) {
	s.Helper()
	seen := make(map[string]bool)
	for _, records := range s.broker.Committed("readings") {
		for _, r := range records {
			if seen[string(r.Value)] {
				s.Errorf("duplicate reading: %s", r.Value)
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
		s.Errorf("%d readings were committed, but the position is %+v", len(seen), position)
	}
	return len(seen)
}

// second starts the producer, lets the first transaction commit, and holds the commit of the
// second.
func (s *script) second() *txtest.Held {
	s.Helper()
	first := s.broker.Hold(txtest.Commit(scriptID))
	s.start()
	first.Await()
	second := s.broker.Hold(txtest.Commit(scriptID))
	first.Pass()
	second.Await()
	if n := s.consistent(); n != 10 {
		s.Errorf("%d readings are committed before the second commit, want 10", n)
	}
	return second
}

// The broker answers a commit with an error that leaves its outcome unknown: the log decides.
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

// unread is a source of which nothing is a reading: messages of their own topic, and dead letters.
type unread struct{ sized }

func (u *unread) Next(dst []source.Item) (n int, err error) {
	n, err = u.sized.Next(dst)
	for i := range dst[:n] {
		text := fmt.Append(nil, dst[i].Value)
		if i%2 == 0 {
			dst[i] = source.Item{Message: &source.Message{Topic: "messages", Key: "k", Value: text, Headers: []source.Attribute{{Name: "n", Value: "v"}}}}
		} else {
			dst[i] = source.Item{Raw: text, Err: errors.New("it is not a reading")}
		}
	}
	return n, err
}

// The log decides about a transaction without a reading, too: until its position is committed, the
// source is not told that it is.
func TestScriptCommitWithoutReadings(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := txtest.New(t, kfake.SeedTopics(2, "readings", "dlq", "messages"), kfake.SeedTopics(1, "progress"))
			commit := b.Hold(txtest.Commit(scriptID))
			told := make(chan produce.Commit, 10)
			done := make(chan error, 1)
			go func() {
				_, err := produce.Run(t.Context(), produce.Config{
					Broker: b.Config("produce"), Topic: "readings", DLQ: "dlq", Progress: "progress", Messages: []string{"messages"},
					TransactionTimeout: 2 * time.Second, OnCommit: func(c produce.Commit) {
						positions := 0
						for _, records := range b.Committed("progress") {
							positions += len(records)
						}
						if positions == 0 {
							t.Error("the source is told of a commit that was not made")
						}
						told <- c
					},
				}, &unread{sized{total: 40, large: 1}})
				done <- err
			}()
			commit.Await()
			if committed {
				commit.DoAndAnswer(kerr.UnknownServerError)
			} else {
				commit.Answer(kerr.UnknownServerError)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if n := len(told); n != 1 {
				t.Errorf("the source was told of %d commits, want 1", n)
			}
			for topic, want := range map[string]int{"messages": 20, "dlq": 20, "readings": 0} {
				n := 0
				for _, records := range b.Committed(topic) {
					n += len(records)
				}
				if n != want {
					t.Errorf("%d records of %s are committed, want %d", n, topic, want)
				}
			}
		})
	}
}

// factual is a source with a fact after every tenth reading.
type factual struct {
	sized
	due      bool
	recalled []map[string][]byte
}

func (f *factual) Recall(facts map[string][]byte) { f.recalled = append(f.recalled, facts) }

func (f *factual) Position() []byte { return fmt.Appendf(nil, "[%d,%t]", f.at, f.due) }

func (f *factual) Seek(p []byte) error { return json.Unmarshal(p, &[]any{&f.at, &f.due}) }

func (f *factual) Next(dst []source.Item) (int, error) {
	if f.due {
		f.due = false
		dst[0] = source.Item{Fact: &source.Fact{Key: fmt.Sprint("f", f.at%20), Value: fmt.Append(nil, f.at)}}
		return 1, nil
	}
	if f.at == f.total {
		return 0, io.EOF
	}
	n, err := f.sized.Next(dst[:min(10, len(dst))])
	f.due = true
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Facts are committed or not together with the readings of their transaction. A source recalls all
// that are committed, the last one for each key, and none of another source.
func TestScriptFacts(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := txtest.New(t, kfake.SeedTopics(2, "readings", "dlq"), kfake.SeedTopics(1, "progress"))
			send := func(src produce.Source) error {
				_, err := produce.Run(t.Context(), produce.Config{
					Broker: b.Config("produce"), Topic: "readings", DLQ: "dlq", Progress: "progress", MaxRecords: 30, TransactionTimeout: 2 * time.Second,
				}, src)
				return err
			}
			if err := send(produce.Named(&factual{sized: sized{total: 10, large: 1}}, "sized2")); err != nil {
				t.Fatal(err)
			}
			commit := b.Hold(txtest.Commit(scriptID))
			f := &factual{sized: sized{total: 30, large: 1}}
			done := make(chan error, 1)
			go func() { done <- send(f) }()
			commit.Await()
			if committed {
				commit.DoAndAnswer(kerr.UnknownServerError)
			} else {
				commit.Answer(kerr.UnknownServerError)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			first := &factual{sized: sized{total: 30, large: 1}}
			if err := send(first); err != nil {
				t.Fatal(err)
			}
			if n := len(f.recalled); n < 2 || len(f.recalled[0]) != 0 || (len(f.recalled[1]) > 0) != committed {
				t.Errorf("%d recalls: %s", n, f.recalled)
			}
			if diff := cmp.Diff(map[string][]byte{"f10": []byte("30"), "f0": []byte("20")}, first.recalled[0]); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A commit gets no response until the producer gives up.
func TestScriptCommitUnanswered(t *testing.T) {
	for name, aborted := range map[string]int64{"committed": 0, "not": 1} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			commit := s.second()
			lost := s.broker.Cut(txtest.Commit(scriptID))
			if aborted == 0 {
				commit.DoAndHangUp()
			} else {
				commit.HangUp()
			}
			lost.Await()
			s.broker.Refuse(txtest.Taking(scriptID), kerr.CoordinatorNotAvailable).Await() // the next session
			lost.Stop()
			s.all(aborted)
		})
	}
}

// The broker rejects a reading or the position: the transaction is aborted and sent again.
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

// A newer producer of the source takes over after the older one has flushed and before it commits.
// The older one stops, and leaves the transactional id to the newer one.
func TestScriptTakenOverBeforeCommit(t *testing.T) {
	s := newScript(t)
	commit := s.second()
	newer := s.broker.TakeOver(scriptID)
	commit.Pass()
	if err := s.ended(); !broker.IsFenced(err) || !strings.Contains(err.Error(), "has taken over") {
		t.Errorf("the older producer ended with %v", err)
	}
	if n := s.consistent(); n != 10 {
		t.Errorf("%d readings were committed, want the 10 of the first transaction", n)
	}
	if now := s.broker.Producer(scriptID); now != newer {
		t.Errorf("the transactional id belongs to %v, want the newer producer %v", now, newer)
	}
	s.start()
	s.all(0)
}

// The same with a transaction that the older producer aborts because the position was rejected.
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
		t.Errorf("the transactional id belongs to %v, want the newer producer %v", now, newer)
	}
	s.start()
	s.all(0)
}
