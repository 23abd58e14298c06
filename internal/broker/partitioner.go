package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrNoPartition means that a record names a partition that its topic does not have.
var ErrNoPartition = errors.New("the topic does not have that partition")

// GivenPartitions sends each record to the partition that it names. A record whose partition does
// not exist fails, and its transaction with it: in another partition it could be attributed to
// another key.
func GivenPartitions() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, _ int) int { return int(r.Partition) }
	})
}
