package embedded

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// testdata/golden has two data directories that the version of kfake in its file "version" wrote:
// clean after a stop, killed as a killed process leaves it. format.txt describes their files.
//
//	go test ./internal/broker/embedded -run TestGolden -update
//
// records all of it again. Do that for each new version of kfake, and review the change of
// format.txt: recovery reads and writes these formats.
var updateGolden = flag.Bool("update", false, "record testdata/golden again")

const golden = "testdata/golden"

// go.mod's version of kfake is the one that recorded the golden directories.
func TestGoldenVersion(t *testing.T) {
	mod, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`franz-go/pkg/kfake (v\S+)`).FindSubmatch(mod)
	if used == nil {
		t.Fatal("go.mod does not name a version of kfake")
	}
	file := filepath.Join(golden, "version")
	if *updateGolden {
		if err := os.MkdirAll(golden, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(used[1], '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	recorded, err := os.ReadFile(file) //nolint:gosec // a constant
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(recorded)); got != string(used[1]) {
		t.Errorf("go.mod has kfake %s, but the golden directories are of %s: run this test with -update, and review the formats that it changes",
			used[1], got)
	}
}

// kfake's private file formats are those that this package reads and writes.
func TestGoldenFormat(t *testing.T) {
	var got strings.Builder
	for _, name := range []string{"clean", "killed"} {
		dir := t.TempDir()
		recordGolden(t, dir, name == "killed")
		fmt.Fprintf(&got, "# %s\n%s\n", name, describe(t, filepath.Join(dir, dataDir)))
		if *updateGolden {
			to := filepath.Join(golden, name)
			if err := os.RemoveAll(to); err != nil {
				t.Fatal(err)
			}
			copyGolden(t, dir, to)
		}
	}
	file := filepath.Join(golden, "format.txt")
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // a constant
	if err != nil {
		t.Fatal(err)
	}
	wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")
	for _, line := range wantLines {
		if !slices.Contains(gotLines, line) {
			t.Errorf("no longer written: %s", line)
		}
	}
	for _, line := range gotLines {
		if !slices.Contains(wantLines, line) {
			t.Errorf("new: %s", line)
		}
	}
}

// The golden directories open, and have exactly the records and offsets that were written.
func TestGoldenOpens(t *testing.T) {
	for _, name := range []string{"clean", "killed"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyGolden(t, filepath.Join(golden, name), dir)
			stoppedNow(t, filepath.Join(dir, dataDir, "session_state.json"))
			b := open(t, Config{Dir: dir})
			defer b.Close()
			if name == "clean" {
				if p := b.cluster.PartitionInfo("orders", 0); p.LastStableOffset >= p.HighWatermark {
					t.Error("the open transaction is no longer open")
				}
			}
			c := client(t, b, kgo.TransactionalID("open"))
			if _, _, err := c.ProducerID(t.Context()); err != nil { // aborts the transaction, if recovery did not
				t.Fatal(err)
			}
			got := make(map[string][]string)
			for _, topic := range []string{"orders", "plain", "state"} {
				for p := range b.cluster.PartitionInfos(topic) {
					at := fmt.Sprintf("%s-%d", topic, p)
					got[at] = committedRecords(t, b, topic, int32(p))
				}
			}
			for at, want := range map[string][]string{
				"orders-0": {"0 k0=committed", "4 k2=committed too"},
				"orders-1": {"0 k1=committed"},
				"plain-0":  {"0 =a", "1 =b", "2 =c"},
				"plain-1":  nil,
				"state-0":  {"2 x=3", "3 y=2", "4 z=1"},
			} {
				if !slices.Equal(got[at], want) {
					t.Errorf("%s has %q, want %q", at, got[at], want)
				}
				delete(got, at)
			}
			if len(got) > 0 {
				t.Errorf("unexpected partitions: %q", got)
			}
			offsets, err := kadm.NewClient(c).FetchOffsets(t.Context(), "readers")
			if err != nil {
				t.Fatal(err)
			}
			for p, want := range []int64{1, 1} { // one committed by its member, one by a transaction
				if o, ok := offsets.Lookup("orders", int32(p)); !ok || o.At != want {
					t.Errorf("the group's offset of orders-%d is %d, want %d", p, o.At, want)
				}
			}
		})
	}
}

