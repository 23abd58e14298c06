package front

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A batch that is larger than the limit when it is decompressed is refused, whichever codec it has,
// and others of the same request are accepted. Before, a timestamp that a client looked up made the
// broker decompress any batch, and so did compaction.
func TestOversizedBatches(t *testing.T) {
	const limit = 1 << 20
	addr, _ := serve(t, Limits{BatchBytes: limit}, "small", "large")
	for i, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(), kgo.NoCompression()} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(8<<20))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			small := &kgo.Record{Topic: "small", Value: bytes.Repeat([]byte(" "), limit-100)}
			large := &kgo.Record{Topic: "large", Value: bytes.Repeat([]byte(" "), limit+1)}
			for _, result := range client.ProduceSync(t.Context(), small, large) {
				switch {
				case result.Record == small:
					if result.Err != nil {
						t.Errorf("the small one: %v", result.Err)
					}
				case i == 4: // its size is that of the message
					if !errors.Is(result.Err, kerr.MessageTooLarge) {
						t.Errorf("uncompressed: %v", result.Err)
					}
				case !errors.Is(result.Err, kerr.InvalidRecord):
					t.Errorf("the large one: %v", result.Err)
				}
			}
		})
	}
}

// Whatever bytes a batch has, measuring it neither panics nor changes an acceptable one.
func FuzzBatch(f *testing.F) {
	for codec := range byte(5) {
		f.Add(codec, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x05\x04\x0cabcd"))
	}
	f.Fuzz(func(t *testing.T, codec byte, packed []byte) {
		u := unpacker{limit: 1 << 10}
		_ = u.exceeds(codec&codecMask, packed)
		if u.exceeds(0, packed) {
			t.Error("uncompressed bytes are too large")
		}
	})
}
