package embedded

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Two concurrent maintenance loops with four writers: produce requests wait at the gate, wake, and
// find it closed again, without lost records or data races.
func TestMaintenanceWithManyWriters(t *testing.T) {
	const writers, transactions = 4, 60
	b := open(t, Config{Dir: t.TempDir(), CompactBytes: 1})
	createTopic(t, client(t, b), killState, map[string]string{"cleanup.policy": "compact"})
	ctx, cancel := context.WithCancel(t.Context())
	var maintaining, writing sync.WaitGroup
	for range 2 {
		maintaining.Go(func() {
			for ctx.Err() == nil {
				_ = b.Maintain(ctx) // postponed while a transaction is open
			}
		})
	}
	for w := range writers {
		c := client(t, b, kgo.TransactionalID(fmt.Sprint("writer", w)), kgo.ProducerBatchCompression(kgo.NoCompression()))
		writing.Go(func() {
			if err := writeKeys(t.Context(), c, w, transactions); err != nil {
				t.Error(err)
			}
		})
	}
	writing.Wait()
	cancel()
	maintaining.Wait()
	records := 0
	wrong := func(format string, args ...any) { t.Errorf(format, args...) }
	for p, last := range lastByKey(t, b.Addr(), killState, wrong, &records) {
		for w := range writers {
			if got := last[fmt.Sprint(w)]; got != fmt.Sprint(transactions-1) {
				t.Errorf("partition %d writer %d: last value is %q, want %d", p, w, got, transactions-1)
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeKeys commits the numbers from 0 under a writer's key, each to every partition in one
// transaction.
func writeKeys(ctx context.Context, c *kgo.Client, writer, transactions int) error {
	for n := range transactions {
		if err := c.BeginTransaction(); err != nil {
			return err
		}
		var records []*kgo.Record
		for p := range int32(killPartitions) {
			records = append(records, &kgo.Record{Topic: killState, Partition: p, Key: fmt.Append(nil, writer), Value: fmt.Append(nil, n)})
		}
		if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		if err := c.EndTransaction(ctx, kgo.TryCommit); err != nil {
			return err
		}
	}
	return nil
}
