package embedded

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
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
		if err := broker.Commit(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// The closed gate holds back requests to its partition only, whether they name the topic or have
// its id, and lets admitted producers finish.
func TestGateHoldsOnePartition(t *testing.T) {
	id := [16]byte{1}
	g := newGate(func(of [16]byte) string { return map[[16]byte]string{id: "state"}[of] })
	request := func(version int16, topic string, of [16]byte, partition int32, who producer) *kmsg.ProduceRequest {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = partition, make([]byte, batchHeaderSize)
		binary.BigEndian.PutUint64(p.Records[43:], uint64(who.id))    //nolint:gosec // positive
		binary.BigEndian.PutUint16(p.Records[51:], uint16(who.epoch)) //nolint:gosec // positive
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.TopicID, rt.Partitions = topic, of, append(rt.Partitions, p)
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Topics = version, append(req.Topics, rt)
		return req
	}
	none, open := producer{7, 0}, producer{8, 3}
	at := topicPartition{"state", 2}
	for _, c := range []struct {
		name string
		set  func()
		req  *kmsg.ProduceRequest
		want bool // passes
	}{
		{"open", g.open, request(12, "state", [16]byte{}, 2, none), true},
		{"closed", func() { g.close(at) }, request(12, "state", [16]byte{}, 2, open), false},
		{"closed, by id", func() { g.close(at) }, request(13, "", id, 2, open), false},
		{"another partition", func() { g.close(at) }, request(12, "state", [16]byte{}, 1, none), true},
		{"another topic", func() { g.close(at) }, request(12, "other", [16]byte{}, 2, none), true},
		{"another topic, by id", func() { g.close(at) }, request(13, "", [16]byte{2}, 2, none), true},
		{"admitted", func() { g.admit(at, map[producer]bool{open: true}) }, request(13, "", id, 2, open), true},
		{"not admitted", func() { g.admit(at, map[producer]bool{open: true}) }, request(13, "", id, 2, none), false},
		{"compacting", func() { g.admit(at, nil) }, request(13, "", id, 2, open), false},
	} {
		c.set()
		if got, _ := g.ask(c.req); got != c.want {
			t.Errorf("%s: the request passes %t, want %t", c.name, got, c.want)
		}
	}
}
