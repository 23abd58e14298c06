package broker

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Compressions lists the names that Compression accepts.
var Compressions = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// Compression returns the batch compression of a name; the empty name means snappy.
func Compression(name string) (kgo.ProducerOpt, error) {
	switch strings.ToLower(name) {
	case "none":
		return kgo.ProducerBatchCompression(kgo.NoCompression()), nil
	case "gzip":
		return kgo.ProducerBatchCompression(kgo.GzipCompression()), nil
	case "snappy", "":
		return kgo.ProducerBatchCompression(kgo.SnappyCompression()), nil
	case "lz4":
		return kgo.WithCompressor(newLZ4()), nil
	case "zstd":
		return kgo.ProducerBatchCompression(kgo.ZstdCompression()), nil
	default:
		return nil, fmt.Errorf("unknown compression %q: choose one of %s", name, strings.Join(Compressions, ", "))
	}
}

// lz4Compressor writes lz4 frames of 64 KiB blocks, as Kafka's own client does. A reader allocates
// twice the block size per frame, however small its content: with franz-go's 4 MiB, that is the
// largest cost of reading small batches.
type lz4Compressor struct{ writers sync.Pool } // of *lz4.Writer

func newLZ4() *lz4Compressor {
	return &lz4Compressor{writers: sync.Pool{New: func() any {
		w := lz4.NewWriter(nil)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
			panic(err) // the option is a constant that the library knows
		}
		return w
	}}}
}

// Compress implements kgo.Compressor.
func (c *lz4Compressor) Compress(dst *bytes.Buffer, src []byte, _ ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	w := c.writers.Get().(*lz4.Writer)
	defer c.writers.Put(w)
	w.Reset(dst)
	if _, err := w.Write(src); err != nil {
		return nil, kgo.CodecError
	}
	if err := w.Close(); err != nil {
		return nil, kgo.CodecError
	}
	return dst.Bytes(), kgo.CodecLz4
}
