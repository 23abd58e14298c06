package spool

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"weir.example/weir/internal/source"
)

// Source is the spool as a source for package produce. It never ends. It must be used by one
// goroutine.
type Source struct {
	s     *Spool
	pause time.Duration // how long Next waits for new items, so that the producer notices when it is stopped

	at     int64 // number of the next item to return
	number int64 // segment of the last item returned

	file   vfs.File // of the segment being read; nil if none is open
	path   string
	salt   string
	offset int64
	batch  *batch // being returned; nil if the next one must be read
}

// position is the source's position in Kafka. The segment tells whether the spool has reassigned
// numbers that Kafka already covers, because the disk lost the items that had them first.
type position struct {
	Segment int64 `json:"segment"` // of the last item before the position
	Items   int64 `json:"items"`
}

// Source returns the spool's source; there must be only one at a time.
func (s *Spool) Source() *Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Source{s: s, pause: 50 * time.Millisecond}
	r.at, r.number = s.segments[0].first, s.segments[0].number
	return r
}

// Name implements the producer's Source: each spool has its own position in Kafka, so two spools
// can feed one topic.
func (r *Source) Name() string { return r.s.id }

// Position implements the producer's Source.
func (r *Source) Position() []byte {
	p, err := json.Marshal(position{r.number, r.at})
	if err != nil { // numbers always marshal
		panic(err)
	}
	return p
}

// otherwise says how to go on at the beginning of the spool.
func (p position) otherwise() string {
	return fmt.Sprintf("to send what the spool still has, write the position {\"segment\":%d,\"items\":%d}, or move the directory away", p.Segment, p.Items)
}

// Seek implements the producer's Source. The position is what Kafka has committed.
func (r *Source) Seek(saved []byte) error {
	var p position
	s := r.s
	s.mu.Lock()
	first := position{s.segments[0].number, s.segments[0].first}
	s.mu.Unlock()
	form := source.PositionForm{Of: "a spool", Members: []string{"segment", "items"}, Otherwise: first.otherwise()}
	if err := form.Decode(saved, &p, func() bool { return p.Segment >= 1 && p.Items >= 0 }); err != nil {
		return err
	}
	r.close()
	s.mu.Lock()
	end := s.end // of what existed when the position was committed
	for _, g := range s.segments {
		if g.number > p.Segment {
			end = g.first
			break
		}
	}
	lost := p.Items - end
	s.mu.Unlock()
	switch {
	case lost > 0:
		// The items after end are not those that Kafka has.
		s.cfg.Logger.Error("the spool's disk has lost items that are in Kafka: readings get a new boot id", "dir", s.cfg.Dir, "items", lost)
		s.mu.Lock()
		s.renumber = true
		s.damage.Places++
		s.signal()
		s.mu.Unlock()
		p.Items = end
	case p.Items < first.Items:
		return fmt.Errorf("%w: the position is item %d, and the spool in %s begins at item %d: items that Kafka does not have were deleted from it, or Kafka's topics are not those of an earlier run; %s",
			source.ErrPosition, p.Items, s.cfg.Dir, first.Items, first.otherwise())
	}
	r.at, r.number = p.Items, p.Segment
	s.Committed(r.Position())
	return nil
}

// Progress implements the producer's Source. Its unit is items.
func (r *Source) Progress() (done, total int64) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.committed, r.s.end
}

// Next implements the producer's Source. It returns 0 items after a pause without new ones.
func (r *Source) Next(dst []source.Item) (n int, err error) {
	for n < len(dst) {
		if r.batch == nil {
			found, err := r.read()
			if err != nil {
				return n, err
			}
			if !found {
				if n > 0 {
					return n, nil
				}
				if !r.wait() {
					return 0, nil
				}
				continue
			}
		}
		rest := r.batch.items[r.at-r.batch.first:]
		copied := copy(dst[n:], rest)
		n += copied
		r.at += int64(copied)
		if copied == len(rest) {
			r.batch = nil
		}
	}
	return n, nil
}

// wait waits for new items, and returns false after a pause.
func (r *Source) wait() bool {
	timer := time.NewTimer(r.pause)
	defer timer.Stop()
	select {
	case <-r.s.readable:
		return true
	case <-timer.C:
		return false
	}
}

