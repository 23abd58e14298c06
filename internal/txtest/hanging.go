package txtest

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
)

// Hang commits a transaction with a record in partitions 0 and 1 of a topic, of which only
// partition 1 gets the marker, and makes the coordinator forget it. It returns the client, its
// producer id and the epoch of the records.
func Hang(t testing.TB, c *kfake.Cluster, topic string, value []byte) (client *kgo.Client, producerID int64, epoch int16) {
	t.Helper()
	c.ControlKey(kmsg.ListTransactions.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return req.ResponseKind(), nil, true
	})
	client, err := broker.Connect(t.Context(), broker.Config{Brokers: c.ListenAddrs()}, kgo.TransactionalID("x"), kgo.RecordPartitioner(broker.GivenPartitions()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for p := range int32(2) {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if producerID, epoch, err = client.ProducerID(t.Context()); err != nil {
		t.Fatal(err)
	}
	set := make(kadm.TopicsSet)
	set.Add(topic, 1)
	if _, err := kadm.NewClient(client).WriteTxnMarkers(t.Context(), kadm.TxnMarkers{ProducerID: producerID, ProducerEpoch: epoch + 1, Commit: true, Topics: set}); err != nil {
		t.Fatal(err)
	}
	return client, producerID, epoch
}

// OpenSince answers a DescribeProducers request: the records of a producer are open in one
// partition, from an offset on.
func OpenSince(req *kmsg.DescribeProducersRequest, producerID int64, topic string, partition int32, offset int64) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse) //nolint:forcetypeassert // of this request
	for _, of := range req.Topics {
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = of.Topic
		for _, n := range of.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = n
			if of.Topic == topic && n == partition {
				active := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				active.ProducerID, active.CurrentTxnStartOffset = producerID, offset
				p.ActiveProducers = append(p.ActiveProducers, active)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
