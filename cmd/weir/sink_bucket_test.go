package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"weir.example/weir/internal/audit"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink/files"
	"weir.example/weir/internal/sink/sinktest"
	"weir.example/weir/internal/site"
)

// Files in a bucket are compared with their topic like those in a directory.
func TestVerifyBucket(t *testing.T) {
	for _, format := range []string{"parquet", "json", "csv"} {
		t.Run(format, func(t *testing.T) { verifyBucket(t, format) })
	}
}

func verifyBucket(t *testing.T, format string) {
	at, o := sinktest.Cluster(t, 2), sinktest.NewObjects(t, "bucket")
	text := fmt.Sprintf("CREATE TABLE t (n BIGINT, s STRING, site STRING) PARTITIONED BY (site) WITH ('connector' = 'filesystem', 'path' = 's3://bucket/a b/t', 'format' = '%s',\n"+
		"'s3.endpoint' = '%s', 's3.path.style.access' = 'true', 's3.region' = 'x', 's3.access-key' = 'weir', 's3.secret-key' = 'weir');\n"+
		"CREATE TABLE r (n BIGINT, s STRING, site STRING) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');\nINSERT INTO t SELECT * FROM r;", format, o.URL)
	file := filepath.Join(t.TempDir(), "test.sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	tables, _, err := databasesOf([]string{file}, site.Site{})
	if err != nil {
		t.Fatal(err)
	}
	programs, err := compileFiles([]string{file}, site.Site{})
	if err != nil {
		t.Fatal(err)
	}
	of := programs[0].Deliveries()[0]
	verdict := func() (audit.Check, *audit.Report) {
		t.Helper()
		r, err := audit.Verify(t.Context(), audit.Config{Broker: at, Databases: tables})
		if err != nil {
			t.Fatal(err)
		}
		return r.Checks[slices.IndexFunc(r.Checks, func(c audit.Check) bool { return c.ID == "C7" })], r
	}
	for n := range 2 {
		sinktest.Write(t, at, sinktest.Record(0, "", fmt.Sprintf(`{"n":%d,"s":"é","site":"a/ü%%"}`, n)), sinktest.Record(1, "", fmt.Sprintf(`{"n":%d,"s":null,"site":null}`, n)),
			sinktest.Record(1, "", fmt.Sprintf(`{"n":%d,"s":"","site":"b"}`, n)))
		sinktest.Deliver(t, sinktest.Config(at, programs[0], of, files.New("test", of, secret.Source{})))
	}
	if c, r := verdict(); c.Verdict != audit.OK || r.Databases.Rows != 6 || r.Databases.Files != 6 {
		t.Fatalf("%+v %+v %+v", c, r.Databases, r.Findings)
	}
	b, err := files.Connect(of, secret.Source{})
	if err != nil {
		t.Fatal(err)
	}
	name := "site=a%2Fü%25/t-0-00000000000000000000." + format
	read := func(name string) string {
		r, _, _, err := b.GetObject(t.Context(), "bucket", b.Key(name), minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write := func(name, text string) {
		if _, err := b.Client.PutObject(t.Context(), "bucket", b.Key(name), strings.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		if err := b.RemoveObject(t.Context(), "bucket", b.Key(name), minio.RemoveObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	whole := read(name)
	fault := func(what, problem string, change func()) {
		t.Helper()
		change()
		if c, r := verdict(); c.Verdict != audit.Failed || !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Problem == problem }) {
			t.Errorf("%s: %+v %+v", what, c, r.Findings)
		}
		write(name, whole)
	}
	fault("removed", "lost row", func() { remove(name) })
	fault("cut", "unreadable file", func() { write(name, whole[:len(whole)-1]) })
	fault("another file", "file that does not belong", func() { write("site=b/part-0."+format, whole) })
	remove("site=b/part-0." + format)
	fault("moved", "surplus row", func() { write("site=c/t-0-00000000000000000000."+format, whole); remove(name) })
	remove("site=c/t-0-00000000000000000000." + format)
	state := read(".weir/t/state.json")
	fault("another topic", "offsets of another topic", func() { write(".weir/t/state.json", strings.Replace(state, `"topic_id": "`, `"topic_id": "x`, 1)) })
	remove(".weir/t/state.json")
	if _, err := audit.Verify(t.Context(), audit.Config{Broker: at, Databases: tables}); err == nil || !strings.Contains(err.Error(), "s3://bucket/a b/t/.weir/t/state.json does not exist") {
		t.Errorf("no state: %v", err)
	}
	write(".weir/t/state.json", state)
	write("_SUCCESS", "x")
	write(".weir/u/state.json", "{}")
	write("u-0-00000000000000000000."+format, "x")
	if c, r := verdict(); c.Verdict != audit.OK {
		t.Errorf("files of others: %+v %+v", c, r.Findings)
	}
}
