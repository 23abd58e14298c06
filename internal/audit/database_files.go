package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/objectstore"
)

// FilesConfig is the directory of a table whose rows are appended to files.
type FilesConfig struct {
	Path        string
	Bucket      *objectstore.Bucket // in which the files are, instead of a directory
	Format      string              // parquet, json or csv
	Partitioned []int               // of the columns: those that are in the names of directories, in this order
}

// fileSnapshot is the files of a table that were in place at one moment.
//
// The sink renames files to their place only after a state that has the offsets after them, and
// empties the list of files in the state only when all are in place. So with a state, a listing,
// and the state again, every file that the first state vouches for is in the listing, and every
// file in the listing is covered by the second state. Files between the two are left out: files
// never change, so the others are as of the first state however long it takes to read them.
type fileSnapshot struct {
	*databaseCheck
	of    *FilesConfig
	root  fs.FS
	state fileState
	files []dataFile
}

// fileState is the state of a table's files, as the sink writes it.
type fileState struct {
	Version     int             `json:"version"`
	Sink        string          `json:"sink"`
	TopicID     string          `json:"topic_id"`
	Format      string          `json:"format"`
	Partitioned []string        `json:"partitioned"`
	Next        map[int32]int64 `json:"next"`  // offset to deliver next, by partition
	From        map[int32]int64 `json:"from"`  // Next without Files
	Files       []any           `json:"files"` // committed, perhaps not in place yet
	Compaction  *struct {
		Source string        `json:"source"`
		Until  map[int32]any `json:"until"` // is there while the compaction is not complete
	} `json:"compaction"` // the files are copies
}

const fileStateVersion = 1

// inPlace returns up to where all files are in place.
func (s *fileState) inPlace() map[int32]int64 {
	if len(s.Files) > 0 {
		return s.From
	}
	return s.Next
}

// dataFile is a file with rows.
type dataFile struct {
	name      string         // relative to the table's directory, with slashes
	values    map[string]any // of the columns in the names of directories
	partition int32          // of the topic
	first     int64          // offset of its first row
}

func (c *databaseCheck) openFiles(ctx context.Context) (snapshot, error) {
	s := &fileSnapshot{databaseCheck: c, of: c.cfg.Files, root: os.DirFS(c.cfg.Files.Path)}
	if c.cfg.Files.Bucket != nil {
		s.root = bucketFS{ctx, c.cfg.Files.Bucket}
	}
	var err error
	if s.state, err = s.load(); err != nil {
		return nil, err
	}
	names, err := s.list("", 0, nil)
	if err != nil {
		return nil, err
	}
	after, err := s.load()
	if err != nil {
		return nil, err
	}
	if after.TopicID != s.state.TopicID || after.Sink != s.state.Sink {
		return nil, errors.New("another sink began to write the files meanwhile: run verify again")
	}
	others := s.others()
	for _, name := range names {
		if others != nil && others.MatchString(path.Base(name)) {
			continue
		}
		f, err := s.parse(name)
		switch {
		case err != nil:
			s.badFile("file that does not belong", name, err)
		case f.first < s.state.inPlace()[f.partition]:
			s.files = append(s.files, f)
		case f.first >= after.Next[f.partition]:
			s.badFile("file that does not belong", name, fmt.Errorf("rows from offset %d on, and partition %d is delivered up to %d", f.first, f.partition, after.Next[f.partition]))
		}
	}
	return s, nil
}

func (s *fileSnapshot) badFile(problem, name string, err error) {
	s.report.BadFiles++
	s.audit.report.find("C7", problem, "%s: %s: %v", s.cfg.Table, name, err)
}

// stateDir is the directory of what is not for readers of the files.
const stateDir = ".weir"

