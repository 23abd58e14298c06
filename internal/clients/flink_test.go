package clients

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/stack"
)

const (
	killsEnv   = "WEIR_TEST_KILLS" // how often TestFlinkSurvivesKills kills the broker
	flinkRate  = 400               // records per second and topic
	flinkLanes = 2                 // pairs of topics, and the job's parallelism
)

// kills returns how often to kill the broker, besides the two kills around the stop with savepoint:
// once in make test, 10 times in make clients, 100 in make long.
func kills(t *testing.T) int {
	t.Helper()
	switch text := os.Getenv(killsEnv); {
	case text != "":
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s=%s: expected a positive number", killsEnv, text)
		}
		return n
	case longtest.Enabled():
		return 100
	case os.Getenv(allEnv) != "":
		return 10
	}
	return 1
}

// A Flink job copies two topics to two others exactly once while the broker is killed with kill -9,
// also during a stop with savepoint and between the stop and the resumption: no record is missing
// and none is doubled.
func TestFlinkSurvivesKills(t *testing.T) {
	needsTools(t, "java", "mvn", "pip3")
	copyWithKills(t, serveEmbedded(t), kills(t))
}

// The control of TestFlinkSurvivesKills: the same on real Kafka.
func TestFlinkSurvivesKillsOfKafka(t *testing.T) {
	needsAll(t)
	needsTools(t, "java", "mvn", "pip3")
	copyWithKills(t, realKafka(t), kills(t))
}

func copyWithKills(t *testing.T, c cluster, kills int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute+time.Duration(kills)*20*time.Second)
	defer cancel()
	seed := rand.Uint64()
	t.Logf("seed %d, %d kills", seed, kills)
	j := &copyJob{t: t, broker: c, rng: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // reproducible
	for i := range flinkLanes {
		createTopics(t, c, 3, inTopic(i), outTopic(i))
	}
	f := stack.NewFlink(t, stack.FlinkOptions{Slots: flinkLanes, Memory: 256})
	j.flink = flink.NewCluster(flink.Config{Gateway: f.GatewayURL(), JobManager: f.RestURL()})
	t.Logf("Flink has started")
	j.startProducing(ctx)
	j.submit(ctx, "")
	t.Logf("job %s has started", j.id)
	j.awaitCheckpoints(ctx, 1)
	for i := range kills {
		if i == kills/2 {
			j.moveAcrossKill(ctx)
		}
		j.pause(ctx, 3*time.Second)
		j.killBroker(ctx)
		began := time.Now()
		j.awaitCheckpoints(ctx, 1)
		t.Logf("kill %d: a checkpoint after %.1f s", i+1, time.Since(began).Seconds())
	}
	j.verify(ctx, j.stopProducing())
}

func inTopic(lane int) string  { return fmt.Sprint("in", lane) }
func outTopic(lane int) string { return fmt.Sprint("out", lane) }

// copyJob is a Flink job that copies each inTopic to its outTopic.
type copyJob struct {
	t      *testing.T
	broker cluster
	flink  *flink.Cluster
	rng    *rand.Rand
	id     string // of the job

	stop     context.CancelFunc // of the producers
	produced []chan int64       // how many records each has sent
}

