// Package flow offers records at a rate and collects committed results, for benchmarks that measure
// latency.
package flow

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Offer produces the records that next returns, numbered from 0, at a rate per second until the
// context ends. After a delay it catches up at once.
func Offer(ctx context.Context, client *kgo.Client, rate int, next func(n int64) (*kgo.Record, error)) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	var failed kgo.FirstErrPromise
	began := time.Now()
	for n := int64(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := failed.Err(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("offer records: %w", err)
		}
		for due := int64(time.Since(began).Seconds() * float64(rate)); n < due; n++ {
			r, err := next(n)
			if err != nil {
				return err
			}
			client.Produce(ctx, r, failed.Promise())
		}
	}
}

// Collect calls take with the value of each record, and when it became visible, until the context
// ends.
func Collect(ctx context.Context, client *kgo.Client, take func(value []byte, now time.Time) error) error {
	for {
		fetches := client.PollFetches(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("collect results: %w", err)
		}
		for _, r := range fetches.Records() {
			if err := take(r.Value, now); err != nil {
				return err
			}
		}
	}
}

// Quantile returns a quantile of sorted values, of which there is at least one.
func Quantile[T any](sorted []T, q float64) T { return sorted[int(q*float64(len(sorted)-1))] }
