package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"weir.example/weir/internal/source"
)

// position is the position in a directory: the file that is being sent, and how far. Which files
// were sent before it is known from the facts.
type position struct {
	Dir   string        `json:"dir"`
	Files int64         `json:"files"` // sent completely; it changes with each one
	File  *filePosition `json:"file,omitempty"`
}

type filePosition struct {
	Name string          `json:"name"`
	Hash string          `json:"hash"`         // SHA-256 of all bytes of the file
	At   json.RawMessage `json:"at,omitempty"` // package file's position; none once all readings were returned
}

// Position implements the producer's Source.
func (d *Dir) Position() []byte {
	p := position{Dir: d.cfg.Dir, Files: d.files}
	if c := d.current; c != nil {
		p.File = &filePosition{Name: c.name, Hash: c.hash}
		if c.file != nil {
			p.File.At = c.file.Position()
		}
	}
	raw, err := json.Marshal(p)
	if err != nil { // numbers and strings always marshal
		panic(err)
	}
	return raw
}

var positionForm = source.PositionForm{Of: "a directory", Members: []string{"dir", "files"}, Otherwise: "give the directory a --name of its own"}

func parsePosition(saved []byte) (p position, err error) {
	err = positionForm.Decode(saved, &p, func() bool {
		return p.Dir != "" && p.Files >= 0 && (p.File == nil || p.File.Name != "" && p.File.Hash != "")
	})
	return p, err
}

// Recall implements the producer's Keeper: the facts are the files that were sent.
func (d *Dir) Recall(facts map[string][]byte) {
	clear(d.sent)
	for name, hash := range facts {
		d.sent[name] = string(hash)
	}
}

// Seek implements the producer's Source.
func (d *Dir) Seek(saved []byte) error {
	p, err := parsePosition(saved)
	if err != nil {
		return err
	}
	if p.Dir != d.cfg.Dir {
		return fmt.Errorf("%w: it was saved for the directory %s: give each directory a --name of its own; if the directory was moved, link it at its former path and watch that",
			source.ErrPosition, p.Dir)
	}
	if err := d.leave(); err != nil {
		return err
	}
	d.current, d.files = nil, p.Files
	clear(d.seen)
	d.mu.Lock()
	d.ended = nil
	d.mu.Unlock()
	if p.File == nil {
		return nil
	}
	return d.resume(p.File)
}

// resume continues in a file of which a part was sent.
func (d *Dir) resume(p *filePosition) error {
	c := &current{name: p.Name, hash: p.Hash, begun: true}
	if skipped := slices.Contains(d.cfg.Skip, p.Name); skipped || p.At == nil {
		if skipped {
			d.cfg.Logger.Warn("the rest of a file is not sent", "file", p.Name, "dir", d.cfg.Dir)
		}
		d.current = c
		return nil
	}
	info, err := d.root.Stat(p.Name)
	if err != nil {
		return d.halfway(p.Name, err)
	}
	hash, err := d.hash(p.Name)
	switch {
	case err != nil:
		return d.halfway(p.Name, err)
	case hash != p.Hash:
		return d.halfway(p.Name, errors.New("its content has changed"))
	}
	c.info = info
	if c.file, err = d.open(p.Name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = d.halfway(p.Name, err)
		}
		return err
	}
	if err := c.file.Seek(p.At); err != nil {
		return errors.Join(fmt.Errorf("%w, or leave out the rest of it with --skip-file %q", err, p.Name), c.file.Close())
	}
	d.current = c
	return nil
}
