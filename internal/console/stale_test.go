package console

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/reading"
)

// Tests that stale data is not shown as current.

// A device that went silent before the readings that the console reads is known from its
// statistics.
func TestSilentDevicesAreRecalled(t *testing.T) {
	at := startCluster(t)
	last := time.Now().Add(-10 * time.Hour).UTC().Truncate(time.Millisecond)
	producer := client(t, at)
	row := fmt.Sprintf(`{"device_id":"en","sensor":"temperature","count":3,"min":1,"max":2,"mean":1.5,"last":1.25,"last_ts":%q,"partition":2,"offset":7}`, last.Format("2006-01-02T15:04:05.000Z"))
	for _, r := range []*kgo.Record{
		{Topic: "device_stats", Key: []byte(`{"device_id":"en","sensor":"temperature"}`), Value: []byte(row)},
		{Topic: "device_stats", Key: []byte(`{"device_id":"gone","sensor":"x"}`)}, // tombstone
	} {
		if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	send(t, at, reading.Reading{DeviceID: "living", Sensor: "temperature", TS: time.Now().UnixMilli(), Value: 20})
	c := serve(t, Config{Broker: at})
	eventually(t, c.URL()+"/api/devices?status=silent", `"id":"en"`, `"last":1.25`, `"total":2`, `"silent":1`)
	if code, got := answer(t, "GET", c.URL()+"/api/device?id=en", ""); code != 200 || !strings.Contains(got, `"partition":2`) {
		t.Errorf("device: %d %s", code, got)
	}
}

// No device is late while the follower lags.
func TestNoDeviceIsLateWhileFollowerLags(t *testing.T) {
	now := time.UnixMilli(1_000_000_000)
	f := newFleet(func() time.Time { return now }, nil)
	receive := func(id string) {
		r := reading.Reading{DeviceID: id, Sensor: "x", TS: now.UnixMilli()}
		f.receive([]*kgo.Record{{Value: r.AppendJSON(nil), Timestamp: now}}, 0)
	}
	counts := func() (online, behind int, until int64) {
		c := f.counts()
		return c.Online, c.Late + c.Silent, c.Until
	}
	receive("a")
	receive("b")
	f.reached(now)
	read := now
	now = now.Add(10 * time.Minute) // while nothing is read
	if online, behind, until := counts(); online != 2 || behind != 0 || until != read.UnixMilli() {
		t.Errorf("lagging: %d online, %d late or silent, until %d", online, behind, until)
	}
	receive("a")
	f.reached(now)
	if online, behind, until := counts(); online != 1 || behind != 1 || until != 0 {
		t.Errorf("caught up: %d online, %d late or silent, until %d", online, behind, until)
	}
}

// If the newest offsets of a topic contain only transaction markers, its live view goes back to the
// records before them.
func TestTailFindsRecordsBeforeMarkers(t *testing.T) {
	at := startCluster(t)
	const topic = "alert_rare"
	admin := kadm.NewClient(client(t, at))
	if _, err := admin.CreateTopic(t.Context(), 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	producer := client(t, at, kgo.TransactionalID("rare"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	write := func(value string, end kgo.TransactionEndTry) {
		t.Helper()
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(2) {
			producer.Produce(t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(value)}, nil)
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := producer.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"kept":true}`, kgo.TryCommit)
	for range 4 * tailBack {
		write("aborted", kgo.TryAbort)
	}
	c := serve(t, Config{Broker: at})
	feed, err := c.tails.feed(topic)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		frame := feed.frame().(tailFrame)
		if len(frame.Rows) == 2 {
			break
		}
		if len(frame.Rows) == 0 && !frame.Reading {
			t.Fatal("live view claims that there are no committed records")
		}
		if time.Now().After(deadline) {
			t.Fatalf("timed out: live view has %d records, want 2", len(frame.Rows))
		}
	}
	empty, err := c.tails.feed("sensor_data_tx")
	if err != nil {
		t.Fatal(err)
	}
	defer empty.close()
	for deadline := time.Now().Add(20 * time.Second); empty.frame().(tailFrame).Reading; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("timed out: the end of an empty topic is not reached")
		}
	}
}

// When the broker is down, the overview shows since when, its points are gaps, and pipelines of
// other processes are unknown.
func TestBrokerGone(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	at := broker.Config{Brokers: cluster.ListenAddrs()}
	if err := broker.EnsureTopics(t.Context(), kadm.NewClient(client(t, at)), broker.DefaultTopics()); err != nil {
		t.Fatal(err)
	}
	send(t, at, reading.Reading{DeviceID: "d", Sensor: "x", TS: time.Now().UnixMilli()})
	group := client(t, at, kgo.ConsumerGroup("weir-elsewhere"), kgo.ConsumeTopics("sensor_data_tx"))
	group.PollFetches(t.Context())
	if err := group.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := serve(t, Config{Broker: at})
	eventually(t, c.URL()+"/api/pipelines", `"name":"elsewhere","state":"running"`)
	if _, got := answer(t, "GET", c.URL()+"/api/overview", ""); strings.Contains(got, `"gap":true`) || !strings.Contains(got, `"answered":`) {
		t.Errorf("with a broker: %s", got)
	}
	cluster.Close()
	eventually(t, c.URL()+"/api/overview", `"gap":true`)
	eventually(t, c.URL()+"/api/pipelines", `"name":"elsewhere","state":"unknown"`)
}

// A queued preview whose client has disconnected stops waiting.
func TestPreviewEndsWithItsBrowser(t *testing.T) {
	c := serve(t, Config{})
	defer take(t, c.previews)() // by another preview
	ctx, leave := context.WithCancel(t.Context())
	leave()
	text := `{"text":"CREATE TABLE r (device_id STRING) WITH ('connector'='kafka','topic'='sensor_data_tx','value.format'='json'); SELECT device_id FROM r;","last":10}`
	done := make(chan error, 1)
	go func() {
		_, err := c.previewSQL(httptest.NewRequestWithContext(ctx, "POST", "/api/sql/preview", strings.NewReader(text)))
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("preview of a closed request succeeds")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("preview of a closed request is still queued")
	}
}
