package produce

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"weir.example/weir/internal/source"
)

// acked is the outcome of readings that were committed: the broker said so, or its log was found to
// have them. Readings of aborted transactions are sent again, so that no other outcome is final.
const acked = "acked"

// ackRange is a line of the acknowledgement log: what became of readings From to To of a device and
// boot.
type ackRange struct {
	Outcome string `json:"outcome"`
	Device  string `json:"device"`
	Boot    string `json:"boot"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
}

// acks appends to the acknowledgement log. A nil *acks keeps none.
type acks struct {
	file  *os.File
	lines bytes.Buffer
}

func openAcks(path string) (*acks, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644) //nolint:gosec // the user's choice
	if err != nil {
		return nil, fmt.Errorf("open acknowledgement log: %w", err)
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(fmt.Errorf("open acknowledgement log: %w", err), f.Close())
	}
	return &acks{file: f}, nil
}

// endLine ends the line that a process was writing when it was killed, so that it stays the only
// one that is cut.
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

// write logs ranges with their outcome. The lines reach the file before it returns, in one write:
// another process may append to it too.
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

// rangesOf joins an item to the ranges of its transaction. open finds a device's last range.
func rangesOf(ranges []ackRange, open map[string]int, it *source.Item) []ackRange {
	if it.Repeat > 0 {
		return ranges
	}
	if i, ok := open[it.DeviceID]; ok && ranges[i].Boot == it.Boot && ranges[i].To+1 == it.Seq {
		ranges[i].To = it.Seq
		return ranges
	}
	open[it.DeviceID] = len(ranges)
	return append(ranges, ackRange{Device: it.DeviceID, Boot: it.Boot, From: it.Seq, To: it.Seq})
}
