package broker

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// All Kafka clients can read the lz4 batches: one frame of blocks of at most 64 KiB, for small
// batches and those of many blocks.
func TestLZ4(t *testing.T) {
	c := newLZ4()
	for _, size := range []int{0, 1, 200, 64 << 10, 64<<10 + 1, 1_000_000} {
		text := bytes.Repeat([]byte(`{"device_id":"device-7","value":21.5}`), size/37+1)[:size]
		packed, codec := c.Compress(new(bytes.Buffer), text)
		if codec != kgo.CodecLz4 {
			t.Fatalf("%d bytes: codec %d", size, codec)
		}
		// The frame's descriptor: magic, flags, then the largest block in bits 4 to 6, 4 for 64 KiB
		// (https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md).
		if block := packed[5] >> 4 & 7; block != 4 {
			t.Errorf("%d bytes: block size %d, want 4", size, block)
		}
		got, err := kgo.DefaultDecompressor().Decompress(packed, kgo.CodecLz4)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: %d come back, %v", size, len(got), err)
		}
	}
}

func TestCompressionUnknown(t *testing.T) {
	if _, err := Compression("brotli"); err == nil || !strings.Contains(err.Error(), "choose one of none, gzip, snappy, lz4, zstd") {
		t.Errorf("%v", err)
	}
}
