package embedded

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/longtest"
)

// Environment variables that make the test binary serve a data directory, so that a test can kill
// it.
const (
	serveEnv = "WEIR_TEST_SERVE" // data directory
	plainEnv = "WEIR_TEST_PLAIN" // any value: kfake alone, to show why the journal is needed
	syncEnv  = "WEIR_TEST_SYNC"  // any value: Config.Sync
	addrEnv  = "WEIR_TEST_ADDR"  // host:port to listen on; default: a free port
	dieEnv   = "WEIR_TEST_DIE"   // "commit,µs": kill -9 itself that long after the broker received that commit
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveEnv); dir != "" {
		serve(dir)
	}
	goleak.VerifyTestMain(m)
}

func serve(dir string) {
	if os.Getenv(plainEnv) != "" {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir))
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		dieAtCommit(c.ControlKey)
		fmt.Println(c.ListenAddrs()[0])
		select {}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	b, err := Open(Config{Dir: dir, Addr: os.Getenv(addrEnv), Sync: os.Getenv(syncEnv) != "", Logger: log, MaintainEvery: 20 * time.Millisecond, CompactBytes: 1})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	dieAtCommit(b.cluster.ControlKey)
	dieAtStep(b.cluster)
	fmt.Println(b.Addr())
	select {}
}

// dieAtCommit kills this process while it ends a transaction: shortly after the request, at a
// moment that a test outside the process could not hit.
func dieAtCommit(watch func(int16, func(kmsg.Request) (kmsg.Response, error, bool))) {
	var commit, micros int
	if _, err := fmt.Sscanf(os.Getenv(dieEnv), "%d,%d", &commit, &micros); err != nil {
		return
	}
	watch(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if end, ok := req.(*kmsg.EndTxnRequest); ok && end.Commit {
			commit--
		}
		if commit == 0 {
			go func() {
				for met := time.Now(); time.Since(met) < time.Duration(micros)*time.Microsecond; {
				}
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}()
		}
		return nil, nil, false
	})
}

// child is a broker in a separate process.
type child struct {
	cmd  *exec.Cmd
	addr string
}

func startChild(t *testing.T, dir string, env ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$") //nolint:gosec // this test's own binary
	cmd.Env = append(append(os.Environ(), serveEnv+"="+dir), env...)
	cmd.Stderr = &tail{t: t}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error") {
		t.Fatalf("broker printed %q, %v", line, err)
	}
	return &child{cmd: cmd, addr: strings.TrimSpace(line)}
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // "signal: killed"
}

// tail logs what recoveries report.
type tail struct {
	t *testing.T
}

func (w *tail) Write(p []byte) (int, error) {
	if s := string(p); strings.Contains(s, "recovered") {
		w.t.Log(strings.TrimSpace(s))
	}
	return len(p), nil
}

const (
	killTopic      = "torn"
	killState      = "state" // compacted
	killPartitions = 8
)

// A broker that is killed with kill -9 at random moments and during commits, also twice in a row,
// never shows a transaction on some of its partitions only, never loses an acknowledged one, never
// shows an uncommitted one, and never leaves readers waiting.
func TestKillNeverTearsATransaction(t *testing.T) {
	rounds := longtest.Size(10, 25, 200)
	found := killRounds(t, rounds)
	for _, f := range found {
		t.Error(f)
	}
}

// The same kills with kfake alone prove that the test detects the failures.
func TestKillTearsWithoutTheJournal(t *testing.T) {
	for range 5 {
		if found := killRounds(t, 8, plainEnv+"=1"); len(found) > 0 {
			t.Logf("seen, among %d: %s", len(found), found[0])
			return
		}
	}
	t.Error("kfake alone passes 40 kills: is the journal no longer needed, or does the test detect nothing?")
}

// killRounds repeatedly kills a broker while transactions run, and returns the failures.
func killRounds(t *testing.T, rounds int, env ...string) []string {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	outcome := make(map[int]string) // acked, unknown, aborted
	next := 0
	for round := range rounds {
		die := fmt.Sprintf("%s=%d,%d", dieEnv, 2+rng.IntN(40), rng.IntN(400))
		byItself := round%4 != 0
		if !byItself {
			die = dieEnv + "="
		}
		c := startChild(t, dir, append(env, die)...)
		ctx, cancel := context.WithCancel(context.Background())
		ready := make(chan struct{})
		dead := make(chan struct{})
		go func() {
			defer close(dead)
			<-ready
			if !byItself {
				time.Sleep(time.Duration(20+rng.IntN(200)) * time.Millisecond) // until the kill
				_ = c.cmd.Process.Kill()
			}
			_ = c.cmd.Wait() // "signal: killed"
			cancel()
		}()
		next = runTransactions(ctx, t, c.addr, next, outcome, ready)
		<-dead
		if round%7 == 3 { // once more, before any client connects
			startChild(t, dir, env...).kill(t)
		}
	}
	c := startChild(t, dir, env...)
	defer c.kill(t)
	return checkTransactions(t, c.addr, outcome)
}

