package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"weir.example/weir/bench/command"
	"weir.example/weir/internal/retry"
)

// losses shows what mosquitto with its default limits loses before Weir, at several rates and
// delays of Kafka, and what Weir says about it.
func (b *bench) losses(ctx context.Context, kafka brokers) error {
	b.defaults = true
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "publishers\tKafka\tack\tmessages/s\tmessages\tlost\tdropped, says Weir\trepeated\t")
	for _, c := range []struct {
		rate, window int
		stall        bool
		ack          string
	}{
		{900, 20, false, "spool"}, {2100, 20, false, "spool"}, {4000, 20, false, "spool"}, {6800, 20, false, "spool"},
		{2100, 20, true, "spool"}, {0, 1, false, "spool"}, {0, 20, false, "spool"}, {2100, 20, false, "kafka"}, {2100, 20, true, "kafka"},
	} {
		s := *sides[1]
		s.config = "ack: " + c.ack + "\n" + s.config
		t, err := b.start(ctx, &s)
		if err != nil {
			return err
		}
		how, delay := fmt.Sprintf("%d/s", c.rate), "runs"
		if c.rate == 0 {
			how = fmt.Sprintf("burst, %d in flight", connections*c.window)
		}
		l := load{messages: 20_000, window: c.window, rate: c.rate}
		if c.stall {
			delay = "stops 1 s of 1.2"
			l.during = func(ctx context.Context) error { return stalls(ctx, kafka) }
		}
		command.Progress("losses: %s, Kafka %s, ack %s", how, delay, c.ack)
		r, err := t.publish(ctx, l)
		if err != nil {
			return errors.Join(err, t.kill())
		}
		said, err := t.metric(ctx, "weir_mqtt_source_broker_dropped_total")
		if err == nil {
			err = t.stop()
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t%d\t%d\t%.0f\t%d\t\n", how, delay, c.ack, r.offered, l.messages, r.lost, said, r.repeated)
	}
	return w.Flush()
}

// stalls stops Kafka for a second again and again.
func stalls(ctx context.Context, kafka brokers) error {
	for ctx.Err() == nil {
		if err := kafka.Pause(0); err != nil {
			return err
		}
		_ = retry.Sleep(ctx, time.Second) // resumed also if it has ended
		if err := kafka.Resume(0); err != nil {
			return err
		}
		_ = retry.Sleep(ctx, 200*time.Millisecond)
	}
	return nil
}

// away kills Kafka for a while, during which devices publish to Weir's MQTT broker.
func (b *bench) away(ctx context.Context, kafka brokers) error {
	t, err := b.start(ctx, sides[2])
	if err != nil {
		return err
	}
	const before, after = 5 * time.Second, 40 * time.Second
	command.Progress("Kafka away for %s, %d messages/s", b.outage, b.rate)
	peak, left := 0.0, 0.0
	l := load{messages: int((before + b.outage + after).Seconds()) * b.rate, window: 200, rate: b.rate}
	l.during = func(publishing context.Context) error {
		if err := retry.Sleep(publishing, before); err != nil {
			return err
		}
		if err := kafka.Kill(0); err != nil {
			return err
		}
		for end := time.Now().Add(b.outage); time.Now().Before(end); {
			if err := retry.Sleep(publishing, time.Second); err != nil {
				return err
			}
			bytes, err := t.metric(ctx, "weir_spool_bytes")
			if err != nil {
				return err
			}
			if left, err = t.metric(ctx, "weir_spool_items"); err != nil {
				return err
			}
			peak = max(peak, bytes)
		}
		return kafka.Start(ctx, 0)
	}
	r, err := t.publish(ctx, l)
	if err != nil {
		return errors.Join(err, t.kill())
	}
	bytes, err := t.metric(ctx, "weir_spool_bytes")
	if err == nil {
		err = t.stop()
	}
	fmt.Printf("Kafka away for %s: %d messages at %.0f/s, %d lost, %d repeated; PUBACK p50 %s, p99 %s; spool at most %.1f MB with %.0f messages, %.1f MB at the end; last message committed %s after the last publish\n",
		b.outage, l.messages, r.offered, r.lost, r.repeated, quantile(r.acks, .5).Round(100*time.Microsecond), quantile(r.acks, .99).Round(100*time.Microsecond),
		peak/1e6, left, bytes/1e6, (r.took - time.Duration(float64(l.messages)/r.offered*1e9)).Round(100*time.Millisecond))
	return err
}

// profile writes a CPU profile of some seconds.
func (t *trial) profile(ctx context.Context) (err error) {
	ctx = context.WithoutCancel(ctx) // also if the load ends earlier
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+"/debug/pprof/profile?seconds=5", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.profiles, t.name+".pprof"), text, 0o600)
}

// metric returns the sum of a metric of Weir.
func (t *trial) metric(ctx context.Context, name string) (sum float64, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(strings.TrimSpace(rest), ' ')+1:]), 64)
			if err != nil {
				return 0, err
			}
			sum += v
		}
	}
	return sum, nil
}
