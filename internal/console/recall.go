package console

import (
	"context"
	"encoding/json"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/retry"
)

// The readings that the console looks at are the newest ones, and a device that fell silent last
// night has none among them. Its statistics remain: the topic that the main job keeps them in has
// the last reading of each sensor of each device.

const (
	recallTime  = 30 * time.Second // bounds one try
	recallTries = 3                // where schemas of the registry are not here yet
)

// lastReading is what a row of the statistics says of a sensor.
type lastReading struct {
	Device string    `json:"device_id"`
	Sensor string    `json:"sensor"`
	Last   float64   `json:"last"`
	At     time.Time `json:"last_ts"`
	Part   int32     `json:"partition"` // of the readings
}

// recallDevices reads the statistics once, as soon as the broker shows their topic.
func (c *Console) recallDevices(ctx context.Context) {
	for tries := 0; tries < recallTries && ctx.Err() == nil; {
		if !c.cluster.state().At.IsZero() {
			tries++
			unread, err := c.recallOnce(ctx)
			if err == nil && unread == 0 {
				return
			}
			c.cfg.Logger.Debug("console: read the statistics of devices", "topic", c.cfg.Site.Stats(), "unread", unread, "err", err)
		}
		_ = retry.Sleep(ctx, time.Second)
	}
}

// recallOnce reads the statistics to their end. It returns how many rows it could not read.
func (c *Console) recallOnce(ctx context.Context) (unread int, err error) {
	state := c.cluster.state()
	topic := state.topic(c.cfg.Site.Stats())
	if topic == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, recallTime)
	defer cancel()
	parts := make(map[int32]stretch)
	for _, p := range topic.Partitions {
		parts[p.ID] = stretch{p.Start, p.Stable}
	}
	err = c.scan(ctx, topic.Name, parts, func(r *kgo.Record) error {
		if r.Value == nil {
			return nil
		}
		var row lastReading
		value := r.Value
		if id, ok := schemaID(value); ok {
			if _, text, ok := c.readers.text(id, value); ok {
				value = []byte(text)
			}
		}
		if json.Unmarshal(value, &row) != nil || row.Device == "" || row.At.IsZero() {
			unread++
			return nil
		}
		c.fleet.recall(row.Device, row.Sensor, row.Part, row.Last, row.At.UnixMilli())
		return nil
	})
	return unread, err
}