// runTransactions writes one record per transaction to each partition of two topics, until ctx is
// done.
func runTransactions(ctx context.Context, t *testing.T, addr string, next int, outcome map[int]string, ready chan struct{}) int {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(killTopic), kgo.TransactionTimeout(time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer context.AfterFunc(ctx, client.Close)() // otherwise records in flight wait for the broker to restart
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopics(ctx, killPartitions, 1, nil, killTopic); err != nil {
		t.Fatal(err)
	}
	compact := "compact"
	if _, err := admin.CreateTopics(ctx, killPartitions, 1, map[string]*string{"cleanup.policy": &compact}, killState); err != nil {
		t.Fatal(err)
	}
	close(ready)
	for ctx.Err() == nil {
		n := next
		next++
		outcome[n] = "unknown"
		if err := client.BeginTransaction(); err != nil {
			return next
		}
		promise := kgo.AbortingFirstErrPromise(client)
		for p := range int32(killPartitions) {
			value := fmt.Appendf(nil, "%d", n)
			client.Produce(ctx, &kgo.Record{Topic: killTopic, Partition: p, Value: value}, promise.Promise())
			client.Produce(ctx, &kgo.Record{Topic: killState, Partition: p, Key: []byte("last"), Value: value}, promise.Promise())
		}
		if err := promise.Err(); err != nil {
			outcome[n] = "aborted"
			return next
		}
		if n%5 == 4 {
			if client.EndTransaction(ctx, kgo.TryAbort) != nil {
				return next
			}
			outcome[n] = "aborted"
			continue
		}
		if err := broker.Commit(ctx, client); err != nil {
			return next
		}
		outcome[n] = "acked"
	}
	return next
}

func checkTransactions(t *testing.T, addr string, outcome map[int]string) (found []string) {
	t.Helper()
	wrong := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	takeOver(t, addr, killTopic)
	logs := readCommitted(ctx, t, addr, killTopic, wrong)
	seen := make(map[int]int)
	for p, values := range logs {
		last := -1
		for _, v := range values {
			var n int
			if _, err := fmt.Sscan(v, &n); err != nil {
				t.Fatal(err)
			}
			if n <= last {
				wrong("partition %d: transaction %d after %d", p, n, last)
			}
			last = n
			seen[n]++
		}
	}
	counts := make(map[string]int)
	newest := -1
	for n, how := range outcome {
		counts[how]++
		switch copies := seen[n]; {
		case copies != 0 && copies != killPartitions:
			wrong("transaction %d (%s) is on %d of %d partitions", n, how, copies, killPartitions)
		case how == "acked" && copies == 0:
			wrong("transaction %d was acknowledged and is lost", n)
		case how == "aborted" && copies != 0:
			wrong("transaction %d was aborted and is visible", n)
		}
		if seen[n] > 0 {
			newest = max(newest, n)
		}
	}
	for p, values := range readCommitted(ctx, t, addr, killState, wrong) {
		if len(values) == 0 || values[len(values)-1] != fmt.Sprint(newest) {
			wrong("compacted partition %d ends with %q, want %d", p, values[max(0, len(values)-1):], newest)
		}
	}
	t.Logf("%d transactions: %v", len(outcome), counts)
	if counts["acked"] == 0 {
		t.Error("no transaction was acknowledged: the test tested nothing")
	}
	return found
}

// readCommitted returns the values of each partition, in order, up to the end of the topic, which
// it requires to be stable.
func readCommitted(ctx context.Context, t *testing.T, addr, topic string, wrong func(string, ...any)) [][]string {
	t.Helper()
	offsets := make(map[int32]kgo.Offset)
	for p := range int32(killPartitions) {
		offsets[p] = kgo.NewOffset().AtStart()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	stable, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if s, _ := stable.Lookup(topic, o.Partition); s.Offset != o.Offset {
			wrong("%s-%d: the last stable offset %d is not at the end %d: a transaction hangs", topic, o.Partition, s.Offset, o.Offset)
		}
		if s, _ := stable.Lookup(topic, o.Partition); s.Offset > 0 {
			left[o.Partition] = s.Offset
		}
	})
	values := make([][]string, killPartitions)
	for len(left) > 0 {
		poll, cancel := context.WithTimeout(ctx, 20*time.Second)
		fetches := client.PollFetches(poll)
		cancel()
		if err := fetches.Err(); err != nil {
			wrong("%s can't be read to its end, %v left: %v", topic, left, err)
			break
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				values[r.Partition] = append(values[r.Partition], string(r.Value))
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return values
}
