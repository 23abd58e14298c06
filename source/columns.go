package source

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

// columns are the places of what makes a reading; -1 where there is none.
type columns struct {
	device, ts, sensor, unit, seq, boot int
	values                              []int
}

// Names by which columns are known when they are not given, the best first.
var (
	deviceNames = []string{"device_id", "deviceid", "device", "sensor_id", "machine_id", "identifier", "id", "host"}
	timeNames   = []string{"ts", "timestamp", "time", "ts_ms", "datetime", "date_time", "date", "event_time", "_time"}
)

// decideColumns finds the columns by their given names, or guesses them by their names and the first row.
func decideColumns(cfg FileConfig, names, first []string) (columns, error) {
	c := columns{device: -1, ts: -1, sensor: -1, unit: -1, seq: -1, boot: -1}
	var errs []error
	find := func(place *int, what, name string) {
		if name == "" {
			return
		}
		if *place = slices.Index(names, name); *place < 0 {
			errs = append(errs, missingColumn(what, name, names))
		}
	}
	if isReading(cfg, names) {
		cfg.SensorColumn, cfg.ValueColumns = "sensor", []string{"value"}
		cfg.UnitColumn = orIfThere(cfg.UnitColumn, "unit", names)
		cfg.SeqColumn = orIfThere(cfg.SeqColumn, "seq", names)
		cfg.BootColumn = orIfThere(cfg.BootColumn, "boot", names)
	}
	find(&c.device, "device", orGuess(cfg.DeviceColumn, deviceNames, names))
	find(&c.ts, "time", orGuess(cfg.TSColumn, timeNames, names))
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
	if len(errs) > 0 {
		return c, errors.Join(errs...)
	}
	if c.ts < 0 {
		return c, fmt.Errorf("no column of the event time among %s: name it with --ts-column", strings.Join(names, ", "))
	}
	if len(c.values) == 0 {
		c.values = c.guessValues(first)
	}
	if len(c.values) == 0 {
		return c, fmt.Errorf("no column of values among %s: name them with --value-columns", strings.Join(names, ", "))
	}
	if c.sensor >= 0 && len(c.values) != 1 {
		return c, fmt.Errorf("a sensor column goes with one value column, found %d: name it with --value-columns", len(c.values))
	}
	return c, nil
}

// isReading reports whether rows are readings in Weir's own form.
func isReading(cfg FileConfig, names []string) bool {
	return cfg.SensorColumn == "" && len(cfg.ValueColumns) == 0 &&
		slices.Contains(names, "device_id") && slices.Contains(names, "sensor") &&
		slices.Contains(names, "value") && slices.Contains(names, "ts")
}

func orIfThere(given, name string, names []string) string {
	if given == "" && slices.Contains(names, name) {
		return name
	}
	return given
}

// orGuess is the given name, or the first known one that is there.
func orGuess(given string, known, names []string) string {
	if given != "" {
		return given
	}
	for _, k := range known {
		for _, name := range names {
			if strings.EqualFold(name, k) {
				return name
			}
		}
	}
	return ""
}

// guessValues takes every other column whose first value reads as a number or boolean.
func (c *columns) guessValues(first []string) (values []int) {
	taken := []int{c.device, c.ts, c.sensor, c.unit, c.seq, c.boot}
	for i, cell := range first {
		if slices.Contains(taken, i) {
			continue
		}
		if _, err := parseValue(cell); err == nil {
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
	return fmt.Errorf("no %s column %q, the columns are %s%s", what, name, strings.Join(names, ", "), hint)
}

func (c *columns) name(rows rowReader, i int) string {
	if i < 0 {
		return ""
	}
	return rows.names()[i]
}

func (c *columns) valueNames(rows rowReader) string {
	var names []string
	for _, v := range c.values {
		names = append(names, rows.names()[v])
	}
	return strings.Join(names, ",")
}

func (c *columns) describe(cfg FileConfig, names []string) string {
	at := func(i int) string {
		if i < 0 {
			return "–"
		}
		return names[i]
	}
	device := at(c.device)
	if c.device < 0 {
		device = strconv.Quote(cfg.DeviceName)
	}
	var values []string
	for _, v := range c.values {
		values = append(values, names[v])
	}
	text := fmt.Sprintf("device %s, time %s, values %s", device, at(c.ts), strings.Join(values, " "))
	if c.sensor >= 0 {
		text += ", sensor " + at(c.sensor)
	}
	return text
}
