package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// localCopy is the directory PIPELINE/STAGE/PARTITION with the state of one task:
//
//	LOCK             locked by the process that has the copy open
//	weir-state.json  {"format":2,"identity":"PIPELINE TOPIC-ID PARTITION"}; exists only while the
//	                 copy is clean
//	db/              a Pebble database: the changelog's keys and values, and the position under
//	                 the key 00
type localCopy struct {
	pipeline, stage string
	partition       int32
	dir             string
}

func (c localCopy) String() string { return fmt.Sprintf("%s/%s/%d", c.pipeline, c.stage, c.partition) }

func (c localCopy) changelog() partition {
	return partition{c.pipeline + "." + c.stage + ".changelog", c.partition}
}

// findCopies lists the local copies in a directory, limited to one pipeline unless it is empty.
func findCopies(dir, pipeline string) (all []localCopy, err error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, fmt.Errorf("read local copies of the state: %w", err)
	}
	if pipeline == "" {
		pipeline = "*"
	} else if filepath.Base(pipeline) != pipeline {
		return nil, fmt.Errorf("read local copies of the state: invalid name of a pipeline %q", pipeline)
	}
	found, err := fs.Glob(os.DirFS(dir), pipeline+"/*/*")
	if err != nil {
		return nil, fmt.Errorf("read local copies of the state: invalid name of a pipeline %q", pipeline)
	}
	for _, name := range found {
		id, err := strconv.ParseInt(filepath.Base(name), 10, 32)
		if err != nil {
			continue
		}
		stage := filepath.Dir(name)
		all = append(all, localCopy{filepath.Dir(stage), filepath.Base(stage), int32(id), filepath.Join(dir, name)})
	}
	return all, nil
}

const (
	markerFormat   = 2
	positionFormat = 1
	positionLen    = 1 + 3*8 + sha256.Size
)

var positionKey = []byte{0}

// copyState is the position of a copy: the first changelog offset that it does not cover, and the
// time of its last commit.
type copyState struct {
	identity string
	offset   int64
	at       time.Time
}

// readCopy calls each for every entry of a copy. It modifies nothing in the directory, and locks
// the copy so that no other process does either. An error is the reason why the copy can't be
// checked; that is not a fault, because Weir rebuilds copies that are not clean.
func readCopy(dir string, each func(key, value []byte)) (s copyState, err error) {
	name := filepath.Join(dir, "LOCK")
	if _, err := os.Stat(name); err != nil {
		return s, errors.New("not clean: its lock file is missing")
	}
	lock, err := vfs.Default.Lock(name)
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return s, fmt.Errorf("lock: %w", err)
	}
	if err != nil {
		return s, errors.New("in use")
	}
	defer func() { err = errors.Join(err, lock.Close()) }()

	b, err := os.ReadFile(filepath.Join(dir, "weir-state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return s, errors.New("not clean: its marker is missing")
	}
	if err != nil {
		return s, fmt.Errorf("read marker: %w", err)
	}
	var marker struct {
		Format   int    `json:"format"`
		Identity string `json:"identity"`
	}
	if err := json.Unmarshal(b, &marker); err != nil {
		return s, fmt.Errorf("not clean: its marker is not JSON: %w", err)
	}
	if marker.Format != markerFormat {
		return s, fmt.Errorf("format %d, and this checker knows format %d", marker.Format, markerFormat)
	}
	position, err := readDatabase(filepath.Join(dir, "db"), each)
	if err != nil {
		return s, fmt.Errorf("not clean: %w", err)
	}
	identity := sha256.Sum256([]byte(marker.Identity))
	switch {
	case position == nil:
		return s, errors.New("not clean: it has no offset")
	case len(position) != positionLen || position[0] != positionFormat:
		return s, fmt.Errorf("not clean: its offset has an unknown format: %x", position)
	case !bytes.Equal(position[25:], identity[:]):
		return s, errors.New("not clean: its database belongs to something else")
	}
	return copyState{
		identity: marker.Identity,
		offset:   int64(binary.BigEndian.Uint64(position[1:])),
		at:       time.UnixMilli(int64(binary.BigEndian.Uint64(position[9:]))),
	}, nil
}

// readDatabase calls each for every entry of a database except the position, which it returns; nil
// if there is none.
func readDatabase(dir string, each func(key, value []byte)) (position []byte, err error) {
	defer func() {
		if r := recover(); r != nil { // the database stays open: closing it could deadlock on its locks
			err = fmt.Errorf("read database: %v", r)
		}
	}()
	db, err := pebble.Open(dir, &pebble.Options{
		ReadOnly: true, ErrorIfNotExists: true, FormatMajorVersion: pebble.FormatNewest,
		DisableConsistencyCheck: true, // it exits the process; reading all tables verifies their checksums anyway
		Logger:                  fatalPanics{},
	})
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	it, err := db.NewIter(nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read database: %w", err), db.Close())
	}
	for ok := it.First(); ok; ok = it.Next() {
		if bytes.Equal(it.Key(), positionKey) {
			position = bytes.Clone(it.Value())
			continue
		}
		each(it.Key(), it.Value())
	}
	if err := errors.Join(it.Close(), db.Close()); err != nil {
		return nil, fmt.Errorf("read database: %w", err)
	}
	return position, nil
}

// fatalPanics is the database's logger. Fatalf must not return: it panics in readDatabase, which
// returns an error then, and ends any other goroutine.
type fatalPanics struct{}

func (fatalPanics) Infof(string, ...any)  {}
func (fatalPanics) Errorf(string, ...any) {}

func (fatalPanics) Fatalf(format string, args ...any) {
	if bytes.Contains(debug.Stack(), []byte("weir.example/weir/internal/audit.readDatabase")) {
		panic(fmt.Sprintf(format, args...))
	}
	runtime.Goexit()
}