// startProducing sends 0, 1, 2, … to each inTopic until stopProducing. The idempotent producer
// retries across the broker's kills.
func (j *copyJob) startProducing(ctx context.Context) {
	j.t.Helper()
	stopping, stop := context.WithCancel(ctx)
	j.stop = stop
	for lane := range flinkLanes {
		client, err := kgo.NewClient(kgo.SeedBrokers(j.broker.Address()), kgo.DefaultProduceTopic(inTopic(lane)), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		if err != nil {
			j.t.Fatal(err)
		}
		done := make(chan int64, 1)
		j.produced = append(j.produced, done)
		go func() {
			defer client.Close()
			var n int64
			var failed atomic.Int64
			tick := time.NewTicker(time.Second / flinkRate)
			defer tick.Stop()
			for stopping.Err() == nil {
				client.Produce(ctx, &kgo.Record{Value: fmt.Appendf(nil, `{"id": %d}`, n)}, func(_ *kgo.Record, err error) {
					if err != nil {
						failed.Add(1)
					}
				})
				n++
				<-tick.C
			}
			if err := client.Flush(ctx); err != nil || failed.Load() > 0 {
				j.t.Errorf("%d of %d records were not produced, %v", failed.Load(), n, err)
			}
			done <- n
		}()
	}
}

// stopProducing returns how many records each inTopic has.
func (j *copyJob) stopProducing() []int64 {
	j.stop()
	var all []int64
	for _, done := range j.produced {
		all = append(all, <-done)
	}
	return all
}

// submit starts the job, from a savepoint or without one.
func (j *copyJob) submit(ctx context.Context, savepoint string) {
	j.t.Helper()
	settings := map[string]string{
		"pipeline.name": "copy", "execution.runtime-mode": "streaming", "parallelism.default": strconv.Itoa(flinkLanes),
		"execution.checkpointing.interval": "1 s", "execution.checkpointing.tolerable-failed-checkpoints": "1000",
	}
	if savepoint != "" {
		settings["execution.state-recovery.path"] = savepoint
	}
	session, err := j.flink.OpenSession(ctx, "copy", settings)
	if err != nil {
		j.t.Fatal(err)
	}
	defer func() { _ = session.Close(ctx) }() // the job goes on without it
	job := "EXECUTE STATEMENT SET BEGIN\n"
	var statements []string
	for lane := range flinkLanes {
		statements = append(statements, fmt.Sprintf(`CREATE TABLE %[1]s (id BIGINT) WITH ('connector' = 'kafka', 'topic' = '%[1]s',
			'properties.bootstrap.servers' = '%[3]s', 'properties.group.id' = 'copy', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json')`,
			inTopic(lane), outTopic(lane), j.broker.Address()), fmt.Sprintf(`CREATE TABLE %[2]s (id BIGINT) WITH ('connector' = 'kafka', 'topic' = '%[2]s',
			'properties.bootstrap.servers' = '%[3]s', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once',
			'sink.transactional-id-prefix' = 'copy-%[2]s', 'properties.transaction.timeout.ms' = '600000')`,
			inTopic(lane), outTopic(lane), j.broker.Address()))
		job += fmt.Sprintf("INSERT INTO %s SELECT id FROM %s;\n", outTopic(lane), inTopic(lane))
	}
	for _, statement := range append(statements, job+"END") {
		r, err := session.Execute(ctx, statement)
		if err != nil {
			j.t.Fatalf("%s: %v", statement, err)
		}
		j.id = r.JobID
	}
}

// awaitCheckpoints waits for n more checkpoints that began after the call.
func (j *copyJob) awaitCheckpoints(ctx context.Context, n int64) {
	j.t.Helper()
	began := time.Now()
	for deadline := began.Add(5 * time.Minute); n > 0; {
		if time.Now().After(deadline) {
			problems, _ := j.flink.Exceptions(ctx, j.id)
			j.t.Fatalf("no checkpoint after five minutes: %v", problems)
		}
		all, err := j.flink.Checkpoints(ctx, j.id)
		if err != nil {
			j.t.Fatal(err)
		}
		if c := all.Latest.Completed; c != nil && c.Triggered.Time().After(began) {
			n--
			began = time.Now()
			continue
		}
		j.sleep(ctx, 100*time.Millisecond)
	}
}

func (j *copyJob) sleep(ctx context.Context, d time.Duration) {
	j.t.Helper()
	if err := retry.Sleep(ctx, d); err != nil {
		j.t.Fatal(err)
	}
}

// pause waits for a random time, so that kills hit all steps of a checkpoint.
func (j *copyJob) pause(ctx context.Context, most time.Duration) {
	j.t.Helper()
	j.sleep(ctx, time.Duration(j.rng.Int64N(int64(most))))
}

// killBroker kills the broker with kill -9 and restarts it.
func (j *copyJob) killBroker(ctx context.Context) {
	j.t.Helper()
	if err := j.broker.KillBroker(); err != nil {
		j.t.Fatal(err)
	}
	j.pause(ctx, time.Second)
	if err := j.broker.StartBroker(ctx); err != nil {
		j.t.Fatal(err)
	}
}

// moveAcrossKill stops the job with a savepoint while the broker is killed, kills it once more, and
// resumes the job.
func (j *copyJob) moveAcrossKill(ctx context.Context) {
	j.t.Helper()
	type stopped struct {
		savepoint string
		err       error
	}
	done := make(chan stopped, 1)
	go func() {
		savepoint, err := j.flink.Stop(ctx, j.id, "", false)
		done <- stopped{savepoint, err}
	}()
	j.pause(ctx, 300*time.Millisecond)
	j.killBroker(ctx)
	r := <-done
	if r.err != nil {
		// A savepoint that the kill has made fail leaves the job running.
		j.t.Logf("the stop with savepoint failed, again without a kill: %v", r.err)
		j.awaitCheckpoints(ctx, 1)
		if r.savepoint, r.err = j.flink.Stop(ctx, j.id, "", false); r.err != nil {
			j.t.Fatal(r.err)
		}
	}
	j.killBroker(ctx)
	j.submit(ctx, r.savepoint)
	j.awaitCheckpoints(ctx, 1)
}

// verify requires that each outTopic has each record of its inTopic exactly once, for readers of
// committed records.
func (j *copyJob) verify(ctx context.Context, sent []int64) {
	j.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(j.broker.Address()), kgo.ConsumeTopics(j.topics()...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		j.t.Fatal(err)
	}
	defer client.Close()
	have := make(map[string]map[string]int) // topic, value → how often
	for _, topic := range j.topics() {
		have[topic] = make(map[string]int)
	}
	read := func(idle time.Duration, enough func() bool) {
		for last := time.Now(); time.Since(last) < idle && !enough(); {
			poll, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			client.PollFetches(poll).EachRecord(func(r *kgo.Record) {
				last = time.Now()
				have[r.Topic][string(r.Value)]++
			})
			cancel()
		}
	}
	read(2*time.Minute, func() bool {
		for lane, want := range sent {
			if int64(len(have[outTopic(lane)])) < want || int64(len(have[inTopic(lane)])) < want {
				return false
			}
		}
		return true
	})
	j.awaitCheckpoints(ctx, 2) // a doubled record may come late
	read(2*time.Second, func() bool { return false })
	for lane, want := range sent {
		for _, topic := range []string{inTopic(lane), outTopic(lane)} {
			missing, doubled := want-int64(len(have[topic])), total(have[topic])-int64(len(have[topic]))
			j.t.Logf("%s: %d records, %d missing, %d doubled", topic, want, missing, doubled)
			if missing != 0 || doubled != 0 {
				problems, _ := j.flink.Exceptions(ctx, j.id) // only for the message
				j.t.Errorf("%s: %d records are missing and %d are doubled, of %d. Flink's exceptions: %v", topic, missing, doubled, want, problems)
			}
		}
	}
}

func (j *copyJob) topics() []string {
	var all []string
	for lane := range flinkLanes {
		all = append(all, inTopic(lane), outTopic(lane))
	}
	return all
}

func total(counts map[string]int) (n int64) {
	for _, count := range counts {
		n += int64(count)
	}
	return n
}
