package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"weir.example/weir/bench/command"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/stack"
)

// brokers is a Kafka with one node, 0.
type brokers interface {
	Brokers() []string
	Pause(node int) error
	Resume(node int) error
	Kill(node int) error
	Start(ctx context.Context, node int) error
	Close() error
}

// startBrokers starts Kafka, or Weir's own broker in a process of its own.
func startBrokers(ctx context.Context, own bool, dir string) (brokers, error) {
	if !own {
		command.Progress("start Kafka %s", stack.KafkaVersion)
		return stack.StartKafka(ctx, stack.Options{Heap: "1g"})
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	b := &ownBroker{dir: dir, address: address}
	return b, b.Start(ctx, 0)
}

// ownBroker is Weir's embedded broker in a child process.
type ownBroker struct {
	dir     string
	address string
	cmd     *exec.Cmd
}

const serveCommand = "serve"

// serve is the child process.
func serve(dir, address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := embedded.Open(embedded.Config{
		Dir: dir, Addr: address, StoredBytes: -1, MaintainEvery: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return b.Close()
}

func (b *ownBroker) Brokers() []string { return []string{b.address} }

// Start starts the process, and waits until it serves.
func (b *ownBroker) Start(context.Context, int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.cmd = exec.Command(self, serveCommand, b.dir, b.address) //nolint:gosec,noctx // this binary; Close ends it
	b.cmd.Stderr = os.Stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return err
	}
	if _, err = bufio.NewReader(out).ReadString('\n'); errors.Is(err, io.EOF) {
		return fmt.Errorf("the broker did not start: %w", b.cmd.Wait())
	}
	return err
}

func (b *ownBroker) Pause(int) error  { return b.cmd.Process.Signal(syscall.SIGSTOP) }
func (b *ownBroker) Resume(int) error { return b.cmd.Process.Signal(syscall.SIGCONT) }

func (b *ownBroker) Kill(int) error {
	err := b.cmd.Process.Kill()
	_ = b.cmd.Wait() // it was killed
	return err
}

func (b *ownBroker) Close() error { return b.Kill(0) }
