package engine

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
)

// A topic that is created while a pipeline starts is found: the queried broker may learn of it a
// moment later.
func TestTopicMadeAtTheStart(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	asked := make(chan struct{})
	var once sync.Once
	c.ControlKey(kmsg.Metadata.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		for _, topic := range req.(*kmsg.MetadataRequest).Topics {
			if topic.Topic != nil && *topic.Topic == "readings" {
				once.Do(func() { close(asked) })
			}
		}
		return nil, nil, false
	})
	at := broker.Config{Brokers: c.ListenAddrs()}
	client, err := broker.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	made := make(chan error, 1)
	go func() {
		<-asked
		_, err := kadm.NewClient(client).CreateTopic(context.Background(), 2, 1, nil, "readings")
		made <- err
	}()
	p, err := plan.Compile(bounded, "bounded")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := Run(ctx, Config{Broker: at, Program: p, Instances: []string{"a"}}); err != nil {
		t.Error(err)
	}
	if err := <-made; err != nil {
		t.Error(err)
	}
}
