package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/command"
	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

var sqlTemplates = template.Must(template.ParseFS(sqlFiles, "sql/*.sql"))

const (
	trickle = 10 * time.Millisecond // between readings before a crash
	settle  = 13 * time.Second      // until a crash: longer than the flush interval of the local copy (state: 10 s)
)

// trial is one workload with one number of keys, on a broker of its own.
type trial struct {
	*bench
	dir      string
	keys     int
	workload string
	server   *server
	client   *kgo.Client
	admin    *kadm.Client
	sent     int // readings of the trickle
}

func (b *bench) newTrial(ctx context.Context, dir string, keys int, workload string) (t *trial, err error) {
	t = &trial{bench: b, dir: dir, keys: keys, workload: workload}
	if t.server, err = startServer(ctx, filepath.Join(dir, "broker")); err != nil {
		return nil, err
	}
	if t.client, err = broker.Connect(ctx, t.config(), kgo.DefaultProduceTopic(readingsTopic)); err != nil {
		return nil, errors.Join(err, t.server.stop())
	}
	t.admin = kadm.NewClient(t.client)
	return t, nil
}

func (t *trial) close() error {
	t.client.Close()
	return t.server.stop()
}

func (t *trial) config() broker.Config {
	return broker.Config{Brokers: []string{t.server.addr}, ClientID: "weir-bench"}
}

// id is the name of weir's pipeline and its result topic.
func (t *trial) id() string { return "weir_" + t.workload }

func (t *trial) stateDir() string { return filepath.Join(t.dir, "state") }

// writeSQL writes the pipeline of an id to its file.
func (t *trial) writeSQL(id string, bounded bool) (file string, err error) {
	var sql bytes.Buffer
	data := struct {
		ID, Brokers string
		Bounded     bool
	}{id, t.server.addr, bounded}
	if err := sqlTemplates.ExecuteTemplate(&sql, t.workload+".sql", data); err != nil {
		return "", err
	}
	file = filepath.Join(t.dir, id+".sql")
	return file, os.WriteFile(file, sql.Bytes(), 0o600)
}

// runWeir processes all rows and checks the results.
func (t *trial) runWeir(ctx context.Context) (figures, error) {
	f := figures{side: "weir", workload: t.workload, keys: t.keys, rows: t.rows()}
	if _, err := t.writeSQL(t.id(), false); err != nil {
		return f, err
	}
	if err := t.createTopics(ctx, t.id()); err != nil {
		return f, err
	}
	began := time.Now()
	p, err := t.start(ctx, "--until-end")
	if err != nil {
		return f, err
	}
	peak, err := p.wait(ctx)
	if err != nil {
		return f, err
	}
	f.took, f.cpu, f.peakKB = time.Since(began), p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime(), peak
	if f.disk, err = bytesIn(t.stateDir()); err != nil {
		return f, err
	}
	if f.log, err = t.changelogs(ctx); err != nil {
		return f, err
	}
	return f, t.check(ctx, t.id())
}

// crash kills the running pipeline twice, and measures the restores with the local copy and without
// it.
func (t *trial) crash(ctx context.Context, f *figures) error {
	p, err := t.start(ctx)
	if err != nil {
		return err
	}
	defer func() { p.kill() }()
	for end := time.Now().Add(settle); time.Now().Before(end); {
		t.send(ctx)
		if err := retry.Sleep(ctx, trickle); err != nil {
			return err
		}
	}
	for _, copied := range []bool{true, false} {
		if err := t.awaitGroup(ctx, "Stable"); err != nil { // else the dead process is expelled later
			return err
		}
		p.kill()
		if !copied {
			if err := os.RemoveAll(t.stateDir()); err != nil {
				return err
			}
		}
		var took time.Duration
		var next *process
		if took, next, err = t.restart(ctx); next != nil {
			p = next
		}
		if err != nil {
			return err
		}
		cpu, err := usage.CPU(p.cmd.Process.Pid)
		if err != nil {
			return err
		}
		r := restore{took, cpu, usage.PeakKB(p.cmd.Process.Pid)}
		command.Progress("%s with %d keys, local copy %-5t first commit after %s, %s CPU, %d MB", t.workload, t.keys, copied, took.Round(time.Millisecond), cpu, r.peakKB>>10)
		if copied {
			f.with = r
		} else {
			f.without = r
		}
	}
	return nil
}

