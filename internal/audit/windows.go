package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// WindowConfig describes a pipeline that aggregates the readings in tumbling windows (C4, C5).
// Windows start at multiples of Size since the Unix epoch, in event time.
type WindowConfig struct {
	Topic string        // results, one JSON object per window and key; default none: windows are not checked
	Size  time.Duration // of a window; whole milliseconds

	Late string // rows that arrived after their window had closed; default none: every row must be in a window
	DLQ  string // records that the pipeline could not decode; default none: not checked

	// Group is the pipeline's consumer group. Default: weir-NAME if Late is NAME.late.
	Group string

	// Delay is the delay of the watermark after the maximum event time of an input partition, from
	// the pipeline's WATERMARK FOR.
	Delay time.Duration

	// Bounded is set if the producers have stopped and the pipeline has read all input: every
	// record must have been processed, and no window may be open.
	Bounded bool

	// SharedWatermark is set if the pipeline has one watermark, that of its slowest input
	// partition, or advances it by the clock while partitions are idle. A window may then stay open
	// longer than its own partition implies, and early closing can't be detected.
	SharedWatermark bool

	Columns WindowColumns // default DefaultWindowColumns
}

// WindowColumns are the names of a result's columns.
type WindowColumns struct {
	Start, Device, Count string // required
	Sensor               string // empty if windows are per device
	End                  string // empty if absent, like the aggregates
	Min, Max, Avg, Sum   string

	named bool // set by the user: results must have all of them
}

// DefaultWindowColumns lists the column names in the guides' pipelines, in the format of
// ParseWindowColumns. An end or aggregate that no result has is not checked.
const DefaultWindowColumns = "count=readings,min=minimum,max=maximum,avg=average,sum=total,start=window_start,end=window_end,key=device_id+sensor"

// ParseWindowColumns parses a list like DefaultWindowColumns. start, key and count default to the
// names there; an aggregate or end that is left out is not checked. A single column in key means
// windows per device.
func ParseWindowColumns(text string) (WindowColumns, error) {
	c := WindowColumns{Start: "window_start", Device: "device_id", Sensor: "sensor", Count: "readings", named: text != DefaultWindowColumns}
	fields := map[string]*string{"start": &c.Start, "end": &c.End, "count": &c.Count, "min": &c.Min, "max": &c.Max, "avg": &c.Avg, "sum": &c.Sum}
	for part := range strings.SplitSeq(text, ",") {
		name, column, _ := strings.Cut(strings.TrimSpace(part), "=")
		if column == "" {
			return c, fmt.Errorf("invalid window column %q: expected name=column", part)
		}
		if name == "key" {
			device, sensor, two := strings.Cut(column, "+")
			if device == "" || two && sensor == "" || strings.Contains(sensor, "+") {
				return c, fmt.Errorf("invalid window key %q: expected the column of the device or device+sensor", column)
			}
			c.Device, c.Sensor = device, sensor
			continue
		}
		field := fields[name]
		if field == nil {
			return c, fmt.Errorf("unknown window column %q: choose count, min, max, avg, sum, start, end or key", name)
		}
		*field = column
	}
	return c, nil
}

// lateSuffix is the suffix of a pipeline's late topic.
const lateSuffix = ".late"

func (c *WindowConfig) applyDefaults() {
	if name, ok := strings.CutSuffix(c.Late, lateSuffix); ok && c.Group == "" && name != "" {
		c.Group = "weir-" + name
	}
	if c.Columns == (WindowColumns{}) {
		c.Columns, _ = ParseWindowColumns(DefaultWindowColumns)
	}
}

// Validate returns the first invalid setting. Without a Topic, everything is valid.
func (c WindowConfig) Validate() error {
	c.applyDefaults()
	switch {
	case c.Topic == "":
		return nil
	case c.Size < time.Millisecond || c.Size%time.Millisecond != 0:
		return fmt.Errorf("the window size must be a positive number of whole milliseconds, got %s", c.Size)
	case c.Delay < 0:
		return fmt.Errorf("the delay of the watermark must not be negative, got %s", c.Delay)
	case c.Group == "":
		return errors.New("set the pipeline's consumer group, or its late topic NAME.late")
	case c.Columns.Start == "" || c.Columns.Device == "" || c.Columns.Count == "":
		return errors.New("the columns of a window's start, device and count are required")
	}
	return nil
}
