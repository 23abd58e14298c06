// Command ingest measures how messages of devices get into Kafka, with Weir and with Telegraf, on
// one real broker and one mosquitto: messages per second and per CPU second, memory, what is lost
// and repeated when the process is killed twice (kill -9), and how long devices wait for their
// acknowledgement and readers for the committed reading.
//
// The publishers are 50 connections in this process, with QoS 1 and 20 messages in flight, each of
// which is sent again until it is acknowledged. A message is JSON with a number.
//
//	main.go      flags, the sequence of measurements, the report
//	broker.go    Kafka, or Weir's embedded broker instead
//	side.go      what is measured: configurations and processes
//	mosquitto.go the MQTT broker between, and Telegraf's program
//	publish.go   publishers by MQTT and HTTP
//	faults.go    what mosquitto's defaults lose, and Kafka away for minutes
//	read.go      a reader that counts and times what is committed
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"weir.example/weir/bench/binary"
	"weir.example/weir/bench/command"
)

// warmUp is how long a measurement of latency runs before it counts: connections, the first
// transaction and the first garbage collections are not what devices wait for.
const warmUp = 2 * time.Second

// settings are the flags.
type settings struct {
	messages int           // of a throughput measurement
	rate     int           // messages per second of a latency measurement
	length   time.Duration // of a latency measurement
	only     string        // names of sides; "": all
	own      bool          // Weir's broker instead of Kafka
	profiles string        // directory for CPU profiles of Weir; "": none
	table    bool          // only losses
	outage   time.Duration // only an outage of Kafka
	telegraf string        // program; "": built, none: left out
}

func main() {
	var s settings
	flag.IntVar(&s.messages, "messages", 200_000, "messages of a measurement of throughput, and of one with kills")
	flag.IntVar(&s.rate, "rate", 5000, "messages per second of the measurement of latency")
	flag.DurationVar(&s.length, "length", 20*time.Second, "length of the measurement of latency")
	flag.StringVar(&s.only, "only", "", "sides to measure, separated by commas (default: all)")
	flag.StringVar(&s.telegraf, "telegraf", "", "Telegraf's program; none leaves it out (default: built in the cache of the user)")
	flag.StringVar(&s.profiles, "profiles", "", "directory for a CPU profile of each measurement of Weir's throughput, which then uses more CPU (default: none)")
	flag.BoolVar(&s.table, "losses", false, "measure instead what mosquitto with its default limits loses at several rates")
	flag.DurationVar(&s.outage, "outage", 0, "measure instead what happens while Kafka is away for this long, such as 5m")
	flag.BoolVar(&s.own, "embedded", false, "Weir's own broker instead of Kafka")
	if len(os.Args) == 4 && os.Args[1] == serveCommand {
		if err := serve(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, "bench: broker:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	command.Main(func(ctx context.Context) error { return run(ctx, &s) })
}

// bench is what all measurements share.
type bench struct {
	*settings
	dir       string
	weir      string
	brokers   []string
	mosquitto *mosquitto
	defaults  bool // of mosquitto
	count     int  // of measurements so far
}

// figures are the measurements of a side.
type figures struct {
	side           string
	rate           float64 // messages per second, from the first publish to the last committed
	cpu            time.Duration
	between        time.Duration // CPU time of mosquitto
	messages       int
	peakKB         int64
	lost, repeated int              // after two kills
	ack, commit    [2]time.Duration // p50 and p99
	reached        float64          // rate of the latency measurement
}

func run(ctx context.Context, s *settings) (err error) {
	b := &bench{settings: s}
	if b.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.weir, err = binary.Build(ctx, b.dir); err != nil {
		return err
	}
	if s.telegraf == "" && !s.table && s.outage == 0 {
		if s.telegraf, err = buildTelegraf(ctx); err != nil {
			return err
		}
	}
	kafka, err := startBrokers(ctx, s.own, filepath.Join(b.dir, "broker"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kafka.Close()) }()
	b.brokers = kafka.Brokers()
	switch {
	case s.table:
		return b.losses(ctx, kafka)
	case s.outage > 0:
		return b.away(ctx, kafka)
	}
	var all []*figures
	for _, side := range sides {
		if s.only != "" && !strings.Contains(","+s.only+",", ","+side.name+",") || side.telegraf && s.telegraf == "none" {
			continue
		}
		f, err := b.measure(ctx, side)
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		all = append(all, f)
	}
	return report(all)
}

// measure measures a side: its throughput, its latency, and what two kills do.
func (b *bench) measure(ctx context.Context, s *side) (*figures, error) {
	f := &figures{side: s.name, messages: b.messages}
	command.Progress("%s: throughput", s.name)
	t, err := b.start(ctx, s)
	if err != nil {
		return nil, err
	}
	l := load{messages: b.messages, window: 20, batch: s.batch}
	if b.profiles != "" && !s.telegraf {
		l.during = t.profile
	}
	r, err := t.publish(ctx, l)
	if err == nil {
		err = t.stop()
	}
	if err != nil {
		return nil, errors.Join(err, t.kill())
	}
	f.rate, f.cpu, f.between, f.peakKB = float64(b.messages)/r.took.Seconds(), r.cpu, r.between, r.peakKB
	if r.lost+r.repeated > 0 {
		return nil, fmt.Errorf("without a kill, %d messages were lost and %d repeated", r.lost, r.repeated)
	}
	command.Progress("%s: latency", s.name)
	if t, err = b.start(ctx, s); err != nil {
		return nil, err
	}
	r, err = t.publish(ctx, load{messages: int(b.length.Seconds() * float64(b.rate)), window: 200, rate: b.rate, batch: s.batch, warm: warmUp})
	if err == nil {
		err = t.stop()
	}
	if err != nil {
		return nil, errors.Join(err, t.kill())
	}
	f.ack = [2]time.Duration{quantile(r.acks, .5), quantile(r.acks, .99)}
	f.commit = [2]time.Duration{quantile(r.commits, .5), quantile(r.commits, .99)}
	f.reached = r.offered
	command.Progress("%s: two kills", s.name)
	if t, err = b.start(ctx, s); err != nil {
		return nil, err
	}
	r, err = t.publish(ctx, load{messages: b.messages, window: 20, kills: 2, batch: s.batch})
	if err == nil {
		err = t.stop()
	}
	if err != nil {
		return nil, errors.Join(err, t.kill())
	}
	f.lost, f.repeated = r.lost, r.repeated
	return f, nil
}

func report(all []*figures) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmessages/s\tCPU s per million\tmosquitto's\tmessages per CPU s\tpeak memory\tPUBACK or answer p50\tp99\tcommitted p50\tp99\tat\tlost\trepeated\t")
	for _, f := range all {
		ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1e3) }
		fmt.Fprintf(w, "%s\t%.0f\t%.1f\t%.1f\t%.0f\t%d MB\t%s\t%s\t%s\t%s\t%.0f/s\t%d\t%d\t\n", f.side, f.rate, f.cpu.Seconds()/float64(f.messages)*1e6, f.between.Seconds()/float64(f.messages)*1e6,
			float64(f.messages)/f.cpu.Seconds(), f.peakKB/1000, ms(f.ack[0]), ms(f.ack[1]), ms(f.commit[0]), ms(f.commit[1]), f.reached, f.lost, f.repeated)
	}
	return w.Flush()
}
