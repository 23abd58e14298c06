// Command codec measures encoding and decoding of a simulated fleet's readings: Weir's formats
// against encoding/json and the generic APIs of the Avro and Protobuf libraries; and the bytes per
// reading in the log, for each format and compression. Weir's formats encode from and decode to
// columns, as in a pipeline. The tables are Markdown.
//
//	main.go    flags, the readings, the tables
//	codecs.go  the measured codecs
//	bytes.go   bytes in the log of an embedded broker
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"weir.example/weir/internal/source"
	"weir.example/weir/internal/source/fleet"
	"weir.example/weir/reading"
)

func main() {
	testing.Init() // registers the flags of testing.Benchmark
	records := flag.Int("readings", 10_000, "readings to encode and decode, and to write with each compression")
	length := flag.Duration("for", time.Second, "duration of each measurement")
	flag.Parse()
	err := flag.Set("test.benchtime", length.String())
	if err == nil {
		err = run(context.Background(), *records)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int) error {
	readings, err := simulate(n)
	if err != nil {
		return err
	}
	sides, err := codecs()
	if err != nil {
		return err
	}
	fmt.Println("| side | encode, rows/s | allocations | decode, rows/s | allocations | bytes |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, s := range sides {
		encoded := make([][]byte, n)
		bytes := 0
		for i := range readings {
			if encoded[i], err = s.encode(nil, &readings[i]); err != nil {
				return fmt.Errorf("%s: encode: %w", s.name, err)
			}
			bytes += len(encoded[i])
		}
		if err := s.check(encoded, readings); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		buffer := make([]byte, 0, 1024)
		var failed error
		in := measure(n, func(i int) { _, failed = s.encode(buffer, &readings[i]) }, &failed)
		out := measure(n, func(i int) { failed = s.decode(encoded[i]) }, &failed)
		if failed != nil {
			return fmt.Errorf("%s: %w", s.name, failed)
		}
		fmt.Printf("| %s | %s | %s | %.0f |\n", s.name, in, out, float64(bytes)/float64(n))
	}
	return writeBytes(ctx, readings)
}

// speed is rows per second and allocations per row.
type speed struct{ rows, allocations float64 }

func (s speed) String() string {
	return fmt.Sprintf("%.2f M | %.1f", s.rows/1e6, s.allocations)
}

func measure(n int, row func(i int), failed *error) speed {
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			row(i % n)
			if *failed != nil {
				return
			}
		}
	})
	return speed{float64(r.N) / r.T.Seconds(), float64(r.MemAllocs) / float64(r.N)}
}

// simulate returns readings that are the same in every run.
func simulate(n int) ([]reading.Reading, error) {
	f, err := fleet.New(fleet.Config{Seed: 42, Devices: 100, Count: int64(n), Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		return nil, err
	}
	all := make([]reading.Reading, 0, n)
	items := make([]source.Item, 1024)
	for {
		got, err := f.Next(items)
		for i := range items[:got] {
			all = append(all, items[i].Reading)
		}
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
