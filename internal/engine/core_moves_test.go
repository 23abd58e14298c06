package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir.example/weir/internal/txtest"
)

// two starts two workers with a partition each, and waits until they have processed readings.
func (s *script) two(with ...func(*Config)) {
	s.Helper()
	s.start("a", with...)
	s.start("b", with...)
	s.assign(txtest.Plan{"a": {0}, "b": {1}})
	s.send(20)
	s.processed()
}

// A partition moves to another worker after its records were polled and before their transaction
// has begun: the other worker has processed them by then, and the first must not commit its rows.
func TestScriptRevokeBetweenPollAndBegin(t *testing.T) {
	inMemory(t, func(s *script) {
		s.two()
		s.assign(txtest.Plan{"a": {0, 1}})
		s.send(10)
		s.processed()
		begin := s.pauseAtBegin("a")
		s.send(10)
		begin.await(s)
		s.assign(txtest.Plan{"a": {0}, "b": {1}})
		s.committed(1)
		s.consistent()
		begin.end()
		s.processed()
		s.wantSessions("a", 1) // another one would move the partitions of other workers, too
	})
}

// A partition is assigned while a transaction is open, and more records of the other partitions are
// polled: the transaction can't be committed without them, because its offsets would skip them.
func TestScriptPartitionComesMidTransaction(t *testing.T) {
	inMemory(t, func(s *script) {
		s.two(func(c *Config) { c.CommitInterval = 3 * time.Second }) // at least 300 ms
		begin := s.pauseAtBegin("a")
		s.send(4, 0)
		begin.await(s)
		s.assign(txtest.Plan{"a": {0, 1}})
		s.send(4, 0)
		s.send(4, 1)
		begin.end()
		s.processed()
	})
}

// Two workers swap their partitions in the middle of a transaction, and swap back: each uses the
// state of its current partition.
func TestScriptSwap(t *testing.T) {
	everyScript(t, func(s *script) {
		s.two()
		for range 2 {
			for _, plan := range []txtest.Plan{{"a": {1}, "b": {0}}, {"a": {0}, "b": {1}}} {
				offsets := s.broker.Hold(txtest.Offsets(s.id("a")))
				s.send(20)
				offsets.Await()
				s.broker.StartAssign(scriptGroup, "readings", plan)
				offsets.Pass()
				s.assign(plan)
				s.processed()
			}
		}
	})
}

// A partition that a worker is restoring moves to another worker, which changes its state, and
// returns later.
func TestScriptRevokeDuringRestore(t *testing.T) {
	everyScript(t, func(s *script) {
		s.two()
		restore := s.broker.Hold(txtest.Reading(scriptChangelog))
		s.broker.StartAssign(scriptGroup, "readings", txtest.Plan{"a": {0, 1}})
		restore.Await()
		s.assign(txtest.Plan{"a": {0}, "b": {1}})
		s.send(10)
		s.committed(1)
		restore.Pass()
		s.processed()
		s.assign(txtest.Plan{"a": {0, 1}})
		s.send(10)
		s.processed()
	})
}

// The group expels a worker that is restoring: it loses its partitions, and gets them again as a
// new member.
func TestScriptLostDuringRestore(t *testing.T) {
	inMemory(t, func(s *script) {
		s.start("a")
		s.send(10)
		s.processed()
		s.stop("a")
		restore := s.broker.Hold(txtest.Reading(scriptChangelog))
		s.start("a")
		restore.Await()
		s.broker.Refuse(txtest.Heartbeat("a"), kerr.UnknownMemberID).Await()
		restore.Pass()
		s.send(10)
		s.processed()
	})
}

// A worker loses a partition, another worker changes its state, and the partition returns: the
// first worker's copy of the state is outdated.
func TestScriptStateOfLostPartition(t *testing.T) {
	everyScript(t, func(s *script) {
		s.two()
		for range 2 {
			s.assign(txtest.Plan{"b": {0, 1}})
			s.send(10)
			s.processed()
			s.assign(txtest.Plan{"a": {0}, "b": {1}})
			s.send(10)
			s.processed()
		}
	})
}

