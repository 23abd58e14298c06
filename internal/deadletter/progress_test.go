package deadletter

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"weir.example/weir/internal/broker"
)

// Without a progress topic, dead letters are listed, and the first replay creates the topic.
func TestWithoutProgressTopic(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "in", "p.dlq"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := broker.Config{Brokers: c.ListenAddrs()}
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), Record("p.dlq", input, errors.New("broken"), now, MaxBytes)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	topics := Topics{DLQ: "p.dlq", Progress: "progress"}
	list := func() (all []Entry) {
		t.Helper()
		if err := List(t.Context(), at, topics, Filter{}, func(l Entry) error { all = append(all, l); return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := list(); len(all) != 1 || all[0].Replayed {
		t.Errorf("dead letters %+v", all)
	}
	if r, err := Replay(t.Context(), at, ReplayConfig{Topics: topics, DryRun: true}); err != nil || r.Replayed != 1 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	if r, err := Replay(t.Context(), at, ReplayConfig{Topics: topics}); err != nil || r.Replayed != 1 {
		t.Errorf("replay: %+v, %v", r, err)
	}
	if all := list(); len(all) != 1 || !all[0].Replayed {
		t.Errorf("dead letters after the replay %+v", all)
	}
	if r, err := Replay(t.Context(), at, ReplayConfig{Topics: topics}); err != nil || r.Replayed != 0 || r.Earlier != 1 {
		t.Errorf("second replay: %+v, %v", r, err)
	}
}
