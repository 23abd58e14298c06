package broker

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Codecs are the compressions that Codec takes.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Codec returns the batch compression of a name; the empty name means lz4.
func Codec(name string) (kgo.CompressionCodec, error) {
	switch strings.ToLower(name) {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4", "":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	default:
		return kgo.CompressionCodec{}, fmt.Errorf("unknown compression %q: choose one of %s", name, strings.Join(Codecs, ", "))
	}
}

// GivenPartitions sends each record to the partition that it names, wrapped around where the topic has
// fewer.
func GivenPartitions() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(r *kgo.Record, n int) int { return int(r.Partition) % n }
	})
}
