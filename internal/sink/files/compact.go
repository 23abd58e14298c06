package files

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// CompactConfig says which files are compacted, and where to.
type CompactConfig struct {
	Source   string                  // directory of a sink
	Target   string                  // directory of the new files
	Table    string                  // of the directory; empty if it has only one
	FileSize int64                   // bytes of files that are put together in a new one; default 512 MiB
	Progress func(read, total int64) // may be nil; bytes of the source
}

// DefaultCompactSize is the default of CompactConfig.FileSize.
const DefaultCompactSize = 512 << 20

// CompactReport says what Compact has done.
type CompactReport struct {
	Table     string          `json:"table"`
	Source    string          `json:"source"`
	Target    string          `json:"target"`
	FilesRead int             `json:"files_read"`
	Files     int             `json:"files_written"`
	Rows      int64           `json:"rows"`
	BytesRead int64           `json:"bytes_read"`
	Bytes     int64           `json:"bytes_written"`
	Next      map[int32]int64 `json:"next"`      // offset up to which the target has the rows, by partition of the topic
	LeftOut   []string        `json:"left_out"`  // files of the source that are not ones of the table
	Continued bool            `json:"continued"` // an earlier compaction was interrupted, and this one has finished it
}

// compaction is what the state of a directory has that Compact has written. The offsets of such a
// state, which are those of the source, change when all files up to them are in place.
type compaction struct {
	Source string `json:"source"`

	// Of a compaction that is not complete: the offsets that the state will have, and the last file
	// of the source whose rows are in a committed file. Files are taken in the order of these
	// fields.
	Until map[int32]int64 `json:"until,omitzero"`
	Last  *part           `json:"last,omitempty"`
}

// part is a file of the source.
type part struct {
	Partition int32  `json:"partition"` // of the topic
	Dir       string `json:"directory"` // with a slash at the end, unless it is empty
	First     int64  `json:"first"`     // offset of its first row

	name string // relative to the directory of the table
	size int64
}

func (p part) compare(q part) int {
	return cmp.Or(cmp.Compare(p.Partition, q.Partition), strings.Compare(p.Dir, q.Dir), cmp.Compare(p.First, q.First))
}

// merger puts files with the same rows' types together.
type merger interface {
	// check makes sure that the rows of these files can be in one file.
	check(ctx context.Context, parts []part) error
	// merge writes the rows of files, in this order, and returns their number.
	merge(ctx context.Context, w *bufio.Writer, parts []part) (rows int64, err error)
}

// compact is a run of Compact.
type compact struct {
	CompactConfig
	tables   []string // of the source
	from, to *local
	was      *state // of the source
	now      *state // of the target
	version  string // of now
	merger   merger
	report   CompactReport
	read     int64 // bytes, of total
	total    int64

	failpoint failpoint
}

// Compact writes the rows of files that a sink has written to fewer files in another directory,
// with the same directories of PARTITIONED BY, and leaves the source as it is. Rows keep their
// order within a partition of the topic. It takes the files that are in place when it begins; run
// again later, it adds those that were written meanwhile. After an interruption it continues with
// the first file that it has not committed.
func Compact(ctx context.Context, c CompactConfig) (*CompactReport, error) {
	return newCompact(c).run(ctx)
}

func newCompact(c CompactConfig) *compact {
	c.FileSize = cmp.Or(c.FileSize, DefaultCompactSize)
	return &compact{CompactConfig: c}
}

func (c *compact) run(ctx context.Context) (*CompactReport, error) {
	if err := c.openSource(ctx); err != nil {
		return nil, err
	}
	if err := c.checkPlaces(); err != nil {
		return nil, err
	}
	if err := c.openTarget(ctx); err != nil {
		return nil, err
	}
	defer c.to.close()
	parts, err := c.parts(ctx)
	if err != nil {
		return nil, err
	}
	if c.merger, err = c.newMerger(); err != nil {
		return nil, err
	}
	if err := c.merger.check(ctx, parts); err != nil {
		return nil, err
	}
	for _, of := range c.split(parts) {
		if err := c.write(ctx, of); err != nil {
			return nil, err
		}
	}
	done := c.now.copied()
	done.Next, done.Files = copied(c.now.Compaction.Until), nil
	done.Compaction = &compaction{Source: c.Source}
	if err := c.replace(ctx, done); err != nil {
		return nil, err
	}
	c.report.Next = done.Next
	return &c.report, nil
}

