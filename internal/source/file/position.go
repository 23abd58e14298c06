package file

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir.example/weir/internal/source"
)

// filePosition is the position in a file: rows read and, of the last row, items returned.
type filePosition struct {
	Row      int64           `json:"row"`
	Returned int             `json:"given,omitempty"`
	Digest   string          `json:"digest,omitempty"` // of all items before the position, which must be equal when they are read again
	Boot     *string         `json:"boot"`             // of rows without one; nil in positions of earlier versions
	Settings source.Settings `json:"settings"`
}

// settings returns the settings that determine the items of a file.
func (f *File) settings() source.Settings {
	c, at := &f.columns, f.name
	return source.Settings{
		"the file's beginning (SHA-256)": f.head,
		"device":                         f.cfg.DeviceName,
		"device column":                  at(c.device),
		"time column":                    at(c.ts),
		"value columns":                  strings.Join(f.cfg.ValueColumns, ","),
		"sensor column":                  at(c.sensor),
		"sequence column":                at(c.seq),
		"boot column":                    at(c.boot),
	}
}

// Position implements the producer's Source.
func (f *File) Position() []byte {
	p := filePosition{Row: f.row, Digest: f.sum(), Boot: &f.boot, Settings: f.settings()}
	if f.passed < len(f.ready) {
		p.Returned = f.passed
		p.Row--
	}
	raw, err := json.Marshal(p)
	if err != nil { // numbers and strings always marshal
		panic(err)
	}
	return raw
}

func (f *File) sum() string { return strconv.FormatUint(f.digest.Sum64(), 36) }

const hint = "another --name sends the file as a new source"

var positionForm = source.PositionForm{Of: "a file", Members: []string{"row", "settings"}, Otherwise: hint}

// Seek implements the producer's Source. It rereads the file up to the position, since sequence
// numbers and the kinds of columns depend on the rows before it.
func (f *File) Seek(position []byte) error {
	var p filePosition
	valid := func() bool { return p.Row >= 0 && p.Row < math.MaxInt64 && p.Returned >= 0 }
	if err := positionForm.Decode(position, &p, valid); err != nil {
		return err
	}
	started := p.Row > 0 || p.Returned > 0
	if started && p.Digest == "" {
		return fmt.Errorf("%w: it was saved by a version of Weir that inferred columns from the first row only: %s", source.ErrPosition, hint)
	}
	if change := p.Settings.Changed(f.settings()); change != "" && started {
		return fmt.Errorf("%w: %s: %s", source.ErrPosition, change, hint)
	}
	f.boot = f.requested.Boot
	if started { // the readings that were sent have another one, if an earlier version sent them
		f.boot = f.requested.EarlierBoot
		if p.Boot != nil {
			f.boot = *p.Boot
		}
	}
	if err := f.file.Close(); err != nil {
		return err
	}
	if err := f.open(); err != nil {
		return err
	}
	if !started {
		return nil
	}
	target := p.Row
	if p.Returned > 0 {
		target++
	}
	for f.row < target {
		f.pass(len(f.ready) - f.passed)
		if !f.more() {
			return fmt.Errorf("%w: %s has %d rows, but %d were sent: %s", source.ErrPosition, f.cfg.Path, f.row, target, hint)
		}
	}
	returned := len(f.ready)
	if p.Returned > 0 {
		returned = min(p.Returned, returned)
	}
	f.pass(returned)
	if f.sum() != p.Digest {
		return fmt.Errorf("%w: the first %d rows of %s differ from those that were sent (the file or an option has changed): %s",
			source.ErrPosition, target, f.cfg.Path, hint)
	}
	return nil
}
