package flink

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

// fakeFlink is a cluster that accepts every statement, runs every job, and records both.
type fakeFlink struct {
	mu          sync.Mutex
	checkpoints string // directory
	statements  []string
	jobs        []Job
	plan        string // returned by EXPLAIN
	fails       bool   // new jobs fail
	log         string // of the JobManager
}

func (f *fakeFlink) execute(statement string) (result string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.statements = append(f.statements, statement)
	switch {
	case strings.HasPrefix(statement, "EXPLAIN"):
		plan, _ := json.Marshal(f.plan)
		return fmt.Sprintf(`{"resultType":"EOS","results":{"columns":[{"name":"result"}],"data":[{"kind":"INSERT","fields":[%s]}]}}`, plan)
	case strings.HasPrefix(statement, "INSERT"), strings.HasPrefix(statement, "EXECUTE"):
		id := fmt.Sprintf("job%d", len(f.jobs))
		state := "RUNNING"
		if f.fails {
			state = "FAILED"
		}
		f.jobs = append(f.jobs, Job{ID: id, Name: "hot", State: state, Start: Millis(time.Now().UnixMilli())})
		return fmt.Sprintf(`{"resultType":"EOS","jobID":%q,"results":{"columns":[],"data":[]}}`, id)
	}
	return `{"resultType":"EOS","results":{"columns":[],"data":[]}}`
}

func (f *fakeFlink) job(id string) *Job {
	i := slices.IndexFunc(f.jobs, func(j Job) bool { return j.ID == id })
	if i < 0 {
		return nil
	}
	return &f.jobs[i]
}

