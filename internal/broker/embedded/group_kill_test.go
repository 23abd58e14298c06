package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Members of groups are not kept over a kill: they join again. In both protocols, a group that
// copies records in transactions goes on after kills of the broker, without a record lost or
// doubled.
func TestGroupGoesOnAfterKills(t *testing.T) {
	for name, protocol := range map[string][]kgo.Opt{"classic": nil, "KIP-848": {kgo.ServerSideBalancer()}} {
		t.Run(name, func(t *testing.T) {
			const records, members, kills = 3000, 2, 4
			dir := t.TempDir()
			c := startChild(t, dir)
			createCopied(t, c.addr, records)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var all sync.WaitGroup
			for m := range members {
				all.Go(func() { copyAsMember(ctx, t, c.addr, fmt.Sprint(commitGroup, m), protocol) })
			}
			for n := 1; n <= kills; n++ {
				awaitCopied(ctx, t, c.addr, int64(n*records/(kills+2)))
				c.kill(t)
				c = startChild(t, dir, addrEnv+"="+c.addr)
			}
			defer c.kill(t)
			awaitCopied(ctx, t, c.addr, records)
			cancel()
			all.Wait()
			seen := make(map[string]int)
			for _, values := range readCommitted(t.Context(), t, c.addr, commitOut, t.Errorf) {
				for _, v := range values {
					seen[v]++
				}
			}
			for value, times := range seen {
				if times != 1 {
					t.Errorf("record %s was copied %d times", value, times)
				}
			}
			if len(seen) != records {
				t.Errorf("%d records were copied, expected %d", len(seen), records)
			}
		})
	}
}

// awaitCopied waits until the group has committed n offsets.
func awaitCopied(ctx context.Context, t *testing.T, addr string, n int64) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for committed := int64(0); committed < n; {
		committed = 0
		offsets, err := kadm.NewClient(c).FetchOffsets(ctx, commitGroup)
		if ctx.Err() != nil {
			t.Fatalf("the group does not continue: %d offsets expected, %v", n, err)
		}
		offsets.Each(func(o kadm.OffsetResponse) { committed += o.At })
	}
}

func createCopied(t *testing.T, addr string, records int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for topic, partitions := range map[string]int32{commitIn: commitIns, commitOut: killPartitions} {
		if _, err := admin.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
	}
	for n := range records {
		client.Produce(t.Context(), &kgo.Record{Topic: commitIn, Partition: int32(n % commitIns), Value: fmt.Append(nil, n)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// copyAsMember copies records until ctx is done. A session whose end has failed is replaced: its
// outcome is unknown to the client.
func copyAsMember(ctx context.Context, t *testing.T, addr, id string, protocol []kgo.Opt) {
	for ctx.Err() == nil {
		s, err := kgo.NewGroupTransactSession(append(protocol, kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.TransactionalID(id),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumerGroup(commitGroup), kgo.ConsumeTopics(commitIn), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.SessionTimeout(6*time.Second), kgo.FetchMaxWait(100*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))...)
		if err != nil {
			t.Error(err)
			return
		}
		for err == nil {
			err = copyOnce(ctx, s)
		}
		s.Close()
	}
}

// copyOnce copies a few records in a transaction.
func copyOnce(ctx context.Context, s *kgo.GroupTransactSession) error {
	poll, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	fetches := s.PollRecords(poll, 20)
	cancel()
	if ctx.Err() != nil || fetches.NumRecords() == 0 {
		return ctx.Err()
	}
	if err := s.Begin(); err != nil {
		return err
	}
	promise := kgo.AbortingFirstErrPromise(s.Client())
	n := 0
	fetches.EachRecord(func(r *kgo.Record) {
		s.Produce(ctx, &kgo.Record{Topic: commitOut, Partition: int32(n % killPartitions), Value: r.Value}, promise.Promise())
		n++
	})
	try := kgo.TryCommit
	if err := errors.Join(s.Client().Flush(ctx), promise.Err()); err != nil {
		try = kgo.TryAbort
	}
	_, err := s.End(ctx, try)
	return err
}
