package produce

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"weir.example/weir/internal/source"
)

// acked is the outcome of committed readings: the broker has acknowledged the commit, or the
// readings were found in its log. Readings of aborted transactions are sent again, so no other
// outcome is final.
const acked = "acked"

// ackRange is a line of the acknowledgement log: the outcome of readings From to To, inclusive, of
// a device and boot.
type ackRange struct {
	Outcome string `json:"outcome"`
	Device  string `json:"device"`
	Boot    string `json:"boot"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
}

// acks appends to the acknowledgement log. A nil *acks discards everything.
type acks struct {
	file  *os.File
	lines bytes.Buffer
}

func openAcks(path string) (*acks, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600) //nolint:gosec // chosen by the user
	if err != nil {
		return nil, fmt.Errorf("open acknowledgement log: %w", err)
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(fmt.Errorf("open acknowledgement log: %w", err), f.Close())
	}
	return &acks{file: f}, nil
}

// endLine completes an unfinished last line, left by a process that was killed while writing, so
// that only that line is damaged.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

func (a *acks) close() error {
	if a == nil {
		return nil
	}
	return a.file.Close()
}

// write appends ranges with their outcome. It uses a single write, since another process may append
// to the same file.
func (a *acks) write(outcome string, ranges []ackRange) error {
	if a == nil {
		return nil
	}
	a.lines.Reset()
	enc := json.NewEncoder(&a.lines)
	for _, r := range ranges {
		r.Outcome = outcome
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("write acknowledgement log: %w", err)
		}
	}
	if _, err := a.file.Write(a.lines.Bytes()); err != nil {
		return fmt.Errorf("write acknowledgement log: %w", err)
	}
	return nil
}

// rangesOf adds an item to the ranges of its chunk. last has the index of each device's last range.
func rangesOf(ranges []ackRange, last map[string]int, it *source.Item) []ackRange {
	if it.Repeat > 0 {
		return ranges
	}
	if i, ok := last[it.DeviceID]; ok && ranges[i].Boot == it.Boot && ranges[i].To+1 == it.Seq {
		ranges[i].To = it.Seq
		return ranges
	}
	last[it.DeviceID] = len(ranges)
	return append(ranges, ackRange{Device: it.DeviceID, Boot: it.Boot, From: it.Seq, To: it.Seq})
}
