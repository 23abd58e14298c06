// Package files delivers rows to files in a directory or a bucket: Parquet, JSON or CSV, in Hive's
// layout if the table has PARTITIONED BY. Rows are only added.
//
//	files.go    Target: opening a table's files; positions
//	session.go  claims, and deliveries: grouping rows, writing their files, committing them
//	state.go    the state of a table, and how claims and deliveries change it
//	store.go    what a place of files has to offer
//	local.go    a directory
//	bucket.go   a bucket of an S3-compatible object store; probe.go: whether it can be used
//	layout.go   names of files and of the directories of PARTITIONED BY
//	write.go    writing a file of any format; json
//	parquet.go  parquet: schema, and rows as levels and values
//	csv.go      csv
//	compact.go  Compact: the rows of such a directory in fewer files, elsewhere
//	merge.go    rows of several files in one: json, csv; merge_parquet.go: parquet
//
// The state has the next offset of each partition, and the epoch of the session that may deliver
// its rows. A delivery writes all of its files where readers do not see them, then replaces the
// state by one with the new offsets and the list of these files: that is the commit. Then it puts
// each file in its place, and takes it off the list. A session that claims a partition increments
// its epoch, which fences the previous one, and puts in place what is left of the list. So each
// file appears complete, each row is in exactly one file, and after a crash either all files of a
// delivery appear or none does. Where the sink continues is read from the state and nowhere else.
//
// In a directory, files are written to .weir/TABLE, which readers ignore, and renamed; the state is
// .weir/TABLE/state.json, and a lock beside it lets one process write at a time. In a bucket, a
// file is a multipart upload that is completed once it is committed, and the state is an object
// that is only replaced if it is still the version that was read (If-Match), so several processes
// share the partitions.
//
// Compact writes to another directory in the same way: a file is written hidden, committed by a
// state that says which file of the source comes next, and then renamed.
package files

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"sync/atomic"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
)

// Target is the files of a table. It implements sink.Target.
type Target struct {
	name    string // of the sink
	table   *plan.Table
	files   *plan.Files
	secrets secret.Source

	// failpoint, if set, is called before each step that changes a directory. Its error takes the
	// place of the step's.
	failpoint failpoint

	probed atomic.Bool // the bucket can be used
}

// failpoint is a place in which tests make errors.
type failpoint func(step string) error

func (f failpoint) step(name string) error {
	if f == nil {
		return nil
	}
	return f(name)
}

// New returns the target of a table with the connector filesystem.
func New(pipeline string, t *plan.Table, secrets secret.Source) *Target {
	return &Target{name: sink.Name(pipeline, t.Name), table: t, files: t.Delivery.(*plan.Files), secrets: secrets} //nolint:forcetypeassert // by contract
}

// hidden is the directory of what is not for readers.
const hidden = ".weir"

// store returns where the files are.
func (t *Target) store() (store, error) {
	if t.files.Bucket == nil {
		return &local{dir: t.files.Path, own: filepath.Join(t.files.Path, hidden, t.table.Name), failpoint: func(step string) error { return t.failpoint.step(step) }}, nil
	}
	at, err := Connect(t.table, t.secrets)
	if err != nil {
		return nil, err
	}
	return &bucket{Bucket: at, own: hidden + "/" + t.table.Name + "/", isOwn: t.isOwn}, nil
}

// Positions implements sink.Target. Rows count when their files are in place.
func (t *Target) Positions(ctx context.Context, from sink.Topic) (map[int32]int64, error) {
	at, err := t.store()
	if err != nil {
		return nil, err
	}
	s, _, err := at.load(ctx)
	if err != nil || s == nil || s.TopicID != from.ID {
		return nil, err
	}
	return s.inPlace(), nil
}

// AcceptPosition implements sink.Target.
func (t *Target) AcceptPosition(partition int32, next int64) string {
	return fmt.Sprintf(`set "%d" to %d under "next" in %s`, partition, next, t.files.Location()+"/"+hidden+"/"+t.table.Name+"/"+stateFile)
}

// Open implements sink.Target.
func (t *Target) Open(ctx context.Context, from sink.Topic) (_ sink.Session, err error) {
	at, err := t.store()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			at.close()
		}
	}()
	switch at := at.(type) {
	case *local:
		err = at.acquire()
	case *bucket:
		err = t.probe(ctx, at)
	}
	if err != nil {
		return nil, err
	}
	s := &session{Target: t, at: at, from: from, id: rand.Text()}
	if s.writer, err = newWriter(t.table, t.files); err != nil {
		return nil, &sink.RefusedError{Err: err}
	}
	return s, s.begin(ctx)
}

// begin writes the first state, or checks the one that is there.
func (s *session) begin(ctx context.Context) error {
	was, _, err := s.at.load(ctx)
	if err != nil {
		return err
	}
	if was != nil {
		return s.checkIdentity(was)
	}
	if err := s.checkEmpty(ctx); err != nil {
		return err
	}
	err = s.replace(ctx, "", &state{Version: stateVersion, Sink: s.name, Topic: s.from.Name, TopicID: s.from.ID, Format: s.files.Format, Partitioned: s.partitioned()})
	if errors.Is(err, errChanged) { // another process has just begun too
		return s.begin(ctx)
	}
	return err
}

// checkIdentity makes sure that a state belongs to this sink and topic.
func (s *session) checkIdentity(was *state) error {
	now := &state{Format: s.files.Format, Partitioned: s.partitioned()}
	again := fmt.Sprintf("give the SQL table another name or another 'path'; to write all rows of the topic again, stop the pipeline and move the files of the table and %s elsewhere", s.at.stateName())
	switch {
	case was.Version != stateVersion:
		return sink.Refuse("%s was written by another version of Weir (format %d): use that version", s.at.stateName(), was.Version)
	case was.Sink != s.name:
		return sink.Refuse("the files of table %s in %s are those of sink %s, and this one is %s: two pipelines can't write the same files: %s", s.table.Name, s.files.Location(), was.Sink, s.name, again)
	case was.Compaction != nil:
		return sink.Refuse("the files of table %s in %s are copies that weir sink compact has written from %s: give the SQL table the 'path' of the original files, or one of its own", s.table.Name, s.files.Location(), was.Compaction.Source)
	case was.TopicID != s.from.ID:
		return sink.Refuse("the files of table %s in %s have the rows of another topic: its id is %s, and %s has the id %s. "+
			"Either a pipeline with this name runs on another Kafka cluster, or the topic was deleted, and its rows that were not delivered are lost: %s", s.table.Name, s.files.Location(), was.TopicID, s.from.Name, s.from.ID, again)
	case was.layout() != now.layout():
		return sink.Refuse("the files of table %s in %s are %s, and would now be %s, which readers of the directory can't read together: %s", s.table.Name, s.files.Location(), was.layout(), now.layout(), again)
	}
	return nil
}

func (t *Target) partitioned() (names []string) {
	for _, i := range t.table.Partitioned {
		names = append(names, t.table.Columns[i].Name)
	}
	return names
}

// checkEmpty refuses files of the table without a state: their rows would be written again.
func (s *session) checkEmpty(ctx context.Context) error {
	found := ""
	err := s.at.names(ctx, func(name string) bool {
		if s.isOwn(path.Base(name)) {
			found = name
		}
		return found == ""
	})
	if err != nil || found == "" {
		return err
	}
	return sink.Refuse("%s has files of table %s, such as %s, but not %s, which says up to where the rows of the topic are in them: "+
		"restore it, or move the files elsewhere to write all rows of the topic again", s.files.Location(), s.table.Name, s.at.fileName(found), s.at.stateName())
}
