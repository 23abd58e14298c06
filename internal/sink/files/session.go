package files

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/sink"
)

// session writes the files of a table. It implements sink.Session.
type session struct {
	*Target
	at     store
	id     string
	from   sink.Topic
	writer *writer
	epochs map[int32]int64 // of the partitions that it has claimed
}

// Claim implements sink.Session. It puts in place what a previous session has committed.
func (s *session) Claim(ctx context.Context, partitions []int32) (map[int32]int64, error) {
	var now *state
	err := s.change(ctx, func(was *state) (*state, error) {
		now = was.claimed(partitions)
		return now, s.checkIdentity(was)
	})
	if err != nil {
		return nil, err
	}
	if s.epochs == nil {
		s.epochs = make(map[int32]int64)
	}
	next := make(map[int32]int64, len(partitions))
	for _, p := range partitions {
		next[p], s.epochs[p] = now.Next[p], now.Epochs[p]
	}
	if err := s.at.clean(ctx, partitions, now.Files); err != nil {
		return nil, err
	}
	return next, s.finish(ctx, partitions)
}

// change replaces the state, again if another session replaces it at the same time.
func (s *session) change(ctx context.Context, fn func(was *state) (*state, error)) error {
	for {
		was, version, err := s.at.load(ctx)
		if err != nil {
			return err
		}
		if was == nil {
			return sink.Refuse("%s was removed while the sink was running: restore it, or move the files of the table elsewhere to write all rows of the topic again", s.at.stateName())
		}
		next, err := fn(was)
		if err != nil {
			return err
		}
		if err := s.replace(ctx, version, next); !errors.Is(err, errChanged) {
			return err
		}
	}
}

// replace writes a state that differs from every other one.
func (s *session) replace(ctx context.Context, version string, next *state) error {
	next.Session, next.Saves = s.id, next.Saves+1
	return s.at.replace(ctx, version, next)
}

// checkOwner makes sure that no other session has claimed these partitions.
func (s *session) checkOwner(now *state, partitions iter.Seq[int32]) error {
	for p := range partitions {
		if now.Epochs[p] != s.epochs[p] {
			return &sink.FencedError{Sink: s.name}
		}
	}
	return nil
}

// finish puts the committed files of partitions in place.
func (s *session) finish(ctx context.Context, partitions []int32) error {
	now, _, err := s.at.load(ctx)
	if err != nil || now == nil || len(now.Files) == 0 {
		return err
	}
	for _, f := range now.Files {
		if !f.isOf(partitions) {
			continue
		}
		if err := s.at.place(ctx, f); err != nil {
			return s.unlessFenced(ctx, partitions, fmt.Errorf("put a file of table %s in place: %w", s.table.Name, err))
		}
	}
	if err := s.failpoint.step("finish"); err != nil {
		return err
	}
	return s.change(ctx, func(was *state) (*state, error) {
		return was.placed(partitions), s.checkOwner(was, slices.Values(partitions))
	})
}

// unlessFenced returns err, unless its cause is that another session has taken over the files.
func (s *session) unlessFenced(ctx context.Context, partitions []int32, err error) error {
	now, _, loading := s.at.load(ctx)
	if loading != nil || now == nil {
		return err
	}
	if fenced := s.checkOwner(now, slices.Values(partitions)); fenced != nil {
		return fenced
	}
	return err
}

// Close implements sink.Session.
func (s *session) Close() { s.at.close() }

// group is the rows of one file.
type group struct {
	partition int32
	dir       string
	rows      []int
}

// Deliver implements sink.Session.
func (s *session) Deliver(ctx context.Context, b *sink.Batch, refused func([]sink.Refusal) error) error {
	check := func(now *state) error {
		for p, from := range b.From {
			if now.Next[p] != from {
				return &sink.FencedError{Sink: s.name}
			}
		}
		return s.checkOwner(now, maps.Keys(b.Next))
	}
	now, _, err := s.at.load(ctx)
	if err != nil {
		return err
	}
	if now != nil { // otherwise change refuses it
		if err := check(now); err != nil {
			return err
		}
	}
	var files []pending
	committing := false
	defer func() {
		for _, f := range files {
			if !committing { // otherwise it may be on the list, and whoever claims the partition knows
				s.at.discard(f)
			}
		}
	}()
	groups, refusals := s.group(b)
	for _, g := range groups {
		f, bad, err := s.write(ctx, b, g)
		if err != nil {
			return fmt.Errorf("write a file of table %s: %w", s.table.Name, err)
		}
		refusals = append(refusals, bad...)
		if f != nil {
			files = append(files, *f)
		}
	}
	if len(refusals) > 0 {
		if err := refused(refusals); err != nil {
			return err
		}
	}
	committing = true
	if err := s.change(ctx, func(was *state) (*state, error) { return was.delivered(b, files), check(was) }); err != nil {
		return err
	}
	return s.finish(ctx, slices.Collect(maps.Keys(b.Next)))
}

// group distributes rows over files. Rows of a partition stay in their order.
func (s *session) group(b *sink.Batch) (groups []group, refusals []sink.Refusal) {
	index := make(map[string]int)
	for row, origin := range b.Origins {
		dir, err := s.directory(b.Rows.Cols, s.writer.partitioned, row)
		if err != nil {
			refusals = append(refusals, refusal(origin, err))
			continue
		}
		key := fmt.Sprint(origin.Partition, " ", dir)
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key] = i
			groups = append(groups, group{partition: origin.Partition, dir: dir})
		}
		groups[i].rows = append(groups[i].rows, row)
	}
	slices.SortFunc(groups, func(a, b group) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return strings.Compare(a.dir, b.dir)
	})
	return groups, refusals
}

func refusal(origin *kgo.Record, err error) sink.Refusal {
	return sink.Refusal{Origin: origin, Err: fmt.Errorf("refused by the files: %w", err)}
}
