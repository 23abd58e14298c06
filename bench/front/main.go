// Command front measures what the embedded broker's front costs: the CPU of kfake's process with
// and without it, in alternating runs, and the ratios of the medians.
//
// Each side is a process with an empty data directory that does not sync. A run writes records in
// bulk and reads them, then writes single records, each in a request.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic      = "records"
	partitions = 4
	valueBytes = 100
	clients    = 8 // that write single records
)

func main() {
	records := flag.Int("records", 1_000_000, "records written and read in bulk in each run")
	singles := flag.Int("singles", 40_000, "single records in each run")
	rounds := flag.Int("rounds", 5, "runs of each side")
	serve := flag.String("serve", "", "serve one side, direct or front, until stdin ends")
	flag.Parse()
	var err error
	if *serve != "" {
		err = serveSide(*serve)
	} else {
		err = run(context.Background(), *records, *singles, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// load is one kind of requests.
type load struct {
	name string
	unit int // records that the CPU time is given for
	run  func(ctx context.Context, addr string) (records int, err error)
}

func run(ctx context.Context, records, singles, rounds int) error {
	loads := []load{
		{"bulk write, per million records", 1_000_000, func(ctx context.Context, addr string) (int, error) { return records, write(ctx, addr, records) }},
		{"bulk read, per million records", 1_000_000, func(ctx context.Context, addr string) (int, error) { return records, read(ctx, addr, records) }},
		{"single records, per thousand", 1000, func(ctx context.Context, addr string) (int, error) { return singles, writeSingles(ctx, addr, singles) }},
	}
	cpu := make(map[string][]time.Duration) // by load and side
	for round := range rounds {
		sides := []string{"direct", "front"}
		if round%2 == 1 {
			slices.Reverse(sides)
		}
		for _, side := range sides {
			if err := measure(ctx, side, loads, cpu); err != nil {
				return fmt.Errorf("%s: %w", side, err)
			}
		}
	}
	for _, l := range loads {
		direct, front := median(cpu[l.name+"direct"]), median(cpu[l.name+"front"])
		fmt.Printf("%s: %v of CPU without the front, %v with it, ratio %.3f\n", l.name, direct, front, float64(front)/float64(direct))
	}
	return nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// measure runs all loads on one side.
func measure(ctx context.Context, side string, loads []load, cpu map[string][]time.Duration) (err error) {
	b, err := start(ctx, side)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	for _, l := range loads {
		before, err := b.cpu()
		if err != nil {
			return err
		}
		began := time.Now()
		n, err := l.run(ctx, b.addr)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		took := time.Since(began)
		after, err := b.cpu()
		if err != nil {
			return err
		}
		used := time.Duration(float64(after-before) / float64(n) * float64(l.unit)).Round(10 * time.Microsecond)
		cpu[l.name+side] = append(cpu[l.name+side], used)
		fmt.Printf("  %-6s %s: %v of CPU, %.0f records/s\n", side, l.name, used, float64(n)/took.Seconds())
	}
	return nil
}

// write writes records from one client, in as large batches as it makes.
func write(ctx context.Context, addr string, records int) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(100_000), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer c.Close()
	value := make([]byte, valueBytes)
	var failed kgo.FirstErrPromise
	for range records {
		c.Produce(ctx, &kgo.Record{Value: value}, failed.Promise())
	}
	return errors.Join(c.Flush(ctx), failed.Err())
}

func read(ctx context.Context, addr string, records int) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer c.Close()
	for n := 0; n < records; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		n += fetches.NumRecords()
	}
	return nil
}

// writeSingles writes records from several clients, each of which waits for its answer.
func writeSingles(ctx context.Context, addr string, records int) error {
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { errs[i] = writeSome(ctx, addr, records/clients) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func writeSome(ctx context.Context, addr string, records int) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	defer c.Close()
	value := make([]byte, valueBytes)
	for range records {
		if err := c.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// side is a process with a broker.
type side struct {
	cmd    *exec.Cmd
	addr   string
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func start(ctx context.Context, name string) (*side, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &side{cmd: exec.CommandContext(ctx, exe, "-serve", name)}
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.stdout = bufio.NewReader(stdout)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	addr, err := s.stdout.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the broker's address: %w", err), s.stop())
	}
	s.addr = strings.TrimSpace(addr)
	return s, nil
}

// cpu asks the process for the CPU time that it has used.
func (s *side) cpu() (time.Duration, error) {
	if _, err := s.stdin.Write([]byte("\n")); err != nil {
		return 0, err
	}
	line, err := s.stdout.ReadString('\n')
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return time.Duration(ns), err
}

func (s *side) stop() error {
	return errors.Join(s.stdin.Close(), s.cmd.Wait())
}
