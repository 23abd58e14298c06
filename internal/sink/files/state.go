package files

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
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

	Session string          `json:"session,omitempty"` // that wrote this state
	Saves   int64           `json:"saves,omitempty"`   // how often it was replaced
	Epochs  map[int32]int64 `json:"epochs,omitempty"`  // of the session that may write, by partition
	Next    map[int32]int64 `json:"next,omitempty"`    // offset to deliver next, by partition
	From    map[int32]int64 `json:"from,omitempty"`    // Next without Files
	Files   []pending       `json:"files,omitempty"`

	Compaction *compaction `json:"compaction,omitempty"` // the files are copies that Compact has written
}

// pending is a committed file that may not be in place yet.
type pending struct {
	File string `json:"file"` // relative to the table's directory, with slashes

	Temporary string   `json:"temporary,omitempty"` // in a directory: name of the file that is renamed
	Upload    string   `json:"upload,omitempty"`    // in an object store: the upload that is completed
	Parts     []string `json:"parts,omitempty"`     // and the ETags of its parts
	Mark      string   `json:"mark,omitempty"`      // and what the metadata of the object has
}

// isOf reports whether the rows of a file are of one of these partitions.
func (f pending) isOf(partitions []int32) bool {
	return slices.ContainsFunc(partitions, func(p int32) bool { return p == partitionOf(f.File) })
}

const (
	stateVersion = 1
	stateFile    = "state.json"
)

func (s *state) text() []byte {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // numbers and strings
	}
	return append(text, '\n')
}

// decodeState reads the text of a state. Its names are those of files below the table's directory:
// whoever can write there could otherwise make the sink replace any file of its user.
func decodeState(text []byte) (*state, error) {
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	for _, f := range s.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.File)) {
			return nil, fmt.Errorf("the file %q is not one of the table", f.File)
		}
		if f.Temporary != "" && (f.Temporary != filepath.Base(f.Temporary) || !filepath.IsLocal(f.Temporary)) {
			return nil, fmt.Errorf("the temporary file %q is not one of the table", f.Temporary)
		}
	}
	for _, offsets := range []map[int32]int64{s.Epochs, s.Next, s.From} {
		for p, at := range offsets {
			if p < 0 || at < 0 {
				return nil, fmt.Errorf("partition %d is at %d", p, at)
			}
		}
	}
	return &s, nil
}

func (s *state) layout() string {
	text := s.Format + " files"
	if len(s.Partitioned) > 0 {
		text += " partitioned by (" + strings.Join(s.Partitioned, ", ") + ")"
	}
	return text
}

// inPlace returns up to where the files of each partition are in place.
func (s *state) inPlace() map[int32]int64 {
	if len(s.Files) > 0 {
		return s.From
	}
	return s.Next
}

// copied returns a state that can be changed.
func (s *state) copied() *state {
	next := *s
	next.Epochs, next.Next, next.From = copied(s.Epochs), copied(s.Next), copied(s.From)
	next.Files = slices.Clone(s.Files)
	return &next
}

func copied(m map[int32]int64) map[int32]int64 {
	to := make(map[int32]int64, len(m))
	maps.Copy(to, m)
	return to
}

// claimed returns the state after another session has claimed partitions.
func (s *state) claimed(partitions []int32) *state {
	next := s.copied()
	for _, p := range partitions {
		next.Epochs[p]++
	}
	return next
}

// delivered returns the state after a delivery.
func (s *state) delivered(b *sink.Batch, files []pending) *state {
	next := s.copied()
	if len(s.Files) == 0 {
		next.From = copied(s.Next)
	}
	maps.Copy(next.Next, b.Next)
	next.Files = append(next.Files, files...)
	if len(next.Files) == 0 {
		next.From = nil
	}
	return next
}

// placed returns the state after the files of partitions were put in place.
func (s *state) placed(partitions []int32) *state {
	next := s.copied()
	next.Files = slices.DeleteFunc(next.Files, func(f pending) bool { return f.isOf(partitions) })
	for _, p := range partitions {
		if at, ok := next.Next[p]; ok {
			next.From[p] = at
		}
	}
	if len(next.Files) == 0 {
		next.From, next.Files = nil, nil
	}
	return next
}

// missing refuses to continue without a file that was committed.
func missing(at store, name string) error {
	return sink.Refuse("the file %s is missing, with rows of offsets before those of %s: it was removed while the sink was not running. "+
		"Restore it; to go on without its rows, remove its entry under \"files\" there", at.fileName(name), at.stateName())
}

// occupied refuses to overwrite a file.
func occupied(at store, name string) error {
	return sink.Refuse("the file %s is there already, but %s does not list its rows as delivered: it is not overwritten: move it elsewhere, or restore the state that belongs to it", at.fileName(name), at.stateName())
}
