package flink

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
)

const pipeline = `-- Comments; and 'quotes' in them don't matter.
SET 'pipeline.name' = 'hot';
SET 'weir.late.topic' = 'hot_late';
CREATE TABLE readings (device_id STRING, note STRING COMMENT 'it''s; a note', ` + "`value`" + ` DOUBLE, ts TIMESTAMP_LTZ(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'kafka', 'topic' = 'in', 'value.format' = 'avro-confluent', 'properties.bootstrap.servers' = 'old:9092' /* moved */);
CREATE VIEW hot AS SELECT * FROM readings WHERE ` + "`value`" + ` > 30;
CREATE TABLE out1 (device_id STRING) WITH ('connector' = 'kafka', 'topic' = 'o1', 'format' = 'json');
CREATE TABLE out2 (device_id STRING, n BIGINT, PRIMARY KEY (device_id) NOT ENFORCED)
WITH ('connector' = 'upsert-kafka', 'topic' = 'o2', 'key.format' = 'json', 'value.format' = 'json', 'sink.delivery-guarantee' = 'at-least-once');
INSERT INTO out1 SELECT device_id FROM hot WHERE note <> 'a;b';
INSERT INTO out2 SELECT device_id, COUNT(*) FROM hot GROUP BY device_id;
`

func testEnvironment() Environment {
	return Environment{
		Kafka:    broker.Config{Brokers: []string{"k1:9092", "k2:9092"}, SASL: "scram-sha-256", User: "weir", Password: `se"cret`},
		Registry: "http://registry:8081", RegistryUser: "u", RegistryPassword: "regpass",
	}
}

// Statements stay as written; tables get the options required by the environment and by
// exactly-once delivery.
func TestScript(t *testing.T) {
	s, err := NewScript(pipeline, testEnvironment(), Options{Fallback: "file", TransactionTimeout: 15 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "hot" {
		t.Errorf("name %q", s.Name)
	}
	kafka := map[string]string{
		"properties.bootstrap.servers": "k1:9092,k2:9092", "properties.security.protocol": "SASL_PLAINTEXT", "properties.sasl.mechanism": "SCRAM-SHA-256",
		"properties.sasl.jaas.config": `org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule required username="weir" password="se\"cret";`,
	}
	with := func(options ...string) map[string]string {
		all := make(map[string]string)
		for k, v := range kafka {
			all[k] = v
		}
		for i := 0; i < len(options); i += 2 {
			all[options[i]] = options[i+1]
		}
		return all
	}
	want := []map[string]string{
		with("connector", "kafka", "topic", "in", "value.format", "avro-confluent", "value.avro-confluent.url", "http://registry:8081",
			"value.avro-confluent.basic-auth.credentials-source", "USER_INFO", "value.avro-confluent.basic-auth.user-info", "u:regpass",
			"properties.isolation.level", "read_committed", "properties.group.id", "weir-hot", "properties.auto.offset.reset", "earliest"),
		with("connector", "kafka", "topic", "o1", "format", "json", "sink.delivery-guarantee", "exactly-once",
			"sink.transactional-id-prefix", "weir-flink/hot/out1", "properties.transaction.timeout.ms", "900000"),
		with("connector", "upsert-kafka", "topic", "o2", "key.format", "json", "value.format", "json", "sink.delivery-guarantee", "at-least-once"),
	}
	// Check what Flink gets: the options parsed back from the changed text.
	var got []map[string]string
	for _, statement := range s.Statements {
		script, err := sql.Parse(statement)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, statement)
		}
		table, ok := script.Statements[0].(*sql.CreateTable)
		if !ok {
			continue
		}
		options := make(map[string]string)
		for _, o := range table.Options {
			options[o.Key] = o.Value
		}
		got = append(got, options)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	const job = "EXECUTE STATEMENT SET BEGIN\nINSERT INTO out1 SELECT device_id FROM hot WHERE note <> 'a;b';\nINSERT INTO out2 SELECT device_id, COUNT(*) FROM hot GROUP BY device_id;\nEND"
	if s.Job != job {
		t.Errorf("job:\n%s", s.Job)
	}
	if !strings.Contains(s.Statements[0], "COMMENT 'it''s; a note'") || !strings.Contains(s.Statements[0], "/* moved */") {
		t.Errorf("the table is no longer as it was written:\n%s", s.Statements[0])
	}
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "out2") {
		t.Errorf("warnings %q, want one of the weaker guarantee", s.Warnings)
	}
	if v, ok := s.Settings["weir.late.topic"]; ok {
		t.Errorf("Flink gets weir.late.topic = %q", v)
	}
	if s.Settings["execution.checkpointing.mode"] != "EXACTLY_ONCE" || s.Settings["execution.checkpointing.interval"] != "10000 ms" {
		t.Errorf("settings %v", s.Settings)
	}
}

