package file

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// columns are the places of what makes a reading; -1 where there is none.
type columns struct {
	device, ts, sensor, unit, seq, boot int
	values                              []int // that are named; nil where each column is looked at by itself

	seen  []bool // by place in values: a row had one
	roles []bool // by column: it is the device, the time, …, but no value
	kinds []kind // by column, where each is looked at by itself
}

// kind is what the cells of a column have shown so far.
type kind uint8

const (
	unknown kind = iota // none had a number or a text
	number              // its cells are values
	prose               // its cells are texts, and not sent
)

// Names by which columns are known when they are not given, as plainName writes them. The first one
// is taken where there is one; otherwise there must not be two.
var (
	deviceNames = []string{"deviceid", "device", "sensorid", "machineid", "identifier", "id", "host"}
	timeNames   = []string{"ts", "timestamp", "time", "tsms", "datetime", "date", "eventtime"}
)

// plainName is a column's name without case, spaces, - _ and dots: Device ID, deviceId and
// DEVICE_ID are one.
func plainName(name string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "", ".", "").Replace(strings.ToLower(name))
}

// decideColumns finds the columns by their given names, or guesses them by what they are called.
func decideColumns(cfg *Config, names []string) (columns, error) {
	c := columns{device: -1, ts: -1, sensor: -1, unit: -1, seq: -1, boot: -1}
	if err := cfg.useLongForm(names); err != nil {
		return c, err
	}
	var errs []error
	find := func(place *int, what, name string) {
		if name == "" {
			return
		}
		if *place = slices.Index(names, name); *place < 0 {
			errs = append(errs, missingColumn(what, name, names))
		}
	}
	find(&c.sensor, "sensor", cfg.SensorColumn)
	find(&c.unit, "unit", cfg.UnitColumn)
	find(&c.seq, "sequence", cfg.SeqColumn)
	find(&c.boot, "boot", cfg.BootColumn)
	for _, name := range cfg.ValueColumns {
		at := -1
		find(&at, "value", name)
		c.values = append(c.values, at)
	}
	for name := range cfg.Units {
		at := -1
		find(&at, "value", name)
	}
	find(&c.device, "device", cfg.DeviceColumn)
	find(&c.ts, "time", cfg.TSColumn)
	if len(errs) > 0 {
		return c, errors.Join(errs...)
	}
	return c, c.guess(cfg, names)
}

// guess finds the columns of the device and the time where they are not given.
func (c *columns) guess(cfg *Config, names []string) (err error) {
	if c.ts < 0 {
		if c.ts, err = c.candidate(names, timeNames, "the event time", "name it with --ts-column"); err != nil {
			return err
		}
	}
	if c.device < 0 && cfg.DeviceName == "" {
		const hint = "name it with --device-column, or the one device of the file with --device"
		if c.device, err = c.candidate(names, deviceNames, "the device", hint); err != nil {
			return err
		}
	}
	for len(c.roles) < len(names) {
		c.roles = append(c.roles, false)
	}
	for _, i := range []int{c.device, c.ts, c.sensor, c.unit, c.seq, c.boot} {
		if i >= 0 {
			c.roles[i] = true
		}
	}
	return nil
}

// candidate returns the column that is called as one of known. The first of known wins over the
// others.
func (c *columns) candidate(names, known []string, what, hint string) (int, error) {
	var best, all []int
	for i, name := range names {
		if i == c.ts || i == c.sensor || i == c.unit || i == c.seq || i == c.boot || slices.Contains(c.values, i) {
			continue
		}
		switch plain := plainName(name); {
		case plain == known[0]:
			best = append(best, i)
		case slices.Contains(known, plain):
			all = append(all, i)
		}
	}
	if len(best) > 0 {
		all = best
	}
	switch len(all) {
	case 0:
		return -1, fmt.Errorf("no column of %s among %s: %s", what, listed(names), hint)
	case 1:
		return all[0], nil
	}
	var found []string
	for _, i := range all {
		found = append(found, names[i])
	}
	return -1, fmt.Errorf("the column of %s may be %s: %s", what, strings.Join(found, " or "), hint)
}

// useLongForm names the columns of rows that hold one reading each, as Weir's own do: those with a
// sensor and a value.
func (cfg *Config) useLongForm(names []string) error {
	if cfg.SensorColumn == "" && len(cfg.ValueColumns) == 0 {
		sensor, value := named(names, "sensor"), named(names, "value")
		if sensor == "" || value == "" {
			return nil
		}
		cfg.SensorColumn, cfg.ValueColumns = sensor, []string{value}
		for _, column := range []struct {
			given *string
			name  string
		}{{&cfg.UnitColumn, "unit"}, {&cfg.SeqColumn, "seq"}, {&cfg.BootColumn, "boot"}} {
			if *column.given == "" {
				*column.given = named(names, column.name)
			}
		}
	}
	if cfg.SensorColumn != "" && len(cfg.ValueColumns) == 0 {
		if value := named(names, "value"); value != "" {
			cfg.ValueColumns = []string{value}
		}
	}
	if cfg.SensorColumn != "" && len(cfg.ValueColumns) > 1 {
		return fmt.Errorf("a sensor column goes with one value column, and --value-columns has %d", len(cfg.ValueColumns))
	}
	return nil
}

// named returns the first column that is called name, "" where there is none.
func named(names []string, name string) string {
	for _, n := range names {
		if plainName(n) == name {
			return n
		}
	}
	return ""
}

// learn looks at the cells of a sample: a column is of values where at least half of what is in it
// are numbers.
func (c *columns) learn(names []string, sample []row) {
	c.kinds = make([]kind, len(names))
	for i := range c.kinds {
		numbers, texts := 0, 0
		for _, r := range sample {
			if i >= len(r.cells) || isMissing(r.cells[i]) {
				continue
			}
			if looksNumeric(r.cells[i]) {
				numbers++
			} else {
				texts++
			}
		}
		switch {
		case c.roles[i] || names[i] == "" || numbers+texts == 0:
		case numbers >= texts:
			c.kinds[i] = number
		default:
			c.kinds[i] = prose
		}
	}
}

// guessed returns the columns of values that a sample has shown.
func (c *columns) guessed() (values []int) {
	for i, k := range c.kinds {
		if k == number {
			values = append(values, i)
		}
	}
	return values
}

func missingColumn(what, name string, names []string) error {
	hint := ""
	best := 3
	for _, n := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(n), strings.ToLower(name)); d < best {
			best, hint = d, fmt.Sprintf("; did you mean %s?", n)
		}
	}
	return fmt.Errorf("no %s column %q, the columns are %s%s", what, name, listed(names), hint)
}

// listed shows the names of columns, the first ones where there are many.
func listed(names []string) string {
	const most = 40
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d others", len(names)-most)
		names = names[:most]
	}
	return strings.Join(names, ", ") + more
}
