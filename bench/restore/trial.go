package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/command"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

//go:embed totals.sql
var totals string

const (
	partitions = 4
	trickle    = 10 * time.Millisecond // between readings while the pipeline runs
	settle     = 13 * time.Second      // until a crash: longer than the flush interval of the local copy (state: 10 s)
	patience   = 10 * time.Minute      // for any step
)

// trial is one pipeline with a state of one size.
type trial struct {
	name    string
	keys    int
	weir    string // binary
	dir     string
	brokers []string

	client *kgo.Client
	admin  *kadm.Client
	sent   int
}

func (t *trial) state() string { return filepath.Join(t.dir, "state") }

func (t *trial) run(ctx context.Context, rounds int) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f.keys = t.keys
	if t.client, err = broker.Connect(ctx, broker.Config{Brokers: t.brokers, ClientID: "weir-bench"}, kgo.DefaultProduceTopic(t.name+"-readings")); err != nil {
		return f, err
	}
	defer t.client.Close()
	t.admin = kadm.NewClient(t.client)
	if err := t.prepare(ctx); err != nil {
		return f, err
	}
	command.Progress("make a state of %d keys", t.keys)
	p, err := t.start(ctx)
	if err != nil {
		return f, err
	}
	defer func() { p.kill() }()
	if err := t.await(ctx, p, func(read int64) bool { return read >= int64(t.keys) }); err != nil {
		return f, err
	}
	times := make(map[bool][]time.Duration)
	for range rounds {
		for _, copied := range []bool{true, false} {
			took, next, err := t.crash(ctx, p, copied)
			if next != nil {
				p = next
			}
			if err != nil {
				return f, err
			}
			command.Progress("%d keys, local copy %-5t  first commit after %s", t.keys, copied, took.Round(time.Millisecond))
			times[copied] = append(times[copied], took)
		}
	}
	f.with, f.without = median(times[true]), median(times[false])
	return f, nil
}

// prepare creates the topic, with one reading per key.
func (t *trial) prepare(ctx context.Context) error {
	if err := os.MkdirAll(t.dir, 0o755); err != nil { //nolint:gosec // a temporary folder
		return err
	}
	var sql bytes.Buffer
	if err := template.Must(template.New("").Parse(totals)).Execute(&sql, struct{ Name string }{t.name}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(t.dir, "totals.sql"), sql.Bytes(), 0o600); err != nil {
		return err
	}
	made, err := t.admin.CreateTopics(ctx, partitions, 1, nil, t.name+"-readings")
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	var failed kgo.FirstErrPromise
	for range t.keys {
		t.send(ctx, failed.Promise())
	}
	if err := t.client.Flush(ctx); err != nil {
		return err
	}
	return failed.Err()
}

// send produces the next reading, cycling through the keys.
func (t *trial) send(ctx context.Context, promise func(*kgo.Record, error)) {
	key := fmt.Appendf(nil, "device-%09d", t.sent%t.keys)
	t.client.Produce(ctx, &kgo.Record{Key: key, Value: fmt.Appendf(nil, `{"device_id":"%s","value":%d.5}`, key, t.sent%50)}, promise)
	t.sent++
}

// crash lets the pipeline run until its local copy is flushed, kills it, and restarts it, with or
// without the local copy; took is the time from the restart to the first commit.
func (t *trial) crash(ctx context.Context, p *process, copied bool) (took time.Duration, next *process, err error) {
	for end := time.Now().Add(settle); time.Now().Before(end); {
		t.send(ctx, nil)
		if err := retry.Sleep(ctx, trickle); err != nil {
			return 0, nil, err
		}
	}
	p.kill()
	if err := t.awaitEmpty(ctx); err != nil {
		return 0, nil, err
	}
	if !copied {
		if err := os.RemoveAll(t.state()); err != nil {
			return 0, nil, err
		}
	}
	before, err := t.read(ctx)
	if err != nil {
		return 0, nil, err
	}
	t.send(ctx, nil) // so that there is something to commit
	if err := t.client.Flush(ctx); err != nil {
		return 0, nil, err
	}
	began := time.Now()
	if next, err = t.start(ctx); err != nil {
		return 0, nil, err
	}
	err = t.await(ctx, next, func(read int64) bool { return read > before })
	return time.Since(began), next, err
}

// process is a running weir.
type process struct {
	cmd   *exec.Cmd
	log   bytes.Buffer
	ended chan struct{}
}

func (t *trial) start(ctx context.Context) (*process, error) {
	p := &process{ended: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, t.weir, "run", filepath.Join(t.dir, "totals.sql"), "--brokers", t.brokers[0], //nolint:gosec // arguments built here
		"--state-dir", t.state(), "--session-timeout", "6s", "--parallelism", "2")
	p.cmd.Dir, p.cmd.Stderr = t.dir, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // killed, or the error is in the log
		close(p.ended)
	}()
	return p, nil
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.ended
}

// await waits until the group has committed enough readings.
func (t *trial) await(ctx context.Context, p *process, enough func(read int64) bool) error {
	for {
		read, err := t.read(ctx)
		if err == nil && enough(read) {
			return nil
		}
		if err != nil && !kerr.IsRetriable(err) && !errors.Is(err, kerr.GroupIDNotFound) { // the group is just being created
			return err
		}
		select {
		case <-p.ended:
			return fmt.Errorf("weir exited early: %s", p.log.Bytes())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// read returns the number of readings that the group has committed.
func (t *trial) read(ctx context.Context) (n int64, err error) {
	offsets, err := t.admin.FetchOffsetsForTopics(ctx, "weir-"+t.name, t.name+"-readings")
	if err != nil {
		return 0, fmt.Errorf("read the group's offsets: %w", err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { n += max(0, o.At) })
	return n, nil
}

// awaitEmpty waits until the group has expelled the dead process.
func (t *trial) awaitEmpty(ctx context.Context) error {
	for {
		groups, err := t.admin.DescribeGroups(ctx, "weir-"+t.name)
		if err == nil {
			err = groups.Error()
		}
		if err != nil {
			return fmt.Errorf("describe the group: %w", err)
		}
		if groups["weir-"+t.name].State == "Empty" {
			return nil
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}
