package alert

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/transact"
)

// describeError makes a cluster respond to the next n describe requests for topic hot with an
// error, and calls answered for each of them.
func describeError(c *kfake.Cluster, n int, cause *kerr.Error, answered func()) {
	c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r, ok := req.(*kmsg.MetadataRequest)
		if !ok || n == 0 || len(r.Topics) != 1 || r.Topics[0].Topic == nil || *r.Topics[0].Topic != "hot" {
			return nil, nil, false
		}
		n--
		resp := r.ResponseKind().(*kmsg.MetadataResponse) //nolint:forcetypeassert // of a metadata request
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.ErrorCode = kmsg.StringPtr("hot"), cause.Code
		resp.Topics = append(resp.Topics, topic)
		answered()
		return resp, nil, true
	})
}

// Deliver retries a transient error, such as a new topic without a leader, and reports it in the
// log and in its health.
func TestDeliverRetriesDescribingTopics(t *testing.T) {
	c, w := newCluster(t)
	w.health = NewHealth()
	w.row("d1", "warning")
	var health []string
	describeError(c, 2, kerr.LeaderNotAvailable, func() {
		if err := w.health.Ready(); err != nil {
			health = append(health, err.Error())
		}
	})
	defer w.start("a")()
	w.hook.await(t, "d1/firing/1")
	if len(health) != 2 || !strings.Contains(health[1], "describe topic hot: LEADER_NOT_AVAILABLE") {
		t.Errorf("health at the two errors: %q", health)
	}
	if log := w.log.String(); !strings.Contains(log, "describe topic hot: LEADER_NOT_AVAILABLE") {
		t.Errorf("the log does not have the error:\n%s", log)
	}
}

// Deliver waits for topics that do not exist yet, and reports this in the log and in its health.
func TestDeliverWaitsForTopics(t *testing.T) {
	_, w := newCluster(t)
	w.health = NewHealth()
	c := w.deliver("a")
	c.Tables = append(c.Tables, Table{Name: "too_cold", Topic: "cold", Upsert: true, Key: []string{"device_id"}})
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- Deliver(ctx, c) }()
	w.awaitLog(`msg="waiting for pipelines to create the topics of alert tables" topics=cold`)
	if err := w.health.Ready(); err == nil {
		t.Error("ready without the topic")
	}
	if _, err := kadm.NewClient(w.client).CreateTopic(t.Context(), 1, 1, nil, "cold"); err != nil {
		t.Fatal(err)
	}
	w.row("d1", "warning")
	w.hook.await(t, "d1/firing/1")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := strings.Count(w.log.String(), "waiting for pipelines"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, w.log.String())
	}
}

// Deliver returns an error that only an administrator can resolve.
func TestDeliverStopsWithoutPermission(t *testing.T) {
	c, w := newCluster(t)
	describeError(c, -1, kerr.TopicAuthorizationFailed, func() {})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := Deliver(ctx, w.deliver("a"))
	if broker.Classify(err) != broker.Fatal || !strings.Contains(err.Error(), "hot: TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("Deliver returned %v", err)
	}
}

// Silences in the state topic are known before the first session: an alert that one of them matches
// is not sent after a restart.
func TestPrepareLoadsSilences(t *testing.T) {
	_, w := newCluster(t)
	now := time.Now()
	if err := PutSilence(t.Context(), w.at, site.Site{}, Silence{ID: "s1", Match: Matcher{"device_id": "d1"}, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	d := &deliverer{sessions: &transact.Sessions{}, cfg: w.deliver("a").withDefaults()}
	if err := d.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if active := d.silences.active(now); len(active) != 1 || active[0].ID != "s1" {
		t.Errorf("active silences after prepare: %+v", active)
	}
}

// Deliver does not wait for a broker that has never responded.
func TestDeliverStopsWithoutBroker(t *testing.T) {
	c, w := newCluster(t)
	c.Close()
	if err := Deliver(t.Context(), w.deliver("a")); err == nil || !strings.Contains(err.Error(), "no Kafka broker reached") {
		t.Errorf("Deliver returned %v", err)
	}
}
