package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// Queries whose results are the last rows of each key, rather than all rows.
var upserts = []string{"q4", "q9", "q15", "q16", "q17", "q18", "q19"}

var hashSeed = maphash.MakeSeed()

// rows are the results of a run: how often each row occurs, or each key's last row.
type rows struct {
	times map[uint64]int
	last  map[string]uint64
}

// results reads the committed results of a run.
func (b *bench) results(ctx context.Context, topic, query string) (*rows, error) {
	r := &rows{times: make(map[uint64]int), last: make(map[string]uint64)}
	err := broker.ReadAll(ctx, b.config(), topic, nil, func(in *kgo.Record) error {
		row := maphash.Bytes(hashSeed, in.Value)
		switch {
		case !slices.Contains(upserts, query):
			r.times[row]++
		case in.Value == nil:
			delete(r.last, string(in.Key))
		default:
			r.last[string(in.Key)] = row
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the results in %s: %w", topic, err)
	}
	return r, nil
}

// count returns the number of rows.
func (r *rows) count() int {
	n := len(r.last)
	for _, times := range r.times {
		n += times
	}
	return n
}

// differences returns the number of rows that only one side has, or of keys with different rows.
func (r *rows) differences(o *rows) (n int) {
	for row, times := range r.times {
		if d := times - o.times[row]; d > 0 {
			n += d
		}
	}
	for row, times := range o.times {
		if d := times - r.times[row]; d > 0 {
			n += d
		}
	}
	for key, row := range r.last {
		if other, ok := o.last[key]; !ok || other != row {
			n++
		}
	}
	for key := range o.last {
		if _, ok := r.last[key]; !ok {
			n++
		}
	}
	return n
}