func (s *fileSnapshot) load() (state fileState, err error) {
	name := path.Join(stateDir, s.cfg.Table, "state.json")
	file := filepath.Join(s.of.Path, filepath.FromSlash(name))
	if s.of.Bucket != nil {
		file = s.of.Bucket.URL(name)
	}
	text, err := fs.ReadFile(s.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return state, fmt.Errorf("%s does not exist: run verify on the machine that writes the files, after the pipeline has started there; if it was removed, restore it", file)
	}
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return state, fmt.Errorf("%s is damaged: restore it: %w", file, err)
	}
	var partitioned []string
	for _, i := range s.of.Partitioned {
		partitioned = append(partitioned, s.cfg.Columns[i].Field)
	}
	switch c := state.Compaction; {
	case c != nil && c.Until != nil:
		return state, fmt.Errorf("%s has the files of a compaction that is not complete, and can be compared when it is: run weir sink compact %s --into %s again", s.of.Path, c.Source, s.of.Path)
	case state.Version != fileStateVersion:
		return state, fmt.Errorf("%s has the format %d, which this version of Weir does not know", file, state.Version)
	case state.Format != s.of.Format || !slices.Equal(state.Partitioned, partitioned):
		return state, fmt.Errorf("%s describes files of the format %s partitioned by %q, and the table has the format %s and is partitioned by %q: use the pipeline that wrote them",
			file, state.Format, state.Partitioned, s.of.Format, partitioned)
	}
	return state, nil
}

