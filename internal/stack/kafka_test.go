package stack

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
)

// A real broker commits a transaction, is killed, reopened by its folder, and still has the
// transaction after a restart.
func TestKafkaSurvivesKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a JVM: make test runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	started, err := StartKafka(ctx, Options{Dir: dir, Detached: true})
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	k, err := OpenKafka(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := StartKafka(ctx, Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("a second cluster in the folder: %v", err)
	}
	config := broker.Config{Brokers: k.Brokers()}
	client, err := broker.Connect(ctx, config, kgo.TransactionalID("t"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 2, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "kept", Value: []byte{'a'}}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (records int) {
		t.Helper()
		err := broker.ReadAll(ctx, config, "kept", nil, func(*kgo.Record) error { records++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return records
	}
	// The first read waits for the abort's marker. Killed before that, Kafka 4.3.1 can restart with
	// a transaction that has ended for its coordinator and is still open for the partition.
	if n := read(); n != 1 {
		t.Errorf("%d records, want the committed one", n)
	}
	if err := k.Kill(0); err != nil {
		t.Fatal(err)
	}
	if err := k.Start(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if n := read(); n != 1 {
		t.Errorf("%d records after kill -9, want the committed one", n)
	}
	if err := k.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if running := k.Running(); len(running) > 0 {
		t.Errorf("%v still run", running)
	}
}