// restart waits until the group has expelled the dead process, which takes the session timeout
// whatever the size of the state, and starts the pipeline. took is the time to its first commit.
func (t *trial) restart(ctx context.Context) (took time.Duration, p *process, err error) {
	if err := t.awaitGroup(ctx, "Empty"); err != nil {
		return 0, nil, err
	}
	before, err := t.committed(ctx)
	if err != nil {
		return 0, nil, err
	}
	t.send(ctx) // so that there is something to commit
	if err := t.client.Flush(ctx); err != nil {
		return 0, nil, err
	}
	began := time.Now()
	if p, err = t.start(ctx); err != nil {
		return 0, nil, err
	}
	for {
		n, err := t.committed(ctx)
		if err != nil || n > before {
			return time.Since(began), p, err
		}
		select {
		case <-p.ended:
			return 0, p, fmt.Errorf("weir exited early: %s", p.log.Bytes())
		case <-ctx.Done():
			return 0, p, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// send produces the next reading of the trickle.
func (t *trial) send(ctx context.Context) {
	key := t.key(t.sent)
	t.client.Produce(ctx, &kgo.Record{Key: []byte(deviceID(key)), Value: reading(key, 0)}, nil)
	t.sent++
}

// committed returns the number of readings that the group has committed.
func (t *trial) committed(ctx context.Context) (n int64, err error) {
	offsets, err := t.admin.FetchOffsetsForTopics(ctx, t.group(), readingsTopic)
	if err != nil && !kerr.IsRetriable(err) {
		return 0, fmt.Errorf("read the group's offsets: %w", err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { n += max(0, o.At) })
	return n, nil
}

func (t *trial) group() string { return "weir-" + t.id() }

func (t *trial) awaitGroup(ctx context.Context, state string) error {
	for {
		groups, err := t.admin.DescribeGroups(ctx, t.group())
		if err == nil {
			err = groups.Error()
		}
		if err != nil {
			return fmt.Errorf("describe the group: %w", err)
		}
		if groups[t.group()].State == state {
			return nil
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// process is a running weir.
type process struct {
	cmd   *exec.Cmd
	log   bytes.Buffer
	err   error // of its end
	ended chan struct{}
}

func (t *trial) start(ctx context.Context, args ...string) (*process, error) {
	p := &process{ended: make(chan struct{})}
	args = append([]string{"run", t.id() + ".sql", "--brokers", t.server.addr, "--state-dir", t.stateDir(), "--session-timeout", "6s",
		"--state-cache", strconv.Itoa(t.cacheMB), "--parallelism", strconv.Itoa(t.parallelism)}, args...)
	if t.pprof != "" {
		args = append(args, "--admin-listen", t.pprof, "--pprof")
	}
	p.cmd = exec.CommandContext(ctx, t.weir, args...) //nolint:gosec // arguments built here
	p.cmd.Dir, p.cmd.Stderr = t.dir, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// wait waits until the process ends, and returns its peak resident memory.
func (p *process) wait(ctx context.Context) (peakKB int64, err error) {
	for {
		// Maxrss is no use: a child shares this process's memory until its exec, and inherits its
		// peak.
		peakKB = max(peakKB, usage.PeakKB(p.cmd.Process.Pid))
		select {
		case <-p.ended:
			if p.err != nil {
				return peakKB, fmt.Errorf("%w: %s", p.err, p.log.Bytes())
			}
			return peakKB, nil
		case <-ctx.Done():
			<-p.ended
			return peakKB, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have exited
	<-p.ended
}
