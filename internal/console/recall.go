package console

import (
	"context"
	"encoding/json"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/retry"
)

// The console reads only the newest readings, which include none of a device that went silent last
// night. The topic of the main job's statistics still has the last reading of each of its sensors.

const (
	recallTime  = 30 * time.Second // bounds one attempt
	recallTries = 3                // schemas of the registry may not have arrived yet
)

// lastReading is the last reading of a sensor, in a row of the statistics.
type lastReading struct {
	Device string    `json:"device_id"`
	Sensor string    `json:"sensor"`
	Last   float64   `json:"last"`
	At     time.Time `json:"last_ts"`
	Part   int32     `json:"partition"` // of the readings
}

// recallDevices reads the statistics once, as soon as the topics are known.
func (c *Console) recallDevices(ctx context.Context) {
	for tries := 0; tries < recallTries && ctx.Err() == nil; {
		if !c.cluster.state().At.IsZero() {
			tries++
			unread, err := c.recallOnce(ctx)
			if err == nil && unread == 0 {
				return
			}
			c.cfg.Logger.Debug("console: read device statistics", "topic", c.cfg.Site.Stats(), "unread", unread, "err", err)
		}
		_ = retry.Sleep(ctx, time.Second)
	}
}

// recallOnce reads the statistics to their end and returns the number of rows that it could not
// decode.
func (c *Console) recallOnce(ctx context.Context) (unread int, err error) {
	state := c.cluster.state()
	topic := state.topic(c.cfg.Site.Stats())
	if topic == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, recallTime)
	defer cancel()
	parts := make(map[int32]offsetRange)
	for _, p := range topic.Partitions {
		parts[p.ID] = offsetRange{p.Start, p.Stable}
	}
	err = scan(ctx, c.cfg.Broker, topic.Name, parts, func(r *kgo.Record) error {
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
