package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"weir.example/weir/internal/sink"
)

// state is what is known of a table's files. It is replaced as a whole.
type state struct {
	Version     int      `json:"version"`
	Sink        string   `json:"sink"`
	Topic       string   `json:"topic"`
	TopicID     string   `json:"topic_id"`
	Format      string   `json:"format"`
	Partitioned []string `json:"partitioned,omitempty"`

	Epoch int64           `json:"epoch"`          // of the session that may write
	Next  map[int32]int64 `json:"next,omitempty"` // offset to deliver next, by partition
	From  map[int32]int64 `json:"from,omitempty"` // Next without Files
	Files []pending       `json:"files,omitempty"`
}

// pending is a committed file that may not be in place yet.
type pending struct {
	Temporary string `json:"temporary"` // name in the hidden directory
	File      string `json:"file"`      // relative to the table's directory, with slashes
}

const (
	stateVersion = 1
	stateName    = "state.json"
	temporary    = ".tmp"
)

func (s *state) layout() string {
	text := s.Format + " files"
	if len(s.Partitioned) > 0 {
		text += " partitioned by (" + strings.Join(s.Partitioned, ", ") + ")"
	}
	return text
}

// load reads the state; nil if there is none.
func (t *Target) load() (*state, error) {
	text, err := os.ReadFile(t.own(stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of table %s: %w", t.table.Name, err)
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, sink.Refuse("%s is damaged: restore it: %w", t.own(stateName), err)
	}
	return &s, nil
}

// save replaces the state. After an error, either of them may be there.
func (t *Target) save(s *state) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	next := t.own(stateName + temporary)
	if err := t.step("write state"); err != nil {
		return err
	}
	if err := writeSynced(next, append(text, '\n')); err != nil {
		return fmt.Errorf("write the state of table %s: %w", t.table.Name, err)
	}
	if err := t.step("commit"); err != nil {
		return err
	}
	if err := os.Rename(next, t.own(stateName)); err != nil {
		return fmt.Errorf("replace the state of table %s: %w", t.table.Name, err)
	}
	if err := t.step("committed"); err != nil {
		return err
	}
	return syncDir(t.own(""))
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

const (
	fileMode = 0o644
	dirMode  = 0o755
)

// finish puts the committed files in place.
func (s *session) finish() error {
	if len(s.state.Files) == 0 {
		return nil
	}
	changed := make(map[string]bool)
	for _, f := range s.state.Files {
		if err := s.step("rename"); err != nil {
			return err
		}
		file := filepath.Join(s.files.Path, filepath.FromSlash(f.File))
		if err := makeDirs(filepath.Dir(file)); err != nil {
			return err
		}
		err := os.Rename(s.own(f.Temporary), file)
		if errors.Is(err, fs.ErrNotExist) {
			_, err = os.Stat(file) // renamed before a crash
			if errors.Is(err, fs.ErrNotExist) {
				return sink.Refuse("the file %s of table %s is missing, with rows of offsets before those of %s: it was removed while the sink was not running. "+
					"Restore it; to go on without its rows, remove its entry under \"files\" there", file, s.table.Name, s.own(stateName))
			}
		}
		if err != nil {
			return fmt.Errorf("put a file of table %s in place: %w", s.table.Name, err)
		}
		changed[filepath.Dir(file)] = true
	}
	for dir := range changed {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	if err := s.step("finish"); err != nil {
		return err
	}
	done := *s.state
	done.Files, done.From = nil, nil
	if err := s.save(&done); err != nil {
		return err
	}
	s.state = &done
	return nil
}

// makeDirs creates a directory and its parents, so that they last.
func makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir makes changes of a directory's entries last.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // which has no such call
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
