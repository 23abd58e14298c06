// Command sync measures how many single records and transactions per second the embedded broker
// acknowledges with and without Config.Sync, on the disk that -dir is on.
//
// Each client waits for the answer to a record, or to a commit, before it sends the next one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
)

const (
	topic      = "records"
	partitions = 4
)

func main() {
	dir := flag.String("dir", os.TempDir(), "directory for the records")
	counts := flag.String("clients", "1,8,32", "numbers of clients")
	length := flag.Duration("for", 5*time.Second, "length of each measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *dir, strings.Split(*counts, ","), *length)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// work is what a client repeats.
type work struct {
	name string
	opts func(client int) []kgo.Opt
	do   func(context.Context, *kgo.Client) error
}

var works = []work{
	{"record", func(int) []kgo.Opt { return nil }, produce},
	{
		"transaction", func(client int) []kgo.Opt { return []kgo.Opt{kgo.TransactionalID(fmt.Sprint("client-", client))} },
		func(ctx context.Context, c *kgo.Client) error {
			if err := c.BeginTransaction(); err != nil {
				return err
			}
			if err := produce(ctx, c); err != nil {
				return err
			}
			return broker.Commit(ctx, c)
		},
	},
}

func produce(ctx context.Context, c *kgo.Client) error {
	return c.ProduceSync(ctx, &kgo.Record{Value: []byte("reading")}).FirstErr()
}

func run(ctx context.Context, dir string, counts []string, length time.Duration) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "sync\tunit\tclients\tper second\tp50\tp99\t")
	for _, synced := range []bool{false, true} {
		for _, w := range works {
			for _, count := range counts {
				n, err := strconv.Atoi(count)
				if err != nil {
					return err
				}
				took, err := measure(ctx, dir, synced, w, n, length)
				if err != nil {
					return fmt.Errorf("%d clients, %s: %w", n, w.name, err)
				}
				slices.Sort(took)
				fmt.Fprintf(out, "%v\t%s\t%d\t%.0f\t%s\t%s\t\n", synced, w.name, n, float64(len(took))/length.Seconds(),
					took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond))
			}
		}
	}
	return out.Flush()
}

// measure returns how long each unit of work took.
func measure(ctx context.Context, dir string, synced bool, w work, clients int, length time.Duration) (took []time.Duration, err error) {
	if dir, err = os.MkdirTemp(dir, "weir-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := embedded.Open(embedded.Config{
		Dir: dir, Sync: synced, MaintainEvery: -1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := createTopic(ctx, b.Addr()); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var group errgroup.Group
	for i := range clients {
		group.Go(func() error {
			one, err := repeat(ctx, b.Addr(), w, i, length)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, one...)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if len(took) == 0 {
		return nil, errors.New("nothing was acknowledged: increase -for")
	}
	return took, nil
}

func createTopic(ctx context.Context, addr string) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = kadm.NewClient(c).CreateTopic(ctx, partitions, 1, nil, topic)
	return err
}

func repeat(ctx context.Context, addr string, w work, client int, length time.Duration) (took []time.Duration, err error) {
	opts := append(w.opts(client), kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0))
	c, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := w.do(ctx, c); err != nil { // connects
		return nil, err
	}
	for end := time.Now().Add(length); ; {
		began := time.Now()
		if err := w.do(ctx, c); err != nil {
			return nil, err
		}
		if time.Now().After(end) {
			return took, nil
		}
		took = append(took, time.Since(began))
	}
}