// openSource reads the state of the source.
func (c *compact) openSource(ctx context.Context) error {
	if strings.Contains(c.Source, "://") || strings.Contains(c.Target, "://") {
		return errors.New("weir sink compact reads and writes directories of this machine; for an object store, copy the objects of the table with PREFIX/.weir to a directory first, with the tool of the store")
	}
	var err error
	if c.Source, err = filepath.Abs(c.Source); err != nil {
		return err
	}
	if c.Target, err = filepath.Abs(c.Target); err != nil {
		return err
	}
	if c.tables, err = Tables(c.Source); err != nil {
		return err
	}
	if c.Table, err = c.table(); err != nil {
		return err
	}
	c.from = &local{dir: c.Source, own: filepath.Join(c.Source, hidden, c.Table)}
	c.was, _, err = c.from.load(ctx)
	switch {
	case err != nil:
		return err
	case c.was == nil:
		return fmt.Errorf("%s was removed meanwhile: restore it", c.from.stateName())
	case c.was.Version != stateVersion:
		return fmt.Errorf("%s was written by another version of Weir (format %d): use that version", c.from.stateName(), c.was.Version)
	case c.was.Compaction != nil && c.was.Compaction.Until != nil:
		return fmt.Errorf("%s has the files of a compaction of %s that is not complete: run weir sink compact %s --into %s again first", c.Source, c.was.Compaction.Source, c.was.Compaction.Source, c.Source)
	}
	c.report = CompactReport{Table: c.Table, Source: c.Source, Target: c.Target, LeftOut: []string{}}
	return nil
}

// Tables returns the tables whose files are in a directory, which a sink or Compact has written.
func Tables(dir string) (all []string, err error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is a file: name the directory that is the 'path' of the SQL table", dir)
	}
	states, err := filepath.Glob(filepath.Join(escapeGlob(dir), hidden, "*", stateFile))
	for _, s := range states {
		all = append(all, filepath.Base(filepath.Dir(s)))
	}
	return all, err
}

// table returns the table that is compacted.
func (c *compact) table() (string, error) {
	switch all := strings.Join(c.tables, ", "); {
	case len(c.tables) == 0:
		return "", fmt.Errorf("%s is not a directory of a filesystem sink: it has no %s; name the 'path' of the SQL table, and copy %s with the files", c.Source, filepath.Join(hidden, "TABLE", stateFile), hidden)
	case c.Table == "" && len(c.tables) > 1:
		return "", fmt.Errorf("%s has the files of several tables: choose one with --table: %s", c.Source, all)
	case c.Table == "":
		return c.tables[0], nil
	case !slices.Contains(c.tables, c.Table):
		return "", fmt.Errorf("%s has no files of a table %s: it has those of %s", c.Source, c.Table, all)
	}
	return c.Table, nil
}

// escapeGlob escapes what has a meaning in patterns.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// checkPlaces refuses two directories one of which contains the other: readers would see rows
// twice.
func (c *compact) checkPlaces() error {
	source, err := filepath.EvalSymlinks(c.Source)
	if err != nil {
		return err
	}
	target, err := resolved(c.Target)
	if err != nil {
		return err
	}
	switch {
	case source == target:
		return fmt.Errorf("--into %s is the directory of the files themselves: choose another one, outside of it", c.Target)
	case isBelow(target, source):
		return fmt.Errorf("--into %s is inside of %s, so readers of that directory would see each row twice: choose a directory outside of it", c.Target, c.Source)
	case isBelow(source, target):
		return fmt.Errorf("--into %s contains %s, so readers of it would see each row twice: choose a directory beside it", c.Target, c.Source)
	}
	return nil
}

