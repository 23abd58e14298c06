// Package source defines replayable sources of readings. Package fleet simulates devices, package
// file reads CSV and JSON files, and package directory the files of a directory.
//
// A source returns the same items in the same order in every run. Position identifies the next
// item, and Seek resumes exactly there, so a producer that commits the position in the same
// transaction as the readings has neither gaps nor duplicates after a crash. The interface is
// declared by its consumer, package produce.
//
// A source is not safe for concurrent use, except for Progress.
package source

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"weir.example/weir/internal/saved"
	"weir.example/weir/reading"
)

// Item is a reading, or input that is not a valid reading.
type Item struct {
	reading.Reading

	// Repeat is the ordinal, from 1, of a reading that the device sent again on purpose; 0 for the
	// original. All fields of the reading equal those of the original.
	Repeat int

	// Raw and Err are set if the input is not a valid reading: the raw bytes, owned by the
	// receiver, and the cause (*file.RowError). The item belongs in the dead-letter topic, with
	// Origin as headers.
	Raw    []byte
	Err    error
	Origin []Attribute

	Message *Message // instead of a reading, unless it is nil
	Fact    *Fact    // instead of a reading, unless it is nil
}

// Fact is what a source keeps beside its position, in the same transaction, for as long as the
// topic of the positions exists. A later fact replaces an earlier one with the same key.
type Fact struct {
	Key   string
	Value []byte
}

// Message is a message that a device sent, which is kept as it is in a topic of its own.
type Message struct {
	Topic   string // of Kafka
	Key     string
	Value   []byte
	TS      int64 // of its arrival, in milliseconds since 1970
	Headers []Attribute
}

// Attribute says where rejected input came from, such as its MQTT topic.
type Attribute struct{ Name, Value string }

// ErrPosition is returned by Seek for a position that does not fit the source: it was saved for
// another file or with other settings. Retrying does not help.
var ErrPosition = errors.New("the saved position does not fit")

// PositionForm describes how a source saves its positions, which are JSON objects.
type PositionForm struct {
	Of        string   // what is read, with an article
	Members   []string // that every position has
	Otherwise string   // what to do if a saved position has another form
}

// Decode decodes a saved position. valid is called with it decoded. The error, which wraps
// ErrPosition, names what was saved: a position that is damaged, or that another source has saved,
// must not be taken for the beginning.
func (f PositionForm) Decode(position []byte, into any, valid func() bool) error {
	err := saved.Decode(position, into, f.Members...)
	if err == nil && !valid() {
		err = errors.New("a value in it is impossible")
	}
	if err != nil {
		return fmt.Errorf("%w: %.300q is not the position of %s (%w): %s", ErrPosition, position, f.Of, err, f.Otherwise)
	}
	return nil
}

// Boot returns the boot id of readings whose sequence numbers begin with a source: its name, so
// that the readings of two sources never have the same boot id and number. If a boot id cannot have
// that name, it is the beginning of it and a digest.
func Boot(name string) string {
	if (&reading.Reading{DeviceID: "d", Sensor: "s", Boot: name}).Validate() == nil {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	begin := strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, name[:min(len(name), 100)]), "")
	return begin + "~" + hex.EncodeToString(sum[:16])
}

// Settings are the settings that a position depends on, by user-visible name.
type Settings map[string]string

// Changed describes the first setting whose saved value differs from now, or returns "".
func (saved Settings) Changed(now Settings) string {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if saved[name] != now[name] {
			return fmt.Sprintf("%s was %q and is now %q", name, saved[name], now[name])
		}
	}
	return ""
}
