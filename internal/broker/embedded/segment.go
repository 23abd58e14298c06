package embedded

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The files of a partition, in kafka/partitions/TOPIC-N: BASE.dat is a sequence of plain Kafka
// record batches (magic 2), BASE.idx has one entry of 15 bytes per batch, snapshot.json is the
// state at a clean stop.
//
// An index entry is version (1 byte), checksum (the low byte of the CRC-32C of what follows),
// leader epoch (4, little-endian), largest timestamp so far (8, little-endian; recomputed at load),
// flags (1: bit 0 is set if the batch was written inside a transaction).

const (
	batchHeaderSize = 61
	indexEntrySize  = 15
	formatVersion   = 1 // of index entries and state logs

	attrTransactional = 0x10
	attrControl       = 0x20
)

// batch is the header and location of a record batch.
type batch struct {
	position, size  int64 // in the segment, bytes
	baseOffset      int64
	leaderEpoch     int32
	attributes      int16
	lastOffsetDelta int32
	firstTimestamp  int64 // milliseconds
	maxTimestamp    int64
	producerID      int64
	producerEpoch   int16
	baseSequence    int32
	records         int32
	inTransaction   bool // from the index: written inside a transaction
	commits         bool // a control batch that commits
}

func (b *batch) control() bool    { return b.attributes&attrControl != 0 }
func (b *batch) endOffset() int64 { return b.baseOffset + int64(b.lastOffsetDelta) + 1 }

// partition is the log of one partition on disk.
type partition struct {
	dir   string
	topic string
	id    int32
	bases []int64 // of the segments, ascending
}

