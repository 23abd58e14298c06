package alert

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/interrupt"
)

// A delivery that is stopped at any request of its transactions leaves none of them open, and sends
// each alert exactly once.
func TestStopLeavesNothingOpen(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 8
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	b := interrupt.New(t, kfake.SeedTopics(3, "hot"), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	w := newWorldOn(t, b.Config())
	var want []string
	for round := range rounds {
		var rows []*kgo.Record
		for i := range 5 {
			device := fmt.Sprintf("d%03d", 5*round+i)
			want = append(want, device+"/firing/1")
			rows = append(rows, &kgo.Record{Topic: "hot", Key: []byte(device), Value: fmt.Appendf(nil, `{"device_id":%q,"severity":"warning"}`, device)})
		}
		if err := w.client.ProduceSync(t.Context(), rows...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		n := 1 + rng.IntN(8)
		b.After(n, stop)
		err := Deliver(ctx, w.deliver("a"))
		stop()
		if err != nil {
			t.Fatalf("round %d, stopped at request %d: %v", round, n, err)
		}
		if open := b.Open(t); len(open) > 0 {
			t.Fatalf("round %d, stopped at request %d: %d transactions are open after the stop, the first %+v", round, n, len(open), open[0])
		}
	}
	stop := w.start("a")
	w.hook.requests.await(func() bool { return len(w.hook.alerts()) >= len(want) })
	stop()
	got := w.hook.alerts()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the receiver got\n%v, want\n%v", got, want)
	}
}
