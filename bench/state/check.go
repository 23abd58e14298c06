package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// result is a row of any of the result topics.
type result struct {
	DeviceID string `json:"device_id"`
	Readings int64  `json:"readings"`
	Lowest   int64  `json:"lowest"`
	Highest  int64  `json:"highest"`
	Total    int64  `json:"total"`
	Place    int64  `json:"place"`
	Value    int64  `json:"value"`
	Site     string `json:"site"`
}

// expected reports whether a row is one of the workload's final results, and which one of a key's.
func (t *trial) expected(key int, r *result) (number int, ok bool) {
	one, two := value(key, 0), value(key, 1)
	low, high := min(one, two), max(one, two)
	switch t.workload {
	case "group":
		return 0, *r == result{DeviceID: r.DeviceID, Readings: passes, Lowest: low, Highest: high, Total: low + high}
	case "top":
		if r.Place == 1 {
			return 0, r.Value == high
		}
		return 1, r.Place == 2 && r.Value == low
	default:
		if r.Value == high {
			return 0, r.Site == site(key)
		}
		return 1, r.Value == low && r.Site == site(key)
	}
}

// check compares a result topic with the expected results. In an append-only one each occurs once;
// in the others, the last row of each is compared, and earlier ones may be anything.
func (t *trial) check(ctx context.Context, topic string) error {
	right := make([]byte, t.keys*passes) // number of right rows; of an upsert topic 1 if the last row is right
	err := t.read(ctx, topic, func(r *kgo.Record) error {
		var row result
		if err := json.Unmarshal(r.Value, &row); err != nil {
			return fmt.Errorf("row %q of %s: %w", r.Value, topic, err)
		}
		var key int
		if _, err := fmt.Sscanf(row.DeviceID, "device-%d", &key); err != nil || key < 0 || key >= t.keys {
			return fmt.Errorf("row %q of %s has an unexpected device", r.Value, topic)
		}
		number, ok := t.expected(key, &row)
		switch at := &right[key*passes+number]; {
		case t.workload != "join":
			*at = 0
			if ok {
				*at = 1
			}
		case ok:
			*at++
		default:
			return fmt.Errorf("row %q of %s is not expected", r.Value, topic)
		}
		return nil
	})
	if err != nil {
		return err
	}
	wrong, first := 0, 0
	for i, n := range right {
		if t.workload == "group" && i%passes != 0 || n == 1 {
			continue
		}
		if wrong++; wrong == 1 {
			first = i
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d results in %s are missing, wrong or repeated, the first of them result %d of %s with %d right rows", wrong, topic, first%passes, deviceID(first/passes), right[first])
	}
	return nil
}
