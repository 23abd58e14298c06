package flink

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serverSide is the SQL Gateway's response to a failed statement, shortened.
const serverSide = `{"errors":["Internal server error.","<Exception on server side:\norg.apache.flink.table.gateway.api.utils.SqlGatewayException: Failed to fetchResults.\n\tat org.apache.flink.table.gateway.rest.handler.FetchResultsHandler.handleRequest(FetchResultsHandler.java:91)\n\tat java.base/java.lang.Thread.run(Thread.java:840)\nCaused by: org.apache.flink.table.gateway.service.utils.SqlExecutionException: Failed to execute the operation 1.\n\t... 40 more\nCaused by: org.apache.calcite.sql.validate.SqlValidatorException: Column 'sensr' not found in any table\n\t... 9 more\n\nEnd of exception on server side>"]}`

// answers starts a service that gives the answers in order, and then repeats the last one.
func answers(t *testing.T, requests *atomic.Int64, all ...func(http.ResponseWriter)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(requests.Add(1))
		all[min(n, len(all))-1](w)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func text(status int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// hangUp closes the connection without a response.
func hangUp(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// Requests that change nothing are retried after a lost connection. A submission is not: it may
// have arrived.
func TestRetries(t *testing.T) {
	const overview = `{"taskmanagers":1,"slots-total":2,"slots-available":2,"flink-version":"2.2.1"}`
	var asked atomic.Int64
	cluster := NewCluster(Config{JobManager: answers(t, &asked, hangUp, text(503, ""), text(200, overview))})
	o, err := cluster.Overview(t.Context())
	if err != nil || o.Slots != 2 || asked.Load() != 3 {
		t.Errorf("%+v, %v after %d requests, want the third answer", o, err, asked.Load())
	}

	asked.Store(0)
	cluster = NewCluster(Config{Gateway: answers(t, &asked, hangUp, text(200, `{"sessionHandle":"s"}`))})
	_, err = cluster.OpenSession(t.Context(), "s", nil)
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) || asked.Load() != 1 {
		t.Errorf("%v after %d requests, want no second one", err, asked.Load())
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns immediately
	if err != nil {
		t.Fatal(err)
	}
	url := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = NewCluster(Config{JobManager: url, Patience: 300 * time.Millisecond}).Overview(t.Context())
	for _, want := range []string{"JobManager", "http://" + url, "--jobmanager", "weir flink up"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if _, err := NewCluster(Config{}).Overview(t.Context()); err == nil || !strings.Contains(err.Error(), "--jobmanager") {
		t.Errorf("without a URL: %v", err)
	}
	var asked atomic.Int64
	_, err = NewCluster(Config{JobManager: answers(t, &asked, text(200, "<html>"))}).Overview(t.Context())
	if err == nil || !strings.Contains(err.Error(), "unexpected JSON") {
		t.Errorf("a page: %v", err)
	}
}

func TestTranslate(t *testing.T) {
	for _, c := range []struct{ trace, what, hint string }{
		{
			"org.apache.flink.table.api.ValidationException: Could not find any factory for identifier 'kafka' that implements 'org.apache.flink.table.factories.DynamicTableFactory' in the classpath.\n\nAvailable factory identifiers are:\n\nblackhole",
			"no connector or format 'kafka'", "flink-sql-connector-kafka",
		},
		{"org.apache.flink.table.api.ValidationException: The window function requires the timecol is a time attribute type, but is TIMESTAMP(3).", "no watermark", "WATERMARK FOR"},
		{
			"x.Y: a\n\tat x.Y.z(Y.java:1)\nCaused by: org.apache.flink.kafka.shaded.org.apache.kafka.common.KafkaException: Unexpected error in InitProducerIdResponse; The transaction timeout is larger than the maximum value allowed by the broker (as configured by transaction.max.timeout.ms).",
			"transaction timeout is above", "transaction.max.timeout.ms",
		},
		{"java.util.concurrent.CompletionException: org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: Could not acquire the minimum required resources.", "not enough free slots", "--parallelism"},
		{
			"java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint file:/x. Cannot map checkpoint/savepoint state for operator 90bea66de1c231edf33913ecd54406c1 to the new program, because the operator is not available",
			"90bea66de1c231edf33913ecd54406c1", "--name",
		},
		{"a.B: x\nCaused by: org.apache.flink.kafka.shaded.org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed, password=hunter2", "does not accept the user", "--sasl"},
		{"a.B: one\n\tat q\nCaused by: c.D: two\n lines\n\tat r\n\t... 3 more", "two lines", ""},
		{"only words", "only words", ""},
		{"a.b.NullPointerException", "a.b.NullPointerException", ""},
	} {
		p := translate(c.trace)
		if !strings.Contains(p.What, c.what) || !strings.Contains(p.Hint, c.hint) || (c.hint == "") != (p.Hint == "") {
			t.Errorf("%s\n  what %q, want %q\n  hint %q, want %q", c.trace, p.What, c.what, p.Hint, c.hint)
		}
		if strings.Contains(p.What+p.Detail, "hunter2") {
			t.Errorf("a password in %q", p)
		}
	}
}

// The gateway responds with 200 to a statement that Flink rejects: only the statement's status
// reports the failure.
func TestRefusedStatement(t *testing.T) {
	mux := http.NewServeMux()
	reply := func(pattern string, status int, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { text(status, body)(w) })
	}
	reply("POST /v3/sessions", 200, `{"sessionHandle":"s"}`)
	reply("POST /v3/sessions/s/statements", 200, `{"operationHandle":"o"}`)
	reply("GET /v3/sessions/s/operations/o/status", 200, `{"status":"ERROR"}`)
	reply("GET /v3/sessions/s/operations/o/result/0", 500, serverSide)
	server := httptest.NewServer(mux)
	defer server.Close()
	session, err := NewCluster(Config{Gateway: server.URL}).OpenSession(t.Context(), "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = session.Execute(t.Context(), "SELECT sensr FROM readings /* 'sasl.password' = 'hunter2' */")
	var refused *StatementError
	if !errors.As(err, &refused) || refused.What != "Column 'sensr' not found in any table" {
		t.Errorf("error %v, want the root cause", err)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error has a password: %v", err)
	}
}

// All pages of a result are read, including those that are not ready yet.
func TestResultPages(t *testing.T) {
	mux := http.NewServeMux()
	reply := func(pattern, body string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { text(200, body)(w) })
	}
	const base = "/v3/sessions/s/operations/o/result/"
	reply("POST /v3/sessions", `{"sessionHandle":"s"}`)
	reply("POST /v3/sessions/s/statements", `{"operationHandle":"o"}`)
	reply("GET /v3/sessions/s/operations/o/status", `{"status":"FINISHED"}`)
	reply("DELETE /v3/sessions/s/operations/o/close", `{"status":"CLOSED"}`)
	reply("GET "+base+"0", `{"resultType":"NOT_READY","nextResultUri":"`+base+`1?rowFormat=JSON"}`)
	reply("GET "+base+"1", `{"resultType":"PAYLOAD","jobID":"j","results":{"columns":[{"name":"n"}],"data":[{"kind":"INSERT","fields":["a"]}]},"nextResultUri":"http://elsewhere`+base+`2?rowFormat=JSON"}`)
	reply("GET "+base+"2", `{"resultType":"EOS","results":{"columns":[],"data":[{"kind":"DELETE","fields":["b"]}]},"nextResultUri":null}`)
	server := httptest.NewServer(mux)
	defer server.Close()
	session, err := NewCluster(Config{Gateway: server.URL}).OpenSession(t.Context(), "s", nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.Execute(t.Context(), "SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	if r.JobID != "j" || len(r.Columns) != 1 || len(r.Rows) != 2 || r.Rows[1].Kind != "DELETE" || r.Text() != "a" {
		t.Errorf("%+v", r)
	}
}

// Flink encodes NaN as a string: an idle source has no busy time.
func TestFlow(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jobs/j/vertices/v/subtasks/metrics", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("get") == "" {
			text(200, `[{"id":"numRecordsIn"},{"id":"Source__readings[1].pendingRecords"},{"id":"Source__readings[1].numRecordsIn"},{"id":"Calc.numLateRecordsDropped"},{"id":"other"}]`)(w)
			return
		}
		if strings.Contains(r.URL.Query().Get("get"), "other") {
			t.Error("a metric is asked for that nobody needs")
		}
		text(200, `[{"id":"busyTimeMsPerSecond","sum":"NaN","max":"NaN"},{"id":"backPressuredTimeMsPerSecond","sum":500.0,"max":500.0},
			{"id":"Source__readings[1].pendingRecords","sum":7.0,"max":7.0},{"id":"Source__readings[1].numRecordsIn","sum":11.0,"max":6.0},{"id":"Calc.numLateRecordsDropped","sum":2.0,"max":2.0}]`)(w)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	f, err := NewCluster(Config{JobManager: server.URL}).Flow(t.Context(), "j", Vertex{ID: "v"})
	if want := (Flow{In: 11, Lag: 7, Late: 2, Pressed: 0.5}); err != nil || f != want {
		t.Errorf("%+v, %v, want %+v", f, err, want)
	}
}
