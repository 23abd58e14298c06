package engine

import (
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"weir.example/weir/internal/broker"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	goleak.VerifyTestMain(m)
}

// startCluster starts a broker that has topics with a number of partitions, and connects a client
// to it. Both are closed at the end of the test.
func startCluster(t *testing.T, partitions int32, topics []string, opts ...kgo.Opt) (*kfake.Cluster, broker.Config, *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	at := broker.Config{Brokers: c.ListenAddrs()}
	client, err := broker.Connect(t.Context(), at, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return c, at, client
}
