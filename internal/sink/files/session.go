package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/sink"
)

// session writes to the directory. It implements sink.Session.
type session struct {
	*Target
	lock   *flock.Flock
	state  *state
	writer *writer
}

// Claim implements sink.Session. The lock keeps other sessions out, of all partitions.
func (s *session) Claim(_ context.Context, partitions []int32) (map[int32]int64, error) {
	next := make(map[int32]int64, len(partitions))
	for _, p := range partitions {
		next[p] = s.state.Next[p]
	}
	return next, nil
}

// Close implements sink.Session.
func (s *session) Close() { _ = s.lock.Close() } // the process releases the lock in any case

// group is the rows of one file.
type group struct {
	partition int32
	dir       string
	rows      []int
}

// Deliver implements sink.Session.
func (s *session) Deliver(ctx context.Context, b *sink.Batch, refused func([]sink.Refusal) error) error {
	if err := s.checkOwner(b); err != nil {
		return err
	}
	next := *s.state
	next.From, next.Next = s.state.Next, maps.Clone(s.state.Next)
	if next.Next == nil {
		next.Next = make(map[int32]int64)
	}
	maps.Copy(next.Next, b.Next)
	committing := false
	defer func() {
		if !committing {
			s.discard(next.Files)
		}
	}()
	groups, refusals := s.group(b)
	for i, g := range groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := pending{Temporary: fmt.Sprintf("%d-%d%s", next.Epoch, i, temporary)}
		next.Files = append(next.Files, f)
		n, bad, err := s.write(s.own(f.Temporary), b, g)
		if err != nil {
			return fmt.Errorf("write a file of table %s: %w", s.table.Name, err)
		}
		refusals = append(refusals, bad...)
		if n == 0 { // every row was refused
			s.discard(next.Files[len(next.Files)-1:])
			next.Files = next.Files[:len(next.Files)-1]
			continue
		}
		file := g.dir + s.fileName(g.partition, b.Origins[g.rows[0]].Offset)
		next.Files[len(next.Files)-1].File = file
		if err := s.checkFree(file); err != nil {
			return err
		}
	}
	if len(refusals) > 0 {
		if err := refused(refusals); err != nil {
			return err
		}
	}
	if err := syncDir(s.own("")); err != nil {
		return err
	}
	committing = true
	if err := s.save(&next); err != nil {
		return err
	}
	s.state = &next
	return s.finish()
}

// checkOwner makes sure that no other session has written the state: somebody may have removed the
// lock, or the file system may not have locks.
func (s *session) checkOwner(b *sink.Batch) error {
	now, err := s.load()
	switch {
	case err != nil:
		return err
	case now == nil:
		return sink.Refuse("%s was removed while the sink was running: restore it, or move the files of the table elsewhere to write all rows of the topic again", s.own(stateName))
	case now.Epoch != s.state.Epoch || !maps.Equal(now.Next, s.state.Next):
		return &sink.FencedError{Sink: s.name}
	}
	for p, from := range b.From {
		if now.Next[p] != from {
			return &sink.FencedError{Sink: s.name}
		}
	}
	return nil
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

// checkFree refuses to overwrite a file, and creates its directory.
func (s *session) checkFree(name string) error {
	if err := s.step("directory"); err != nil {
		return err
	}
	file := filepath.Join(s.files.Path, filepath.FromSlash(name))
	if err := makeDirs(filepath.Dir(file)); err != nil {
		return err
	}
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = sink.Refuse("the file %s is there already, but %s does not list its rows as delivered: it is not overwritten: move it elsewhere, or restore the state that belongs to it", file, s.own(stateName))
	}
	return err
}

func (s *session) discard(files []pending) {
	for _, f := range files {
		_ = os.Remove(s.own(f.Temporary)) // otherwise the next session does
	}
}
