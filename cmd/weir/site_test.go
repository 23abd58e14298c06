package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

// siteTest is one of several sites that share a broker.
type siteTest struct {
	topic, letters, stats, progress string
	id                              string // transactional id of the producer
	group                           string
	count                           int
}

// Sites with identical sources, instances and pipelines share a broker at the same time, and each
// is verified separately.
func TestSitesShareABroker(t *testing.T) {
	b, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	at, dir := "--brokers="+b.Addr(), "--data-dir="+t.TempDir()
	client, err := broker.Connect(t.Context(), broker.Config{Brokers: []string{b.Addr()}}, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	sites := []siteTest{
		{"sensor_data_tx", "sensor_data_dlq", "device_stats", "weir.progress", "weir-produce-fleet", "weir-device-stats", 3000},
		{"site_a.readings", "site_a.readings.dlq", "site_a.readings.device_stats", "site_a.readings.weir.progress", "weir-produce-site_a.readings/fleet", "weir-site_a.readings.device-stats", 4000},
		{"site_b", "site_b.dlq", "site_b.device_stats", "site_b.weir.progress", "weir-produce-site_b/fleet", "weir-site_b.device-stats", 5000},
	}
	var producers, consumers []*weir
	acks := func(s siteTest) string { return filepath.Join(strings.TrimPrefix(dir, "--data-dir="), s.topic+".acks") }
	for _, s := range sites {
		consumers = append(consumers, start(t, "consume", at, dir, "--instance=x", "--topic="+s.topic))
		producers = append(producers, start(t, "produce", at, dir, "--topic="+s.topic, "--name=fleet", "--devices=20", "--rate=2000", "--mark",
			fmt.Sprint("--count=", s.count), "--ack-log="+acks(s)))
	}
	for i, s := range sites {
		if code := producers[i].wait(time.Minute); code != exitOK {
			t.Fatalf("produce --topic %s: exit %d\n%s", s.topic, code, producers[i].errOut.String())
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: s.topic, Key: []byte("d"), Value: []byte("poison")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range sites {
		waitFor(t, s.group, func() bool { return lagOf(t, admin, s.group, s.topic) == 0 })
		consumers[i].signal(syscall.SIGTERM)
		if code := consumers[i].wait(time.Minute); code != exitOK {
			t.Fatalf("consume --topic %s: exit %d\n%s", s.topic, code, consumers[i].errOut.String())
		}
	}
	for _, s := range sites {
		r := verified(t, at, dir, "--topic="+s.topic, "--acks="+acks(s))
		if r.Records != int64(s.count)+1 || r.DeadLetters != 1 {
			t.Errorf("verify --topic %s: %d records and %d dead letters, want %d and 1", s.topic, r.Records, r.DeadLetters, s.count+1)
		}
		if n := countedIn(t, at, dir, s.stats); n != int64(s.count) {
			t.Errorf("%s counts %d readings, want %d", s.stats, n, s.count)
		}
		if described, err := admin.DescribeTransactions(t.Context(), s.id); err != nil || described[s.id].Err != nil {
			t.Errorf("transactional id %s: %v, %v", s.id, err, described[s.id].Err)
		}
	}
	checkTopicsOf(t, admin, sites)
	checkReplays(t, at, dir, sites[1])
	checkReplays(t, at, dir, sites[0])

	// One site gets a duplicate reading: only the check of that site fails.
	records := must(t, "tail", "site_b", "--from-start", "--until-end", "-o=json", at, dir)
	var first struct{ Key, Value string }
	if err := json.Unmarshal([]byte(records[:strings.IndexByte(records, '\n')]), &first); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "site_b", Key: []byte(first.Key), Value: []byte(first.Value)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := do(t, "verify", at, dir, "--topic=site_b"); code != exitCheck || !strings.Contains(stdout, "C2") {
		t.Errorf("verify of a site with a duplicate: exit %d\n%s", code, stdout)
	}
	verified(t, at, dir, "--topic=site_a.readings")
	verified(t, at, dir)
}

func lagOf(t *testing.T, admin *kadm.Client, group, topic string) int64 {
	t.Helper()
	lags, err := admin.Lag(t.Context(), group)
	if err != nil || lags[group].FetchErr != nil || len(lags[group].Lag[topic]) == 0 {
		return -1
	}
	var sum int64
	for _, l := range lags[group].Lag[topic] {
		sum += max(l.Lag, 0)
		if l.Commit.At < 0 && l.End.Offset > 0 {
			return -1
		}
	}
	return sum
}

// countedIn sums the latest counts of the statistics in a topic.
func countedIn(t *testing.T, at, dir, topic string) (sum int64) {
	t.Helper()
	newest := make(map[string]int64)
	for line := range strings.Lines(must(t, "tail", topic, "--from-start", "--until-end", "-o=json", at, dir)) {
		var r struct{ Key, Value string }
		var stats struct{ Count int64 }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(r.Value), &stats); err != nil {
			t.Fatal(err)
		}
		newest[r.Key] = stats.Count
	}
	for _, n := range newest {
		sum += n
	}
	return sum
}

// checkTopicsOf checks that there are only the topics of the sites and of their pipelines.
func checkTopicsOf(t *testing.T, admin *kadm.Client, sites []siteTest) {
	t.Helper()
	var want []string
	for _, s := range sites {
		pipeline := strings.TrimPrefix(s.group, "weir-")
		want = append(want, s.topic, s.letters, s.stats, s.progress, pipeline+".plan", pipeline+".late", pipeline+".stage1.changelog")
	}
	topics, err := admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got := topics.Names(); !slices.Equal(got, want) {
		t.Errorf("topics %v, want %v", got, want)
	}
}

// checkReplays checks that a dead letter is replayed only once, whether by the name of the site or
// of the dead letter topic.
func checkReplays(t *testing.T, at, dir string, s siteTest) {
	t.Helper()
	if out := must(t, "dlq", "list", "--topic="+s.topic, at, dir); !strings.Contains(out, "poison") {
		t.Errorf("dead letters of %s: %q", s.topic, out)
	}
	for i, args := range [][]string{{"--dlq=" + s.letters}, {"--topic=" + s.topic}, {"--dlq=" + s.letters, "--topic=" + s.topic}} {
		var result struct{ Replayed, Earlier int }
		if err := json.Unmarshal([]byte(must(t, append([]string{"dlq", "replay", "-o=json", at, dir}, args...)...)), &result); err != nil {
			t.Fatal(err)
		}
		if sent := max(0, 1-i); result.Replayed != sent || result.Earlier != 1-sent {
			t.Errorf("dlq replay %v: %+v, want %d sent back", args, result, sent)
		}
	}
	if out := must(t, "tail", s.progress, "--from-start", "--until-end", at, dir); !strings.Contains(out, "replay/"+s.letters+"/") {
		t.Errorf("no mark of the replay in %s:\n%s", s.progress, out)
	}
}

// A bundled pipeline runs for a site, next to the same pipeline for another site.
func TestBundledPipelinesOfSites(t *testing.T) {
	dir := "--data-dir=" + filepath.Join(t.TempDir(), "data")
	for _, topic := range []string{"sensor_data_tx", "site_a.readings"} {
		must(t, "produce", dir, "--topic="+topic, "--count=500", "--devices=5")
		must(t, "run", "latest", dir, "--topic="+topic, "--until-end", "--instance=x")
	}
	if here, other := must(t, "tail", "device_latest", "--from-start", "--until-end", dir), must(t, "tail", "site_a.readings.device_latest", "--from-start", "--until-end", dir); here == "" || other == "" {
		t.Errorf("rows of latest: %d bytes, and for site_a.readings %d", len(here), len(other))
	}
	plan := must(t, "explain", "device_stats", "--topic=site_a.readings", "-o=json")
	for _, name := range []string{`"site_a.readings.device-stats.stage1.changelog"`, `(topic site_a.readings.device_stats)`} {
		if !strings.Contains(plan, name) {
			t.Errorf("the plan has no %s: %s", name, plan)
		}
	}
}

// Topics that would collide with Weir's own are refused, and so is a file that processes the
// readings of a site other than --topic.
func TestInvalidTopicsAreRefused(t *testing.T) {
	for topic, want := range map[string]string{
		"no spaces":             "invalid topic",
		"_first":                "start with a letter or a digit",
		strings.Repeat("x", 81): "at most 80",
		"site_a.dlq":            "for its own topics",
		"p.stage1.changelog":    "for its own topics",
		"weir.progress":         "for its own topics",
		"device_stats":          "would collide with Weir's topic device_stats",
		"sensor_data":           "sensor_data.dlq would collide with Weir's topic sensor_data_dlq",
	} {
		for _, command := range []string{"produce", "consume", "up", "verify"} {
			code, _, stderr := do(t, command, "--topic="+topic, "--data-dir="+t.TempDir())
			if code != exitUsage || !strings.Contains(stderr, want) {
				t.Errorf("%s --topic=%q: exit %d, %s", command, topic, code, stderr)
			}
		}
	}
	file := copyPipeline(t, "mine", "sensor_data_tx", "mine_out")
	if code, stdout, _ := do(t, "check", file, "--topic=site_a.readings"); code != exitCheck || !strings.Contains(stdout, "--topic applies to bundled pipelines only") {
		t.Errorf("check of a file of another site: exit %d, %s", code, stdout)
	}
	if code, _, stderr := do(t, "run", file, "--topic=site_a.readings"); code != exitUsage || !strings.Contains(stderr, "--topic applies to bundled pipelines only") {
		t.Errorf("run of a file of another site: exit %d, %s", code, stderr)
	}
}

// The environment and the configuration file set the topic of all commands.
func TestTopicFromEnvironment(t *testing.T) {
	t.Setenv("WEIR_TOPIC", "site_a.readings")
	dir := t.TempDir()
	if out := must(t, "topics", "show"); !strings.Contains(out, "name: site_a.readings.weir.progress #") {
		t.Errorf("topics show: %s", out)
	}
	must(t, "produce", "--count=100", "--data-dir="+filepath.Join(dir, "data"))
	if r := verified(t, "--data-dir="+filepath.Join(dir, "data")); r.Records != 100 {
		t.Errorf("%d records", r.Records)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err != nil {
		t.Error(err)
	}
}