// A statement set with comments and semicolons keeps its text.
func TestStatementSet(t *testing.T) {
	text := strings.Replace(pipeline, "INSERT INTO out1", "EXECUTE STATEMENT SET BEGIN INSERT INTO out1", 1) + " /* the */ END;"
	s, err := NewScript(text, testEnvironment(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	script, err := sql.Parse(s.Job)
	if err != nil {
		t.Fatalf("%v in:\n%s", err, s.Job)
	}
	if set, ok := script.Statements[0].(*sql.StatementSet); !ok || len(set.Inserts) != 2 {
		t.Errorf("job:\n%s", s.Job)
	}
}

// A table like another one, or for a query, has options of its own.
func TestTablesWrittenOut(t *testing.T) {
	text := pipeline + `
CREATE TABLE out3 WITH ('topic' = 'o3') LIKE out1;
INSERT INTO out3 SELECT device_id FROM hot;
CREATE TABLE out4 (note, device_id) WITH ('connector' = 'kafka', 'topic' = 'o4', 'format' = 'json') AS SELECT device_id, note FROM readings /*+ OPTIONS('scan.parallelism' = '1') */;
CREATE TABLE both_in WITH ('topic' = 'in;in2') LIKE readings;
INSERT INTO out1 SELECT device_id FROM both_in;`
	s, err := NewScript(text, testEnvironment(), Options{Fallback: "x"})
	if err != nil {
		t.Fatal(err)
	}
	sinks := make(map[string]Table)
	for _, table := range s.Sinks {
		sinks[table.Name] = table
	}
	for name, topic := range map[string]string{"out1": "o1", "out3": "o3", "out4": "o4"} {
		if got := sinks[name]; got.Topic != topic || got.Options["sink.transactional-id-prefix"] != TransactionalIDPrefix("hot")+name {
			t.Errorf("sink %s: %+v", name, got)
		}
	}
	if i := slices.IndexFunc(s.Sources, func(table Table) bool { return table.Name == "both_in" && table.Topic == "in;in2" }); i < 0 {
		t.Errorf("sources %+v", s.Sources)
	}
	job, err := sql.Parse(s.Job)
	if err != nil {
		t.Fatal(err)
	}
	if set, ok := job.Statements[0].(*sql.StatementSet); !ok || len(set.Inserts) != 5 {
		t.Errorf("job:\n%s", s.Job)
	}
	if again, err := sql.Parse(strings.Join(s.Statements, ";\n")); err != nil || len(again.Statements) != 7 {
		t.Errorf("statements %v:\n%s", err, strings.Join(s.Statements, ";\n"))
	}
}

// All bundled pipelines can be prepared, and Weir's own planner finds their meaning unchanged.
func TestPipelinesKeepTheirMeaning(t *testing.T) {
	files, err := filepath.Glob("../../pipelines/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no pipelines: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, err := plan.Compile(string(raw), "x")
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewScript(string(raw), testEnvironment(), Options{Fallback: "x"})
		if err != nil {
			t.Fatal(err)
		}
		script, err := sql.Parse(string(raw))
		if err != nil {
			t.Fatal(err)
		}
		var statements []string // Weir's own settings are part of the plan, but not passed to Flink
		for i, statement := range script.Statements {
			if _, ok := statement.(*sql.Set); ok {
				statements = append(statements, script.Texts[i])
			}
		}
		statements = append(append(statements, s.Statements...), s.Job)
		after, err := plan.Compile(strings.Join(statements, ";\n"), "x")
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if b, a := before.Text(), after.Text(); b != a {
			t.Errorf("%s (-before +after):\n%s", file, cmp.Diff(b, a))
		}
	}
}

func TestScriptRefuses(t *testing.T) {
	local := Environment{Kafka: broker.Config{Brokers: []string{"k:9092"}}}
	insecure := local
	insecure.Kafka.TLS, insecure.Kafka.TLSInsecure = true, true
	const table = "CREATE TABLE t (a INT) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json'); "
	for _, c := range []struct {
		name, text string
		env        Environment
		want       string
	}{
		{"nothing to run", table, local, "no INSERT"},
		{"no brokers", table + "INSERT INTO t SELECT a FROM t", Environment{}, "no Kafka brokers are set"},
		{"any certificate", table + "INSERT INTO t SELECT a FROM t", insecure, "--tls-insecure"},
		{"a format that Flink has not", strings.Replace(table, "'json'", "'protobuf-confluent', 'protobuf-confluent.url' = 'http://r'", 1) + "INSERT INTO t SELECT a FROM t", local,
			"open-source Flink has no format 'protobuf-confluent'"},
		{"a name", "SET 'pipeline.name' = 'a/b'; " + table + "INSERT INTO t SELECT a FROM t", local, "name"},
		{"a hint", table + "INSERT INTO t /*+ OPTIONS('topic' = 'u') */ SELECT a FROM t WHERE a > 1", local, "CREATE TABLE … WITH ('topic' = '…') LIKE"},
		{"a syntax error", table + "INSERT INTO t SELEKT a", local, "SELEKT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewScript(c.text, c.env, Options{Fallback: "x"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	for _, c := range []struct {
		timeout string
		want    string // in the error
		warned  bool
	}{
		{"900000", "", false},
		{"900001", "transaction.max.timeout.ms", false},
		{"19999", "would be lost", false},
		{"30000", "", true},
		{"soon", "expected a number", false},
	} {
		text := strings.Replace(pipeline, "'topic' = 'o1'", "'topic' = 'o1', 'properties.transaction.timeout.ms' = '"+c.timeout+"'", 1)
		s, err := NewScript(text, testEnvironment(), Options{TransactionTimeout: 15 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		err = s.checkTimeouts(15 * time.Minute)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.timeout, err, c.want)
		}
		if warned := len(s.Warnings) == 2; warned != c.warned {
			t.Errorf("%s: warnings %q", c.timeout, s.Warnings)
		}
	}
}

func TestJobOfTransaction(t *testing.T) {
	if job, ok := JobOfTransaction(TransactionalIDPrefix("per-minute.v2") + "out-0-12"); !ok || job != "per-minute.v2" {
		t.Errorf("%q, %t", job, ok)
	}
	if job, ok := JobOfTransaction("weir-produce-fleet-s42"); ok {
		t.Errorf("%q is of no Flink job", job)
	}
}

func FuzzScript(f *testing.F) {
	f.Add(pipeline)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := NewScript(text, testEnvironment(), Options{Fallback: "x"})
		if err != nil {
			return
		}
		for _, statement := range append(s.Statements, s.Job) {
			if _, err := sql.Parse(statement); err != nil {
				t.Errorf("%v in:\n%s\nof:\n%s", err, statement, text)
			}
		}
	})
}

// Statements into which Weir inserts secrets are shown without them.
func TestScriptIsRedacted(t *testing.T) {
	s, err := NewScript(pipeline, testEnvironment(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	shown := secret.Redact(strings.Join(s.Statements, ";\n"))
	for _, word := range []string{"cret", "regpass"} {
		if strings.Contains(shown, word) {
			t.Errorf("%q is in:\n%s", word, shown)
		}
	}
	if !strings.Contains(strings.Join(s.Statements, ""), "regpass") {
		t.Error("Flink does not get the password")
	}
}

// Tables of databases are passed through unchanged, and the weaker guarantee is said.
func TestScriptWithDatabase(t *testing.T) {
	const text = `CREATE TABLE r (d STRING) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE a (d STRING) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'a', 'username' = 'u', 'password' = 'hunter2');
CREATE TABLE k (d STRING, n BIGINT, PRIMARY KEY (d) NOT ENFORCED) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'k', 'username' = 'u', 'password' = 'hunter2');
CREATE TABLE timed (d STRING, p AS PROCTIME()) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE devices (d STRING, n BIGINT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'devices', 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '5');
INSERT INTO a SELECT d FROM r; INSERT INTO k SELECT d, COUNT(*) FROM r GROUP BY d;
INSERT INTO a SELECT t.d FROM timed AS t JOIN devices FOR SYSTEM_TIME AS OF t.p AS x ON t.d = x.d;`
	s, err := NewScript(text, testEnvironment(), Options{Fallback: "file"})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(s.Statements, ";\n")
	for _, want := range []string{
		`'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'a', 'username' = 'u', 'password' = 'hunter2')`,
		`'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'k', 'username' = 'u', 'password' = 'hunter2')`,
		`'connector' = 'jdbc', 'url' = 'jdbc:postgresql://h/d', 'table-name' = 'devices', 'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '5')`,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not in\n%s", want, all)
		}
	}
	if strings.Contains(secret.Redact(all), "hunter2") {
		t.Error("the password is shown")
	}
	warnings := strings.Join(s.Warnings, "\n")
	if !strings.Contains(warnings, "table a: Flink's jdbc connector writes at least once. Without a primary key") || !strings.Contains(warnings, "table k: Flink's jdbc connector writes at least once. Rows with its primary key") {
		t.Errorf("warnings:\n%s", warnings)
	}
}

// The options of an object store are those of Flink's cluster.
func TestScriptWithBucket(t *testing.T) {
	const text = `CREATE TABLE r (d STRING) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE f (d STRING) WITH ('s3.region' = 'x', 'connector' = 'filesystem', 'path' = 's3://b/f', 's3.access-key' = 'a', 's3.secret-key' = 'SECRET', 'format' = 'parquet', 's3.endpoint' = 'http://m:9000');
INSERT INTO f SELECT d FROM r;`
	s, err := NewScript(text, testEnvironment(), Options{Fallback: "file"})
	if err != nil {
		t.Fatal(err)
	}
	all, warnings := strings.Join(s.Statements, ";\n"), strings.Join(s.Warnings, "\n")
	if !strings.Contains(all, "WITH ('connector' = 'filesystem', 'path' = 's3://b/f', 'format' = 'parquet')") {
		t.Error(all)
	}
	if !strings.Contains(warnings, "flink-s3-fs-hadoop") {
		t.Errorf("warnings:\n%s", warnings)
	}
}

// Tables of files are passed through unchanged, and where they differ is said.
func TestScriptWithFiles(t *testing.T) {
	const text = `CREATE TABLE r (d STRING) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE f (d STRING, n INT) PARTITIONED BY (d) WITH ('connector' = 'filesystem', 'path' = '/data/f', 'format' = 'parquet');
INSERT INTO f SELECT d, 1 FROM r;`
	s, err := NewScript(text, testEnvironment(), Options{Fallback: "file"})
	if err != nil {
		t.Fatal(err)
	}
	const want = `PARTITIONED BY (d) WITH ('connector' = 'filesystem', 'path' = '/data/f', 'format' = 'parquet')`
	if all := strings.Join(s.Statements, ";\n"); !strings.Contains(all, want) {
		t.Errorf("%s is not in\n%s", want, all)
	}
	if warnings := strings.Join(s.Warnings, "\n"); !strings.Contains(warnings, "table f: Flink completes its files at checkpoints") {
		t.Errorf("warnings:\n%s", warnings)
	}
}

// Tables of connectors that Flink does not have are refused by name, with a way forward.
func TestConnectorsOnlyInWeir(t *testing.T) {
	for _, connector := range onlyInWeir {
		text := "CREATE TABLE r (d STRING) WITH ('connector' = 'kafka', 'topic' = 'r', 'properties.bootstrap.servers' = 'b:9092', 'format' = 'json');\nCREATE TABLE p (d STRING) WITH ('connector' = '" + connector + "', 'url' = 'http://h');\nINSERT INTO p SELECT d FROM r;"
		_, err := NewScript(text, Environment{}, Options{Fallback: "p"})
		if err == nil || !strings.Contains(err.Error(), "table p: Flink has no connector "+connector) || !strings.Contains(err.Error(), "weir run") {
			t.Errorf("%s: %v", connector, err)
		}
	}
}
