package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrNoPartition says that a record names a partition that its topic does not have.
var ErrNoPartition = errors.New("the topic does not have that partition")

// GivenPartitions sends each record to the partition that it names. A record whose partition does
// not exist fails, and with it the transaction: it must never end up in another one, where it may
// be taken for another key's.
func GivenPartitions() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, _ int) int { return int(r.Partition) }
	})
}
