package file

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// columns are the indexes of the columns by role; -1 if the file has none.
type columns struct {
	device, ts, sensor, unit, seq, boot int
	values                              []int // configured value columns; nil if they are inferred per column

	seen  []bool // by index in values: at least one row had a value
	roles []bool // by column: it has a role other than value
	kinds []kind // by column, if value columns are inferred
}

// kind is the inferred kind of a column.
type kind uint8

const (
	unknown kind = iota // no number and no text yet
	number              // its cells are values
	prose               // its cells are text, which is not sent
)

// Names of columns that are recognized without configuration, in the form of plainName. The first
// name has precedence; a file must not have columns with two of the others.
var (
	deviceNames = []string{"deviceid", "device", "sensorid", "machineid", "identifier", "id", "host"}
	timeNames   = []string{"ts", "timestamp", "time", "tsms", "datetime", "date", "eventtime"}
)

// plainName returns a column's name in lower case without spaces, - _ and dots, so that Device ID,
// deviceId and DEVICE_ID are equal.
func plainName(name string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "", ".", "").Replace(strings.ToLower(name))
}

// decideColumns finds the configured columns and infers the others from their names.
func decideColumns(cfg *Config, names []string) (columns, error) {
	c := columns{device: -1, ts: -1, sensor: -1, unit: -1, seq: -1, boot: -1}
	if err := cfg.useLongForm(names); err != nil {
		return c, err
	}
	var errs []error
	find := func(index *int, role, name string) {
		if name == "" {
			return
		}
		if *index = slices.Index(names, name); *index < 0 {
			errs = append(errs, missingColumn(role, name, names))
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

// guess infers the columns of the device and the time unless they are configured.
func (c *columns) guess(cfg *Config, names []string) (err error) {
	if c.ts < 0 {
		if c.ts, err = c.candidate(names, timeNames, "the event time", "name it with --ts-column"); err != nil {
			return err
		}
	}
	if c.device < 0 && cfg.DeviceName == "" {
		const hint = "name it with --device-column, or name the file's only device with --device"
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

// candidate returns the column with one of the known names, of which the first has precedence.
func (c *columns) candidate(names, known []string, role, hint string) (int, error) {
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
		return -1, fmt.Errorf("no column for %s among %s: %s", role, listed(names), hint)
	case 1:
		return all[0], nil
	}
	var found []string
	for _, i := range all {
		found = append(found, names[i])
	}
	return -1, fmt.Errorf("ambiguous column for %s, %s: %s", role, strings.Join(found, " or "), hint)
}

// useLongForm sets the columns of files with one reading per row, which have a sensor and a value
// column, as Weir's own readings do.
func (cfg *Config) useLongForm(names []string) error {
	if cfg.SensorColumn == "" && len(cfg.ValueColumns) == 0 {
		sensor, value := named(names, "sensor"), named(names, "value")
		if sensor == "" || value == "" {
			return nil
		}
		cfg.SensorColumn, cfg.ValueColumns = sensor, []string{value}
		for _, column := range []struct {
			configured *string
			name       string
		}{{&cfg.UnitColumn, "unit"}, {&cfg.SeqColumn, "seq"}, {&cfg.BootColumn, "boot"}} {
			if *column.configured == "" {
				*column.configured = named(names, column.name)
			}
		}
	}
	if cfg.SensorColumn != "" && len(cfg.ValueColumns) == 0 {
		if value := named(names, "value"); value != "" {
			cfg.ValueColumns = []string{value}
		}
	}
	if cfg.SensorColumn != "" && len(cfg.ValueColumns) > 1 {
		return fmt.Errorf("a sensor column requires exactly one value column, --value-columns has %d", len(cfg.ValueColumns))
	}
	return nil
}

// named returns the first column with a plain name, "" if there is none.
func named(names []string, name string) string {
	for _, n := range names {
		if plainName(n) == name {
			return n
		}
	}
	return ""
}

// learn infers the kinds of the columns from a sample: in a value column at least half of the
// non-missing cells are numbers.
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

// guessed returns the inferred value columns.
func (c *columns) guessed() (values []int) {
	for i, k := range c.kinds {
		if k == number {
			values = append(values, i)
		}
	}
	return values
}

func missingColumn(role, name string, names []string) error {
	hint := ""
	best := 3
	for _, n := range names {
		if d := levenshtein.ComputeDistance(strings.ToLower(n), strings.ToLower(name)); d < best {
			best, hint = d, fmt.Sprintf("; did you mean %s?", n)
		}
	}
	return fmt.Errorf("no %s column %q, the columns are %s%s", role, name, listed(names), hint)
}

// listed joins the names of columns, only the first ones if there are many.
func listed(names []string) string {
	const limit = 40
	more := ""
	if len(names) > limit {
		more = fmt.Sprintf(" and %d others", len(names)-limit)
		names = names[:limit]
	}
	return strings.Join(names, ", ") + more
}
