package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/stack"
)

// avroColumns has a column of each type that avro-confluent supports.
const avroColumns = `id STRING NOT NULL, yes BOOLEAN, i INT, l BIGINT, f FLOAT, d DOUBLE, price DECIMAL(10, 2), whole_day DATE,
  ts TIMESTAMP(3), raw_bytes BYTES, tags ARRAY<STRING>, m MAP<STRING, DOUBLE>, r ROW<x INT, y STRING>`

var avroRows = []string{
	`{"id":"a","yes":true,"i":-7,"l":9007199254740993,"f":1.5,"d":-2.25,"price":-12.34,"whole_day":"2026-01-31","ts":"2026-01-31 12:00:00.123","raw_bytes":"AP8=","tags":["x",null,"é"],"m":{"k":0.5},"r":{"x":1,"y":"why"}}`,
	`{"id":"b","yes":null,"i":null,"l":null,"f":null,"d":null,"price":null,"whole_day":null,"ts":null,"raw_bytes":null,"tags":null,"m":null,"r":null}`,
	`{"id":"c","yes":false,"i":0,"l":0,"f":0.0,"d":0.0,"price":0.00,"whole_day":"1969-12-31","ts":"1969-12-31 23:59:59.999","raw_bytes":"","tags":[],"m":{},"r":{"x":null,"y":null}}`,
}

// Flink reads what Weir writes in avro-confluent, and vice versa, using the same statement and the
// embedded registry. Both register the same schema.
func TestAvroSharedWithFlink(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Kafka and Flink: make test runs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	kafka := stack.New(t, 1)
	cluster := stack.NewFlink(t, stack.FlinkOptions{TaskManagers: 1, Slots: 2, Memory: 320})
	brokers := strings.Join(kafka.Brokers(), ",")
	at := broker.Config{Brokers: kafka.Brokers()}
	r, err := embedded.Open(ctx, embedded.Config{Broker: at})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	client, err := broker.Connect(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(ctx, 1, 1, nil, "given", "of_weir", "of_flink"); err != nil {
		t.Fatal(err)
	}
	for _, row := range avroRows {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: "given", Value: []byte(row)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	table := func(topic, format string) string {
		return fmt.Sprintf("CREATE TABLE %s (%s) WITH ('connector' = 'kafka', 'topic' = '%s', 'properties.bootstrap.servers' = '%s', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'value.format' = %s)",
			topic, avroColumns, topic, brokers, format)
	}
	avro := "'avro-confluent', 'value.avro-confluent.url' = '" + r.URL() + "'"
	weirCopies := func(from, to string, tables ...string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), to+".sql")
		text := strings.Join(tables, ";\n") + ";\nINSERT INTO " + to + " SELECT * FROM " + from + ";\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		must(t, "run", file, "--brokers="+brokers, "--state-dir=none")
	}
	weirCopies("given", "of_weir", table("given", "'json'"), table("of_weir", avro))

	session, err := flink.NewCluster(flink.Config{Gateway: cluster.GatewayURL(), JobManager: cluster.RestURL()}).
		OpenSession(ctx, "avro", map[string]string{"execution.runtime-mode": "batch", "parallelism.default": "1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{table("of_weir", avro), table("of_flink", avro), "INSERT INTO of_flink SELECT * FROM of_weir"} {
		if _, err := session.Execute(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	read, err := session.Execute(ctx, "SELECT id, l, price, CAST(ts AS STRING), CARDINALITY(tags), r.y FROM of_weir")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range read.Rows {
		got = append(got, fmt.Sprintf("%s", row.Fields))
	}
	slices.Sort(got)
	want := []string{`["a" 9007199254740993 -12.34 "2026-01-31 12:00:00.123" 3 "why"]`, `["b" null null null null null]`, `["c" 0 0 "1969-12-31 23:59:59.999" 0 null]`}
	if !slices.Equal(got, want) {
		t.Errorf("Flink reads of Weir:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	awaitRecords(ctx, t, client, "of_flink", len(avroRows))
	weirCopies("of_flink", "back", table("of_flink", avro), table("back", "'json'"))
	if got := committed(ctx, t, at, "back", len(avroRows)); !slices.Equal(got, avroRows) {
		t.Errorf("Weir reads of Flink:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(avroRows, "\n"))
	}

	schemas, err := registry.NewClient(registry.Config{URLs: []string{r.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer schemas.Close()
	ours, err := schemas.Latest(ctx, "of_weir-value")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := schemas.Latest(ctx, "of_flink-value")
	if err != nil {
		t.Fatal(err)
	}
	if ours.Schema.ID != theirs.Schema.ID {
		t.Errorf("Weir's schema\n%s\nFlink's\n%s", ours.Schema.Text, theirs.Schema.Text)
	}
}

func awaitRecords(ctx context.Context, t *testing.T, client *kgo.Client, topic string, n int) {
	t.Helper()
	for {
		ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
		if sum >= int64(n) {
			return
		}
		if err := retry.Sleep(ctx, 200*time.Millisecond); err != nil {
			t.Fatalf("%s has %d records, want %d", topic, sum, n)
		}
	}
}

// committed returns the values of a topic, sorted.
func committed(ctx context.Context, t *testing.T, at broker.Config, topic string, n int) []string {
	t.Helper()
	var all []string
	err := broker.Tail(ctx, at, topic, broker.TailOptions{FromStart: true, UntilEnd: true}, func(r *kgo.Record) error {
		all = append(all, string(r.Value))
		return nil
	}, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != n {
		t.Errorf("%s has %d records, want %d", topic, len(all), n)
	}
	slices.Sort(all)
	return all
}