func isBelow(dir, of string) bool {
	rel, err := filepath.Rel(of, dir)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolved returns a path without links, of which the last directories may not exist yet.
func resolved(dir string) (string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	parent, err := resolved(filepath.Dir(dir))
	return filepath.Join(parent, filepath.Base(dir)), err
}

// openTarget reads the state of the target, or makes the first one, and puts in place what was
// committed.
func (c *compact) openTarget(ctx context.Context) error {
	c.to = &local{dir: c.Target, own: filepath.Join(c.Target, hidden, c.Table), failpoint: func(step string) error { return c.failpoint.step(step) }}
	if err := c.checkTarget(ctx); err != nil {
		return err
	}
	if err := c.to.acquire(); err != nil {
		return err
	}
	err := c.begin(ctx)
	if err != nil {
		c.to.close()
	}
	return err
}

// checkTarget refuses a target before anything is written there.
func (c *compact) checkTarget(ctx context.Context) (err error) {
	if c.now, c.version, err = c.to.load(ctx); err != nil {
		return err
	}
	if c.now == nil {
		return c.checkNoFiles(ctx)
	}
	is := fmt.Sprintf("%s has the files of table %s of sink %s, topic id %s, as %s", c.Target, c.Table, c.now.Sink, c.now.TopicID, c.now.layout())
	switch {
	case c.now.Version != stateVersion:
		return fmt.Errorf("%s was written by another version of Weir (format %d): use that version", c.to.stateName(), c.now.Version)
	case c.now.Compaction == nil:
		return fmt.Errorf("%s, which the sink itself has written: choose another directory for --into", is)
	case c.now.Sink != c.was.Sink || c.now.TopicID != c.was.TopicID || c.now.layout() != c.was.layout():
		return fmt.Errorf("%s, and %s those of sink %s, topic id %s, as %s, which do not belong together: choose another directory for --into", is, c.Source, c.was.Sink, c.was.TopicID, c.was.layout())
	}
	for p, next := range c.now.Next {
		if at := c.was.inPlace()[p]; at < next {
			return fmt.Errorf("%s has the rows of partition %d of the topic up to offset %d, and %s only up to %d: it was replaced by an older version; choose another directory for --into", c.Target, p, next, c.Source, at)
		}
	}
	return nil
}

// checkNoFiles refuses files of the table that no state describes.
func (c *compact) checkNoFiles(ctx context.Context) error {
	found := ""
	err := c.to.names(ctx, func(name string) bool {
		if isOwnName(path.Base(name), c.Table) {
			found = name
		}
		return found == ""
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if found != "" {
		return fmt.Errorf("%s has files of table %s, such as %s, but no %s: choose another directory for --into, or move them elsewhere", c.Target, c.Table, found, c.to.stateName())
	}
	return nil
}

// begin makes or continues the state of the target.
func (c *compact) begin(ctx context.Context) (err error) {
	if c.now, c.version, err = c.to.load(ctx); err != nil { // again, with the lock
		return err
	}
	if c.now == nil {
		c.now = &state{Version: stateVersion, Sink: c.was.Sink, Topic: c.was.Topic, TopicID: c.was.TopicID, Format: c.was.Format, Partitioned: c.was.Partitioned}
	}
	if err := c.to.clean(ctx, nil, c.now.Files); err != nil {
		return err
	}
	for _, f := range c.now.Files {
		if err := c.to.place(ctx, f); err != nil {
			return fmt.Errorf("put a file of table %s in place: %w", c.Table, err)
		}
	}
	next := c.now.copied()
	next.Files = nil
	if next.Compaction == nil || next.Compaction.Until == nil {
		next.Compaction = &compaction{Source: c.Source, Until: copied(c.was.inPlace())}
	} else {
		c.report.Continued = true
	}
	return c.replace(ctx, next)
}

func (c *compact) replace(ctx context.Context, next *state) error {
	next.Saves++
	if err := c.to.replace(ctx, c.version, next); err != nil {
		return err
	}
	c.now, c.version = next, versionOf(next.text())
	return nil
}

// parts returns the files of the source that are to be compacted, in their order.
func (c *compact) parts(ctx context.Context) (parts []part, err error) {
	until, last := c.now.Compaction.Until, c.now.Compaction.Last
	err = c.from.names(ctx, func(name string) bool {
		p, ok := c.parse(name)
		switch {
		case !ok:
			if !isHidden(name) && !c.isOfAnother(path.Base(name)) {
				c.report.LeftOut = append(c.report.LeftOut, name)
			}
		case p.First < c.now.Next[p.Partition] || p.First >= until[p.Partition]: // is in the target; is not in place
		case last == nil || p.compare(*last) > 0:
			parts = append(parts, p)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(parts, part.compare)
	slices.Sort(c.report.LeftOut)
	for i := range parts {
		info, err := os.Stat(c.from.fileName(parts[i].name))
		if err != nil {
			return nil, meanwhile(err)
		}
		parts[i].size = info.Size()
		c.total += info.Size()
	}
	return parts, nil
}

// parse returns what the name of a file of the table says. It is false for other files.
func (c *compact) parse(name string) (p part, ok bool) {
	dir, base := path.Split(name)
	if !isOwnName(base, c.Table) || path.Ext(base) != "."+c.was.Format {
		return p, false
	}
	dirs := strings.Split(dir, "/")
	dirs = dirs[:len(dirs)-1]
	if len(dirs) != len(c.was.Partitioned) {
		return p, false
	}
	for i, column := range c.was.Partitioned {
		if !strings.HasPrefix(dirs[i], escapeName(column)+"=") {
			return p, false
		}
	}
	offset := strings.TrimSuffix(base[strings.LastIndexByte(base, '-')+1:], path.Ext(base))
	first, err := strconv.ParseInt(offset, 10, 64)
	return part{Partition: partitionOf(base), Dir: dir, First: first, name: name}, err == nil
}

// isOfAnother reports whether a file has a name of another table of the same directory.
func (c *compact) isOfAnother(name string) bool {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return false
	}
	j := strings.LastIndexByte(name[:i], '-')
	return j >= 0 && name[:j] != c.Table && ownName.MatchString(name[j+1:]) && slices.Contains(c.tables, name[:j])
}

// isHidden reports whether readers of a directory ignore a file.
func isHidden(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "/"), func(s string) bool {
		return strings.HasPrefix(s, ".") || strings.HasPrefix(s, "_") && !strings.Contains(s, "=")
	})
}

// split cuts files into those of each new file.
func (c *compact) split(parts []part) (groups [][]part) {
	size := int64(0)
	for i, p := range parts {
		same := i > 0 && p.Partition == parts[i-1].Partition && p.Dir == parts[i-1].Dir
		if !same || size+p.size > c.FileSize {
			groups, size = append(groups, nil), 0
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], p)
		size += p.size
	}
	return groups
}

// write writes a new file, commits it, and puts it in place.
func (c *compact) write(ctx context.Context, of []part) (err error) {
	file, err := c.to.create(ctx, of[0].name, metadata{})
	if err != nil {
		return fmt.Errorf("write a file of %s: %w", c.Target, err)
	}
	committing := false
	defer func() {
		closing := file.close()
		if err == nil {
			err = closing
		}
		if err != nil && !committing { // otherwise the next run knows
			c.to.discard(file.pending())
		}
	}()
	buffered := bufio.NewWriterSize(file, 1<<20)
	rows, err := c.merger.merge(ctx, buffered, of)
	if err != nil {
		return meanwhile(err)
	}
	if err := errors.Join(buffered.Flush(), file.sync(ctx)); err != nil {
		return fmt.Errorf("write a file of %s: %w", c.Target, err)
	}
	size, err := c.sizeOf(file.pending())
	if err != nil {
		return err
	}
	next := c.now.copied()
	next.Files = []pending{file.pending()} // the one before is in place
	next.Compaction = &compaction{Source: c.now.Compaction.Source, Until: c.now.Compaction.Until, Last: &of[len(of)-1]}
	committing = true
	if err := c.replace(ctx, next); err != nil {
		return err
	}
	if err := c.to.place(ctx, file.pending()); err != nil {
		return fmt.Errorf("put a file of table %s in place: %w", c.Table, err)
	}
	c.report.Files++
	c.report.FilesRead += len(of)
	c.report.Rows += rows
	c.report.Bytes += size
	for _, p := range of {
		c.report.BytesRead += p.size
	}
	return nil
}

func (c *compact) sizeOf(f pending) (int64, error) {
	info, err := os.Stat(c.to.hidden(f.Temporary))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// progress notes that bytes of the source were read.
func (c *compact) progress(bytes int64) {
	c.read += bytes
	if c.Progress != nil {
		c.Progress(c.read, c.total)
	}
}

// meanwhile explains that a file of the source is missing.
func meanwhile(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a file was removed meanwhile; run the same command again to compact the others: %w", err)
	}
	return err
}

// newMerger returns the merger of the format.
func (c *compact) newMerger() (merger, error) {
	switch c.was.Format {
	case "parquet":
		return &parquetMerger{compact: c}, nil
	case "json":
		return &lineMerger{compact: c, lines: newJSONLines}, nil
	case "csv":
		return &lineMerger{compact: c, lines: newCSVLines}, nil
	}
	return nil, fmt.Errorf("%s describes files of the format %s, which this version of Weir does not know", c.from.stateName(), c.was.Format)
}