// recordGolden writes a data directory with every kind of state: several topics and partitions, a
// compacted topic, transactions that are committed, aborted and open, and group offsets.
func recordGolden(t *testing.T, dir string, killed bool) {
	t.Helper()
	live := t.TempDir()
	if !killed {
		live = dir
	}
	b := open(t, Config{Dir: live, CompactBytes: 1})
	c := client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	admin := kadm.NewClient(c)
	forever, compact, small := "-1", "compact", "100"
	for _, topic := range []struct {
		name       string
		partitions int32
		configs    map[string]*string
	}{
		{"orders", 2, map[string]*string{"retention.ms": &forever}},
		{"plain", 2, map[string]*string{"retention.ms": &forever, "segment.bytes": &small}},
		{"state", 1, map[string]*string{"cleanup.policy": &compact}},
	} {
		if _, err := admin.CreateTopic(t.Context(), topic.partitions, 1, topic.configs, topic.name); err != nil {
			t.Fatal(err)
		}
	}
	at := time.UnixMilli(1_800_000_000_000)
	send := func(c *kgo.Client, topic string, p int32, key, value string) {
		t.Helper()
		r := &kgo.Record{Topic: topic, Partition: p, Key: []byte(key), Value: []byte(value), Timestamp: at}
		if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Second)
	}
	transaction := func(id string) *kgo.Client {
		t.Helper()
		c := client(t, b, kgo.TransactionalID(id), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.TransactionTimeout(time.Minute))
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	end := func(c *kgo.Client, how kgo.TransactionEndTry) {
		t.Helper()
		if err := c.EndTransaction(t.Context(), how); err != nil {
			t.Fatal(err)
		}
	}
	send(c, "plain", 0, "", "a")
	send(c, "plain", 0, "", "b")
	send(c, "plain", 0, "", "c")
	for _, kv := range []string{"x=1", "y=1", "x=3", "y=2", "z=1"} {
		key, value, _ := strings.Cut(kv, "=")
		send(c, "state", 0, key, value)
	}
	if err := b.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	commits := transaction("commits")
	send(commits, "orders", 0, "k0", "committed")
	send(commits, "orders", 1, "k1", "committed")
	commitInTransaction(t, commits, "readers", "orders", 1, 1)
	end(commits, kgo.TryCommit)
	aborts := transaction("aborts")
	send(aborts, "orders", 0, "k0", "aborted")
	end(aborts, kgo.TryAbort)
	send(c, "orders", 0, "k2", "committed too")
	offset := make(kadm.Offsets)
	offset.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 1, LeaderEpoch: -1, Metadata: "m"})
	if err := admin.CommitAllOffsets(t.Context(), "readers", offset); err != nil {
		t.Fatal(err)
	}
	stays := transaction("open")
	send(stays, "orders", 0, "k3", "open")
	commitInTransaction(t, stays, "readers", "orders", 0, 99)
	if killed {
		copyGolden(t, live, dir) // the broker is idle: its files are those that a kill would leave
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// commitInTransaction stages an offset in the client's open transaction.
func commitInTransaction(t *testing.T, c *kgo.Client, group, topic string, p int32, at int64) {
	t.Helper()
	id, epoch, err := c.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	txID, _ := c.OptValue(kgo.TransactionalID).(string)
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = txID, id, epoch, group
	if resp, err := add.RequestWith(t.Context(), c); err != nil || resp.ErrorCode != 0 {
		t.Fatalf("add offsets to the transaction: %v, code %d", err, resp.ErrorCode)
	}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.Group, commit.ProducerID, commit.ProducerEpoch, commit.Generation = txID, group, id, epoch, -1
	part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset = p, at
	topics := kmsg.NewTxnOffsetCommitRequestTopic()
	listed, err := kadm.NewClient(c).ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	topics.Topic, topics.TopicID = topic, listed[topic].ID
	topics.Partitions = append(topics.Partitions, part)
	commit.Topics = append(commit.Topics, topics)
	resp, err := commit.RequestWith(t.Context(), c)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("commit an offset in the transaction: %v, %+v", err, resp)
	}
}

