package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

const clocked = `
CREATE TABLE readings (device_id STRING, sensor STRING, arrived AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'readings', 'value.format' = 'json',
  'scan.startup.mode' = 'earliest-offset');
CREATE TABLE seen (d STRING, at_time TIMESTAMP_LTZ(3), arrived TIMESTAMP_LTZ(3), id STRING, r DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'seen', 'format' = 'json');
CREATE TABLE counts (sensor STRING, n BIGINT, ids BIGINT, last TIMESTAMP_LTZ(3), PRIMARY KEY (sensor) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts',
  'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO seen SELECT device_id, NOW(), arrived, UUID(), RAND() FROM readings;
INSERT INTO counts SELECT sensor, COUNT(*), COUNT(DISTINCT id), MAX(t) FROM (SELECT sensor, UUID() AS id, NOW() AS t FROM readings) GROUP BY sensor;`

// ticking is a clock that moves at each reading, so that equal times mean one reading.
type ticking struct {
	sync.Mutex
	at   time.Time
	read map[int64]bool // what it has shown, in milliseconds
}

func (c *ticking) now() time.Time {
	c.Lock()
	defer c.Unlock()
	c.at = c.at.Add(time.Millisecond)
	c.read[c.at.UnixMilli()] = true
	return c.at
}

// All rows of a transaction have the time at which it began, and no two rows the same UUID, also
// across workers, kills in the middle of transactions, and restarts.
func TestTimeOfTransactions(t *testing.T) {
	at := cluster(t, 200)
	clock := &ticking{at: time.Now(), read: make(map[int64]bool)}
	config := countedConfig(t, at, strings.ReplaceAll(clocked, " last TIMESTAMP", " `last` TIMESTAMP"))
	config.Now = clock.now
	config.CommitInterval = 5 * time.Millisecond
	for round := range 6 { // killed at some point, with transactions open
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+30*round)*time.Millisecond)
		_, _ = Run(ctx, config)
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := Run(ctx, config); err != nil {
		t.Fatal(err)
	}
	ids, devices := make(map[string]bool), make(map[string]bool)
	rands := make(map[float64]bool)
	err := broker.ReadAll(t.Context(), at, "seen", nil, func(r *kgo.Record) error {
		var row struct {
			D, At, Arrived, ID string
			AtTime             string `json:"at_time"`
			R                  float64
		}
		if err := json.Unmarshal(r.Value, &row); err != nil {
			return err
		}
		if row.AtTime != row.Arrived {
			t.Errorf("%s: NOW() is %s and PROCTIME() %s", row.D, row.AtTime, row.Arrived)
		}
		began, err := time.Parse("2006-01-02 15:04:05.999Z", row.AtTime)
		if err != nil {
			return err
		}
		if !clock.read[began.UnixMilli()] {
			t.Errorf("%s: %s is not the beginning of a transaction", row.D, row.AtTime)
		}
		if ids[row.ID] || rands[row.R] || devices[row.D] {
			t.Errorf("%s, %s or %v twice", row.D, row.ID, row.R)
		}
		ids[row.ID], rands[row.R], devices[row.D] = true, true, true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(devices) != 200 {
		t.Errorf("%d rows, want 200", len(devices))
	}
	for sensor, v := range counts(t, at, "counts") {
		if want := `"n":100,"ids":100,`; !strings.Contains(v, want) {
			t.Errorf("%s: %s, want %s", sensor, v, want)
		}
	}
	if config.Program.Volatile == nil || fmt.Sprint(config.Program.Volatile) != "[NOW PROCTIME RAND UUID]" {
		t.Errorf("volatile functions are %v", config.Program.Volatile)
	}
}