// partitions lists the partition folders of a kfake data directory.
func partitions(data string) ([]partition, error) {
	root := filepath.Join(data, "partitions")
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []partition
	for _, e := range entries {
		cut := strings.LastIndexByte(e.Name(), '-')
		if !e.IsDir() || cut < 0 {
			continue
		}
		topic, err := url.PathUnescape(e.Name()[:cut])
		if err != nil {
			continue
		}
		id, err := strconv.ParseInt(e.Name()[cut+1:], 10, 32)
		if err != nil {
			continue
		}
		p := partition{dir: filepath.Join(root, e.Name()), topic: topic, id: int32(id)}
		if p.bases, err = segmentBases(p.dir); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func partitionDir(data, topic string, id int32) string {
	return filepath.Join(data, "partitions", fmt.Sprintf("%s-%d", url.PathEscape(topic), id))
}

func segmentBases(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func (p *partition) segment(base int64) string {
	return filepath.Join(p.dir, strconv.FormatInt(base, 10)+".dat")
}

func (p *partition) index(base int64) string {
	return filepath.Join(p.dir, strconv.FormatInt(base, 10)+".idx")
}

// scan calls fn with each batch of the partition in offset order, until fn returns false. It stops
// at the first batch that is truncated or, in the last segment, does not match its CRC, and returns
// the number of valid bytes in the last segment.
func (p *partition) scan(fn func(base int64, b *batch) bool) (good int64, err error) {
	for i, base := range p.bases {
		var more bool
		good, more, err = p.scanSegment(base, i == len(p.bases)-1, fn)
		if err != nil || !more {
			return good, err
		}
	}
	return good, nil
}

func (p *partition) scanSegment(base int64, last bool, fn func(int64, *batch) bool) (good int64, more bool, err error) {
	f, err := os.Open(p.segment(base))
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	index, err := os.ReadFile(p.index(base))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, false, err
	}
	var header [batchHeaderSize]byte
	var body []byte
	for good+batchHeaderSize <= info.Size() {
		if _, err := f.ReadAt(header[:], good); err != nil {
			return good, false, err
		}
		b := parseHeader(header[:])
		b.position = good
		if b.size < batchHeaderSize || good+b.size > info.Size() {
			return good, true, nil
		}
		if last || b.control() {
			body = slices.Grow(body[:0], int(b.size))[:b.size]
			if _, err := f.ReadAt(body, good); err != nil && !errors.Is(err, io.EOF) {
				return good, false, err
			}
			if crc32.Checksum(body[21:], castagnoli) != binary.BigEndian.Uint32(body[17:]) {
				return good, true, nil
			}
			b.commits = b.control() && commits(body)
		}
		b.inTransaction, index = nextIndexEntry(index, &b)
		good += b.size
		if !fn(base, &b) {
			return good, false, nil
		}
	}
	return good, true, nil
}

// commits reports whether a control batch commits. Like kfake, it takes one that it cannot read for
// an abort.
func commits(raw []byte) bool {
	var record kmsg.Record
	var key kmsg.ControlRecordKey
	return record.ReadFrom(raw[batchHeaderSize:]) == nil && key.ReadFrom(record.Key) == nil && key.Type == kmsg.ControlRecordKeyTypeCommit
}

func parseHeader(h []byte) batch {
	be := binary.BigEndian
	return batch{
		baseOffset:      int64(be.Uint64(h)),
		size:            int64(int32(be.Uint32(h[8:]))) + 12,
		leaderEpoch:     int32(be.Uint32(h[12:])),
		attributes:      int16(be.Uint16(h[21:])),
		lastOffsetDelta: int32(be.Uint32(h[23:])),
		firstTimestamp:  int64(be.Uint64(h[27:])),
		maxTimestamp:    int64(be.Uint64(h[35:])),
		producerID:      int64(be.Uint64(h[43:])),
		producerEpoch:   int16(be.Uint16(h[51:])),
		baseSequence:    int32(be.Uint32(h[53:])),
		records:         int32(be.Uint32(h[57:])),
	}
}

// nextIndexEntry reads the flag of b's index entry and returns the rest of the index. If the entry
// is missing or damaged, the batch's attributes decide: transactional, and not a control batch.
func nextIndexEntry(index []byte, b *batch) (inTransaction bool, rest []byte) {
	if len(index) < indexEntrySize {
		return b.attributes&attrTransactional != 0 && !b.control(), nil
	}
	entry := index[:indexEntrySize]
	if byte(crc32.Checksum(entry[2:], castagnoli)) != entry[1] {
		return b.attributes&attrTransactional != 0 && !b.control(), index[indexEntrySize:]
	}
	return entry[14]&1 != 0, index[indexEntrySize:]
}

func indexEntry(b *batch) []byte {
	var e [indexEntrySize]byte
	e[0] = formatVersion
	binary.LittleEndian.PutUint32(e[2:], uint32(b.leaderEpoch))
	binary.LittleEndian.PutUint64(e[6:], uint64(b.maxTimestamp))
	if b.inTransaction {
		e[14] = 1
	}
	e[1] = byte(crc32.Checksum(e[2:], castagnoli))
	return e[:]
}

// repair truncates the last segment to its valid bytes and writes the index of its batches.
func (p *partition) repair(base, good int64, entries []byte) error {
	info, err := os.Stat(p.segment(base))
	if err != nil {
		return err
	}
	if info.Size() > good {
		if err := truncateFile(p.segment(base), good); err != nil {
			return err
		}
	}
	have, err := os.Stat(p.index(base))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil && have.Size() == int64(len(entries)) {
		return nil
	}
	return writeFile(p.index(base), entries)
}

// appendControl ends the transaction of a producer on this partition by appending a control batch.
func (p *partition) appendControl(offset, producerID int64, epoch int16, leaderEpoch int32, commit bool, now time.Time) error {
	kind := kmsg.ControlRecordKeyTypeAbort
	if commit {
		kind = kmsg.ControlRecordKeyTypeCommit
	}
	raw := controlBatch(offset, producerID, epoch, leaderEpoch, kind, now)
	if len(p.bases) == 0 {
		p.bases = []int64{offset}
	}
	base := p.bases[len(p.bases)-1]
	if err := appendFile(p.segment(base), raw); err != nil {
		return err
	}
	b := parseHeader(raw)
	return appendFile(p.index(base), indexEntry(&b))
}

// controlBatch encodes a batch of one control record (KIP-98: key of version and type, value with
// the coordinator's epoch).
func controlBatch(offset, producerID int64, epoch int16, leaderEpoch int32, kind kmsg.ControlRecordKeyType, now time.Time) []byte {
	key := kmsg.ControlRecordKey{Type: kind}
	marker := kmsg.EndTxnMarker{}
	record := kmsg.Record{Key: key.AppendTo(nil), Value: marker.AppendTo(nil)}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // without the length's own byte
	b := kmsg.RecordBatch{
		FirstOffset:          offset,
		PartitionLeaderEpoch: leaderEpoch,
		Magic:                2,
		Attributes:           attrTransactional | attrControl,
		FirstTimestamp:       now.UnixMilli(),
		MaxTimestamp:         now.UnixMilli(),
		ProducerID:           producerID,
		ProducerEpoch:        epoch,
		FirstSequence:        -1,
		NumRecords:           1,
		Records:              record.AppendTo(nil),
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
	return raw
}

// stateLog is one of kfake's logs of JSON entries, pids.log or groups.log. An entry is framed by
// its length (4 bytes, of what follows the checksum), CRC-32C (4) and version (2), all
// little-endian.
type stateLog struct {
	path    string
	size    int64 // of the valid entries
	entries []logEntry
}

type logEntry struct {
	position int64 // of the frame in the file
	data     json.RawMessage
}

// openStateLog reads a log and truncates an entry that a killed process left half-written: entries
// after it would be lost at every later start.
func openStateLog(path string) (*stateLog, error) {
	l := &stateLog{path: path}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	pos := 0
	for pos+10 <= len(raw) {
		size := int(binary.LittleEndian.Uint32(raw[pos:]))
		if size < 2 || pos+8+size > len(raw) ||
			crc32.Checksum(raw[pos+8:pos+8+size], castagnoli) != binary.LittleEndian.Uint32(raw[pos+4:]) {
			break
		}
		l.entries = append(l.entries, logEntry{position: int64(pos), data: raw[pos+10 : pos+8+size]})
		pos += 8 + size
	}
	l.size = int64(pos)
	if pos < len(raw) {
		return l, truncateFile(path, l.size)
	}
	return l, nil
}

// append writes entries in one call, so that a kill does not separate them.
func (l *stateLog) append(entries ...any) error {
	var frames []byte
	for _, entry := range entries {
		data, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		start := len(frames)
		frames = binary.LittleEndian.AppendUint32(frames, uint32(2+len(data)))
		frames = append(frames, 0, 0, 0, 0)
		frames = binary.LittleEndian.AppendUint16(frames, formatVersion)
		frames = append(frames, data...)
		binary.LittleEndian.PutUint32(frames[start+4:], crc32.Checksum(frames[start+8:], castagnoli))
	}
	return appendFile(l.path, frames)
}
