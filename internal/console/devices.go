package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/console/api"
	"weir.example/weir/reading"
)

// deviceQuery selects rows of the device list.
type deviceQuery struct {
	text   string // part of the id, case-insensitive
	status api.DeviceStatus
	sort   string // id, seen
	offset int
	limit  int
}

const (
	maxRows   = 200
	rowPoints = 32 // of a row's sparkline
)

func parseDeviceQuery(v url.Values) (q deviceQuery, err error) {
	q.text = strings.ToLower(v.Get("q"))
	q.status, q.sort = api.DeviceStatus(v.Get("status")), v.Get("sort")
	switch q.status {
	case "", api.Online, api.Late, api.Silent:
	default:
		return q, badRequest("invalid status=%s: must be online, late or silent", q.status)
	}
	if q.sort != "" && q.sort != "id" && q.sort != "seen" {
		return q, badRequest("invalid sort=%s: must be id or seen", q.sort)
	}
	if q.offset, err = number(v, "offset", 0, maxDevices); err != nil {
		return q, err
	}
	q.limit, err = number(v, "limit", 50, maxRows)
	return q, err
}

// number returns a non-negative integer parameter, or missing if it is not set.
func number(v url.Values, name string, missing, high int) (int, error) {
	if v.Get(name) == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(v.Get(name))
	if err != nil || n < 0 || n > high {
		return 0, badRequest("invalid %s=%s: must be an integer from 0 to %d", name, v.Get(name), high)
	}
	return n, nil
}

func (f *fleet) list(q deviceQuery) api.DeviceList {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	until := f.until(now)
	list := api.DeviceList{Offset: q.offset, Rows: []api.Device{}}
	list.Counts = api.DeviceCounts{Total: len(f.order), Untracked: f.untracked, Unread: f.unread, Sampled: now.Sub(f.jumped) < 10*time.Second}
	var matched []*device
	for _, d := range f.byID() {
		s := f.status(d, until)
		list.Counts.Count(s)
		if (q.status == "" || q.status == s) && (q.text == "" || strings.Contains(strings.ToLower(d.id), q.text)) {
			matched = append(matched, d)
		}
	}
	list.Matched = len(matched)
	if q.sort == "seen" {
		slices.SortStableFunc(matched, func(a, b *device) int { return cmp.Compare(a.arrived/1000, b.arrived/1000) })
	}
	from := min(q.offset, len(matched))
	for _, d := range matched[from:min(len(matched), from+q.limit)] {
		list.Rows = append(list.Rows, f.row(d, now.UnixMilli(), until))
	}
	return list
}

func (f *fleet) row(d *device, now, until int64) api.Device {
	row := api.Device{ID: d.id, Status: f.status(d, until), Seen: max(0, now-d.arrived), Sensors: make([]api.Sensor, 0, len(d.sensors))}
	for _, s := range d.sensors {
		one := api.Sensor{Name: s.name, Unit: s.unit, Last: s.last, Spark: make([]float32, 0, rowPoints)}
		s.points(rowPoints, func(_ int64, v float32) { one.Spark = append(one.Spark, v) })
		row.Sensors = append(row.Sensors, one)
	}
	return row
}

func (c *Console) devices(r *http.Request) (any, error) {
	q, err := parseDeviceQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return c.fleet.list(q), nil
}

// devicesFeed is the device list; its argument is the query of GET /api/devices.
type devicesFeed struct {
	fleet *fleet
	query deviceQuery
	ask   string
}

func (c *Console) devicesFeed(argument string) (feed, error) {
	v, err := url.ParseQuery(argument)
	if err != nil {
		return nil, err
	}
	q, err := parseDeviceQuery(v)
	return devicesFeed{c.fleet, q, argument}, err
}

func (f devicesFeed) frame() any {
	list := f.fleet.list(f.query)
	list.Ask = f.ask
	return list
}

func (f devicesFeed) period() time.Duration { return time.Second }
func (f devicesFeed) close()                {}

