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

// A Broker is an embedded Kafka broker that runs in this process. Any Kafka client can connect to
// it, including clients in other processes. It is a single broker without replication: if its disk
// is lost, so is its data.
type Broker struct{ at *node.Attachment }

// BrokerOptions configure an embedded broker.
type BrokerOptions struct {
	Dir    string // data directory, created if it does not exist; required
	Listen string // host:port; default: a free port on 127.0.0.1

	// Advertise is the host:port at which clients reach the broker, if it is not Listen: behind a
	// proxy or a forwarded port, or if Listen is a wildcard such as 0.0.0.0.
	Advertise string

	Sync   bool         // sync each commit to disk, so that it survives a power failure; a killed process loses nothing either way
	Logger *slog.Logger // default slog.Default()
}

// OpenBroker starts a broker on a data directory. It fails if another process already serves the
// directory; to join that broker, use Options.DataDir.
//
// Pipelines reach the broker through Options.DataDir, set to the same directory, or through
// Options.Brokers, set to its address.
func OpenBroker(options BrokerOptions) (*Broker, error) {
	if options.Dir == "" {
		return nil, refuse(errNoDir)
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	kafka := node.Kafka{DataDir: options.Dir, Listen: options.Listen, Advertise: options.Advertise, Sync: options.Sync, Logger: options.Logger}
	at, err := kafka.Serve(context.Background())
	if err != nil {
		return nil, err
	}
	return &Broker{at}, nil
}

// Addr returns the broker's host:port.
func (b *Broker) Addr() string { return b.at.Broker.Brokers[0] }

// CreateTopic creates a topic, or does nothing if it exists. A pipeline creates the topics it
// writes; the topics it reads must exist before it runs.
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

// Close stops the broker. Other processes that use it wait until the directory is served again;
// transactions open at that point are aborted.
func (b *Broker) Close() error {
	closed, cancel := context.WithCancel(context.Background())
	cancel() // do not wait for other users
	return b.at.Close(closed, nil)
}
