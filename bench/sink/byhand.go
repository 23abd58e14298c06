package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
)

// byHand is what one would write first: it reads the topic, and executes a statement for each
// record. A crash repeats rows, or loses them.
func byHand(ctx context.Context, brokers, dsn string, upsert bool) error {
	left, err := strconv.Atoi(os.Getenv("ROWS"))
	if err != nil {
		return fmt.Errorf("ROWS: %w", err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	statement := "INSERT INTO results (k, sensor, v, n, ts) VALUES ($1, $2, $3, $4, $5::text::timestamp)"
	if upsert {
		statement += " ON CONFLICT (k) DO UPDATE SET sensor = excluded.sensor, v = excluded.v, n = excluded.n, ts = excluded.ts"
	}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			var of struct {
				K, Sensor, TS string
				V             float64
				N             int64
			}
			if err := json.Unmarshal(r.Value, &of); err != nil {
				return err
			}
			if _, err := conn.Exec(ctx, statement, of.K, of.Sensor, of.V, of.N, of.TS); err != nil {
				return err
			}
			if left--; left == 0 {
				break
			}
		}
	}
	return nil
}
