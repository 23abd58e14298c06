package produce

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"weir/source"
)

// acked is the outcome of readings that were committed: the broker said so, or its log was found to have
// them. Readings of aborted transactions are sent again, so that no other outcome is final.
const acked = "acked"

// ackRange is a line of the acknowledgement log: what became of readings From to To of a device and boot.
type ackRange struct {
	Outcome string `json:"outcome"`
	Device  string `json:"device"`
	Boot    string `json:"boot"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
}

// acks appends to the acknowledgement log. A nil *acks keeps none.
type acks struct {
	file *os.File
	out  *bufio.Writer
}

func openAcks(path string) (*acks, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // the user's choice
	if err != nil {
		return nil, fmt.Errorf("open acknowledgement log: %w", err)
	}
	return &acks{file: f, out: bufio.NewWriter(f)}, nil
}

func (a *acks) close() error {
	if a == nil {
		return nil
	}
	return errors.Join(a.out.Flush(), a.file.Close())
}

// write logs ranges with their outcome. The lines reach the file before it returns.
func (a *acks) write(outcome string, ranges []ackRange) error {
	if a == nil {
		return nil
	}
	enc := json.NewEncoder(a.out)
	for _, r := range ranges {
		r.Outcome = outcome
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("write acknowledgement log: %w", err)
		}
	}
	if err := a.out.Flush(); err != nil {
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
