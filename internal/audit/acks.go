package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// acknowledgements are what the producer said of its transactions, per device and boot.
type acknowledgements struct {
	devices map[string]map[string]*outcomes
}

// outcomes are the sequence numbers of one device's boot by what became of their transactions. A
// number may have several: a refused reading is sent again.
type outcomes struct {
	runs                    map[string][]run // while reading
	acked, unknown, refused ranges           // each without those of the one before it
}

type outcomeLine struct {
	Outcome string `json:"outcome"`
	Device  string `json:"device"`
	Boot    string `json:"boot"`
	From    *int64 `json:"from"`
	To      *int64 `json:"to"`
}

// readAcks reads acknowledgement logs. A last line without its newline is still being written and
// is left out, and so is one that ends in the middle: its producer was killed then, and what it
// says of its readings is not known.
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

// add keeps a run, joined to the one before it where they touch: a device's transactions follow
// each other.
func (o *outcomes) add(outcome string, r run) {
	runs := o.runs[outcome]
	if last := len(runs) - 1; last >= 0 && runs[last].to == r.from {
		runs[last].to = r.to
		return
	}
	o.runs[outcome] = append(runs, r)
}

// settle decides for numbers with several outcomes: one acknowledgement makes the reading due, and
// one unknown outcome makes it possible.
func (o *outcomes) settle() {
	o.acked = normalized(o.runs["acked"])
	o.unknown = normalized(o.runs["unknown"]).minus(o.acked)
	o.refused = normalized(o.runs["refused"]).minus(o.acked).minus(o.unknown)
	o.runs = nil
}

// of returns the outcomes of a device's boot; they are empty where the log doesn't name it.
func (a *acknowledgements) of(device, boot string) *outcomes {
	if o := a.devices[device][boot]; o != nil {
		return o
	}
	return &outcomes{}
}
