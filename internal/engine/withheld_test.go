package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/deadletter"
)

// garbage claims to be compressed.
type garbage kgo.CompressionCodecType

// Compress implements kgo.Compressor.
func (g garbage) Compress(dst *bytes.Buffer, _ []byte, _ ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	dst.WriteString("this is not compressed at all")
	return dst.Bytes(), kgo.CompressionCodecType(g)
}

// A batch that decompresses to more than its limit, or not at all, becomes dead letters with its
// offsets, and all other records are processed, once. Before, the client decompressed whatever it
// received, and a batch that does not decompress was read again without end.
func TestWithheld(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	const partitions, rounds = 3, 25
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "readings", "even"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := broker.Config{Brokers: c.ListenAddrs(), MaxDecompressed: 1 << 20}
	codecs := []kgo.Opt{
		kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.WithCompressor(garbage(kgo.CodecGzip)), kgo.WithCompressor(garbage(kgo.CodecSnappy)),
		kgo.WithCompressor(garbage(kgo.CodecLz4)), kgo.WithCompressor(garbage(kgo.CodecZstd)),
	}
	var want, bombs []string
	next := make([]int, partitions)
	for i := range rounds {
		p := random.IntN(partitions)
		produceGiven(t, at, []*kgo.Record{{Topic: "readings", Partition: int32(p), Value: fmt.Appendf(nil, `{"n":%d}`, 2*i)}})
		want = append(want, fmt.Sprintf(`{"n":%d}`, 2*i))
		next[p]++

		client, err := broker.Connect(t.Context(), at, kgo.RecordPartitioner(broker.GivenPartitions()), kgo.ProducerBatchMaxBytes(8<<20), codecs[i%len(codecs)])
		if err != nil {
			t.Fatal(err)
		}
		batch := make([]*kgo.Record, 1+random.IntN(3))
		for j := range batch {
			batch[j] = &kgo.Record{Topic: "readings", Partition: int32(p), Value: bytes.Repeat([]byte(" "), 2<<20/len(batch))}
			bombs = append(bombs, fmt.Sprintf("readings-%d:%d", p, next[p]+j))
		}
		err = client.ProduceSync(t.Context(), batch...).FirstErr()
		client.Close()
		if err != nil {
			t.Fatal(err)
		}
		next[p] += len(batch)
	}
	cfg := Config{Broker: at, Instances: []string{"a", "b"}, MaxRecords: 1 + random.IntN(9)}
	for range 2 { // the second run has nothing to do
		if err := runConfig(t, "withheld", bounded, cfg); err != nil {
			t.Fatal(err)
		}
	}
	var got, letters []string
	if err := broker.ReadAll(t.Context(), at, "even", nil, func(r *kgo.Record) error { got = append(got, string(r.Value)); return nil }); err != nil {
		t.Fatal(err)
	}
	err = broker.ReadAll(t.Context(), at, "bounded.dlq", nil, func(r *kgo.Record) error {
		l, err := deadletter.Parse(r)
		letters = append(letters, fmt.Sprintf("%s-%d:%d", l.Topic, l.OriginPartition, l.OriginOffset))
		if !strings.Contains(l.Reason, "its batch ") || l.Unreplayable() == "" {
			t.Errorf("%s: reason %q, unreplayable %q", letters[len(letters)-1], l.Reason, l.Unreplayable())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		name      string
		got, want []string
	}{{"rows", got, want}, {"dead letters", letters, bombs}} {
		slices.Sort(of.got)
		slices.Sort(of.want)
		if !slices.Equal(of.got, of.want) {
			t.Errorf("%s:\n got %v\nwant %v", of.name, of.got, of.want)
		}
	}
}
