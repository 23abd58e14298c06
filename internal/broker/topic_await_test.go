package broker

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
)

// A stop while a new topic waits for its leaders is reported as a stop, not as a missing leader.
func TestAwaitLeadersIsStopped(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, err := Connect(t.Context(), Config{Brokers: c.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	err = (&TopicChanges{Topic: "none"}).await(ctx, kadm.NewClient(client), 1)
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "leader yet") {
		t.Errorf("got %v", err)
	}
}
