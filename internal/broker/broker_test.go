package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"weir.example/weir/internal/broker"
)

// cluster starts a broker in memory.
func cluster(t *testing.T, opts ...kfake.Opt) broker.Config {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return broker.Config{Brokers: c.ListenAddrs()}
}

func connect(t *testing.T, c broker.Config, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := broker.Connect(t.Context(), c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		want broker.Class
	}{
		{kerr.ProducerFenced, broker.Fatal},
		{fmt.Errorf("commit: %w", kerr.InvalidProducerEpoch), broker.Fatal},
		{kerr.TopicAuthorizationFailed, broker.Fatal},
		{kerr.UnsupportedVersion, broker.Fatal},
		{context.Canceled, broker.Fatal},
		{errors.Join(errors.New("write"), kerr.MessageTooLarge), broker.Retry},
		{&broker.WriteError{Topic: "results", Err: kerr.InvalidRecord}, broker.Fatal},
		{fmt.Errorf("join: %w", kerr.InvalidSessionTimeout), broker.Fatal},
		{kerr.NotLeaderForPartition, broker.Retry},
		{kerr.CoordinatorNotAvailable, broker.Retry},
		{kerr.InvalidTxnState, broker.Retry},
		{io.EOF, broker.Retry},
		{errors.New("unheard of"), broker.Retry},
	} {
		if got := broker.Classify(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	at := []string{"localhost:9092"}
	for _, c := range []struct {
		config broker.Config
		want   string
	}{
		{broker.Config{}, "no brokers"},
		{broker.Config{Brokers: []string{"localhost"}}, "is not host:port"},
		{broker.Config{Brokers: at, CertFile: "c"}, "set both or neither"},
		{broker.Config{Brokers: at, User: "u"}, "no SASL mechanism"},
		{broker.Config{Brokers: at, SASL: "GSSAPI"}, "choose one of PLAIN"},
		{broker.Config{Brokers: at, SASL: "PLAIN"}, "needs a user"},
		{broker.Config{Brokers: at, SASL: "OAUTHBEARER"}, "needs a file with the token"},
		{broker.Config{Brokers: at, SASL: "oauthbearer", TokenFile: "t", User: "u"}, "neither user nor password"},
		{broker.Config{Brokers: at, SASL: "AWS_MSK_IAM", TokenFile: "t"}, "a token is for SASL OAUTHBEARER"},
		{broker.Config{Brokers: at, TokenFile: "t"}, "no SASL mechanism"},
	} {
		if err := c.config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.config, err, c.want)
		}
	}
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		at := cluster(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "u", "right"))
		at.SASL, at.User, at.Password = mechanism, "u", "right"
		connect(t, at)
		at.Password = "wrong"
		began := time.Now()
		_, err := broker.Connect(t.Context(), at)
		if err == nil || strings.Contains(err.Error(), "wrong") || strings.Contains(err.Error(), "\n") || time.Since(began) > 10*time.Second {
			t.Errorf("%s with a wrong password: %v after %s", mechanism, err, time.Since(began))
		}
	}
}

// A broker that is stopping, and a proxy without one, close connections at once.
func TestClosedConnectionIsPassing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); err == nil || !broker.IsPassing(err) {
		t.Errorf("%v ends what could wait", err)
	}
}

