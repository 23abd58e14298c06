package embedded

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Requests that kfake alone answers unlike Kafka: see admin.go. internal/clients compares all calls
// of Java's AdminClient with real Kafka.
func TestAdminRequestsLikeKafka(t *testing.T) {
	b, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, admin := t.Context(), kadm.NewClient(client)
	if _, err := admin.CreateTopics(ctx, 2, 1, nil, "t", "u"); err != nil {
		t.Fatal(err)
	}

	t.Run("offsets of unknown groups", func(t *testing.T) {
		if err := admin.CommitAllOffsets(ctx, "known", kadm.OffsetsFromRecords(kgo.Record{Topic: "t", Offset: 6})); err != nil {
			t.Fatal(err)
		}
		for _, names := range [][]string{{"unknown"}, {"known", "unknown"}} {
			for name, fetched := range admin.FetchManyOffsets(ctx, names...) {
				if fetched.Err != nil {
					t.Errorf("%v: %s: %v", names, name, fetched.Err)
				}
				o, ok := fetched.Fetched.Lookup("t", 0)
				if ok != (name == "known") || ok && o.At != 7 {
					t.Errorf("%v: %s: offset %+v", names, name, o)
				}
			}
		}
		for version := int16(1); version <= 9; version++ {
			req := kmsg.NewPtrOffsetFetchRequest()
			req.Group = "unknown"
			req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{1}}}
			req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "unknown", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{1}}}}}
			old, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.MaxVersions(pinned(kmsg.OffsetFetch, version)))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := req.RequestWith(ctx, old)
			old.Close()
			if err != nil {
				t.Fatal(err)
			}
			var offset int64
			var code int16
			if version <= 7 {
				offset, code = resp.Topics[0].Partitions[0].Offset, resp.ErrorCode
			} else {
				offset, code = resp.Groups[0].Topics[0].Partitions[0].Offset, resp.Groups[0].ErrorCode
			}
			if offset != -1 || code != 0 {
				t.Errorf("version %d: offset %d, error %d, want none", version, offset, code)
			}
		}
	})

	t.Run("groups by type", func(t *testing.T) {
		req := kmsg.NewPtrListGroupsRequest()
		req.TypesFilter = []string{"Classic", "Consumer"}
		resp, err := req.RequestWith(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Groups) != 1 || resp.Groups[0].Group != "known" {
			t.Errorf("groups %+v, want known", resp.Groups)
		}
	})

	t.Run("topic settings", func(t *testing.T) {
		alter := func(op kadm.IncrementalOp, name, value string, topics ...string) []error {
			t.Helper()
			all, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: name, Value: &value}}, topics...)
			if err != nil {
				t.Fatal(err)
			}
			var errs []error
			for _, r := range all {
				errs = append(errs, r.Err)
			}
			return errs
		}
		for _, c := range [][2]string{{"no.such", "1"}, {"retention.ms", "x"}, {"retention.ms", "-2"}, {"cleanup.policy", "shred"}, {"min.cleanable.dirty.ratio", "2"}} {
			for _, err := range alter(kadm.SetConfig, c[0], c[1], "t") {
				if !errors.Is(err, kerr.InvalidConfig) {
					t.Errorf("set %v: %v, want INVALID_CONFIG", c, err)
				}
			}
			for _, err := range alter(kadm.SetConfig, c[0], c[1], "t", "u") {
				if err == nil {
					t.Errorf("set %v on two topics is accepted", c)
				}
			}
		}
		for _, names := range [][]string{{"v"}, {"v", "w"}} {
			created, err := admin.CreateTopics(ctx, 1, 1, map[string]*string{"retention.ms": kadm.StringPtr("x")}, names...)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range created {
				if r.Err == nil {
					t.Errorf("%s is created with retention.ms=x", r.Topic)
				}
			}
		}
		for _, c := range [][2]string{{"flush.ms", "10"}, {"retention.ms", "-1"}} {
			if err := errors.Join(alter(kadm.SetConfig, c[0], c[1], "t")...); err != nil {
				t.Errorf("set %v: %v", c, err)
			}
		}
		if err := errors.Join(alter(kadm.AppendConfig, "cleanup.policy", "compact", "t")...); err != nil {
			t.Fatal(err)
		}
		if have := setting(t, admin, "t", "cleanup.policy"); have != "delete,compact" {
			t.Errorf("cleanup.policy is %q after compact was appended, want delete,compact", have)
		}
		if err := errors.Join(alter(kadm.SubtractConfig, "cleanup.policy", "delete", "t")...); err != nil {
			t.Fatal(err)
		}
		if have := setting(t, admin, "t", "cleanup.policy"); have != "compact" {
			t.Errorf("cleanup.policy is %q after delete was subtracted, want compact", have)
		}
	})
}

// setting returns the value of a topic's setting.
func setting(t *testing.T, admin *kadm.Client, topic, name string) string {
	t.Helper()
	all, err := admin.DescribeTopicConfigs(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all[0].Configs {
		if c.Key == name {
			return c.MaybeValue()
		}
	}
	return ""
}

// pinned returns the newest versions of all requests, except for one.
func pinned(key kmsg.Key, version int16) *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(key.Int16(), version)
	return v
}