// copyGolden copies a data directory without the files of a running process.
func copyGolden(t *testing.T, from, to string) {
	t.Helper()
	skip := []string{lockFile, joinedFile, addrFile, reserveFile}
	walk(t, from, func(path string, info os.FileInfo) {
		name, err := filepath.Rel(from, path)
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(to, name)
		switch {
		case slices.Contains(skip, name):
		case info.IsDir():
			err = os.MkdirAll(at, 0o700)
		default:
			var data []byte
			if data, err = os.ReadFile(path); err == nil { //nolint:gosec // a golden directory
				err = os.WriteFile(at, data, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// stoppedNow makes a golden session look as if its broker had just stopped: transactions time out.
func stoppedNow(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file) //nolint:gosec // a copy of a golden file
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Format(time.RFC3339Nano)
	raw = regexp.MustCompile(`"20\d\d-\d\d-\d\dT[^"]*"`).ReplaceAll(raw, []byte(`"`+now+`"`))
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// committedRecords returns the committed records of a partition as "offset key=value".
func committedRecords(t *testing.T, b *Broker, topic string, p int32) (records []string) {
	t.Helper()
	info := b.cluster.PartitionInfo(topic, p)
	if info.LastStableOffset != info.HighWatermark {
		t.Errorf("%s-%d: a transaction is open", topic, p)
		return nil
	}
	c := client(t, b, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().AtStart()}}))
	defer c.Close() // a client that is closed after its broker waits for seconds
	for next := info.LogStartOffset; next < info.HighWatermark; {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				records = append(records, fmt.Sprintf("%d %s=%s", r.Offset, r.Key, r.Value))
			}
		})
	}
	return records
}

// describe lists the files of a kfake data directory with the fields and layout of each, without
// the values that differ between two recordings.
func describe(t *testing.T, data string) string {
	t.Helper()
	var out strings.Builder
	walk(t, data, func(path string, info os.FileInfo) {
		name, err := filepath.Rel(data, path)
		if err != nil || info.IsDir() {
			return
		}
		var lines []string
		switch filepath.Ext(name) {
		case ".json":
			raw, err := os.ReadFile(path) //nolint:gosec // a test's directory
			if err != nil {
				t.Fatal(err)
			}
			lines = paths(t, raw)
		case ".log":
			log, err := openStateLog(path)
			if err != nil || log.size != info.Size() {
				t.Fatalf("%s: %d bytes of %d are framed entries: %v", name, log.size, info.Size(), err)
			}
			for _, e := range log.entries {
				var kind struct {
					Type string `json:"type"`
				}
				if err := json.Unmarshal(e.data, &kind); err != nil {
					t.Fatal(err)
				}
				for _, line := range paths(t, e.data) {
					lines = append(lines, kind.Type+line)
				}
			}
		case ".dat":
			lines = batchLines(t, path)
		case ".idx":
			lines = indexLines(t, path)
		}
		if ext := filepath.Ext(name); ext == ".json" || ext == ".log" {
			slices.Sort(lines)
			lines = slices.Compact(lines)
		}
		fmt.Fprintf(&out, "%s\n", name)
		for _, line := range lines {
			fmt.Fprintf(&out, "%s: %s\n", name, line)
		}
	})
	return out.String()
}

// paths lists the fields of a JSON document with their types.
func paths(t *testing.T, raw []byte) (lines []string) {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var visit func(at string, v any)
	visit = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				visit(at+"."+key, v[key])
			}
		case []any:
			lines = append(lines, at+"[]")
			for _, e := range v {
				visit(at+"[]", e)
			}
		default:
			lines = append(lines, fmt.Sprintf("%s %T", at, v))
		}
	}
	visit("", v)
	return lines
}

func batchLines(t *testing.T, path string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // a test's directory
	if err != nil {
		t.Fatal(err)
	}
	for len(raw) >= batchHeaderSize {
		b := parseHeader(raw)
		if b.size > int64(len(raw)) {
			break
		}
		var set kmsg.RecordBatch
		if err := set.ReadFrom(raw[:b.size]); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		lines = append(lines, fmt.Sprintf("batch offset=%d records=%d magic=%d attributes=%#x leader_epoch=%d", b.baseOffset, b.records, set.Magic, b.attributes, b.leaderEpoch))
		raw = raw[b.size:]
	}
	if len(raw) > 0 {
		t.Fatalf("%s: %d bytes after the last batch", path, len(raw))
	}
	return lines
}

func indexLines(t *testing.T, path string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile(path) //nolint:gosec // a test's directory
	if err != nil {
		t.Fatal(err)
	}
	for entry := range slices.Chunk(raw, indexEntrySize) {
		if len(entry) < indexEntrySize {
			t.Fatalf("%s: an entry of %d bytes", path, len(entry))
		}
		b := batch{
			leaderEpoch:   int32(binary.LittleEndian.Uint32(entry[2:])),
			maxTimestamp:  int64(binary.LittleEndian.Uint64(entry[6:])),
			inTransaction: entry[14] == 1,
		}
		if want := indexEntry(&b); string(want) != string(entry) {
			t.Errorf("%s: entry %x, expected %x", path, entry, want)
		}
		lines = append(lines, fmt.Sprintf("entry leader_epoch=%d in_transaction=%t", b.leaderEpoch, b.inTransaction))
	}
	return lines
}