// list appends the files that readers of a directory see, relative to that of the table. Links to
// directories are followed where directories of PARTITIONED BY are.
func (s *fileSnapshot) list(dir string, depth int, to []string) ([]string, error) {
	entries, err := fs.ReadDir(s.root, path.Join(".", dir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_") && !strings.Contains(e.Name(), "=") {
			continue // readers ignore it
		}
		name, isDir := path.Join(dir, e.Name()), e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 && depth < len(s.of.Partitioned) {
			info, err := fs.Stat(s.root, name)
			isDir = err == nil && info.IsDir()
		}
		if !isDir {
			to = append(to, name)
			continue
		}
		if to, err = s.list(name, depth+1, to); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// ownFile is what follows a table's name in the names of its files.
const ownFile = `-([0-9]{1,10})-([0-9]{20})\.`

// others matches the files of other tables that are written to the same directory.
func (s *fileSnapshot) others() *regexp.Regexp {
	tables, err := fs.ReadDir(s.root, stateDir)
	if err != nil {
		return nil
	}
	var names []string
	for _, t := range tables {
		if t.Name() == s.cfg.Table {
			continue
		}
		if _, err := fs.Stat(s.root, path.Join(stateDir, t.Name(), "state.json")); err == nil {
			names = append(names, regexp.QuoteMeta(t.Name()))
		}
	}
	if names == nil {
		return nil
	}
	return regexp.MustCompile("^(" + strings.Join(names, "|") + ")" + ownFile + "(parquet|json|csv)$")
}

// parse returns what the name of a file of the table says.
func (s *fileSnapshot) parse(name string) (f dataFile, err error) {
	own := regexp.MustCompile("^" + regexp.QuoteMeta(s.cfg.Table) + ownFile + regexp.QuoteMeta(s.of.Format) + "$").FindStringSubmatch(path.Base(name))
	if own == nil {
		return f, fmt.Errorf("the sink names files %s-PARTITION-OFFSET.%s", s.cfg.Table, s.of.Format)
	}
	f = dataFile{name: name, values: make(map[string]any)}
	partition, err := strconv.ParseInt(own[1], 10, 32)
	if err != nil {
		return f, err
	}
	f.partition = int32(partition)
	if f.first, err = strconv.ParseInt(own[2], 10, 64); err != nil {
		return f, err
	}
	dirs := strings.Split(name, "/")
	dirs = dirs[:len(dirs)-1]
	if len(dirs) != len(s.of.Partitioned) {
		return f, fmt.Errorf("it is %d directories deep, and files of the table %d", len(dirs), len(s.of.Partitioned))
	}
	for k, i := range s.of.Partitioned {
		col := s.cfg.Columns[i]
		if f.values[col.Field], err = col.fromDirectory(dirs[k]); err != nil {
			return f, fmt.Errorf("directory %s: %w", dirs[k], err)
		}
	}
	return f, nil
}

// nullDir is Hive's name for NULL.
const nullDir = "__DEFAULT_PARTITION__"

// fromDirectory returns the value in the name of a directory of Hive: column=value.
func (c DatabaseColumn) fromDirectory(dir string) (any, error) {
	name, text, _ := strings.Cut(dir, "=")
	name, err := url.PathUnescape(name)
	if err != nil {
		return nil, err
	}
	if name != c.Field {
		return nil, fmt.Errorf("not one of column %s", c.Field)
	}
	if text == nullDir {
		return nil, nil
	}
	if text, err = url.PathUnescape(text); err != nil {
		return nil, err
	}
	v := c.Type.fromText(text)
	_, err = c.Type.canonical(v, ofTopic)
	return v, err
}

// fromText returns a value as the topic writes it.
func (t ValueType) fromText(text string) any {
	switch {
	case t.Kind == NumberValue:
		return json.Number(text)
	case t.Kind == BooleanValue && (text == "true" || text == "false"):
		return text == "true"
	}
	return text
}

// positions implements snapshot.
func (s *fileSnapshot) positions(_ context.Context, sink string, fn func(part int32, next int64, topicID string)) error {
	if s.state.Sink != sink {
		s.report.Offsets++
		s.audit.report.find("C7", "files of another sink", "%s: the files are those of sink %s, and not of %s", s.cfg.Table, s.state.Sink, sink)
	}
	for part, next := range s.state.inPlace() {
		fn(part, next, s.state.TopicID)
	}
	return nil
}

// side implements snapshot: rows are made up as the topic has them.
func (s *fileSnapshot) side() side { return ofTopic }

func (s *fileSnapshot) close(context.Context) {}

// rows implements snapshot. A file that can't be read, or has a row that can't, is a fault of this
// file alone. Files that may have rows from before the topic's first offset come last.
func (s *fileSnapshot) rows(ctx context.Context, _ DatabaseConfig, fn func(text string, in rowPlace) error) error {
	isOld := func(f dataFile) bool { return f.first < s.starts[f.partition] }
	slices.SortStableFunc(s.files, func(a, b dataFile) int {
		switch {
		case isOld(a) == isOld(b):
			return 0
		case isOld(a):
			return 1
		}
		return -1
	})
	for _, f := range s.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := 0
		err := s.read(f, func(fields map[string]any) error {
			n++
			maps.Copy(fields, f.values)
			text, err := json.Marshal(fields)
			if err != nil {
				return err
			}
			return fn(string(text), rowPlace{of: partitionPlace(f.partition), old: isOld(f), file: f.name})
		})
		var system *fs.PathError
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // deleted meanwhile, like a file that was deleted before
		case errors.As(err, &system):
			return err
		case err != nil:
			s.badFile("unreadable file", f.name, fmt.Errorf("after %d rows: %w", n, err))
		case n == 0:
			s.badFile("file that does not belong", f.name, errors.New("it has no rows"))
		}
		s.report.Files++
	}
	return nil
}

// partitionPlace is the place of rows that only files of one partition of the topic may have.
func partitionPlace(partition int32) string { return strconv.Itoa(int(partition)) + " " }

// read calls fn with the rows of a file, without the columns that are in names of directories.
func (s *fileSnapshot) read(f dataFile, fn func(fields map[string]any) error) error {
	file, err := s.root.Open(f.name)
	if err != nil {
		return err
	}
	defer file.Close()
	var stored []DatabaseColumn
	for i, c := range s.cfg.Columns {
		if !slices.Contains(s.of.Partitioned, i) {
			stored = append(stored, c)
		}
	}
	switch s.of.Format {
	case "parquet":
		return s.readParquet(file, f, stored, fn)
	case "csv":
		return readCSV(file, stored, fn)
	}
	return readJSONLines(file, stored, fn)
}