func TestUnreachable(t *testing.T) {
	began := time.Now()
	_, err := broker.Connect(t.Context(), broker.Config{Brokers: []string{"127.0.0.1:1"}})
	var unreachable *broker.UnreachableError
	if !errors.As(err, &unreachable) || time.Since(began) > 10*time.Second || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// transact writes values in one transaction and leaves it open if end is nil.
func transact(t *testing.T, client *kgo.Client, topic string, end *kgo.TransactionEndTry, values ...string) {
	t.Helper()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if end != nil {
		if err := client.EndTransaction(t.Context(), *end); err != nil {
			t.Fatal(err)
		}
	}
}

var commit, abort = kgo.TryCommit, kgo.TryAbort

func readAll(t *testing.T, at broker.Config, topic string) (values []string) {
	t.Helper()
	err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error {
		values = append(values, string(r.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// ReadAll finishes if the log ends with an abort marker, returns no aborted records, and waits for
// a transaction that is open when it starts.
func TestReadAll(t *testing.T) {
	at := cluster(t, kfake.SeedTopics(2, "t", "empty"))
	if got := readAll(t, at, "empty"); got != nil {
		t.Errorf("an empty topic has %q", got)
	}
	client := connect(t, at, kgo.TransactionalID("x"))
	transact(t, client, "t", &commit, "a", "b")
	transact(t, client, "t", &abort, "never")
	if diff := cmp.Diff([]string{"a", "b"}, readAll(t, at, "t")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	transact(t, client, "t", nil, "late")
	done := make(chan []string)
	go func() {
		var values []string
		_ = broker.ReadAll(t.Context(), at, "t", nil, func(r *kgo.Record) error { values = append(values, string(r.Value)); return nil })
		done <- values
	}()
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "late"}, <-done); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	stop := errors.New("enough")
	if err := broker.ReadAll(t.Context(), at, "t", nil, func(*kgo.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("fn's error became %v", err)
	}
	transact(t, client, "t", nil, "open")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := broker.ReadAll(ctx, at, "t", nil, func(*kgo.Record) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with an open transaction: %v", err)
	}
}

func TestTransactions(t *testing.T) {
	at := cluster(t, kfake.SeedTopics(1, "t"))
	watcher := connect(t, at)
	listed, err := broker.ListTransactions(t.Context(), watcher, time.Now())
	if err != nil || len(listed.Open)+len(listed.Unchecked) != 0 {
		t.Fatalf("at first: %+v, %v", listed, err)
	}
	client := connect(t, at, kgo.TransactionalID("stuck"), kgo.TransactionTimeout(time.Minute))
	transact(t, client, "t", &commit, "before")
	transact(t, client, "t", nil, "one", "two")
	listed, err = broker.ListTransactions(t.Context(), watcher, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(listed.Open) != 1 {
		t.Fatalf("open are %+v", listed)
	}
	got := listed.Open[0]
	if got.TransactionalID != "stuck" || got.Hanging || time.Duration(got.Age) < 59*time.Minute || time.Duration(got.Timeout) != time.Minute {
		t.Errorf("%+v", got)
	}
	want := []broker.BlockedPartition{{Topic: "t", Partition: 0, FirstOffset: 2, LastStable: 2, HighWatermark: 4, Behind: 2}}
	if diff := cmp.Diff(want, got.Partitions); diff != "" {
		t.Errorf("partitions (-want +got)\n%s", diff)
	}
	if _, err := broker.AbortTransaction(t.Context(), watcher, "other"); err == nil || !strings.Contains(err.Error(), "open are stuck") {
		t.Errorf("another id: %v", err)
	}
	if _, err := broker.AbortTransaction(t.Context(), watcher, "stuck"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"before"}, readAll(t, at, "t")); diff != "" {
		t.Errorf("after the abort (-want +got)\n%s", diff)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err == nil {
		t.Error("the fenced producer could still commit")
	}
}

func parse(t *testing.T, text string) []broker.Topic {
	t.Helper()
	topics, err := broker.ParseTopics([]byte("topics:\n"+text), "topics.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return topics
}

// apply plans and applies, and returns the plan's text and the error.
func apply(t *testing.T, admin *kadm.Client, topics []broker.Topic, force bool) (string, error) {
	t.Helper()
	plan, err := broker.PlanTopics(t.Context(), admin, topics)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := plan.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return text.String(), plan.Apply(t.Context(), admin, force)
}

func TestTopics(t *testing.T) {
	admin := kadm.NewClient(connect(t, cluster(t)))
	const first = "- {name: a, partitions: 2, retention: 7d}\n- {name: b, partitions: 1, cleanup_policy: compact, keyed: false}\n"
	text, err := apply(t, admin, parse(t, first), false)
	if err != nil {
		t.Fatal(err)
	}
	want := "+ a\n    partitions 2\n    replication factor 1\n    min.insync.replicas 1\n    retention.ms 604800000\n" +
		"+ b\n    partitions 1\n    replication factor 1\n    cleanup.policy compact\n    min.insync.replicas 1\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("plan (-want +got)\n%s", diff)
	}
	if text, err := apply(t, admin, parse(t, first), false); err != nil || text != "= a\n= b\n" {
		t.Errorf("again: %q, %v", text, err)
	}
	for _, c := range []struct {
		name, topics  string
		refused, even string // with and without force
	}{
		{"longer retention", "- {name: a, partitions: 2, retention: 8d}", "", ""},
		{"shorter retention", "- {name: a, partitions: 2, retention: 1h}", "drops records", ""},
		{"keyed partitions", "- {name: a, partitions: 3}", "keys would move", ""},
		{"fewer partitions", "- {name: a, partitions: 1}", "can't remove partitions", "can't remove partitions"},
		{"unkeyed partitions", "- {name: b, partitions: 2, keyed: false}", "", ""},
		{"policy", "- {name: b, partitions: 2, keyed: false, cleanup_policy: delete}", "drop records", ""},
		{"replication", "- {name: a, partitions: 3, replication_factor: 2}", "has 1 brokers", "has 1 brokers"},
		{"replication of a new one", "- {name: c, partitions: 3, replication_factor: 2}", "has 1 brokers", "has 1 brokers"},
	} {
		for i, want := range []string{c.refused, c.even} {
			force := i == 1
			if force && c.refused == "" {
				continue
			}
			_, err := apply(t, admin, parse(t, c.topics), force)
			var refused *broker.RefusedError
			switch {
			case want == "" && err != nil:
				t.Errorf("%s, force %v: %v", c.name, force, err)
			case want != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), want)):
				t.Errorf("%s, force %v: %v, want %q", c.name, force, err, want)
			}
			if want != "" || force {
				continue
			}
			if text, err := apply(t, admin, parse(t, c.topics), false); err != nil || strings.Contains(text, "~") {
				t.Errorf("%s was not applied: %s %v", c.name, text, err)
			}
		}
	}
}

// A topic that another client creates between the plan and its creation may have fewer partitions.
func TestTopicCreatedByAnother(t *testing.T) {
	for name, create := range map[string]func(context.Context, *kadm.Client, []broker.Topic) error{
		"ensure": broker.EnsureTopics,
		"apply": func(ctx context.Context, admin *kadm.Client, topics []broker.Topic) error {
			plan, err := broker.PlanTopics(ctx, admin, topics)
			if err != nil {
				return err
			}
			return plan.Apply(ctx, admin, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			at := broker.Config{Brokers: c.ListenAddrs()}
			admin, other := kadm.NewClient(connect(t, at)), kadm.NewClient(connect(t, at))
			var nested atomic.Bool
			c.ControlKey(kmsg.CreateTopics.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
				if nested.Swap(true) {
					return nil, nil, false // the other client's
				}
				c.SleepControl(func() {
					if _, err := other.CreateTopic(t.Context(), 1, 1, nil, "a"); err != nil {
						t.Error(err)
					}
				})
				return nil, nil, false
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := create(ctx, admin, parse(t, "- {name: a, partitions: 3, keyed: false}")); err != nil {
				t.Fatal(err)
			}
			topics, err := admin.ListTopics(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"ensure": 1, "apply": 3}[name]
			if n := len(topics["a"].Partitions); n != want {
				t.Errorf("%d partitions, want %d", n, want)
			}
		})
	}
}

// Two concurrent applies both succeed.
func TestTopicsAppliedConcurrently(t *testing.T) {
	admin := kadm.NewClient(connect(t, cluster(t)))
	errs := make(chan error)
	for range 2 {
		plan, err := broker.PlanTopics(t.Context(), admin, broker.DefaultTopics())
		if err != nil {
			t.Fatal(err)
		}
		go func() { errs <- plan.Apply(t.Context(), admin, false) }()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestParseTopicsRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "no topics"},
		{"topics:\n- name: a\n  partitons: 3\n", `line 3: unknown key "partitons": did you mean partitions?`},
		{"topics:\n- name: [a\n", "line"},
		{"topics: [{name: a}]", "0 partitions"},
		{"topics: [{name: a/b, partitions: 1}]", "letters, digits"},
		{"topics: [{name: a, partitions: 1, retention: soon}]", "such as 7d"},
		{"topics: [{name: a, partitions: 1, retention_bytes: much}]", "such as 10GiB"},
		{"topics: [{name: a, partitions: 1, cleanup_policy: burn}]", "expected delete, compact"},
		{"topics: [{name: a, partitions: 1, replication_factor: 1, min_insync_replicas: 2}]", "nothing could be written"},
		{"topics: [{name: a, partitions: 1, config: {unclean.leader.election.enable: \"true\"}}]", "loses committed records"},
		{"topics: [{name: a, partitions: 1}, {name: a, partitions: 1}]", "declared twice"},
	} {
		_, err := broker.ParseTopics([]byte(c.text), "f.yaml")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f.yaml") {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestRequireTransactionV2(t *testing.T) {
	if err := broker.RequireTransactionV2(t.Context(), connect(t, cluster(t))); err != nil {
		t.Errorf("a new cluster: %v", err)
	}
	old := connect(t, cluster(t, kfake.MaxVersions(kversion.V3_7_0())))
	err := broker.RequireTransactionV2(t.Context(), old)
	if !errors.Is(err, broker.ErrNoTransactionV2) || broker.Classify(err) != broker.Fatal || !strings.Contains(err.Error(), "use Kafka 4.0 or later") {
		t.Errorf("an old cluster: %v", err)
	}
}
