package audit

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"

	"github.com/twmb/franz-go/pkg/kgo"
)

// input passes each record of the readings' topic to every check.
type input struct {
	report      *Report
	topic       string
	log         *span
	decoder     decoder
	schemas     *schemas // nil if readings are JSON
	failed      error    // error of the registry, after which no check can be trusted
	sample      sample
	committed   map[int32]int64
	sequences   *sequences
	marks       *marks
	stats       *statistics
	deadLetters *deadLetters
	windows     *windows // nil if they are not checked
	digests     *digests
}

func (a *audit) newInput(ctx context.Context, log *span, stats *statistics, letters *deadLetters, windows *windows) *input {
	gone := log.truncated(a.cfg.Topic)
	a.report.Truncated = len(gone)
	truncated := make(map[int32]bool)
	for _, id := range gone {
		truncated[id] = true
	}
	stats.truncated = truncated
	if windows != nil {
		windows.truncated = truncated
	}
	in := &input{
		report: a.report, topic: a.cfg.Topic, log: log, committed: a.committed,
		sequences: &sequences{
			report: a.report, devices: make(map[string]*device), replayed: make(map[string]struct{}),
			truncated: truncated,
		},
		marks: newMarks(a.report, gone), stats: stats, deadLetters: letters, windows: windows, digests: newDigests(maphash.MakeSeed()),
	}
	if a.cfg.Registry != nil {
		in.schemas = &schemas{ctx: ctx, client: a.cfg.Registry, known: make(map[int]schemaDecoder)}
	}
	return in
}

func (in *input) record(r *kgo.Record) {
	in.report.Records++
	if r.Offset < in.committed[r.Partition] {
		in.report.Consumed++
	}
	in.digests.add(r)
	if len(r.Headers) > 0 {
		in.marks.record(r)
	}
	value := r.Value
	if in.schemas != nil && in.failed == nil {
		text, err := in.schemas.json(r.Value)
		if err != nil && !errors.Is(err, errUndecodable) {
			in.failed = err
		}
		value = text // nil: not a valid reading
	}
	named, err := in.decoder.decode(value, &in.sample)
	if in.windows != nil {
		in.windows.record(r, &in.sample, in.decoder.good, err == nil)
	}
	if err != nil {
		in.report.Invalid++
		if !in.deadLetters.match(r) {
			if in.decoder.readable() {
				in.stats.record(r, &in.sample)
			} else {
				in.deadLetters.unusable(r)
			}
		}
		if named {
			in.sequences.unusable(r, &in.sample)
		}
		return
	}
	in.sequences.record(r, &in.sample)
	in.stats.record(r, &in.sample)
}

// finish runs the checks that need the whole log. blocked has the partitions whose end readers
// can't reach.
func (in *input) finish(acks *acknowledgements, blocked map[int32]bool) {
	in.sequences.blocked = blocked
	in.sequences.finish(acks)
	in.marks.finish(len(in.sequences.blocked) > 0)
	in.stats.finish(in.log, in.topic)
	in.deadLetters.finish(in.log)
	if in.windows != nil {
		in.windows.finish(in.log)
	}
}

// digests summarize what one reader saw per partition, to compare two readers (C6).
type digests struct {
	seed       maphash.Seed
	partitions map[int32]*digest
	hash       maphash.Hash
}

// digest is a rolling hash of a partition's records; its states after every stride records show
// where two digests diverge.
type digest struct {
	count   int64
	rolling uint64
	last    int64 // offset
	states  []state
}

type state struct {
	offset  int64
	rolling uint64
}

const stride = 4096

func newDigests(seed maphash.Seed) *digests {
	d := &digests{seed: seed, partitions: make(map[int32]*digest)}
	d.hash.SetSeed(seed)
	return d
}

func (d *digests) of(id int32) *digest {
	x := d.partitions[id]
	if x == nil {
		x = &digest{last: -1}
		d.partitions[id] = x
	}
	return x
}

func (d *digests) add(r *kgo.Record) {
	d.hash.Reset()
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(r.Offset))
	_, _ = d.hash.Write(at[:])
	hashBytes(&d.hash, r.Key)
	hashBytes(&d.hash, r.Value)
	for _, h := range r.Headers {
		_, _ = d.hash.WriteString(h.Key)
		_ = d.hash.WriteByte(0)
		hashBytes(&d.hash, h.Value)
	}
	x := d.of(r.Partition)
	x.rolling = x.rolling*0x9E3779B97F4A7C15 + d.hash.Sum64() // multiplying by an odd number loses no state
	x.count++
	x.last = r.Offset
	if x.count%stride == 0 {
		x.states = append(x.states, state{r.Offset, x.rolling})
	}
}

// parts returns the offset after which two digests of a partition first differ; same is true if
// they are equal.
func (d *digest) parts(other *digest) (offset int64, same bool) {
	if d.count == other.count && d.rolling == other.rolling {
		return 0, true
	}
	offset = -1
	for i := range min(len(d.states), len(other.states)) {
		if d.states[i] != other.states[i] {
			break
		}
		offset = d.states[i].offset
	}
	return offset, false
}

// hashBytes writes the length of b, then b; nil differs from empty.
func hashBytes(h *maphash.Hash, b []byte) {
	n := uint64(len(b)) + 1
	if b == nil {
		n = 0
	}
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], n)
	_, _ = h.Write(size[:])
	_, _ = h.Write(b)
}
