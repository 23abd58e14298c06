package node

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/plan"
)

const toFiles = `CREATE TABLE r (d STRING, v INT) WITH ('connector' = 'kafka', 'topic' = 'r', 'format' = 'json');
CREATE TABLE f (d STRING, v INT) PARTITIONED BY (d) WITH ('connector' = 'filesystem', 'path' = '$DIR', 'format' = 'json', 'sink.rolling-policy.file-size' = '$SIZE', 'sink.rolling-policy.rollover-interval' = '1 h');
INSERT INTO f SELECT d, v FROM r;`

// rowsOfFiles counts the rows by site and value, and the files.
func rowsOfFiles(t *testing.T, dir string) (rows map[string]int, files int) {
	t.Helper()
	rows = make(map[string]int)
	names, err := filepath.Glob(filepath.Join(dir, "d=*", "f-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if !json.Valid(lines.Bytes()) {
				t.Errorf("%s: %s", name, lines.Text())
			}
			rows[filepath.Base(filepath.Dir(name))+" "+lines.Text()]++
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	return rows, len(names)
}

// Files wait for their size; the end of a bounded run completes them at once, and further runs go
// on where it ended.
func TestPipelineToFiles(t *testing.T) {
	at, dir := sinkCluster(t), t.TempDir()
	compile := func(size string) *plan.Program {
		p, err := plan.Compile(strings.NewReplacer("$DIR", dir, "$SIZE", size).Replace(toFiles), "p")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	run := func(ctx context.Context, p *plan.Program, end bool) {
		t.Helper()
		c := engine.Config{Broker: at, Program: p, Instances: []string{"a"}, UntilEnd: end, CommitInterval: 20 * time.Millisecond, SessionTimeout: 6 * time.Second}
		if _, err := RunPipeline(ctx, c, SinkStatus(p)); err != nil {
			t.Error(err)
		}
	}
	const rows = 140
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	produceRows(t, at, 0, rows/2)
	run(ctx, compile("128 MB"), true)
	if got, files := rowsOfFiles(t, dir); len(got) != rows/2 || files != 7 {
		t.Errorf("%d rows in %d files after the first run", len(got), files)
	}
	// Without an end, files are complete when they have their size.
	running, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() { run(running, compile("1 kb"), false) })
	produceRows(t, at, rows/2, rows)
	for ctx.Err() == nil {
		if got, _ := rowsOfFiles(t, dir); len(got) > rows*3/4 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	done.Wait()
	run(ctx, compile("128 MB"), true)
	got, _ := rowsOfFiles(t, dir)
	want := make(map[string]int)
	if err := broker.ReadAll(ctx, at, "p.f.out", nil, func(r *kgo.Record) error {
		var v struct {
			D string
			V int
		}
		err := json.Unmarshal(r.Value, &v)
		text, _ := json.Marshal(map[string]int{"v": v.V}) //nolint:errchkjson // a number
		want["d="+v.D+" "+string(text)]++
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(want) != rows {
		t.Errorf("the topic has %d rows", len(want))
	}
	for row := range want {
		if got[row] != 1 {
			t.Errorf("row %s is there %d times", row, got[row])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d rows in files, %d in the topic", len(got), len(want))
	}
}
