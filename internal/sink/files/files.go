// Package files delivers rows to files in a directory: Parquet, JSON or CSV, in Hive's layout if
// the table has PARTITIONED BY. Rows are only added.
//
//	files.go    Target: opening a directory; positions
//	session.go  deliveries: grouping rows, writing their files, committing them
//	state.go    the state of a table in its directory, and finishing a commit
//	layout.go   names of files and of the directories of PARTITIONED BY
//	write.go    writing a file of any format; json
//	parquet.go  parquet: schema, and rows as levels and values
//	csv.go      csv
//
// The directory .weir/TABLE, which readers ignore, has a lock, the files that are being written,
// and the state: the next offset of each partition. A delivery writes and syncs all of its files
// there, then replaces the state by one with the new offsets and the list of these files: that is
// the commit. Then it renames each file to its place, and empties the list. A process that finds a
// list renames what is left of it. So each file appears complete, each row is in exactly one file,
// and after a crash either all files of a delivery appear or none does. Where the sink continues is
// read from the state and nowhere else.
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// Target is the directory of a table. It implements sink.Target.
type Target struct {
	name  string // of the sink
	table *plan.Table
	files *plan.Files

	// failpoint, if set, is called before each step that changes the directory. Its error takes the
	// place of the step's.
	failpoint func(step string) error
}

// New returns the target of a table with the connector filesystem.
func New(pipeline string, t *plan.Table) *Target {
	return &Target{name: sink.Name(pipeline, t.Name), table: t, files: t.Delivery.(*plan.Files)} //nolint:forcetypeassert // by contract
}

// hidden is the directory of what is not for readers.
const hidden = ".weir"

func (t *Target) own(name string) string {
	return filepath.Join(t.files.Path, hidden, t.table.Name, name)
}

func (t *Target) step(name string) error {
	if t.failpoint == nil {
		return nil
	}
	return t.failpoint(name)
}

// Positions implements sink.Target. Rows count when their files are in place.
func (t *Target) Positions(_ context.Context, from sink.Topic) (map[int32]int64, error) {
	s, err := t.load()
	switch {
	case err != nil:
		return nil, err
	case s == nil || s.TopicID != from.ID:
		return nil, nil
	case len(s.Files) > 0:
		return s.From, nil
	}
	return s.Next, nil
}

// AcceptPosition implements sink.Target.
func (t *Target) AcceptPosition(partition int32, next int64) string {
	return fmt.Sprintf(`set "%d" to %d under "next" in %s`, partition, next, t.own(stateName))
}

// Open implements sink.Target.
func (t *Target) Open(_ context.Context, from sink.Topic) (_ sink.Session, err error) {
	if err := makeDirs(t.own("")); err != nil {
		return nil, fmt.Errorf("create the directory of table %s: %w", t.table.Name, err)
	}
	lock := flock.New(t.own("lock"), flock.SetPermissions(0o600))
	free, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the directory of table %s: %w", t.table.Name, err)
	}
	if !free {
		return nil, fmt.Errorf("another process writes the files of table %s in %s, and holds %s: this one takes over when it ends", t.table.Name, t.files.Path, lock.Path())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	s := &session{Target: t, lock: lock}
	if s.state, err = t.identified(from); err != nil {
		return nil, err
	}
	if s.writer, err = newWriter(t.table, t.files); err != nil {
		return nil, &sink.RefusedError{Err: err}
	}
	return s, s.takeOver()
}

// identified returns the state, after a check that it belongs to this sink and topic.
func (t *Target) identified(from sink.Topic) (*state, error) {
	was, err := t.load()
	if err != nil {
		return nil, err
	}
	now := &state{Version: stateVersion, Sink: t.name, Topic: from.Name, TopicID: from.ID, Format: t.files.Format, Partitioned: t.partitioned()}
	if was == nil {
		return now, t.checkEmpty()
	}
	again := fmt.Sprintf("give the SQL table another name or another 'path'; to write all rows of the topic again, stop the pipeline and move the files of the table and %s elsewhere", t.own(""))
	switch {
	case was.Version != stateVersion:
		return nil, sink.Refuse("%s was written by another version of Weir (format %d): use that version", t.own(stateName), was.Version)
	case was.Sink != now.Sink:
		return nil, sink.Refuse("the files of table %s in %s are those of sink %s, and this one is %s: two pipelines can't write the same files: %s", t.table.Name, t.files.Path, was.Sink, now.Sink, again)
	case was.TopicID != now.TopicID:
		return nil, sink.Refuse("the files of table %s in %s have the rows of another topic: its id is %s, and %s has the id %s. "+
			"Either a pipeline with this name runs on another Kafka cluster, or the topic was deleted, and its rows that were not delivered are lost: %s", t.table.Name, t.files.Path, was.TopicID, from.Name, now.TopicID, again)
	case was.layout() != now.layout():
		return nil, sink.Refuse("the files of table %s in %s are %s, and would now be %s, which readers of the directory can't read together: %s", t.table.Name, t.files.Path, was.layout(), now.layout(), again)
	}
	return was, nil
}

func (t *Target) partitioned() (names []string) {
	for _, i := range t.table.Partitioned {
		names = append(names, t.table.Columns[i].Name)
	}
	return names
}

// checkEmpty refuses files of the table without a state: their rows would be written again.
func (t *Target) checkEmpty() error {
	root, err := filepath.EvalSymlinks(t.files.Path) // WalkDir does not follow a link
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == hidden:
			return filepath.SkipDir
		case !d.IsDir() && t.isOwn(d.Name()):
			return sink.Refuse("%s has files of table %s, such as %s, but not %s, which says up to where the rows of the topic are in them: "+
				"restore it, or move the files elsewhere to write all rows of the topic again", t.files.Path, t.table.Name, path, t.own(stateName))
		}
		return nil
	})
}

// takeOver fences previous sessions, finishes the commit of the last one, and removes what it has
// left behind.
func (s *session) takeOver() error {
	s.state.Epoch++
	if err := s.save(s.state); err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.own(""))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), temporary) {
			err = errors.Join(err, os.Remove(s.own(e.Name())))
		}
	}
	return err
}
