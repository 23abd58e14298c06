package embedded

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/txtest"
)

// A broker that doesn't answer a write doesn't hold up the registry, and the record isn't written
// later: the registry has reported that the change failed.
func TestUnansweredWriteStaysUnwritten(t *testing.T) {
	b := txtest.New(t)
	l := &topicLog{at: b.Config("registry"), log: slog.New(slog.DiscardHandler), timeout: 200 * time.Millisecond}
	defer l.close()
	apply := func([]byte, []byte) error { return nil }
	if err := l.open(t.Context(), apply); err != nil {
		t.Fatal(err)
	}
	write := b.Hold(func(_ *txtest.Broker, req kmsg.Request) bool { return req.Key() == int16(kmsg.Produce) })
	failed := make(chan error, 1)
	go func() { failed <- l.append(context.WithoutCancel(t.Context()), []*kgo.Record{{Key: []byte("lost")}}) }()
	write.Await()
	select {
	case err := <-failed:
		if err == nil {
			t.Fatal("an unanswered write succeeded")
		}
	case <-time.After(10 * time.Second): // the client itself gives up after 20 s
		t.Fatal("the registry waits longer than its timeout")
	}
	write.Pass() // the broker handles it after all
	if err := l.open(t.Context(), apply); err != nil {
		t.Fatal(err)
	}
	l.timeout = txtest.Patience
	if err := l.append(t.Context(), []*kgo.Record{{Key: []byte("kept")}}); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, r := range b.Committed(Topic)[0] {
		keys = append(keys, string(r.Key))
	}
	if !slices.Equal(keys, []string{"kept"}) {
		t.Errorf("the topic has %q, want only what the registry has confirmed", keys)
	}
}
