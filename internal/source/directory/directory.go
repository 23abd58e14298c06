// Package directory sends the files of a directory as a replayable source of readings: each file
// once, by its name and the hash of its content.
//
//	directory.go Config, Dir: the files, one after the other
//	find.go      the next file that is complete and was not sent
//	position.go  the position, and resuming from it
//
// A file that was sent is a fact: a record of its own beside the position, committed together with
// the file's last reading. The position itself names only the file that is being sent, so its size
// does not depend on the number of files, and no file is ever forgotten.
package directory

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"weir.example/weir/internal/source"
	"weir.example/weir/internal/source/file"
)

// Config names a directory and how its files are read.
type Config struct {
	Dir    string
	Name   string        // of the source; default "watch:" and the directory's base name
	File   file.Config   // of each file, without Path, Root, Boot, EarlierBoot and Digest
	Settle time.Duration // a file is complete once it has not changed for this long; default 2 s
	Skip   []string      // names of files that are not sent, or whose rest is not sent

	Logger *slog.Logger
	Opened func(f *file.File)  // called with each file before its first reading; default none
	Now    func() time.Time    // default time.Now
	Pause  func(time.Duration) // called while there is no file to send; default time.Sleep
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("no directory")
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, fmt.Errorf("watch: %w", err)
	}
	if c.Name == "" {
		c.Name = "watch:" + filepath.Base(c.Dir)
	}
	if c.Settle == 0 {
		c.Settle = 2 * time.Second
	}
	if c.Settle < 0 {
		return c, fmt.Errorf("the time after which a file is complete must not be negative, got %s", c.Settle)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Opened == nil {
		c.Opened = func(*file.File) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Pause == nil {
		c.Pause = time.Sleep
	}
	for _, name := range c.Skip {
		if name == "" || name != filepath.Base(name) {
			return c, fmt.Errorf("%q is not the name of a file in the directory", name)
		}
	}
	return c, nil
}

// Dir is a directory of files. It never ends. The caller must close it.
type Dir struct {
	cfg  Config
	root *os.Root

	sent    map[string]string // name → hash of the files that were sent
	files   int64             // sent in all
	current *current          // nil between two files

	seen   map[string]*sighting
	looked time.Time // when the directory was last listed

	mu    sync.Mutex
	ended []Sent // files that are not committed yet
	bytes int64  // of the files sent in this run
}

// current is the file that is being sent.
type current struct {
	name  string
	hash  string      // of the whole file
	file  *file.File  // nil once all its readings were returned
	info  os.FileInfo // before it was hashed
	begun bool        // some of its readings were returned
}

// Sent is a file all of whose readings are committed.
type Sent struct {
	Name      string
	NoRows    bool          // it is empty or has only a header
	Unused    []file.Unused // columns that were not sent
	EmptyRows int64         // rows without a value
	Absent    []string      // value columns that no row has

	number int64
}

// Open opens a directory.
func Open(cfg Config) (*Dir, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	each := cfg.File
	each.Path = cfg.Dir
	if err := each.Validate(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	return &Dir{cfg: cfg, root: root, sent: make(map[string]string), seen: make(map[string]*sighting)}, nil
}

// Close closes the directory and the file that is being sent.
func (d *Dir) Close() error { return errors.Join(d.leave(), d.root.Close()) }

// Name implements the producer's Source.
func (d *Dir) Name() string { return d.cfg.Name }

// Progress implements the producer's Source. Its unit is bytes of files.
func (d *Dir) Progress() (done, total int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes, -1
}

// pause is the pause between two looks for work; a stop is noticed after it.
const pause = 100 * time.Millisecond

// Next implements the producer's Source. It returns 0 items after a pause if no file is complete.
func (d *Dir) Next(dst []source.Item) (int, error) {
	if d.current == nil {
		found, err := d.find()
		if err != nil || !found {
			return 0, err
		}
	}
	n := 0
	if d.current.file != nil {
		var err error
		if n, err = d.read(dst); err != nil {
			return 0, d.failed(err)
		}
	}
	if d.current != nil && d.current.file == nil && n < len(dst) {
		dst[n] = d.end()
		n++
	}
	return n, nil
}

// read returns items of the current file that are certain to be those of the content that was
// hashed: the file is the same after they were read, and its hash is compared before the last ones
// are returned.
func (d *Dir) read(dst []source.Item) (int, error) {
	c := d.current
	n := 0
	if !c.file.AtEnd() {
		var err error
		if n, err = c.file.Next(dst); err != nil {
			return 0, err
		}
	}
	ended := c.file.AtEnd()
	if ended {
		sum, err := c.file.Sum()
		if err != nil {
			return 0, err
		}
		if hex(sum) != c.hash {
			return 0, errChanged
		}
	}
	if err := d.same(); err != nil {
		return 0, err
	}
	c.begun = c.begun || n > 0
	if !ended {
		return n, nil
	}
	d.completed(Sent{Unused: c.file.Unused(), EmptyRows: c.file.EmptyRows(), Absent: c.file.Absent()})
	return n, d.leave()
}

// completed notes that all readings of the current file were returned.
func (d *Dir) completed(s Sent) {
	s.Name, s.number = d.current.name, d.files+1
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, s)
	d.bytes += d.current.info.Size()
}

var errChanged = errors.New("it has changed since Weir began to read it")

// same returns an error unless the current file is still the one that was hashed.
func (d *Dir) same() error {
	c := d.current
	if c.file == nil {
		return nil
	}
	now, err := d.root.Stat(c.name)
	if err != nil {
		return err
	}
	opened, err := c.file.Stat()
	if err != nil {
		return err
	}
	for _, info := range []os.FileInfo{now, opened} {
		if !os.SameFile(info, c.info) || unequal(info, c.info) {
			return errChanged
		}
	}
	return nil
}

func unequal(a, b os.FileInfo) bool { return a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) }

