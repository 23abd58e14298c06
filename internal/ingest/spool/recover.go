package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Open opens the spool in a directory, and creates it if there is none. Only one process can use a
// directory at a time.
func Open(cfg Config) (*Spool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Spool{
		cfg: cfg, stopped: make(chan struct{}), wake: make(chan struct{}, 1), readable: make(chan struct{}, 1),
		inFlight: make(map[string]struct{}), keys: make(map[string]remembered), notes: make(map[string][]byte),
		sending: make(map[sending]int), windows: windows{of: make(map[string]*window)},
	}
	s.w = writer{s: s, next: make(map[string]int64), counters: make(map[string]*counter), number: 1}
	err := cfg.fs.MkdirAll(cfg.Dir, 0o700)
	if err == nil {
		err = syncDir(cfg.fs, cfg.fs.PathDir(cfg.Dir))
	}
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if s.lock, err = cfg.fs.Lock(cfg.fs.PathJoin(cfg.Dir, "LOCK")); err != nil {
		return nil, fmt.Errorf("open spool: %w: does another process use %s?", err, cfg.Dir)
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool %s: %w", cfg.Dir, err), s.lock.Close())
	}
	go s.w.run()
	return s, nil
}

// recover finds the segments, and what the last header and the batches after it say about counters,
// keys and the end.
func (s *Spool) recover() error {
	if err := s.list(); err != nil {
		return err
	}
	if len(s.segments) == 0 {
		s.id = "spool-" + randomHex(6)
		return s.w.rotate()
	}
	from, h, err := s.lastHeader()
	if err != nil {
		return err
	}
	s.id, s.w.epoch, s.w.next, s.keys, s.windows, s.end = h.id, h.epoch, h.next, h.keys, h.windows, h.first
	s.w.counters, s.notes = h.counters, h.notes
	for _, c := range h.counters {
		s.devices.Missing += c.missing
	}
	damaged := from < len(s.segments)-1
	for i := from; i < len(s.segments); i++ {
		bad, err := s.replay(i)
		if err != nil {
			return err
		}
		damaged = damaged || bad
	}
	if damaged {
		s.cfg.Logger.Error("the end of the spool is damaged: readings get a new boot id, and idempotency keys may be forgotten", "dir", s.cfg.Dir)
		s.w.newEpoch()
	}
	maps.DeleteFunc(s.keys, func(_ string, k remembered) bool { return s.expired(k) })
	return nil
}

// list finds the segments in the directory and removes the ones that were never completed.
func (s *Spool) list() error {
	names, err := s.cfg.fs.List(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := s.cfg.fs.PathJoin(s.cfg.Dir, name)
		if strings.HasSuffix(name, temporarySuffix) {
			if err := s.cfg.fs.Remove(path); err != nil {
				return err
			}
			continue
		}
		stem, ok := strings.CutSuffix(name, segmentSuffix)
		parts := strings.Split(stem, "-")
		if !ok || len(parts) != 3 {
			continue
		}
		g := &segment{salt: parts[2], path: path}
		var err1, err2 error
		g.number, err1 = strconv.ParseInt(parts[0], 10, 64)
		g.first, err2 = strconv.ParseInt(parts[1], 10, 64)
		if err1 != nil || err2 != nil || g.number < 1 || g.first < 0 {
			continue
		}
		info, err := s.cfg.fs.Stat(path)
		if err != nil {
			return err
		}
		g.disk = info.Size()
		g.size = g.disk
		s.used += g.disk
		s.segments = append(s.segments, g)
	}
	sortSegments(s.segments)
	for i := 1; i < len(s.segments); i++ {
		if s.segments[i].first < s.segments[i-1].first {
			return fmt.Errorf("%s begins before %s does: the directory has files of several spools", s.segments[i].path, s.segments[i-1].path)
		}
	}
	if n := len(s.segments); n > 0 {
		s.w.number = s.segments[n-1].number + 1
	}
	return nil
}

// lastHeader returns the last readable header and the index of its segment.
func (s *Spool) lastHeader() (int, *header, error) {
	for i := len(s.segments) - 1; i >= 0; i-- {
		data, err := readFile(s.cfg.fs, s.segments[i].path)
		if err != nil {
			return 0, nil, err
		}
		payload, ok := frameAt(data, s.segments[i].salt)
		if !ok {
			s.damaged(s.segments[i].path, 0, 0, "its header is unreadable")
			continue
		}
		h, err := decodeHeader(payload)
		if err != nil || h.first != s.segments[i].first {
			s.damaged(s.segments[i].path, 0, 0, "its header is invalid")
			continue
		}
		return i, h, nil
	}
	return 0, nil, fmt.Errorf("no segment has a readable header: move the directory away to start a new spool; its %d files may still contain readings", len(s.segments))
}

// replay applies the batches of a segment to the counters, and reports whether it is damaged. What
// it finds to be valid is durable afterwards.
func (s *Spool) replay(i int) (damaged bool, err error) {
	g := s.segments[i]
	data, err := readFile(s.cfg.fs, g.path)
	if err != nil {
		return false, err
	}
	limit := s.limit(i)
	g.size = 0
	for at := 0; at < len(data); {
		payload, ok := frameAt(data[at:], g.salt)
		if !ok {
			skip := nextFrame(data[at:], g.salt)
			if skip < 0 {
				break // a torn end
			}
			damaged = true
			at += skip
			continue
		}
		at += frameHead + len(payload)
		g.size = int64(at)
		if payload[0] == frameHeader {
			continue
		}
		b, err := decodeBatch(payload)
		if err != nil {
			damaged = true
			continue
		}
		if b.first+b.count > limit {
			break // superseded by the next segment
		}
		s.count(b)
	}
	if i < len(s.segments)-1 {
		return damaged || s.end < limit, nil
	}
	f, err := s.cfg.fs.OpenReadWrite(g.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return false, err
	}
	return damaged, errors.Join(f.Sync(), f.Close())
}

// count applies a batch to the counters.
func (s *Spool) count(b *batch) {
	for i := range b.items {
		if it := &b.items[i]; it.Err == nil && it.Message == nil {
			s.w.next[it.DeviceID] = it.Seq + 1
		}
	}
	for i := range b.counts {
		c := s.w.counters[b.counts[i].Device]
		if c == nil {
			c = &counter{}
			s.w.counters[b.counts[i].Device] = c
		}
		s.devices.Missing -= c.missing
		c.take(&b.counts[i])
		s.devices.Missing += c.missing
	}
	s.note(b.notes)
	maps.Copy(s.keys, b.keys)
	for _, d := range b.deliveries {
		s.windows.add(d.session, d.sent, b.at)
	}
	s.end = b.first + b.count
	if b.count > 0 {
		s.arrivals = append(s.arrivals, arrival{s.end, b.at})
	}
}

// limit returns the number after the last item that segment i can have.
func (s *Spool) limit(i int) int64 {
	if i+1 < len(s.segments) {
		return s.segments[i+1].first
	}
	return 1<<63 - 1
}

// damaged counts and logs an unreadable place with the items that it had. The caller must not hold
// the lock.
func (s *Spool) damaged(path string, offset, items int64, what string) {
	s.mu.Lock()
	s.damage.Places++
	s.damage.Items += items
	s.mu.Unlock()
	s.cfg.Logger.Error("the spool is damaged: what is readable is kept", "file", path, "offset", offset, "lost", items, "what", what)
}

func readFile(fsys vfs.FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// ignoreAbsent returns nil for the error of a file that does not exist.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
