package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

// copyPipeline writes a pipeline that copies readings from one topic to another.
func copyPipeline(t *testing.T, name, from, to string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), name+".sql")
	text := `CREATE TABLE readings (device_id STRING, sensor STRING) WITH ('connector'='kafka', 'topic'='` + from + `', 'value.format'='json', 'scan.startup.mode'='earliest-offset');
CREATE TABLE passed (device_id STRING, sensor STRING) WITH ('connector'='kafka', 'topic'='` + to + `', 'value.format'='json');
INSERT INTO passed SELECT device_id, sensor FROM readings;
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// counting writes a pipeline that keeps one aggregate per device.
func counting(t *testing.T, figure string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "fails.sql")
	text := `CREATE TABLE readings (device_id STRING, seq BIGINT) WITH ('connector'='kafka', 'topic'='sensor_data_tx', 'value.format'='json', 'scan.startup.mode'='earliest-offset');
CREATE TABLE figures (device_id STRING, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED) WITH ('connector'='upsert-kafka', 'topic'='figures', 'key.format'='json', 'value.format'='json');
INSERT INTO figures SELECT device_id, ` + figure + ` FROM readings GROUP BY device_id;
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An additional pipeline whose topic is missing waits for it, and one that can't run reports it.
// Neither stops the main job or other pipelines.
func TestUpRunsHealthyPipelinesDespiteOthers(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	healthy, waits := copyPipeline(t, "healthy", "sensor_data_tx", "healthy_out"), copyPipeline(t, "waits", "not_yet", "waits_out")
	fails := counting(t, "COUNT(*)")
	rows := func(topic string) int {
		code, stdout, _ := do(t, "tail", topic, "--from-start", "--until-end", "--data-dir="+data)
		if code != exitOK {
			return 0
		}
		return strings.Count(stdout, "\n")
	}
	before := start(t, "up", "--data-dir="+data, "--listen=127.0.0.1:0", "--rate=500", "--pipeline="+fails)
	waitFor(t, "state", func() bool { return rows("figures") > 0 })
	before.signal(syscall.SIGTERM)
	if code := before.wait(30 * time.Second); code != exitOK {
		t.Fatalf("exit %d: %s", code, before.errOut.String())
	}
	fails = counting(t, "MAX(seq)") // incompatible with the existing state
	up := start(t, "up", "--data-dir="+data, "--listen=127.0.0.1:0", "--rate=500", "--pipeline="+healthy, "--pipeline="+waits, "--pipeline="+fails)
	logged := func(text string) func() bool {
		return func() bool { return strings.Contains(up.errOut.String(), text) }
	}
	waitFor(t, "a topic to be missing", logged("pipeline is waiting for a topic"))
	waitFor(t, "a pipeline to fail", logged("pipeline failed"))
	waitFor(t, "rows of the healthy pipeline", func() bool { return rows("healthy_out") > 0 })

	member, err := embedded.Join(data)
	if err != nil || member == nil {
		t.Fatalf("join: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{member.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 4, 1, nil, "not_yet"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "not_yet", Value: []byte(`{"device_id":"d","sensor":"s"}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := member.Leave(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "rows of the pipeline that waited", func() bool { return rows("waits_out") == 1 })
	up.signal(syscall.SIGTERM)
	if code := up.wait(30 * time.Second); code != exitFailed || !strings.Contains(up.errOut.String(), "pipeline fails") {
		t.Errorf("exit %d, want %d and the name of the pipeline that failed: %s", code, exitFailed, up.errOut.String())
	}
}