func (f *fakeFlink) serve(t *testing.T) *Cluster {
	t.Helper()
	results := make(map[string]string)
	mux := http.NewServeMux()
	answer := func(pattern string, fn func(r *http.Request) any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v := fn(r)
			if v == nil {
				text(404, `{"errors":["Not found."]}`)(w)
				return
			}
			if s, ok := v.(string); ok {
				text(200, s)(w)
				return
			}
			_ = json.NewEncoder(w).Encode(v)
		})
	}
	answer("POST /v3/sessions", func(*http.Request) any { return `{"sessionHandle":"s"}` })
	answer("DELETE /v3/sessions/s", func(*http.Request) any { return `{}` })
	answer("POST /v3/sessions/s/statements", func(r *http.Request) any {
		var in struct{ Statement string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		id := fmt.Sprint(len(results))
		results[id] = f.execute(in.Statement)
		return map[string]string{"operationHandle": id}
	})
	answer("GET /v3/sessions/s/operations/{o}/status", func(*http.Request) any { return `{"status":"FINISHED"}` })
	answer("GET /v3/sessions/s/operations/{o}/result/0", func(r *http.Request) any { return results[r.PathValue("o")] })
	answer("DELETE /v3/sessions/s/operations/{o}/close", func(*http.Request) any { return `{}` })

	answer("GET /overview", func(*http.Request) any { return `{"flink-version":"2.2.1"}` })
	answer("GET /jobmanager/config", func(*http.Request) any {
		return []map[string]string{{"key": "execution.checkpointing.dir", "value": "file://" + f.checkpoints}}
	})
	answer("GET /jobmanager/log", func(*http.Request) any { return f.log })
	answer("GET /taskmanagers", func(*http.Request) any { return `{"taskmanagers":[]}` })
	answer("GET /jobs/overview", func(*http.Request) any { return map[string]any{"jobs": f.jobs} })
	answer("GET /jobs/{id}", func(r *http.Request) any {
		if j := f.job(r.PathValue("id")); j != nil {
			return j
		}
		return nil
	})
	answer("GET /jobs/{id}/exceptions", func(r *http.Request) any {
		if f.job(r.PathValue("id")).State != "FAILED" {
			return `{}`
		}
		return `{"exceptionHistory":{"entries":[{"timestamp":1,"taskName":"Source","stacktrace":"a.B: x\nCaused by: c.D: the reason"}]}}`
	})
	answer("GET /jobs/{id}/checkpoints", func(*http.Request) any { return `{}` })
	answer("GET /jobs/{id}/metrics", func(*http.Request) any { return `[]` })
	answer("PATCH /jobs/{id}", func(r *http.Request) any {
		f.job(r.PathValue("id")).State = "CANCELED"
		return `{}`
	})
	answer("POST /jobs/{id}/stop", func(r *http.Request) any {
		f.job(r.PathValue("id")).State = "FINISHED"
		return `{"request-id":"r"}`
	})
	answer("GET /jobs/{id}/savepoints/r", func(*http.Request) any {
		return `{"status":{"id":"COMPLETED"},"operation":{"location":"file:/savepoint-1"}}`
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return NewCluster(Config{Gateway: server.URL, JobManager: server.URL})
}

// world returns a manager with the fake cluster and a real broker.
func world(t *testing.T) (*Manager, *fakeFlink) {
	t.Helper()
	b, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	env := Environment{Kafka: broker.Config{Brokers: []string{b.Addr()}}}
	client, err := broker.Connect(t.Context(), env.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 3, 1, nil, "in"); err != nil {
		t.Fatal(err)
	}
	f := &fakeFlink{plan: windowPlan, checkpoints: t.TempDir()}
	return &Manager{Cluster: f.serve(t), Env: env}, f
}

func TestDeployTwice(t *testing.T) {
	m, f := world(t)
	d, err := m.Deploy(t.Context(), pipeline, Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "hot" || d.JobID != "job0" || d.Sources["readings"] != "in" || d.TransactionTimeout != 900_000 {
		t.Errorf("%+v", d)
	}
	_, err = m.Deploy(t.Context(), pipeline, Options{}, "")
	var taken *AlreadyDeployedError
	if !errors.As(err, &taken) || taken.Gone {
		t.Errorf("deployed twice: %v", err)
	}
	// The sink topics exist, with as many partitions as the sources.
	client, err := broker.Connect(t.Context(), m.Env.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context(), "o1", "o2")
	if err != nil || len(topics["o1"].Partitions) != 3 || len(topics["o2"].Partitions) != 3 {
		t.Errorf("topics %v, %v", topics, err)
	}
	// The JobManager restarts and loses its jobs: a deployment must not overwrite the remaining
	// state.
	f.jobs = nil
	_, err = m.Deploy(t.Context(), pipeline, Options{}, "")
	if !errors.As(err, &taken) || !taken.Gone || !strings.Contains(err.Error(), "recover") {
		t.Errorf("deployed over a lost job: %v", err)
	}
	s, err := m.Status(t.Context(), "hot")
	if err != nil || s.State != StateLost {
		t.Errorf("status %+v, %v", s, err)
	}
}

func TestUpgrade(t *testing.T) {
	m, f := world(t)
	if _, err := m.Deploy(t.Context(), pipeline, Options{Parallelism: 3}, ""); err != nil {
		t.Fatal(err)
	}
	// Incompatible state: nothing is stopped.
	f.plan = strings.ReplaceAll(windowPlan, "[1 min]", "[5 min]")
	_, err := m.Upgrade(t.Context(), pipeline, Options{})
	var changed *ChangedError
	if !errors.As(err, &changed) || f.jobs[0].State != "RUNNING" {
		t.Fatalf("%v, the job is %s", err, f.jobs[0].State)
	}
	// The same table over another topic: its saved offsets are meaningless.
	f.plan = windowPlan
	_, err = m.Upgrade(t.Context(), strings.Replace(pipeline, "'topic' = 'in'", "'topic' = 'in2'", 1), Options{})
	if !errors.As(err, &changed) || !strings.Contains(err.Error(), "in2") || f.jobs[0].State != "RUNNING" {
		t.Fatalf("%v, the job is %s", err, f.jobs[0].State)
	}
	// The new job failed to start: the old SQL runs again.
	f.fails = true
	_, err = m.Upgrade(t.Context(), pipeline, Options{})
	if err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Fatalf("upgraded to a job that fails: %v", err)
	}
	f.fails = false
	d, err := FindDeployment(t.Context(), m.Env.Kafka, "hot")
	if err != nil || d.State != stateStopped || d.Savepoint != "file:/savepoint-1" {
		t.Fatalf("after an upgrade that failed twice: %+v, %v", d, err)
	}
	if _, err := m.Deploy(t.Context(), pipeline, Options{}, d.Savepoint); err != nil {
		t.Fatal(err)
	}
	d, err = m.Upgrade(t.Context(), pipeline, Options{})
	if err != nil || d.State != stateRunning || d.RestoredFrom != "file:/savepoint-1" {
		t.Fatalf("%+v, %v", d, err)
	}
	if n := slices.Index(f.statements, "SET 'execution.state-recovery.path' = 'file:/savepoint-1'"); n < 0 {
		t.Errorf("the savepoint was not passed to Flink: %q", f.statements)
	}
}

func TestRecover(t *testing.T) {
	m, f := world(t)
	d, err := m.Deploy(t.Context(), pipeline, Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Recover(t.Context(), "hot", "", "", Options{}); err == nil || !strings.Contains(err.Error(), "nothing to recover") {
		t.Errorf("recovered what runs: %v", err)
	}
	f.jobs = nil
	if _, err := m.Recover(t.Context(), "hot", "", "", Options{}); err == nil || !strings.Contains(err.Error(), "no complete checkpoint") {
		t.Errorf("without a checkpoint: %v", err)
	}
	checkpoint := func(n string, complete bool, age time.Duration) string {
		dir := filepath.Join(f.checkpoints, d.JobID, "chk-"+n)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if complete {
			file := filepath.Join(dir, "_metadata")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, time.Time{}, time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		return "file://" + dir
	}
	checkpoint("9", true, time.Hour)
	newest := checkpoint("10", true, time.Hour)
	checkpoint("11", false, 0)
	f.jobs = append(f.jobs, Job{ID: "other", Name: "other", State: "RUNNING"})
	r, err := m.Recover(t.Context(), "hot", "", "", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.RestoredFrom != newest {
		t.Errorf("recovered from %s, want %s", r.RestoredFrom, newest)
	}
	if len(r.PossibleLoss) != 1 {
		t.Errorf("an hour's outage with a timeout of 15 minutes: possible loss %q", r.PossibleLoss)
	}
	s, err := m.Status(t.Context(), "hot")
	if err != nil || len(s.PossibleLoss) != 1 {
		t.Errorf("status %+v, %v: the loss is forgotten", s, err)
	}
}

// A failed commit is a loss if the transaction is aborted or open, and none if it was committed
// earlier. Lines of other jobs and earlier runs are ignored.
func TestFailedCommits(t *testing.T) {
	m, f := world(t)
	if _, err := m.Deploy(t.Context(), pipeline, Options{}, ""); err != nil {
		t.Fatal(err)
	}
	line := func(at time.Time, p producer, id string) string {
		return fmt.Sprintf("%s ERROR org.apache.flink.connector.kafka.sink.internal.KafkaCommitter [Sink] - Unable to commit transaction (CommitRequestImpl{state=RECEIVED, numRetries=0, committable=KafkaCommittable{producerId=%d, epoch=%d, transactionalId='%s', producer=null}}) because its producer is already fenced. This means that\n",
			at.UTC().Format("2006-01-02 15:04:05,000"), p.id, p.epoch, id)
	}
	transact := func(id string, end kgo.TransactionEndTry) producer {
		t.Helper()
		client, err := broker.Connect(t.Context(), m.Env.Kafka, kgo.TransactionalID(id), kgo.DefaultProduceTopic("o1"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r, err := client.ProduceSync(t.Context(), &kgo.Record{Value: []byte("{}")}).First()
		if err != nil {
			t.Fatal(err)
		}
		if id == "open" {
			return producer{r.ProducerID, r.ProducerEpoch}
		}
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
		return producer{r.ProducerID, r.ProducerEpoch}
	}
	committed, aborted, open := transact("committed", kgo.TryCommit), transact("aborted", kgo.TryAbort), transact("open", kgo.TryAbort)
	soon := time.Now().Add(time.Second)
	for _, c := range []struct{ name, log, want string }{
		{"nothing", "all is well\n", ""},
		{"earlier", line(time.Now().Add(-time.Hour), aborted, "weir-flink/hot/out1-0-1"), ""},
		{"another's", line(soon, aborted, "weir-flink/other/out1-0-1"), ""},
		{"committed before", line(soon, committed, "weir-flink/hot/out1-0-1"), ""},
		{"empty", line(soon, producer{99, 0}, "weir-flink/hot/out1-0-1"), ""},
		{"aborted", line(soon, committed, "weir-flink/hot/out1-0-1") + line(soon, aborted, "weir-flink/hot/out1-0-2"), "it was aborted with 1 result"},
		{"open", line(soon, open, "weir-flink/hot/out1-0-3"), "it is open"},
		{"who knows", soon.UTC().Format("2006-01-02 15:04:05,000") + " Unable to commit transaction (x) because it's in an invalid state.\n", "its log does not name it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.log = c.log
			s, err := m.Status(t.Context(), "hot")
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.PossibleLoss, "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("possible loss %q, want %q", got, c.want)
			}
		})
	}
}

// A transactional id is reused after a failure, with the same producer id and a higher epoch. The
// outcome of the earlier transaction must not affect that of the later one, whatever order the
// partitions are read in.
func TestOutcomeOfReusedID(t *testing.T) {
	record := func(partition int32, epoch int16) *kgo.Record {
		return &kgo.Record{Topic: "o", Partition: partition, ProducerID: 7, ProducerEpoch: epoch}
	}
	marker := func(partition int32, epoch int16, kind byte) *kgo.Record {
		r := record(partition, epoch)
		r.Key = []byte{0, 0, 0, kind}
		r.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Control: true, Transactional: true})
		return r
	}
	const abort, commit = 0, 1
	first, second := producer{7, 0}, producer{7, 2}
	for _, end := range []byte{abort, commit} {
		found := make(map[producer]*outcome)
		for _, r := range []*kgo.Record{
			record(0, 0), marker(0, 1, abort), record(0, 2), record(0, 2), marker(0, 3, end), record(0, 5), marker(0, 6, abort),
			record(1, 0), marker(1, 1, abort), record(1, 2), marker(1, 3, end), record(1, 5), marker(1, 6, abort),
		} {
			note(found, []producer{first, second}, r)
		}
		if o := found[first]; o == nil || !o.aborted || o.records != 2 || len(o.open) > 0 {
			t.Errorf("the first: %+v", o)
		}
		if o := found[second]; o == nil || o.aborted != (end == abort) || o.records != 3 || len(o.open) > 0 {
			t.Errorf("the second, ended by %d: %+v", end, o)
		}
	}
}

// A file with a password is recorded without it, and can't be recovered from the record.
func TestRecordHasNoSecrets(t *testing.T) {
	m, f := world(t)
	secret := strings.Replace(pipeline, "'topic' = 'o1'", "'topic' = 'o1', 'properties.ssl.key.password' = 'hunter2'", 1)
	if _, err := m.Deploy(t.Context(), secret, Options{}, ""); err != nil {
		t.Fatal(err)
	}
	d, err := FindDeployment(t.Context(), m.Env.Kafka, "hot")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(d)
	if err != nil || strings.Contains(string(raw), "hunter2") || !d.Incomplete {
		t.Errorf("%s, %v", raw, err)
	}
	f.jobs = nil
	if _, err := m.Recover(t.Context(), "hot", "", "file:/x", Options{}); err == nil || !strings.Contains(err.Error(), "name the file") {
		t.Errorf("recovered without the password: %v", err)
	}
}

func TestCancel(t *testing.T) {
	m, f := world(t)
	if _, err := m.Cancel(t.Context(), "hot"); err == nil {
		t.Error("cancelled what is not deployed")
	}
	if _, err := m.Deploy(t.Context(), pipeline, Options{}, ""); err != nil {
		t.Fatal(err)
	}
	if d, err := m.Cancel(t.Context(), "hot"); err != nil || d.State != stateCancelled || f.jobs[0].State != "CANCELED" {
		t.Errorf("%+v, %v", d, err)
	}
	var gone *NotRunningError
	if _, err := m.Stop(t.Context(), "hot", "", false); !errors.As(err, &gone) {
		t.Errorf("stopped twice: %v", err)
	}
	all, err := m.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State != stateCancelled {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := m.Deploy(t.Context(), pipeline, Options{}, ""); err != nil {
		t.Errorf("deployed again: %v", err)
	}
}

// Of two concurrent changes to a deployment, the earlier fails.
func TestRecordersFenceEachOther(t *testing.T) {
	m, _ := world(t)
	first, err := openRecorder(t.Context(), m.Env.Kafka, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	if err := first.write(t.Context(), &Deployment{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	second, err := openRecorder(t.Context(), m.Env.Kafka, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer second.close()
	if err := second.write(t.Context(), &Deployment{Name: "x", State: stateRunning}); err != nil {
		t.Fatal(err)
	}
	if err := first.write(t.Context(), &Deployment{Name: "x", State: stateStopped}); !errors.Is(err, errOvertaken) {
		t.Errorf("the earlier one writes on: %v", err)
	}
	d, err := FindDeployment(t.Context(), m.Env.Kafka, "x")
	if err != nil || d.State != stateRunning {
		t.Errorf("%+v, %v", d, err)
	}
}