// failed decides what follows from an error of the current file: a file of which nothing was sent
// is waited for again if it has changed; anything else stops the producer.
func (d *Dir) failed(err error) error {
	c := d.current
	if !c.begun && (errors.Is(err, errChanged) || d.same() != nil) {
		d.current = nil
		delete(d.seen, c.name)
		if c.file != nil {
			return c.file.Close()
		}
		return nil
	}
	switch {
	case errors.Is(err, errChanged), errors.Is(err, os.ErrNotExist):
		return d.halfway(c.name, err)
	case c.begun:
		return fmt.Errorf("%w: rows of it were sent already: leave out the rest with --skip-file %q, and send what is missing in a file with another name", err, c.name)
	default:
		return fmt.Errorf("%w: mend the file or move it out of %s, or leave out what is not sent of it with --skip-file %q", err, d.cfg.Dir, c.name)
	}
}

// halfway explains what to do about a file of which a part is in Kafka and the rest is not as it
// was.
func (d *Dir) halfway(name string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		err = errors.New("it was removed")
	}
	return fmt.Errorf("%w: %s was not sent completely: %w: put the file back as it was, and the next start continues in it, or leave out the rest of it with --skip-file %q",
		source.ErrPosition, filepath.Join(d.cfg.Dir, name), err, name)
}

// leave closes the current file.
func (d *Dir) leave() error {
	if d.current == nil || d.current.file == nil {
		return nil
	}
	err := d.current.file.Close()
	d.current.file = nil
	return err
}

// end returns the fact that the current file was sent.
func (d *Dir) end() source.Item {
	c := d.current
	d.current = nil
	d.files++
	d.sent[c.name] = c.hash
	return source.Item{Fact: &source.Fact{Key: c.name, Value: []byte(c.hash)}}
}

// Committed returns the files that a commit with this position has completed.
func (d *Dir) Committed(saved []byte) (done []Sent) {
	p, err := parsePosition(saved)
	if err != nil {
		return nil // only positions of this source are committed
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.ended) > 0 && d.ended[0].number <= p.Files {
		done = append(done, d.ended[0])
		d.ended = d.ended[1:]
	}
	return done
}
