package embedded

import (
	"context"
	"flag"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/stack"
)

// What a user may do under given ACLs, asked of the embedded broker, and of a real Kafka, whose
// answers are kept in testdata/acls.txt:
//
//	go test -run TestACLTableOfKafka ./internal/broker/embedded -acls

var writeACLs = flag.Bool("acls", false, "write testdata/acls.txt from the answers of a real Kafka")

// aclCall is a request of alice.
type aclCall struct {
	name string
	req  func() kmsg.Request
}

const (
	aclUser     = "alice"
	aclPassword = "correct horse battery"
)

func aclCalls() []aclCall {
	partition := func(topic string) []kmsg.ProduceRequestTopicPartition {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = batchOf(topic)
		return []kmsg.ProduceRequestTopicPartition{p}
	}
	produce := func(txn *string, topics ...string) func() kmsg.Request {
		return func() kmsg.Request {
			r := kmsg.NewPtrProduceRequest()
			r.Acks, r.TimeoutMillis, r.TransactionID = -1, 5000, txn
			for _, t := range topics {
				rt := kmsg.NewProduceRequestTopic()
				rt.Topic, rt.Partitions = t, partition(t)
				r.Topics = append(r.Topics, rt)
			}
			return r
		}
	}
	return []aclCall{
		{"metadata of a, ab, none", func() kmsg.Request {
			r := kmsg.NewPtrMetadataRequest()
			for _, t := range []string{"a", "ab", "none"} {
				rt := kmsg.NewMetadataRequestTopic()
				rt.Topic = kmsg.StringPtr(t)
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"metadata of all", func() kmsg.Request { return kmsg.NewPtrMetadataRequest() }},
		{"produce to a, b", produce(nil, "a", "b")},
		{"produce to a in transaction x", produce(kmsg.StringPtr("x"), "a")},
		{"fetch a, b", func() kmsg.Request {
			r := kmsg.NewPtrFetchRequest()
			r.Version, r.MaxBytes, r.SessionEpoch = 12, 1<<20, -1
			for _, t := range []string{"a", "b"} {
				rt := kmsg.NewFetchRequestTopic()
				rt.Topic = t
				p := kmsg.NewFetchRequestTopicPartition()
				p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<20, -1
				rt.Partitions = append(rt.Partitions, p)
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"list offsets of a, b", func() kmsg.Request {
			r := kmsg.NewPtrListOffsetsRequest()
			r.ReplicaID = -1
			for _, t := range []string{"a", "b"} {
				rt := kmsg.NewListOffsetsRequestTopic()
				rt.Topic = t
				p := kmsg.NewListOffsetsRequestTopicPartition()
				p.Timestamp, p.CurrentLeaderEpoch = -1, -1
				rt.Partitions = append(rt.Partitions, p)
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"offset for leader epoch of a, b", func() kmsg.Request {
			r := kmsg.NewPtrOffsetForLeaderEpochRequest()
			r.ReplicaID = -1
			for _, t := range []string{"a", "b"} {
				rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
				rt.Topic = t
				p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
				p.CurrentLeaderEpoch = -1
				rt.Partitions = append(rt.Partitions, p)
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"commit offsets of a, b in g", func() kmsg.Request {
			r := kmsg.NewPtrOffsetCommitRequest()
			r.Version, r.Group, r.Generation = 8, "g", -1
			for _, t := range []string{"a", "b"} {
				rt := kmsg.NewOffsetCommitRequestTopic()
				rt.Topic = t
				rt.Partitions = append(rt.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"fetch offsets of a, b in g", func() kmsg.Request {
			r := kmsg.NewPtrOffsetFetchRequest()
			r.Version = 8
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = "g"
			for _, t := range []string{"a", "b"} {
				rt := kmsg.NewOffsetFetchRequestGroupTopic()
				rt.Topic, rt.Partitions = t, []int32{0}
				g.Topics = append(g.Topics, rt)
			}
			r.Groups = append(r.Groups, g)
			return r
		}},
		{"fetch all offsets of g", func() kmsg.Request {
			r := kmsg.NewPtrOffsetFetchRequest()
			r.Version = 8
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group, g.Topics = "g", nil
			r.Groups = append(r.Groups, g)
			return r
		}},
		{"fetch offsets of a, b in g, version 7", func() kmsg.Request {
			r := kmsg.NewPtrOffsetFetchRequest()
			r.Version, r.Group, r.RequireStable = 7, "g", true
			for _, t := range []string{"a", "b"} {
				r.Topics = append(r.Topics, kmsg.OffsetFetchRequestTopic{Topic: t, Partitions: []int32{0}})
			}
			return r
		}},
		{"fetch all offsets of g, version 7", func() kmsg.Request {
			r := kmsg.NewPtrOffsetFetchRequest()
			r.Version, r.Group, r.Topics = 7, "g", nil
			return r
		}},
		{"find coordinators of g, h", func() kmsg.Request {
			r := kmsg.NewPtrFindCoordinatorRequest()
			r.CoordinatorKeys = []string{"g", "h"}
			return r
		}},
		{"find coordinator of transaction x", func() kmsg.Request {
			r := kmsg.NewPtrFindCoordinatorRequest()
			r.CoordinatorType, r.CoordinatorKeys = 1, []string{"x"}
			return r
		}},
		{"join g", func() kmsg.Request {
			r := kmsg.NewPtrJoinGroupRequest()
			r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = "j", 6000, 6000, "consumer"
			r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
			return r
		}},
		{"heartbeat in g", func() kmsg.Request {
			r := kmsg.NewPtrHeartbeatRequest()
			r.Group, r.MemberID = "g", "m"
			return r
		}},
		{"describe groups g, h", func() kmsg.Request {
			r := kmsg.NewPtrDescribeGroupsRequest()
			r.Version, r.Groups = 5, []string{"g", "h"}
			return r
		}},
		{"list groups", func() kmsg.Request { return kmsg.NewPtrListGroupsRequest() }},
		{"delete groups h", func() kmsg.Request {
			r := kmsg.NewPtrDeleteGroupsRequest()
			r.Groups = []string{"h"}
			return r
		}},
		{"delete offsets of a in g", func() kmsg.Request {
			r := kmsg.NewPtrOffsetDeleteRequest()
			r.Group = "g"
			rt := kmsg.NewOffsetDeleteRequestTopic()
			rt.Topic = "a"
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: 1})
			r.Topics = append(r.Topics, rt)
			return r
		}},
		{"init idempotent producer", func() kmsg.Request {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.ProducerID, r.ProducerEpoch = -1, -1
			return r
		}},
		{"init transaction x", func() kmsg.Request {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.TransactionalID, r.TransactionTimeoutMillis = kmsg.StringPtr("x"), 5000
			r.ProducerID, r.ProducerEpoch = -1, -1
			return r
		}},
		{"add partitions of a, b to transaction x", func() kmsg.Request {
			r := kmsg.NewPtrAddPartitionsToTxnRequest()
			r.Version, r.TransactionalID, r.ProducerID, r.ProducerEpoch = 3, "x", 1<<40, 0
			for _, t := range []string{"a", "b"} {
				r.Topics = append(r.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: t, Partitions: []int32{0}})
			}
			return r
		}},
		{"add offsets of g to transaction x", func() kmsg.Request {
			r := kmsg.NewPtrAddOffsetsToTxnRequest()
			r.TransactionalID, r.Group, r.ProducerID = "x", "g", 1<<40
			return r
		}},
		{"commit offsets of a, b in g and transaction x", func() kmsg.Request {
			r := kmsg.NewPtrTxnOffsetCommitRequest()
			r.Version, r.TransactionalID, r.Group, r.ProducerID, r.Generation = 3, "x", "g", 1<<40, -1
			for _, t := range []string{"a", "b"} {
				rt := kmsg.NewTxnOffsetCommitRequestTopic()
				rt.Topic = t
				rt.Partitions = append(rt.Partitions, kmsg.NewTxnOffsetCommitRequestTopicPartition())
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"end transaction x", func() kmsg.Request {
			r := kmsg.NewPtrEndTxnRequest()
			r.TransactionalID, r.ProducerID = "x", 1<<40
			return r
		}},
		{"describe transactions x", func() kmsg.Request {
			r := kmsg.NewPtrDescribeTransactionsRequest()
			r.TransactionalIDs = []string{"none"}
			return r
		}},
		{"describe producers of a, b", func() kmsg.Request {
			r := kmsg.NewPtrDescribeProducersRequest()
			for _, t := range []string{"a", "b"} {
				r.Topics = append(r.Topics, kmsg.DescribeProducersRequestTopic{Topic: t, Partitions: []int32{0}})
			}
			return r
		}},
		{"create topics made, other", func() kmsg.Request {
			r := kmsg.NewPtrCreateTopicsRequest()
			r.ValidateOnly, r.TimeoutMillis = true, 5000
			for _, t := range []string{"made", "other"} {
				rt := kmsg.NewCreateTopicsRequestTopic()
				rt.Topic, rt.NumPartitions, rt.ReplicationFactor = t, 1, 1
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"delete topics none, gone", func() kmsg.Request {
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.TimeoutMillis = 5000
			for _, t := range []string{"none", "c"} {
				rt := kmsg.NewDeleteTopicsRequestTopic()
				rt.Topic = kmsg.StringPtr(t)
				r.Topics = append(r.Topics, rt)
			}
			r.TopicNames = []string{"none"}
			r.Version = 5
			return r
		}},
		{"delete records of a, b", func() kmsg.Request {
			r := kmsg.NewPtrDeleteRecordsRequest()
			r.TimeoutMillis = 5000
			for _, t := range []string{"a", "b"} {
				r.Topics = append(r.Topics, kmsg.DeleteRecordsRequestTopic{Topic: t, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0}}})
			}
			return r
		}},
		{"create partitions of a, b", func() kmsg.Request {
			r := kmsg.NewPtrCreatePartitionsRequest()
			r.ValidateOnly, r.TimeoutMillis = true, 5000
			for _, t := range []string{"a", "b"} {
				rt := kmsg.NewCreatePartitionsRequestTopic()
				rt.Topic, rt.Count = t, 5
				r.Topics = append(r.Topics, rt)
			}
			return r
		}},
		{"describe configs of a, b, broker", func() kmsg.Request {
			r := kmsg.NewPtrDescribeConfigsRequest()
			for _, t := range []string{"a", "b"} {
				r.Resources = append(r.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: t, ConfigNames: []string{"retention.ms"}})
			}
			r.Resources = append(r.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "", ConfigNames: []string{"none"}})
			return r
		}},
		{"alter configs of a, b", func() kmsg.Request {
			r := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r.ValidateOnly = true
			for _, t := range []string{"a", "b"} {
				rr := kmsg.NewIncrementalAlterConfigsRequestResource()
				rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, t
				rr.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: kmsg.StringPtr("100000")}}
				r.Resources = append(r.Resources, rr)
			}
			return r
		}},
		{"describe log dirs", func() kmsg.Request {
			r := kmsg.NewPtrDescribeLogDirsRequest()
			r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "a", Partitions: []int32{0}}}
			return r
		}},
		{"describe topic partitions of a, b", func() kmsg.Request {
			r := kmsg.NewPtrDescribeTopicPartitionsRequest()
			r.ResponsePartitionLimit = 100
			for _, t := range []string{"a", "b"} {
				r.Topics = append(r.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: t})
			}
			return r
		}},
		{"describe acls", func() kmsg.Request {
			r := kmsg.NewPtrDescribeACLsRequest()
			r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = 1, 1, 1, 1
			return r
		}},
		{"create an invalid acl", func() kmsg.Request {
			r := kmsg.NewPtrCreateACLsRequest()
			r.Creations = []kmsg.CreateACLsRequestCreation{{
				ResourceType: kmsg.ACLResourceTypeCluster, ResourceName: "other", ResourcePatternType: 3, Principal: "User:x", Host: "*", Operation: 3, PermissionType: 3,
			}}
			return r
		}},
		{"delete acls of nobody", func() kmsg.Request {
			r := kmsg.NewPtrDeleteACLsRequest()
			f := kmsg.NewDeleteACLsRequestFilter()
			f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType, f.Principal = 1, 1, 1, 1, kmsg.StringPtr("User:nobody")
			r.Filters = append(r.Filters, f)
			return r
		}},
		{"describe scram users", func() kmsg.Request {
			r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			r.Users = []kmsg.DescribeUserSCRAMCredentialsRequestUser{{Name: "nobody"}}
			return r
		}},
		{"delete scram user nobody", func() kmsg.Request {
			r := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
			r.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "nobody", Mechanism: 1}}
			return r
		}},
	}
}

// aclCases are the sets of ACLs; all calls are made under each.
var aclCases = [][]string{
	{},
	{"allow all topic *", "allow all group *", "allow all txn *", "allow all cluster kafka-cluster"},
	{"allow read topic a"},
	{"allow write topic a"},
	{"allow describe topic a"},
	{"allow create topic made"},
	{"allow delete topic a"},
	{"allow alter topic a"},
	{"allow describeconfigs topic a"},
	{"allow alterconfigs topic a"},
	{"allow all topic prefix:a"},
	{"allow all topic *", "deny all topic prefix:a"},
	{"allow all topic *", "deny write topic a"},
	{"allow all topic *", "deny describe topic a"},
	{"allow write topic a", "deny write topic *"},
	{"allow read group g"},
	{"allow read group g", "allow read topic a"},
	{"allow describe group g", "allow describe topic a"},
	{"allow delete group h"},
	{"allow all group prefix:g", "deny read group g"},
	{"allow write txn x", "allow write topic a"},
	{"allow write txn x", "allow read group g", "allow read topic a"},
	{"allow write txn prefix:x", "allow all topic *", "allow all group *"},
	{"allow describe txn x"},
	{"allow idempotentwrite cluster kafka-cluster"},
	{"allow describe cluster kafka-cluster"},
	{"allow alter cluster kafka-cluster"},
	{"allow create cluster kafka-cluster"},
	{"allow describeconfigs cluster kafka-cluster"},
	{"allow alterconfigs cluster kafka-cluster"},
	{"allow clusteraction cluster kafka-cluster"},
}

func parseACL(t *testing.T, text string) kmsg.CreateACLsRequestCreation {
	t.Helper()
	f := strings.Fields(text)
	c := kmsg.NewCreateACLsRequestCreation()
	c.Principal, c.Host = "User:"+aclUser, "*"
	c.PermissionType = map[string]kmsg.ACLPermissionType{"allow": kmsg.ACLPermissionTypeAllow, "deny": kmsg.ACLPermissionTypeDeny}[f[0]]
	op, err := kmsg.ParseACLOperation(f[1])
	if err != nil {
		t.Fatal(err)
	}
	c.Operation = op
	c.ResourceType = map[string]kmsg.ACLResourceType{"topic": 2, "group": 3, "cluster": 4, "txn": 5}[f[2]]
	c.ResourcePatternType = kmsg.ACLResourcePatternTypeLiteral
	name, prefixed := strings.CutPrefix(f[3], "prefix:")
	if prefixed {
		c.ResourcePatternType = kmsg.ACLResourcePatternTypePrefixed
	}
	c.ResourceName = name
	return c
}

// answersUnderACLs makes all calls under all cases, and returns one line for each.
func answersUnderACLs(t *testing.T, addr string, super sasl.Mechanism) []string {
	t.Helper()
	versions := kversion.V3_0_0() // requests name topics, not their ids
	versions.SetMaxKeyVersion(int16(kmsg.DescribeTopicPartitions), 0)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) { // Kafka advertises a proxy's address
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	connect := func(as sasl.Mechanism) *kgo.Client {
		c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.Dialer(dial), kgo.SASL(as), kgo.DisableClientMetrics(), kgo.MaxVersions(versions))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	root, alice := connect(super), connect(plain.Auth{User: aclUser, Pass: aclPassword}.AsMechanism())
	admin := kadm.NewClient(root)
	if _, err := admin.CreateTopics(t.Context(), 1, 1, nil, "a", "ab", "b"); err != nil {
		t.Fatal(err)
	}
	offsets := kadm.Offsets{}
	for _, topic := range []string{"a", "b"} {
		offsets.Add(kadm.Offset{Topic: topic, LeaderEpoch: -1})
	}
	for _, group := range []string{"g", "i"} {
		retryFor(t, func() error { return admin.CommitAllOffsets(t.Context(), group, offsets) })
	}
	var lines []string
	for _, acls := range aclCases {
		setACLs(t, root, acls)
		for _, call := range aclCalls() {
			lines = append(lines, fmt.Sprintf("%s | %s | %s", strings.Join(acls, ", "), call.name, answer(t, alice, call.req())))
		}
	}
	return lines
}

// retryFor retries until a coordinator is ready.
func retryFor(t *testing.T, fn func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = fn(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// setACLs replaces the ACLs, and waits until the broker has them.
func setACLs(t *testing.T, root *kgo.Client, acls []string) {
	t.Helper()
	drop := kmsg.NewPtrDeleteACLsRequest()
	every := kmsg.NewDeleteACLsRequestFilter()
	every.ResourceType, every.ResourcePatternType, every.Operation, every.PermissionType = 1, 1, 1, 1
	drop.Filters = append(drop.Filters, every)
	if _, err := drop.RequestWith(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	create := kmsg.NewPtrCreateACLsRequest()
	for _, text := range acls {
		create.Creations = append(create.Creations, parseACL(t, text))
	}
	if len(acls) > 0 {
		created, err := create.RequestWith(t.Context(), root)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range created.Results {
			if r.ErrorCode != 0 {
				t.Fatalf("%s: %v", acls[i], kerr.ErrorForCode(r.ErrorCode))
			}
		}
	}
	retryFor(t, func() error {
		list := kmsg.NewPtrDescribeACLsRequest()
		list.ResourceType, list.ResourcePatternType, list.Operation, list.PermissionType = 1, 1, 1, 1
		resp, err := list.RequestWith(t.Context(), root)
		if err != nil {
			return err
		}
		n := 0
		for _, r := range resp.Resources {
			n += len(r.ACLs)
		}
		if n != len(acls) {
			return fmt.Errorf("%d ACLs, expected %d", n, len(acls))
		}
		return nil
	})
}

// answer returns what an answer says: names and errors.
func answer(t *testing.T, c *kgo.Client, req kmsg.Request) string {
	t.Helper()
	resp, err := c.SeedBrokers()[0].Request(t.Context(), req)
	if err != nil {
		return "error: " + err.Error()
	}
	return strings.Join(said(reflect.ValueOf(resp).Elem()), " ")
}

// said lists the names and errors of a part of an answer.
func said(v reflect.Value) []string {
	var parts []string
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case name == "ErrorCode":
			if code := int16(f.Int()); code != 0 { //nolint:gosec // its type
				parts = append(parts, kerr.TypedErrorForCode(code).Message)
			}
		case slices.Contains([]string{"Topic", "Group", "User", "ResourceName", "TransactionalID", "CoordinatorKey", "Key"}, name):
			if f.Kind() == reflect.Pointer {
				if f.IsNil() {
					continue
				}
				f = f.Elem()
			}
			if f.Kind() == reflect.String {
				parts = append(parts, f.String()+":")
			}
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && name != "Brokers" && name != "Configs":
			var all []string
			for k := range f.Len() {
				if each := said(f.Index(k)); len(each) > 0 {
					all = append(all, "("+strings.Join(each, " ")+")")
				}
			}
			slices.Sort(all)
			parts = append(parts, all...)
		}
	}
	return parts
}

// aclAnswers are Kafka's. Those of Weir that differ are in the other file, with the reason.
const (
	aclAnswers = "testdata/acls.txt"
	aclDiffers = "testdata/acls-differ.txt"
)

// TestACLTable compares the answers under each set of ACLs with those of a real Kafka.
func TestACLTable(t *testing.T) {
	dir := t.TempDir()
	users, err := guard.OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Change(func(all map[string]guard.User) error {
		keys, err := guard.BothKeys(aclPassword)
		all[aclUser] = guard.User{Name: aclUser, SCRAM: keys}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b := open(t, Config{Dir: dir})
	t.Cleanup(func() { _ = b.Close() })
	secret, err := guard.Secret(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := readLines(t, aclAnswers)
	got := answersUnderACLs(t, b.Addr(), scram.Auth{User: guard.InternalName, Pass: secret}.AsSha256Mechanism())
	if len(got) != len(want) {
		t.Errorf("%d answers, Kafka gave %d: ask it again", len(got), len(want))
	}
	known := readLines(t, aclDiffers)
	for i := range min(len(got), len(want)) {
		if got, want := allowed(got[i]), allowed(want[i]); got != want && !slices.Contains(known, got) {
			t.Errorf("answer: %s\nKafka:  %s", got, want)
		}
	}
}

var (
	otherError = regexp.MustCompile(`\b[A-Z]+(_[A-Z]+)+\b`)
	nothing    = regexp.MustCompile(` ?\( *:? *\)`)
)

// allowed returns what an answer says about what is allowed: names, and errors of authorization.
// Others depend on what else has happened, for example whether a coordinator is loaded.
func allowed(line string) string {
	line = strings.ReplaceAll(line, "(__consumer_offsets:)", "")
	line = otherError.ReplaceAllStringFunc(line, func(e string) string {
		if strings.HasSuffix(e, "_AUTHORIZATION_FAILED") {
			return e
		}
		return ""
	})
	for before := ""; before != line; {
		before = line
		line = nothing.ReplaceAllString(line, "")
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(line, " )", ")")), " ")
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// TestACLTableOfKafka asks a real Kafka.
func TestACLTableOfKafka(t *testing.T) {
	if !longtest.Enabled() && !*writeACLs {
		t.Skip("asks a real Kafka: set " + longtest.Env + ", or -acls")
	}
	kafka := stack.New(t, 1,
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT",
		"sasl.enabled.mechanisms=PLAIN",
		`listener.name.proxied.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="root" password="`+aclPassword+
			`" user_root="`+aclPassword+`" user_alice="`+aclPassword+`";`,
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:root;User:ANONYMOUS",
	)
	got := answersUnderACLs(t, kafka.Proxied()[0].Listens, plain.Auth{User: "root", Pass: aclPassword}.AsMechanism())
	if *writeACLs {
		if err := os.WriteFile(aclAnswers, []byte(strings.Join(got, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := readLines(t, aclAnswers)
	for i := range got {
		if i >= len(want) || allowed(got[i]) != allowed(want[i]) {
			t.Errorf("Kafka answers %s, which %s does not have there", got[i], aclAnswers)
		}
	}
}

// batchOf returns a record batch with a record.
func batchOf(value string) []byte {
	record := kmsg.Record{Value: []byte(value)}
	record.Length = int32(len(record.AppendTo(nil)) - 1) //nolint:gosec // a few bytes
	now := time.Now().UnixMilli()
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: now, MaxTimestamp: now, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		NumRecords: 1, Records: record.AppendTo(nil),
	}
	raw := batch.AppendTo(nil)
	batch.Length = int32(len(raw) - 12)                                            //nolint:gosec // a few bytes
	batch.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli))) //nolint:gosec // two's complement
	return batch.AppendTo(nil)
}
