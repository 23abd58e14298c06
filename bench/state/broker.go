package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

const (
	serveCommand = "serve"
	partitions   = 4
)

// serve is the broker's process.
func serve(dir string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := serveUntil(ctx, dir)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: broker:", err)
		os.Exit(1)
	}
}

// serveUntil prints the broker's address, and serves until ctx is done. It compacts nothing.
func serveUntil(ctx context.Context, dir string) error {
	b, err := embedded.Open(embedded.Config{
		Dir: dir, StoredBytes: -1, MaintainEvery: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	fmt.Println(b.Addr())
	<-ctx.Done()
	return b.Close()
}

// server is the broker's process.
type server struct {
	cmd  *exec.Cmd
	addr string
}

func startServer(ctx context.Context, dir string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, self, serveCommand, dir)} //nolint:gosec // this binary
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.addr, err = bufio.NewReader(out).ReadString('\n')
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the broker did not start: %w", s.cmd.Wait())
	}
	s.addr = strings.TrimSpace(s.addr)
	return s, err
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.cmd.Wait()
}

func (t *trial) createTopics(ctx context.Context, names ...string) error {
	forever := "-1"
	made, err := t.admin.CreateTopics(ctx, partitions, 1, map[string]*string{"retention.ms": &forever}, names...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	return nil
}

// changelogs returns the bytes in the changelogs of the trial's pipeline.
func (t *trial) changelogs(ctx context.Context) (bytes int64, err error) {
	brokers, err := t.admin.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("describe the broker's log: %w", err)
	}
	for _, dirs := range brokers {
		if err := dirs.Error(); err != nil {
			return 0, fmt.Errorf("describe the broker's log: %w", err)
		}
		dirs.EachPartition(func(p kadm.DescribedLogDirPartition) {
			if strings.HasPrefix(p.Topic, t.id()+".") && strings.HasSuffix(p.Topic, ".changelog") {
				bytes += p.Size
			}
		})
	}
	return bytes, nil
}

// read calls fn with each committed record of a topic. fn must not retain the record or its bytes.
func (t *trial) read(ctx context.Context, topic string, fn func(*kgo.Record) error) error {
	ends, err := t.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list the ends of %s: %w", topic, err)
	}
	client, err := broker.Connect(ctx, broker.Config{Brokers: []string{t.server.addr}, ClientID: "weir-bench"},
		kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(4<<20), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer client.Close()
	from, open := make(map[int32]kgo.Offset), 0
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			from[end.Partition] = kgo.NewOffset().AtStart()
			open++
		}
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for open > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			end, _ := ends.Lookup(topic, r.Partition)
			if failed != nil || r.Offset >= end.Offset {
				return
			}
			if !r.Attrs.IsControl() {
				failed = fn(r)
			}
			if r.Offset == end.Offset-1 {
				open--
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

// bytesIn returns the size of all files in a directory. Files may disappear meanwhile.
func bytesIn(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				bytes += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return bytes, err
}
