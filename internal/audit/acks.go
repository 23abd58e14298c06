package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// acknowledgements holds the transaction outcomes that the producer logged, by device and boot.
type acknowledgements struct {
	devices map[string]map[string]*outcomes
}

// outcomes groups the sequence numbers of one boot of a device by the outcome of their
// transactions. A number may have several outcomes, because a refused reading is sent again.
type outcomes struct {
	runs                    map[string][]run // collected while reading
	acked, unknown, refused ranges           // disjoint: acked takes precedence over unknown, and unknown over refused
}

type outcomeLine struct {
	Outcome string `json:"outcome"`
	Device  string `json:"device"`
	Boot    string `json:"boot"`
	From    *int64 `json:"from"`
	To      *int64 `json:"to"`
}

// readAcks reads acknowledgement logs. A final line without a newline is still being written and is
// ignored. So is a truncated line: its producer was killed while writing it, so the outcome of
// those readings is unknown.
func readAcks(paths []string) (*acknowledgements, error) {
	a := &acknowledgements{devices: make(map[string]map[string]*outcomes)}
	for _, path := range paths {
		if err := a.readFile(path); err != nil {
			return nil, fmt.Errorf("read acknowledgement log: %w", err)
		}
	}
	for _, boots := range a.devices {
		for _, o := range boots {
			o.settle()
		}
	}
	return a, nil
}

func (a *acknowledgements) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = a.add(line)
		}
		if cut := (*json.SyntaxError)(nil); errors.As(err, &cut) && cut.Offset == int64(len(line)) && line[0] == '{' {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %w", path, n, err)
		}
	}
}

func (a *acknowledgements) add(line []byte) error {
	var l outcomeLine
	if err := json.Unmarshal(line, &l); err != nil {
		return err
	}
	switch {
	case l.Outcome != "acked" && l.Outcome != "refused" && l.Outcome != "unknown":
		return fmt.Errorf("outcome %q is none of acked, refused, unknown", l.Outcome)
	case l.Device == "" || l.From == nil || l.To == nil:
		return errors.New("device, from and to are needed")
	case *l.From < 0 || *l.To < *l.From:
		return fmt.Errorf("from %d to %d is no range of sequence numbers", *l.From, *l.To)
	}
	boots := a.devices[l.Device]
	if boots == nil {
		boots = make(map[string]*outcomes)
		a.devices[l.Device] = boots
	}
	o := boots[l.Boot]
	if o == nil {
		o = &outcomes{runs: make(map[string][]run)}
		boots[l.Boot] = o
	}
	o.add(l.Outcome, run{*l.From, *l.To + 1})
	return nil
}

// add appends a run, merging it with the previous one if they are adjacent, as consecutive
// transactions of a device are.
func (o *outcomes) add(outcome string, r run) {
	runs := o.runs[outcome]
	if last := len(runs) - 1; last >= 0 && runs[last].to == r.from {
		runs[last].to = r.to
		return
	}
	o.runs[outcome] = append(runs, r)
}

// settle resolves numbers with several outcomes: a single acknowledgement makes the reading
// required, and a single unknown outcome makes it optional.
func (o *outcomes) settle() {
	o.acked = normalized(o.runs["acked"])
	o.unknown = normalized(o.runs["unknown"]).minus(o.acked)
	o.refused = normalized(o.runs["refused"]).minus(o.acked).minus(o.unknown)
	o.runs = nil
}

// of returns the outcomes for a device's boot; empty if the log doesn't mention it.
func (a *acknowledgements) of(device, boot string) *outcomes {
	if o := a.devices[device][boot]; o != nil {
		return o
	}
	return &outcomes{}
}
