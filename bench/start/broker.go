package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/cgroup"
	"weir.example/weir/internal/broker/embedded"
)

const (
	serveCommand = "serve"
	topic        = "readings"
	patience     = 20 * time.Minute // for any step
)

// started is what the broker's process reports once it has started.
type started struct {
	Addr    string  `json:"addr"`
	Seconds float64 `json:"seconds"`
	PeakKB  int     `json:"peak_kb"`
	AfterKB int     `json:"after_kb"` // resident, once free memory has been returned
	Files   int     `json:"files"`
	Failed  string  `json:"failed,omitempty"`
}

// serve is the broker's process: serve DIR PROFILE [PROCS...], where PROCS are the files by which a
// process enters a control group.
func serve(args []string) {
	dir, profile := args[0], args[1]
	if err := cgroup.Enter(args[2:]); err != nil {
		fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	began := time.Now()
	b, err := embedded.Open(embedded.Config{
		Dir: dir, Profile: profile, StoredBytes: -1, MaintainEvery: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		fatal(err)
	}
	s := started{Addr: b.Addr(), Seconds: time.Since(began).Seconds(), PeakKB: status("VmHWM"), AfterKB: status("VmRSS")}
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, _ error) error {
		if e != nil && e.Type().IsRegular() {
			s.Files++
		}
		return nil
	})
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		fatal(err)
	}
	<-ctx.Done()
	if err := b.Close(); err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// status returns a field of /proc/self/status in kB.
func status(field string) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kb, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return kb
		}
	}
	return 0
}

// process is a running broker.
type process struct {
	cmd *exec.Cmd
	started
}

func start(ctx context.Context, cfg config, dir string, procs ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{serveCommand, dir, cfg.profile}, procs...)...) //nolint:gosec // this binary
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.started)
	}
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the broker did not start: %w", cmd.Wait())
	}
	return p, err
}

// stop ends the process. The error of a process that was killed is not one.
func (p *process) stop(with syscall.Signal) error {
	if err := p.cmd.Process.Signal(with); err != nil {
		return err
	}
	if err := p.cmd.Wait(); with == syscall.SIGTERM {
		return err
	}
	return nil
}

// prepare stores records, a few if they are there already, and stops the broker.
func prepare(ctx context.Context, cfg config, dir string, gb float64, batch int, with syscall.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, err := start(ctx, cfg, dir)
	if err != nil {
		return err
	}
	return errors.Join(fill(ctx, p.Addr, cfg.partitions, int64(gb*(1<<30)), batch), p.stop(with))
}

// fill creates the topic with so many bytes of incompressible records; each is one batch. If the
// topic exists, fill adds a few batches to each partition, so that the files of the last clean stop
// are out of date.
func fill(ctx context.Context, addr string, partitions int, size int64, batch int) error {
	const overhead = 80 // of a batch with one record
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(batch)), kgo.MaxBufferedRecords(2000), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.RoundRobinPartitioner())) //nolint:gosec // small
	if err != nil {
		return err
	}
	defer c.Close()
	forever := "-1"
	_, err = kadm.NewClient(c).CreateTopic(ctx, int32(partitions), 1, map[string]*string{"retention.ms": &forever}, topic) //nolint:gosec // small
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		size = int64(10 * partitions * batch)
	case err != nil:
		return err
	}
	value := make([]byte, batch-overhead)
	random := rand.NewChaCha8([32]byte{})
	if _, err := random.Read(value); err != nil {
		return err
	}
	var failed kgo.FirstErrPromise
	for range size / int64(batch) {
		c.Produce(ctx, &kgo.Record{Value: value}, failed.Promise())
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	return failed.Err()
}

// measure starts the broker in the group and stops it cleanly.
func measure(ctx context.Context, cfg config, g *cgroup.Group, dir string) (started, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if cfg.readMBs > 0 {
		if err := cgroup.Evict(dir); err != nil {
			return started{}, err
		}
	}
	p, err := start(ctx, cfg, dir, g.Procs()...)
	if err != nil {
		return started{}, err
	}
	return p.started, p.stop(syscall.SIGTERM)
}
