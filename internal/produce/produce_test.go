package produce_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/deadletter"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/source"
	"weir.example/weir/internal/source/file"
	"weir.example/weir/internal/source/fleet"
)

// serve starts a broker with Weir's topics.
func serve(t *testing.T) broker.Config {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	at := broker.Config{Brokers: []string{b.Addr()}}
	if err := node.ApplyDefaultTopics(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	return at
}

func config(at broker.Config) produce.Config {
	return produce.Config{Broker: at, Topic: node.SensorData, DLQ: node.DeadLetters, Progress: node.Progress, MarkTransactions: true}
}

func newFleet(t *testing.T, cfg fleet.Config) *fleet.Fleet {
	t.Helper()
	f, err := fleet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A run that is stopped and restarted many times sends the same readings as a single run.
func TestRunResumes(t *testing.T) {
	at := serve(t)
	const total = 20_000
	acks := filepath.Join(t.TempDir(), "acks")
	var sent, earlier int64
	for range 200 {
		ctx, stop := context.WithCancel(t.Context())
		c := config(at)
		c.MaxRecords, c.AckLog = 700, acks
		c.OnCommit = func(produce.Commit) { stop() } // after the first commit
		result, err := produce.Run(ctx, c, newFleet(t, fleet.Config{Seed: 3, Devices: 20, Count: total, Outages: 0.5, Repeats: 0.1, Noise: 1}))
		stop()
		if err != nil {
			t.Fatal(err)
		}
		if result.Earlier != sent {
			t.Fatalf("resumed after %d readings, %d were sent", result.Earlier, sent)
		}
		sent += result.Readings
		earlier = result.Earlier
		if sent == total {
			break
		}
	}
	if sent != total || earlier == 0 {
		t.Errorf("%d readings sent, want %d over several runs", sent, total)
	}
	report, err := audit.Verify(t.Context(), audit.Config{Broker: at, Acks: []string{acks}})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Clean() || report.Records != total {
		t.Errorf("%d records; %+v", report.Records, report)
	}
}

// The older of two producers of one source is fenced and stops, and nothing is sent twice.
func TestNewerProducerTakesOver(t *testing.T) {
	at := serve(t)
	cfg := fleet.Config{Seed: 3, Devices: 20, Count: 4000, Rate: 2000, Start: time.UnixMilli(0)}
	c := config(at)
	c.Rate = cfg.Rate
	running := make(chan struct{}, 1000)
	c.OnCommit = func(produce.Commit) { running <- struct{}{} }
	older := make(chan error, 1)
	go func() {
		_, err := produce.Run(t.Context(), c, fleetOrNil(cfg))
		older <- err
	}()
	<-running
	newer := config(at)
	result, err := produce.Run(t.Context(), newer, newFleet(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	if err := <-older; err == nil || !strings.Contains(err.Error(), "has taken over") || !broker.IsFenced(err) {
		t.Errorf("the older producer returned %v", err)
	}
	report, err := audit.Verify(t.Context(), audit.Config{Broker: at})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Clean() || report.Records != 4000 || result.Earlier == 0 {
		t.Errorf("%d records, %d of them from the older producer; %+v", report.Records, result.Earlier, report)
	}
}

func fleetOrNil(cfg fleet.Config) *fleet.Fleet {
	f, err := fleet.New(cfg)
	if err != nil {
		return nil
	}
	return f
}

// Invalid rows become dead letters in the same transaction, with their bytes.
func TestBadRowsAreDeadLetters(t *testing.T) {
	at := serve(t)
	path := filepath.Join(t.TempDir(), "bad.csv")
	if err := os.WriteFile(path, []byte("ts,device,v\n1767225601,d,1\n1767225602,d,two\n,d,3\n1767225604,d,4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := file.Open(file.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	result, err := produce.Run(t.Context(), config(at), f)
	if err != nil {
		t.Fatal(err)
	}
	if result.Readings != 2 || result.DeadLetters != 2 {
		t.Errorf("%+v", result)
	}
	var deadLetters []string
	topics := deadletter.Topics{DLQ: node.DeadLetters, Progress: node.Progress}
	err = deadletter.List(t.Context(), at, topics, deadletter.Filter{}, func(l deadletter.Entry) error {
		deadLetters = append(deadLetters, l.Source+" "+string(l.Value)+" "+filepath.Base(l.Reason))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(deadLetters, "\n")
	for _, want := range []string{`file:bad.csv 1767225602,d,two bad.csv:3: column v: "two" is neither`, `file:bad.csv ,d,3 bad.csv:4: column ts: the time is missing`} {
		if !strings.Contains(all, want) {
			t.Errorf("no dead letter %q in\n%s", want, all)
		}
	}
}

// Run returns errors that a new session cannot resolve.
func TestRunStopsOnPermanentErrors(t *testing.T) {
	at := serve(t)
	if _, err := produce.Run(t.Context(), config(at), newFleet(t, fleet.Config{Seed: 9, Devices: 5, Count: 10})); err != nil {
		t.Fatal(err)
	}
	_, err := produce.Run(t.Context(), config(at), newFleet(t, fleet.Config{Seed: 9, Devices: 6, Count: 10}))
	if !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), "devices was") {
		t.Errorf("other devices: %v", err)
	}
	missing := config(at)
	missing.Topic = "nothing"
	if _, err := produce.Run(t.Context(), missing, newFleet(t, fleet.Config{})); err == nil || !strings.Contains(err.Error(), "no topic nothing") {
		t.Errorf("missing topic: %v", err)
	}
	var unreachable *broker.UnreachableError
	if _, err := produce.Run(t.Context(), config(broker.Config{Brokers: []string{"127.0.0.1:1"}}), newFleet(t, fleet.Config{})); !errors.As(err, &unreachable) {
		t.Errorf("unreachable broker: %v", err)
	}
}
