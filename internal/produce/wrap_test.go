package produce_test

import (
	"context"
	"testing"
	"time"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/source/fleet"
)

// A producer's epoch is a 16-bit number that grows with each transaction (KIP-890). Beyond 32,766
// the broker assigns another producer id, in the middle of a session, and nothing is lost or
// duplicated.
func TestEpochWrap(t *testing.T) {
	transactions := int64(33_100)
	if testing.Short() {
		transactions = 500
	}
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	at := broker.Config{Brokers: []string{b.Addr()}}
	if err := node.ApplyDefaultTopics(ctx, at); err != nil {
		t.Fatal(err)
	}
	simulated, err := fleet.New(fleet.Config{Seed: 1, Devices: 10, Count: transactions, Noise: 1})
	if err != nil {
		t.Fatal(err)
	}
	result, err := produce.Run(ctx, produce.Config{
		Broker: at, Topic: node.SensorData, DLQ: node.DeadLetters, Progress: node.Progress, MaxRecords: 1, MarkTransactions: true,
		Compression: "none", // compression per record would dominate the time of the test
	}, simulated)
	if err != nil {
		t.Fatal(err)
	}
	if result.Transactions != transactions || result.Sessions != 1 {
		t.Errorf("%d transactions in %d sessions, want %d in 1", result.Transactions, result.Sessions, transactions)
	}
	report, err := audit.Verify(ctx, audit.Config{Broker: at})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Clean() || report.Records != transactions {
		t.Errorf("%d records, want %d; %+v", report.Records, transactions, report)
	}
}
