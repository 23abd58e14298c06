package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/txtest"
)

// The broker commits, but its response is lost: the log decides, and nothing is counted twice.
func TestScriptCommitUnansweredAndCommitted(t *testing.T) {
	everyScript(t, func(s *script) {
		s.start("a", shortTransactions)
		s.send(10)
		s.processed()
		commit := s.broker.Hold(txtest.Commit(s.id("a")))
		s.send(10)
		commit.Await()
		lost := s.broker.Cut(txtest.Commit(s.id("a"))) // when it is retried
		commit.DoAndHangUp()
		lost.Await()
		s.processed()
		s.newSession("a")
		lost.Stop()
		s.send(10)
		s.processed()
		s.wantAborts("a", map[string]int64{AbortUnknown: 1})
	})
}

// The commit never reaches the broker: the records are read again, over the previous state.
func TestScriptCommitUnansweredAndNotCommitted(t *testing.T) {
	everyScript(t, func(s *script) {
		s.start("a", shortTransactions)
		s.send(10)
		s.processed()
		lost := s.broker.Cut(txtest.Commit(s.id("a")))
		s.send(10)
		lost.Await()
		s.consistent() // of the first ten
		s.newSession("a")
		lost.Stop()
		s.processed()
		s.wantAborts("a", map[string]int64{AbortUnknown: 1})
	})
}

// The broker answers a commit with UNKNOWN_SERVER_ERROR, whether or not it has committed: the
// client then reports an abort, which it can't know.
func TestScriptCommitAnsweredUnknown(t *testing.T) {
	for _, committed := range []bool{true, false} {
		t.Run(map[bool]string{true: "committed", false: "not"}[committed], func(t *testing.T) {
			everyScript(t, func(s *script) {
				s.start("a")
				s.send(10)
				s.processed()
				commit := s.broker.Hold(txtest.Commit(s.id("a")))
				s.send(10)
				commit.Await()
				if committed {
					commit.DoAndAnswer(kerr.UnknownServerError)
				} else {
					commit.Answer(kerr.UnknownServerError)
				}
				s.processed()
				s.send(10)
				s.processed()
				s.wantAborts("a", map[string]int64{AbortUnknown: 1})
				s.wantSessions("a", 2)
			})
		})
	}
}

func shortTransactions(c *Config) { c.TransactionTimeout = 2 * time.Second }

// Another process takes over in the middle of a transaction: the worker stops, and none of the
// transaction becomes visible.
func TestScriptFencedMidTransaction(t *testing.T) {
	inMemory(t, func(s *script) {
		s.start("a")
		s.send(10)
		s.processed()
		offsets := s.broker.Hold(txtest.Offsets(s.id("a")))
		s.send(10)
		offsets.Await()
		s.broker.TakeOver(s.id("a"))
		s.consistent()
		offsets.Pass()
		if err := s.ended("a"); !broker.IsFenced(err) || !strings.Contains(err.Error(), "a") {
			s.Errorf("the fenced worker ended with %v", err)
		}
		s.consistent()
		s.start("a")
		s.processed()
	})
}

// Another process takes over when everything but the end of a transaction is done: the worker stops
// and leaves the transactional id to the newer process.
func TestScriptFencedBeforeCommit(t *testing.T) {
	inMemory(t, func(s *script) {
		s.start("a")
		s.send(10)
		s.processed()
		commit := s.broker.Hold(txtest.Commit(s.id("a")))
		s.send(10)
		commit.Await()
		newer := s.broker.TakeOver(s.id("a"))
		commit.Pass()
		if err := s.ended("a"); !broker.IsFenced(err) {
			s.Errorf("the fenced worker ended with %v", err)
		}
		if now := s.broker.Producer(s.id("a")); now != newer {
			s.Errorf("the newer process was %v, and %v has its transactional id now", newer, now)
		}
		s.consistent()
		s.start("a")
		s.processed()
	})
}

// The offsets are refused because the group is in another generation: the same records are read
// again, in the same session.
func TestScriptOffsetsRefused(t *testing.T) {
	inMemory(t, func(s *script) {
		s.start("a")
		s.send(10)
		s.processed()
		for _, answer := range []*kerr.Error{kerr.IllegalGeneration, kerr.RebalanceInProgress} {
			refused := s.broker.Refuse(txtest.Offsets(s.id("a")), answer)
			s.send(10)
			refused.Await()
			s.processed()
		}
		s.wantAborts("a", map[string]int64{AbortRebalance: 2})
		s.wantSessions("a", 1)
	})
}