// read reads the batch with the next item, and returns false if it does not exist yet.
func (r *Source) read() (bool, error) {
	for {
		g, limit, ok := r.current()
		if !ok {
			return false, nil
		}
		if err := r.open(g); err != nil {
			return false, err
		}
		b, err := r.nextBatch(g.size, limit)
		if err != nil {
			return false, fmt.Errorf("read spool: %w", err)
		}
		if b == nil { // the end of the segment's items
			if limit > r.at {
				r.skip(limit, g)
			}
			continue
		}
		if b.first+b.count <= r.at {
			continue
		}
		if b.first > r.at {
			r.skip(b.first, g)
		}
		r.batch, r.number = b, g.number
		return true, nil
	}
}

// skip continues at a later item, because those before it are unreadable.
func (r *Source) skip(to int64, g segment) {
	r.s.damaged(g.path, r.offset, to-r.at, "a batch is unreadable")
	r.at, r.number = to, g.number
}

// current returns the segment with the next item and the number after its last item; ok is false if
// the item does not exist yet.
func (r *Source) current() (g segment, limit int64, ok bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.at >= r.s.end {
		return g, 0, false
	}
	limit = r.s.end
	for _, candidate := range slices.Backward(r.s.segments) {
		if candidate.first <= r.at {
			return *candidate, limit, true
		}
		limit = candidate.first
	}
	return *r.s.segments[0], limit, true
}

// open makes g the segment that is read.
func (r *Source) open(g segment) error {
	if r.file != nil && r.path == g.path {
		return nil
	}
	r.close()
	f, err := r.s.cfg.fs.Open(g.path)
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	r.file, r.path, r.salt, r.offset = f, g.path, g.salt, 0
	return nil
}

func (r *Source) close() {
	r.batch = nil
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file, r.path = nil, ""
	}
}

// nextBatch reads the next valid batch below limit in the segment of the given size; nil at its
// end.
func (r *Source) nextBatch(size, limit int64) (*batch, error) {
	for r.offset < size {
		payload, err := r.frame(size)
		if err != nil {
			return nil, err
		}
		if payload == nil {
			return nil, nil
		}
		if payload[0] != frameBatch {
			continue
		}
		b, err := decodeBatch(payload)
		if err != nil {
			continue
		}
		if b.first+b.count > limit {
			return nil, nil
		}
		return b, nil
	}
	return nil, nil
}

// frame returns the payload of the next valid frame; nil if there is none.
func (r *Source) frame(size int64) ([]byte, error) {
	head := make([]byte, frameHead)
	if _, err := r.file.ReadAt(head, r.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	length := frameHead + int64(binary.BigEndian.Uint32(head[4:]))
	if r.offset+length <= size {
		data := make([]byte, length)
		if _, err := r.file.ReadAt(data, r.offset); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if payload, ok := frameAt(data, r.salt); ok {
			r.offset += length
			return payload, nil
		}
	}
	rest := make([]byte, size-r.offset)
	n, err := r.file.ReadAt(rest, r.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	skip := nextFrame(rest[:n], r.salt)
	if skip < 0 {
		r.offset = size
		return nil, nil
	}
	r.offset += int64(skip)
	return r.frame(size)
}

// Committed tells the spool which position is committed in Kafka; it deletes segments that nobody
// needs any more.
func (s *Spool) Committed(saved []byte) {
	var p position
	if err := json.Unmarshal(saved, &p); err != nil {
		return // only positions of this source are committed
	}
	s.mu.Lock()
	s.committed = min(p.Items, s.end)
	n := 0
	for n < len(s.arrivals) && s.arrivals[n].end <= s.committed {
		n++
	}
	s.arrivals = s.arrivals[n:]
	s.mu.Unlock()
	s.release()
	s.deleteCommitted()
}

// deleteCommitted deletes the segments before the last one whose items are all in Kafka.
func (s *Spool) deleteCommitted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.segments) > 1 && s.segments[1].first <= s.committed {
		g := s.segments[0]
		if err := ignoreAbsent(s.cfg.fs.Remove(g.path)); err != nil {
			s.cfg.Logger.Error("a segment of the spool cannot be deleted", "err", err, "file", g.path)
			return
		}
		s.used -= g.disk
		s.segments = s.segments[1:]
	}
}

func sortSegments(all []*segment) {
	slices.SortFunc(all, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
}
