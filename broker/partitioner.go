package broker

import "github.com/twmb/franz-go/pkg/kgo"

// GivenPartitions sends each record to the partition that it names, wrapped around where the topic has
// fewer.
func GivenPartitions() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, n int) int { return int(r.Partition) % n }
	})
}
