package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/stack"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

var sqlTemplates = template.Must(template.ParseFS(sqlFiles, "sql/*.sql"))

//go:embed streams/*.java
var streamsFiles embed.FS

// heap is the maximum heap of Kafka Streams, in addition to RocksDB's memory.
const heap = "1g"

// job is one run of a workload by a side.
type job struct {
	ID       string // unique: pipeline, application, group, prefix of transactional ids
	Workload string
	Brokers  string
	Source   string // topic
	Format   string // of the readings
	Registry string // of their schema
	Sink     string // topic
	Rows     int64  // to process; 0: run until interrupted
	Window   time.Duration
	Dir      string // private folder
}

// job returns a new job with its folder; its sink topic does not exist yet.
func (b *bench) job(side, workload string) (job, error) {
	b.runs++
	id := fmt.Sprintf("bench-%s-%s-%d", side, workload, b.runs)
	j := job{ID: id, Workload: workload, Brokers: b.brokers, Format: b.format, Registry: b.registry, Sink: id, Window: window, Dir: filepath.Join(b.dir, id)}
	return j, os.Mkdir(j.Dir, 0o755)
}

func (b *bench) command(ctx context.Context, side string, j job) (*exec.Cmd, error) {
	switch side {
	case "raw":
		return exec.CommandContext(ctx, b.self, "raw", j.Brokers, j.Source), nil //nolint:gosec // this binary
	case "weir":
		return b.weirCommand(ctx, b.weir, j)
	case "before":
		return b.weirCommand(ctx, b.old, j)
	default:
		return b.streamsCommand(ctx, j)
	}
}

// writeSQL writes the file for weir run and weir flink deploy.
func writeSQL(file string, j job) error {
	var sql bytes.Buffer
	if err := sqlTemplates.ExecuteTemplate(&sql, j.Workload+".sql", j); err != nil {
		return err
	}
	return os.WriteFile(file, sql.Bytes(), 0o600)
}

func (b *bench) weirCommand(ctx context.Context, binary string, j job) (*exec.Cmd, error) {
	file := filepath.Join(j.Dir, "pipeline.sql")
	if err := writeSQL(file, j); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "run", file, "--brokers", j.Brokers, "--commit-interval", commit.String(),
		"--parallelism", strconv.Itoa(b.parallelism), "-o", "json") //nolint:gosec // arguments built here
	cmd.Dir = j.Dir
	cmd.Env = append(os.Environ(), "TZ=UTC") // window_start is a local time
	return cmd, nil
}

func (b *bench) streamsCommand(ctx context.Context, j job) (*exec.Cmd, error) {
	return stack.StreamsTool(ctx, heap, b.classes, "weir.bench.EngineBench",
		"id="+j.ID, "brokers="+j.Brokers, "source="+j.Source, "sink="+j.Sink, "workload="+j.Workload, "threads="+strconv.Itoa(b.parallelism),
		"window="+strconv.FormatInt(j.Window.Milliseconds(), 10), "rows="+strconv.FormatInt(j.Rows, 10),
		"commit="+strconv.FormatInt(commit.Milliseconds(), 10), "state="+filepath.Join(j.Dir, "state"))
}

func compileStreams(ctx context.Context, dir, classes string) error {
	if err := os.CopyFS(dir, streamsFiles); err != nil {
		return err
	}
	names, err := fs.Glob(streamsFiles, "streams/*.java")
	if err != nil {
		return err
	}
	for i := range names {
		names[i] = filepath.Join(dir, names[i])
	}
	return stack.CompileStreams(ctx, classes, names...)
}

// times are the times that a side reports, in milliseconds since 1970; 0 if it does not.
type times struct {
	FirstRecord int64 `json:"first_record_ms"`
	Committed   int64 `json:"committed_ms"`
	Rows        int64 `json:"rows"`
}

// parseTimes parses the last line of a side's output, a JSON object.
func parseTimes(out []byte) (times, error) {
	var t times
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &t); err != nil {
		return t, fmt.Errorf("read the side's times: %w", err)
	}
	return t, nil
}

// raw is the raw side: it reads the topic to its end and uses only the lengths.
func raw(ctx context.Context, brokers, topic string) error {
	var t times
	var size int
	err := read(ctx, brokers, topic, func(r *kgo.Record) error {
		if t.FirstRecord == 0 {
			t.FirstRecord = time.Now().UnixMilli()
		}
		if !r.Attrs.IsControl() {
			t.Rows++
			size += len(r.Value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if size == 0 {
		return errors.New("no records")
	}
	t.Committed = time.Now().UnixMilli()
	return json.NewEncoder(os.Stdout).Encode(t)
}
