package front

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The broker itself decompresses batches, in memory and without a bound: to compact a topic, and to
// find the offset of a timestamp. Consumers decompress them as well. A batch that is larger than
// the limit is therefore refused when it is produced, as INVALID_RECORD.
//
// Most batches are so small that no codec could make them too large. The others are decompressed
// once, without keeping the result, and one at a time, so that the checks of all connections
// together take the memory of one.

// Positions in a batch (KIP-98). The checksum covers everything after it.
const (
	batchMagic      = 16
	batchChecksum   = 17
	batchAttributes = 21
	batchRecords    = 57
	batchHeader     = 61

	codecMask    = 0x07
	controlBatch = 0x20
)

// Codecs, as in the attributes of a batch.
const (
	gzipCodec = iota + 1
	snappyCodec
	lz4Codec
	zstdCodec
)

// mostRatio is by how much a codec can compress at most; snappy's formats tell the size.
var mostRatio = map[byte]int{gzipCodec: 1033, snappyCodec: 1 << 20, lz4Codec: 256, zstdCodec: 1 << 20}

// maxBatchRecords is the number of records of a batch: kfake and clients allocate some 100 to 250
// bytes for each, however small it is.
const maxBatchRecords = 250_000

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// unpacker measures decompressed batches.
type unpacker struct {
	limit int // bytes of a batch

	mu   sync.Mutex // one batch at a time
	zstd *zstd.Decoder
	gzip *gzip.Reader
	lz4  *lz4.Reader
}

// refuse marks the batches of a Produce request that was checked and that are too large when they
// are decompressed, so that kfake refuses them. It returns the description of the last one, "" if
// there is none.
func (u *unpacker) refuse(req request, frame []byte) (refused string) {
	form := served()[req.key].at(req.version)
	body, err := form.header(frame[headerBytes:])
	if err != nil {
		return "" // it was checked
	}
	w := walker{src: body, flexible: form.flexible, maxItems: len(body), bytes: func(batch []byte) {
		if why := u.tooLarge(batch); why != "" {
			refused = why
			attributes := batch[batchAttributes:]
			// kfake takes no control batches from clients.
			binary.BigEndian.PutUint16(attributes, binary.BigEndian.Uint16(attributes)|controlBatch)
			binary.BigEndian.PutUint32(batch[batchChecksum:], crc32.Checksum(attributes, castagnoli))
		}
	}}
	_ = w.item(&form.root)
	return refused
}

// tooLarge returns what is too large about a batch, or "". Batches that are invalid in another way
// are left to kfake.
func (u *unpacker) tooLarge(batch []byte) string {
	if len(batch) < batchHeader || batch[batchMagic] != 2 {
		return ""
	}
	n, codec, packed := binary.BigEndian.Uint32(batch[batchRecords:]), batch[batchAttributes+1]&codecMask, batch[batchHeader:]
	switch {
	case n <= maxBatchRecords && len(packed) <= u.limit/max(mostRatio[codec], 1): // nearly all
		return ""
	case binary.BigEndian.Uint32(batch[batchChecksum:]) != crc32.Checksum(batch[batchAttributes:], castagnoli):
		return ""
	case n > maxBatchRecords:
		return fmt.Sprintf("a batch of %d records, at most %d are accepted", n, maxBatchRecords)
	case u.exceeds(codec, packed):
		return fmt.Sprintf("a batch of %d bytes is larger than %d bytes when it is decompressed", len(batch), u.limit)
	}
	return ""
}

// exceeds reports whether the content of a batch is larger than the limit.
func (u *unpacker) exceeds(codec byte, packed []byte) bool {
	if codec == snappyCodec {
		return snappySize(packed) > int64(u.limit)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	from, err := u.reader(codec, bytes.NewReader(packed))
	if from == nil || err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, io.LimitReader(from, int64(u.limit)+1))
	return n > int64(u.limit) || errors.Is(err, zstd.ErrWindowSizeExceeded)
}

// reader returns a reader of the content, nil for one that is not compressed.
func (u *unpacker) reader(codec byte, packed io.Reader) (_ io.Reader, err error) {
	switch codec {
	case gzipCodec:
		if u.gzip == nil {
			u.gzip = new(gzip.Reader)
		}
		return u.gzip, u.gzip.Reset(packed)
	case lz4Codec:
		if u.lz4 == nil {
			u.lz4 = lz4.NewReader(nil)
		}
		u.lz4.Reset(packed)
		return u.lz4, nil
	case zstdCodec:
		if u.zstd == nil {
			u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(max(u.limit, zstd.MinWindowSize)))) //nolint:gosec // positive
			if err != nil {
				return nil, err
			}
		}
		return u.zstd, u.zstd.Reset(packed)
	}
	return nil, nil //nolint:nilnil // not compressed
}

// snappySize returns the size that snappy's data claims, which its decoders allocate: of one block,
// or of all blocks in the framing of Java's library.
func snappySize(packed []byte) (total int64) {
	const xerial, xerialHeader = "\x82SNAPPY\x00", 16
	if !bytes.HasPrefix(packed, []byte(xerial)) || len(packed) <= xerialHeader {
		n, _ := s2.DecodedLen(packed)
		return int64(n)
	}
	for packed = packed[xerialHeader:]; len(packed) >= 4; {
		size := int64(binary.BigEndian.Uint32(packed))
		if packed = packed[4:]; size > int64(len(packed)) {
			break
		}
		n, _ := s2.DecodedLen(packed[:size])
		total += int64(n)
		packed = packed[size:]
	}
	return total
}