// Records arrive while a newly assigned partition is restored: none of them is read before its
// state is complete.
func TestScriptPollDuringRestore(t *testing.T) {
	inMemory(t, func(s *script) {
		s.two()
		restore := s.broker.Hold(txtest.Reading(scriptChangelog))
		s.broker.StartAssign(scriptGroup, "readings", txtest.Plan{"a": {0, 1}})
		restore.Await()
		before := s.broker.Offsets(scriptGroup, "readings")[1]
		s.send(10)
		s.consistent()
		if at := s.broker.Offsets(scriptGroup, "readings")[1]; at != before {
			s.Errorf("partition 1 is read from offset %d to %d before its state is restored", before, at)
		}
		restore.Pass()
		s.processed()
	})
}

// A worker freezes before it commits its offsets, and is expelled. Another worker owns its
// partitions by the time it wakes: the broker refuses its offsets, and its rows with them.
func TestScriptZombieCommit(t *testing.T) {
	inMemory(t, func(s *script) {
		s.two()
		offsets := s.broker.Hold(txtest.Offsets(s.id("a")))
		s.send(10)
		offsets.Await()
		s.expel("a")
		offsets.Pass()
		s.processed()
		s.wantAborts("a", map[string]int64{AbortRebalance: 1})
	})
}

// A worker freezes when its offsets are already part of its transaction, and commits after it was
// expelled. The new owner of its partitions waits for that commit, and continues after it.
func TestScriptLateCommit(t *testing.T) {
	inMemory(t, func(s *script) {
		s.two()
		commit := s.broker.Hold(txtest.Commit(s.id("a")))
		s.send(10)
		commit.Await()
		s.expel("a")
		commit.Pass()
		s.processed()
	})
}

// A request of a worker hangs for longer than its transaction and its membership last, and another
// worker takes over. When the broker finally handles the request, it has no effect, and the worker
// starts over as a new member.
func TestScriptRequestOutlivesTransaction(t *testing.T) {
	inMemory(t, func(s *script) {
		s.two(shortTransactions)
		offsets := s.broker.Hold(txtest.Offsets(s.id("a")))
		s.send(10)
		offsets.Await()
		s.broker.Plan("readings", txtest.Plan{"b": {0, 1}})
		s.processed() // by b, once the transaction of a is aborted
		offsets.Pass()
		s.newSession("a")
		s.send(10)
		s.processed()
	})
}

// expel assigns all partitions to the other worker and waits until this one, whose heartbeats are
// held up, has left the group.
func (s *script) expel(worker string) {
	s.Helper()
	other := map[string]string{"a": "b", "b": "a"}[worker]
	s.broker.Plan("readings", txtest.Plan{other: {0, 1}}) // a rebalance begins when the group has expelled it
	s.broker.AwaitGroup(scriptGroup, func(g *kfake.GroupInfo) bool {
		return g.State == "Stable" && len(g.Members) == 1 && g.Members[0].ClientID == other
	})
}

// A worker that restores its tasks loses one of them to another worker of its process, which must
// get the local copy at once: the alternative is to keep the task's whole state in memory.
func TestScriptRestoreHandsOverCopy(t *testing.T) {
	t.Parallel()
	s := newScript(t, counting)
	s.start("a")
	s.send(20)
	s.processed()
	s.stop("a")
	s.copies = t.TempDir()
	restore := s.broker.Hold(txtest.Reading(scriptChangelog))
	second := s.broker.Hold(txtest.Taking(s.id("b")))
	s.start("a", func(c *Config) { c.Instances = []string{"a", "b"} })
	log := &s.workers["a"].log
	restore.Await() // and nobody answers
	second.Await()
	second.Pass()
	s.send(10)
	s.processed()
	if text := log.String(); strings.Contains(text, "keeping the state of this task in memory") {
		t.Errorf("the second worker did not get the copy:\n%s", text)
	}
	s.finish()
}
