package broker

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// MaxDecompressed is the default of Config.MaxDecompressed: 32 times Kafka's default limit of a
// compressed batch.
const MaxDecompressed = 32 << 20

const (
	// maxBatchRecords is the number of records of a compressed batch that a client accepts. The
	// client allocates some 250 bytes for each, however small it is.
	maxBatchRecords = 250_000
	// fetchFactor bounds the decompressed batches of one answer to a fetch, in units of
	// Config.MaxDecompressed. The rest of the answer is fetched again.
	fetchFactor = 2
)

// HeaderWithheld marks a record whose content a reader does not get, because its batch can't be
// decompressed within Config.MaxDecompressed; its value is the reason. Such a record has neither
// key nor value, but its offset.
const HeaderWithheld = "weir-withheld"

// Values of HeaderWithheld.
const (
	withheldSize    = "size"
	withheldInvalid = "invalid"
)

// Withheld returns why the content of a record is withheld, nil if it isn't. See
// Config.Withholding.
func Withheld(r *kgo.Record) error {
	if r.Value != nil || len(r.Headers) != 1 || r.Headers[0].Key != HeaderWithheld {
		return nil
	}
	if string(r.Headers[0].Value) == withheldSize {
		return errors.New("its batch is larger than --max-decompressed allows")
	}
	return errors.New("its batch can't be decompressed")
}

// Withholding returns the configuration of a client that reads records of others, which may be
// hostile: a batch that decompresses to more than MaxDecompressed, or does not decompress at all,
// yields its offsets with withheld records instead of an error that no retry resolves. Readers of
// state must not use it, because a withheld record looks like a deletion.
func (c Config) Withholding() Config {
	c.withhold = true
	return c
}

// decompression returns the options that limit the size of decompressed batches.
func (c *Config) decompression() []kgo.Opt {
	limit := cmp.Or(c.MaxDecompressed, MaxDecompressed)
	d := &withholding{limit: limit, inner: boundedDecompressor(limit), withholds: c.withhold}
	return []kgo.Opt{kgo.WithDecompressor(d), kgo.WithHooks(d)}
}

var bounded sync.Map // of decompressors, by limit

// boundedDecompressor returns the client library's own decompressor, with a limit that the library
// sets only as part of a client.
func boundedDecompressor(limit int) kgo.Decompressor {
	if d, ok := bounded.Load(limit); ok {
		return d.(kgo.Decompressor) //nolint:forcetypeassert // nothing else is stored
	}
	client, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(limit))
	if err != nil {
		panic(err) // the only option has been validated
	}
	defer client.Close()
	d, _ := bounded.LoadOrStore(limit, client.OptValue(kgo.WithDecompressor))
	return d.(kgo.Decompressor) //nolint:forcetypeassert // nothing else is stored
}

// withholding is a decompressor with limits for a batch, for an answer to a fetch and, with all
// others of the process, for what is in memory. It is shared by the connections of one client.
type withholding struct {
	inner     kgo.Decompressor
	limit     int
	withholds bool         // false returns errors instead, and doesn't limit answers
	spent     atomic.Int64 // bytes, since the last answer
	own       atomic.Int64 // bytes in memory

	mu      sync.Mutex
	last    uint32 // checksum of the last withheld batch
	repeats int    // how often in sequence
}

// errAnswerFull makes the client fetch the rest of an answer again.
var errAnswerFull = fmt.Errorf("the answer decompresses to more than a client keeps in memory, and is fetched in parts: %w", kerr.ThrottlingQuotaExceeded)

// maxRepeats is how often the client may receive the same withheld batch in sequence. It receives
// it again, without end, if the batch has more records than can be withheld.
const maxRepeats = 100

// OnBrokerE2E implements kgo.HookBrokerE2E: it is called when an answer has arrived, before its
// batches are decompressed.
func (d *withholding) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, _ kgo.BrokerE2E) {
	const fetch = 1
	if key == fetch {
		d.spent.Store(0)
	}
}

// Decompress implements kgo.Decompressor.
func (d *withholding) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if d.withholds && d.spent.Load() > int64(fetchFactor-1)*int64(d.limit) { // another batch may exceed the limit
		return nil, errAnswerFull
	}
	wait := waitForMemory
	if d.spent.Load() > 0 { // the records before this batch are not freed before they have been polled
		wait = 0
	}
	if codec != kgo.CodecNone && !held.room(&d.own, mostExpanded(src, codec, d.limit), wait) {
		return nil, errAnswerFull
	}
	out, err := d.inner.Decompress(src, codec)
	switch {
	case err != nil && !d.withholds:
		return nil, err
	case errors.Is(err, kgo.ErrMaxDecompress):
		return d.withhold(src, withheldSize, err)
	case err != nil:
		return d.withhold(src, withheldInvalid, err)
	case len(out) > maxBatchRecords && countRecords(out) > maxBatchRecords:
		return nil, kgo.ErrMaxDecompress
	}
	d.spent.Add(int64(len(out)))
	if codec != kgo.CodecNone {
		held.add(&d.own, out)
	}
	return out, nil
}

// withhold returns records in place of those of a batch. How many it has is known to the client
// only, which ignores the rest.
func (d *withholding) withhold(src []byte, why string, cause error) ([]byte, error) {
	sum := crc32.ChecksumIEEE(src)
	d.mu.Lock()
	defer d.mu.Unlock()
	if sum != d.last {
		d.last, d.repeats = sum, 0
	}
	if d.repeats++; d.repeats > maxRepeats {
		return nil, fmt.Errorf("%w: %w", kgo.ErrMaxDecompress, cause)
	}
	return withheldRecords(why), nil
}

var withheldBatches sync.Map // by reason

// withheldRecords encodes as many records without content as a batch may have, in Kafka's format
// (KIP-98).
func withheldRecords(why string) []byte {
	if all, ok := withheldBatches.Load(why); ok {
		return all.([]byte) //nolint:forcetypeassert // nothing else is stored
	}
	var all []byte
	for i := range int64(maxBatchRecords) {
		record := []byte{0, 0}                  // attributes and the difference to the first timestamp
		record = binary.AppendVarint(record, i) // difference to the first offset
		record = append(record, 1, 1)           // -1: neither key nor value
		record = binary.AppendVarint(record, 1) // headers
		for _, text := range []string{HeaderWithheld, why} {
			record = append(binary.AppendVarint(record, int64(len(text))), text...)
		}
		all = append(binary.AppendVarint(all, int64(len(record))), record...)
	}
	withheldBatches.Store(why, all)
	return all
}

// countRecords counts the records of a decompressed batch.
func countRecords(batch []byte) (n int) {
	for len(batch) > 0 {
		size, used := binary.Varint(batch)
		if used <= 0 || size < 0 || size > int64(len(batch)-used) {
			break
		}
		batch = batch[used+int(size):]
		n++
	}
	return n
}
