package weir

import (
	"context"
	"fmt"
	"log/slog"
	"math"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/node"
)

// A Broker is an embedded Kafka broker, served by this process. Any Kafka client can use it, also
// one of another process. It is a single broker without replication: if its disk is lost, its data
// is lost.
type Broker struct{ at *node.Attachment }

// BrokerOptions configure an embedded broker.
type BrokerOptions struct {
	Dir    string       // of its data, created if it does not exist; required
	Listen string       // host:port; default a free port on 127.0.0.1
	Sync   bool         // a commit waits for the disk, so that it survives a power failure; a killed process loses nothing either way
	Logger *slog.Logger // default slog.Default()
}

// OpenBroker starts the broker of a data directory. It fails where another process serves the
// directory: use Options.DataDir to join that one.
//
// Pipelines reach the broker with its directory as Options.DataDir, or with its address as
// Options.Brokers.
func OpenBroker(options BrokerOptions) (*Broker, error) {
	if options.Dir == "" {
		return nil, refuse(errNoDir)
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	kafka := node.Kafka{DataDir: options.Dir, Listen: options.Listen, Sync: options.Sync, Logger: options.Logger}
	at, err := kafka.Serve(context.Background())
	if err != nil {
		return nil, err
	}
	return &Broker{at}, nil
}

// Addr returns the broker's host:port.
func (b *Broker) Addr() string { return b.at.Broker.Brokers[0] }

// CreateTopic creates a topic, or does nothing if it exists. A pipeline creates the topics that it
// writes; those that it reads must exist before it runs.
func (b *Broker) CreateTopic(ctx context.Context, name string, partitions int) error {
	if partitions < 1 || partitions > math.MaxInt32 {
		return refuse(fmt.Errorf("create topic %s: invalid number of partitions %d", name, partitions))
	}
	client, err := broker.Connect(ctx, b.at.Broker)
	if err != nil {
		return err
	}
	defer client.Close()
	return broker.EnsureTopics(ctx, kadm.NewClient(client), []broker.Topic{{Name: name, Partitions: int32(partitions)}})
}

// Close stops the broker. Processes that use it wait until somebody serves the directory again;
// transactions that are open then are aborted.
func (b *Broker) Close() error {
	closed, cancel := context.WithCancel(context.Background())
	cancel() // do not wait for other users
	return b.at.Close(closed, nil)
}
