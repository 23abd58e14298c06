package audit

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// WindowConfig says how the readings were counted in tumbling windows (C4, C5). The windows begin
// at multiples of Size since the Unix epoch, in event time.
type WindowConfig struct {
	Topic string        // results, one JSON object for each window and key; default none: windows are not checked
	Size  time.Duration // of a window; whole milliseconds

	Late string // rows that came after their window had closed; default none: every row must be in a window
	DLQ  string // records that the pipeline could not decode; default none: they are not asked for

	// Group is the pipeline's consumer group. Default: weir-NAME, where Late is NAME.late.
	Group string

	// Delay is how far the watermark stays behind the largest event time of an input partition, as
	// the pipeline's WATERMARK FOR says.
	Delay time.Duration

	// Bounded says that the producers have stopped and the pipeline has ended at the end of its
	// input: every record must have been processed, and no window may be open.
	Bounded bool

	// SharedWatermark says that the pipeline holds one watermark, that of its slowest input
	// partition, or moves it by a clock where partitions are silent. A window may then be open for
	// longer than its own partition tells, and whether it was closed too early can't be judged.
	SharedWatermark bool

	Columns WindowColumns // default DefaultWindowColumns
}

// WindowColumns are the names of a result's columns.
type WindowColumns struct {
	Start, Device, Count string // needed
	Sensor               string // empty where windows are per device
	End                  string // empty where there is none; likewise the figures
	Min, Max, Avg, Sum   string

	named bool // by the user: each of them must be there
}

// DefaultWindowColumns are the names that the pipelines of the guides use, in the form that
// ParseWindowColumns reads. Of the figures and the end, those that no result has are not checked.
const DefaultWindowColumns = "count=readings,min=minimum,max=maximum,avg=average,sum=total,start=window_start,end=window_end,key=device_id+sensor"

// ParseWindowColumns reads
// "count=readings,min=minimum,max=maximum,avg=average,sum=total,start=window_start,
// end=window_end,key=device_id+sensor". start, key and count have these names where they are left
// out; a figure or an end that is left out is not checked. One column in key means windows per
// device.
func ParseWindowColumns(text string) (WindowColumns, error) {
	c := WindowColumns{Start: "window_start", Device: "device_id", Sensor: "sensor", Count: "readings", named: text != DefaultWindowColumns}
	fields := map[string]*string{"start": &c.Start, "end": &c.End, "count": &c.Count, "min": &c.Min, "max": &c.Max, "avg": &c.Avg, "sum": &c.Sum}
	for part := range strings.SplitSeq(text, ",") {
		name, column, _ := strings.Cut(strings.TrimSpace(part), "=")
		if column == "" {
			return c, fmt.Errorf("window column %q is not name=column", part)
		}
		if name == "key" {
			device, sensor, two := strings.Cut(column, "+")
			if device == "" || two && sensor == "" || strings.Contains(sensor, "+") {
				return c, fmt.Errorf("window key %q is neither the column of the device nor device+sensor", column)
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

// lateSuffix ends the name of a pipeline's late topic.
const lateSuffix = ".late"

func (c *WindowConfig) applyDefaults() {
	if name, ok := strings.CutSuffix(c.Late, lateSuffix); ok && c.Group == "" && name != "" {
		c.Group = "weir-" + name
	}
	if c.Columns == (WindowColumns{}) {
		c.Columns, _ = ParseWindowColumns(DefaultWindowColumns)
	}
}

// Validate reports the first setting that can't be checked by. Without a Topic there is none.
func (c WindowConfig) Validate() error {
	c.applyDefaults()
	switch {
	case c.Topic == "":
		return nil
	case c.Size < time.Millisecond || c.Size%time.Millisecond != 0:
		return fmt.Errorf("the window size must be whole milliseconds and at least one, not %s", c.Size)
	case c.Delay < 0:
		return fmt.Errorf("the delay of the watermark can't be negative: %s", c.Delay)
	case c.Group == "":
		return errors.New("the pipeline's consumer group must be named, or its late topic as NAME.late")
	case c.Columns.Start == "" || c.Columns.Device == "" || c.Columns.Count == "":
		return errors.New("the columns of a window's start, its device and its count must be named")
	}
	return nil
}
