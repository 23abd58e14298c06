package directory

import (
	"crypto/sha256"
	enchex "encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"weir.example/weir/internal/source"
	"weir.example/weir/internal/source/file"
)

// sighting is what is known about a file in the directory.
type sighting struct {
	info  os.FileInfo
	since time.Time // when it was first seen like this
	sent  bool      // it is a file that was sent
}

// ignored reports whether a name marks a file that is hidden or still being written.
func ignored(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || strings.HasSuffix(lower, ".tmp") || strings.HasSuffix(lower, ".part")
}

// find opens the next file. It pauses and returns false if there is none.
func (d *Dir) find() (bool, error) {
	if now := d.cfg.Now(); d.looked.IsZero() || now.Sub(d.looked) >= min(d.cfg.Settle/2, time.Second) {
		if err := d.look(now); err != nil {
			return false, err
		}
		d.looked = now
	}
	name := d.complete()
	if name == "" {
		d.cfg.Pause(pause)
		return false, nil
	}
	return d.take(name)
}

// look lists the directory.
func (d *Dir) look(now time.Time) error {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("watch %s: %w", d.cfg.Dir, err)
	}
	listed := make(map[string]bool)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || ignored(name) || slices.Contains(d.cfg.Skip, name) {
			continue
		}
		info, err := d.root.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it was removed, or is a link to nothing
		case err != nil:
			return fmt.Errorf("watch %s: %w: links must not leave the directory; remove it, or leave it out with --skip-file %q", d.cfg.Dir, err, name)
		case !info.Mode().IsRegular(), info.Size() == 0:
			continue
		}
		if !utf8.ValidString(name) {
			return fmt.Errorf("watch %s: the file name %q is not UTF-8: rename the file", d.cfg.Dir, name)
		}
		listed[name] = true
		if s := d.seen[name]; s == nil || unequal(s.info, info) || !os.SameFile(s.info, info) {
			d.seen[name] = &sighting{info: info, since: now}
		}
	}
	for name := range d.seen {
		if !listed[name] {
			delete(d.seen, name)
		}
	}
	return nil
}

// complete returns the first name of a file that has not changed for long enough and that is not
// known as one that was sent, or "".
func (d *Dir) complete() (first string) {
	for name, s := range d.seen {
		if !s.sent && d.looked.Sub(s.since) >= d.cfg.Settle && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// take opens a file unless it was sent.
func (d *Dir) take(name string) (bool, error) {
	s := d.seen[name]
	hash, err := d.hash(name)
	if errors.Is(err, fs.ErrNotExist) {
		delete(d.seen, name)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("watch %s: %w: make the file readable, or leave it out with --skip-file %q", d.cfg.Dir, err, name)
	}
	switch d.sent[name] {
	case hash:
		s.sent = true
		return false, nil
	case "":
	default:
		if info, err := d.root.Stat(name); err != nil || unequal(info, s.info) {
			delete(d.seen, name) // it is being written
			return false, nil
		}
		return false, fmt.Errorf("%s was sent with other content: give it another name, because the sequence numbers of its readings belong to its name, or leave it out with --skip-file %q",
			filepath.Join(d.cfg.Dir, name), name)
	}
	d.current = &current{name: name, hash: hash, info: s.info}
	if d.current.file, err = d.open(name); err == nil {
		return true, nil
	}
	if info, gone := d.root.Stat(name); gone != nil || unequal(info, s.info) || d.changed(name, hash) {
		delete(d.seen, name)
		d.current = nil
		return false, nil
	}
	if errors.Is(err, file.ErrNoRows) {
		d.completed(Sent{NoRows: true})
		return true, nil
	}
	d.current = nil
	return false, fmt.Errorf("%w: mend the file or move it out of %s, or leave it out with --skip-file %q", err, d.cfg.Dir, name)
}

// changed reports whether the content of a file is no longer that of its hash.
func (d *Dir) changed(name, hash string) bool {
	now, err := d.hash(name)
	return err != nil || now != hash
}

// open opens a file as a source. Its boot id is the directory's name and its own, so that the
// readings of two files, also of two directories, never have the same sequence numbers. Before it
// was only the file's.
func (d *Dir) open(name string) (*file.File, error) {
	c := d.cfg.File
	c.Path, c.Root, c.Digest = filepath.Join(d.cfg.Dir, name), d.root, true
	c.Boot, c.EarlierBoot = source.Boot(d.cfg.Name+"/"+name), name
	f, err := file.Open(c)
	if err != nil {
		return nil, err
	}
	if f.Numbered() {
		return nil, errors.Join(fmt.Errorf("%s has a boot id in a column but no sequence number: readings of two files could have the same boot id and number: name the column with --seq-column, or rename the boot column", c.Path), f.Close())
	}
	d.cfg.Opened(f)
	return f, nil
}

// hash returns the hash of a file's bytes.
func (d *Dir) hash(name string) (string, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex([sha256.Size]byte(h.Sum(nil))), errors.Join(err, f.Close())
}

func hex(sum [sha256.Size]byte) string { return enchex.EncodeToString(sum[:]) }