// deviceDetail is one device, with points of each sensor by event time.
type deviceDetail struct {
	ID        string           `json:"id"`
	Status    api.DeviceStatus `json:"status"`
	Seen      int64            `json:"seen"`
	Interval  float64          `json:"interval"` // usual interval, in milliseconds
	Partition int32            `json:"partition"`
	Sensors   []sensorSeries   `json:"sensors"`
}

type sensorSeries struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Last   float64   `json:"last"`
	At     []int64   `json:"at"`
	Values []float64 `json:"values"`
}

// detail returns a device with its points in memory; false if it is not known.
func (f *fleet) detail(id string) (deviceDetail, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.devices[id]
	if d == nil {
		return deviceDetail{}, false
	}
	now := f.now().UnixMilli()
	out := deviceDetail{ID: d.id, Status: f.status(d, f.until(f.now())), Seen: max(0, now-d.arrived), Interval: d.gap, Partition: d.partition}
	for _, s := range d.sensors {
		one := sensorSeries{Name: s.name, Unit: s.unit, Last: s.last}
		s.points(maxPoints, func(at int64, v float32) {
			one.At, one.Values = append(one.At, at), append(one.Values, rounded(v))
		})
		out.Sensors = append(out.Sensors, one)
	}
	return out, true
}

// rounded returns a 32-bit value with the digits of the original decimal, without binary noise.
func rounded(v float32) float64 {
	f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	if err != nil {
		return float64(v)
	}
	return f
}

// Bounds of reading a device's points from the end of its partition.
const (
	backfillRecords = 60_000
	backfillTime    = 3 * time.Second
	backfillPoints  = 2000 // of a sensor
)

// device serves GET /api/device?id=: a device with its points of the last minutes, read from the
// topic.
func (c *Console) device(r *http.Request) (any, error) {
	id := r.FormValue("id")
	d, ok := c.fleet.detail(id)
	if !ok {
		return nil, notFound("device %q not found", id)
	}
	ctx, cancel := context.WithTimeout(r.Context(), backfillTime)
	defer cancel()
	_ = c.backfill(ctx, &d) // on failure, only the points in memory are returned
	return d, nil
}

func (c *Console) backfill(ctx context.Context, d *deviceDetail) error {
	t := c.cluster.state()
	topic := t.topic(c.cfg.Site.Readings())
	if topic == nil || int(d.Partition) >= len(topic.Partitions) {
		return errors.New("topic not known yet")
	}
	p := topic.Partitions[d.Partition]
	series := make(map[string]*sensorSeries)
	for i := range d.Sensors {
		series[d.Sensors[i].Name] = &sensorSeries{}
	}
	var decode reading.Decoder
	end := map[int32]offsetRange{p.ID: {max(p.Start, p.Stable-backfillRecords), p.Stable}}
	err := scan(ctx, c.cfg.Broker, topic.Name, end, func(record *kgo.Record) error {
		var r reading.Reading
		if string(record.Key) != d.ID || decode.Decode(record.Value, &r) != nil && !c.readers.reading(record.Value, &r) {
			return nil
		}
		if s := series[r.Sensor]; s != nil {
			s.At, s.Values = append(s.At, r.TS), append(s.Values, r.Value)
		}
		return nil
	})
	for i := range d.Sensors {
		if s := series[d.Sensors[i].Name]; len(s.At) > len(d.Sensors[i].At) {
			from := max(0, len(s.At)-backfillPoints)
			d.Sensors[i].At, d.Sensors[i].Values = s.At[from:], s.Values[from:]
		}
	}
	return err
}

// deviceFeed sends the newest points of a device; the page merges the missing ones.
type deviceFeed struct {
	fleet *fleet
	id    string
}

func (c *Console) deviceFeed(id string) (feed, error) {
	if len(id) > reading.MaxName {
		return nil, badRequest("device id too long")
	}
	return deviceFeed{c.fleet, id}, nil
}

func (f deviceFeed) frame() any {
	d, ok := f.fleet.detail(f.id)
	if !ok {
		return nil
	}
	return d
}
func (f deviceFeed) period() time.Duration { return 500 * time.Millisecond }
func (f deviceFeed) close()                {}
