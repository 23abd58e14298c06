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
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := &site{T: t, at: broker.Config{Brokers: c.ListenAddrs()}, partitions: partitions, kind: kind}
	s.connect()
	s.createTopic("readings")
	s.send(40)
	var left atomic.Int64 // EndTxn requests until the broker hangs up, once
	var die context.CancelFunc
	c.ControlKey(kmsg.EndTxn.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if left.Add(-1) > 0 {
			return nil, nil, false
		}
		left.Store(1 << 40) // the abort that follows succeeds
		die()
		return nil, errors.New("the broker hangs up"), true // without handling the request
	})
	const crashes = 6
	for n := 1; n <= crashes; n++ {
		left.Store(int64(n))
		if committed {
			left.Store(1 << 40)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		die = cancel
		commits := 0
		_, err := Run(ctx, Config{
			Broker: s.at, Program: s.program(accidentPipelines[kind]), Instances: []string{"a"}, UntilEnd: true, MaxRecords: 9,
			TransactionTimeout: 2 * time.Second, CommitInterval: 20 * time.Millisecond,
			OnCommit: func(Commit) {
				if commits++; commits == n && committed {
					die()
				}
			},
		})
		die()
		if err != nil {
			t.Logf("crash %d: %v", n, err)
		}
		left.Store(1 << 40)
		s.deleteLeftGroup()
		s.send(3)
	}
	s.run()
	s.want()
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
