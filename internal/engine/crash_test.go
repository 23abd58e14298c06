package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// A pipeline crashes at each of its transactions, before or after the commit, and the group's
// offsets are deleted before it restarts: the state covers exactly what was committed, and each row
// counts once.
func TestCrashAtEveryTransaction(t *testing.T) {
	for _, partitions := range []int32{2, 4} {
		for kind := range accidentPipelines {
			for _, committed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%v", kind, partitions, committed), func(t *testing.T) {
					t.Parallel()
					crashEverywhere(t, kind, partitions, committed)
				})
			}
		}
	}
}

func crashEverywhere(t *testing.T, kind string, partitions int32, committed bool) {
	s := newCrashSite(t, kind, partitions)
	s.send(40)
	const crashes = 6
	for n := 1; n <= crashes; n++ {
		s.crash(n, committed)
		s.deleteLeftGroup()
		s.send(3)
	}
	s.run()
	s.want()
}

// crashSite is a site whose broker can hang up in a chosen transaction.
type crashSite struct {
	*site
	left atomic.Int64 // EndTxn requests until the broker hangs up, once
	die  context.CancelFunc
}

const never = 1 << 40

func newCrashSite(t *testing.T, kind string, partitions int32) *crashSite {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	s := &crashSite{site: &site{T: t, at: broker.Config{Brokers: c.ListenAddrs()}, partitions: partitions, kind: kind}}
	s.connect()
	s.createTopic("readings")
	s.left.Store(never)
	c.ControlKey(kmsg.EndTxn.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if s.left.Add(-1) > 0 {
			return nil, nil, false
		}
		s.left.Store(never) // the abort that follows succeeds
		s.die()
		return nil, errors.New("the broker hangs up"), true // without handling the request
	})
	return s
}

// crash runs the pipeline until its nth transaction, and crashes before or after the commit.
func (s *crashSite) crash(n int, committed bool) {
	s.Helper()
	s.left.Store(int64(n))
	if committed {
		s.left.Store(never)
	}
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	s.die = cancel
	defer cancel()
	commits := 0
	_, err := Run(ctx, Config{
		Broker: s.at, Program: s.program(s.query()), Instances: []string{"a"}, UntilEnd: true, MaxRecords: 9, StateDir: s.stateDir,
		TransactionTimeout: 2 * time.Second, CommitInterval: 20 * time.Millisecond,
		OnCommit: func(Commit) {
			if commits++; commits == n && committed {
				cancel()
			}
		},
	})
	if err != nil {
		s.Logf("crash %d: %v", n, err)
	}
	s.left.Store(never)
}

// deleteLeftGroup deletes the group once its dead members have left.
func (s *site) deleteLeftGroup() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
	defer cancel()
	for {
		_, err := s.admin.DeleteGroup(ctx, "weir-p")
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			return
		}
		if retry.Sleep(ctx, 20*time.Millisecond) != nil {
			s.Fatalf("delete the group: %v", err)
		}
	}
}
