package main

import (
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/bench/usage"
	"weir.example/weir/internal/dryrun"
	"weir.example/weir/internal/plan"
)

// One operation is an event: each query over events in memory, without a broker. It reports the CPU
// time too, since other programs on the machine stretch the time.
func BenchmarkQueries(b *testing.B) {
	for _, query := range allQueries {
		b.Run(query, func(b *testing.B) {
			var sql strings.Builder
			if err := sqlTemplates.ExecuteTemplate(&sql, query+".sql", job{ID: query, Source: source, Sink: "results"}); err != nil {
				b.Fatal(err)
			}
			p, err := plan.Compile(sql.String(), query)
			if err != nil {
				b.Fatal(err)
			}
			s, err := dryrun.New(p, dryrun.Options{Partitions: partitions, Batch: 20_000}, nil)
			if err != nil {
				b.Fatal(err)
			}
			g := newGenerator(1)
			for i := range b.N {
				s.Append(&kgo.Record{Topic: source, Partition: int32(i % partitions), Value: g.event(nil)}) //nolint:gosec // few partitions
			}
			before, err := usage.CPU(os.Getpid())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := s.EndBounded(); err != nil {
				b.Fatal(err)
			}
			after, err := usage.CPU(os.Getpid())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric((after-before).Seconds()/float64(b.N)*1e6, "CPU-s/M")
		})
	}
}
