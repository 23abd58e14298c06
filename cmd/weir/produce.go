package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/node"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/source/file"
	"weir.example/weir/internal/source/fleet"
)

func newProduce() *cobra.Command {
	var (
		kafka       kafkaFlags
		topic       siteFlags
		admins      adminFlags
		traces      traceFlags
		out         output
		stop        stopFlag
		simulated   fleet.Config
		input       fileFlags
		rate        float64
		interval    time.Duration
		timeout     time.Duration
		compression string
		ackLog      string
		mark        bool
		name        string
		start       string
		written     formatFlags
		strategy    string
	)
	cmd := &cobra.Command{
		Use:   "produce",
		Short: "Send readings in transactions: a simulated fleet's, or a file's",
		Long: `Sends readings to sensor_data_tx. The source's position is in the same transaction: killed at any moment,
the same command goes on where the last commit ended, with neither gap nor repeat. Rows of a file that are no
readings go to sensor_data_dlq in that transaction, with their bytes and the reason.`,
		Example: `  weir produce --count 100000 --devices 1000
  weir produce --rate 5000 --outages 0.1 --repeats 0.05
  weir produce --file readings.csv.gz
  weir produce --file export.csv --dry-run
  weir produce --format avro-confluent --registry http://127.0.0.1:8081
  weir produce --file log.ndjson --device-column host --ts-column when --value-columns temp,load`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if err := written.validate(false); err != nil {
				return err
			}
			subject, err := registry.ParseStrategy(strategy)
			if err != nil {
				return usage(err)
			}
			named, err := topic.site()
			if err != nil {
				return err
			}
			var src progressSource
			var sent *file.File
			if path := input.config.Path; path != "" {
				if sent, err = input.open(cmd.Flags(), name); err != nil {
					return err
				}
				defer sent.Close()
				if input.dry {
					return input.dryRun(cmd, sent, asJSON)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", path, sent.Columns())
				src = sent
			} else {
				if input.dry {
					return usage(errors.New("--dry-run goes with --file"))
				}
				if err := checkFleet(&simulated); err != nil {
					return usage(err)
				}
				simulated.Name, simulated.Rate = name, rate
				if start != "" {
					if simulated.Start, err = time.Parse(time.RFC3339, start); err != nil {
						return usage(fmt.Errorf("--start wants RFC 3339, such as 2026-01-31T00:00:00Z: %w", err))
					}
				}
				if src, err = fleet.New(simulated); err != nil {
					return usage(err)
				}
			}
			src = produce.Named(src, named.SourceName(src.Name()))
			if err := stop.watch(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			kafka.create = true
			return kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				if err := node.ApplyTopics(ctx, at.Broker, named); err != nil {
					return err
				}
				admin, err := admins.admin(ctx, log)
				if err != nil {
					return err
				}
				defer admin.Close()
				traced, err := traces.open(ctx, admin, log)
				if err != nil {
					return err
				}
				defer traced()
				admins.tell()
				if written.registry.given() {
					written.registry.config = admin.SchemaRegistry(written.registry.config)
				}
				encoding, err := written.encoding(ctx, log, named.Readings(), subject)
				if err != nil {
					return err
				}
				bar := newBar(cmd.ErrOrStderr(), src, sent != nil)
				cfg := produce.Config{
					Broker: admin.Broker(at.Broker), Topic: named.Readings(), DLQ: named.DeadLetters(), Progress: named.Progress(), Encoding: encoding,
					Rate: rate, CommitInterval: interval, TransactionTimeout: timeout, StopTimeout: stop.limit(), Compression: compression,
					MarkTransactions: mark, AckLog: ackLog, Logger: log,
					OnCommit: bar.commit, OnResume: bar.resume,
				}
				cfg = admin.Producer(cfg, src)
				result, err := produce.Run(ctx, cfg, src)
				bar.stop()
				if err != nil {
					return err
				}
				err = writeSent(cmd, result, src.Name(), sent, asJSON)
				if err == nil && ctx.Err() != nil {
					return errInterrupted
				}
				return err
			})
		},
	}
	kafka.add(cmd)
	topic.add(cmd, siteScope)
	written.add(cmd)
	admins.add(cmd, "")
	traces.add(cmd)
	addFleetFlags(cmd, &simulated)
	input.add(cmd)
	f := cmd.Flags()
	f.Int64Var(&simulated.Count, "count", 0, "readings of the simulated fleet in all, over all runs; 0 without end")
	f.StringVar(&start, "start", "", "event time of the first simulated reading, RFC 3339 (default: now, and readings follow the clock)")
	f.StringVar(&name, "name", "", "name of the source, under which its position is kept (default: of the file, or of the seed)")
	f.Float64Var(&rate, "rate", 0, "readings a second; 0 as fast as it goes")
	f.DurationVar(&interval, "commit-interval", 100*time.Millisecond, "length of a transaction")
	f.DurationVar(&timeout, "transaction-timeout", 15*time.Second, "after which the broker aborts a dead producer's transaction")
	f.StringVar(&compression, "compression", "lz4", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&ackLog, "ack-log", "", "file to which acknowledged readings are appended, for weir verify --acks")
	f.BoolVar(&mark, "mark", false, "mark each record with its transaction, so that weir verify finds torn ones")
	f.StringVar(&strategy, "subject-strategy", "topic", "subject of the readings' schema: topic (TOPIC-value), record (weir.SensorReading) or topic-record")
	stop.add(cmd)
	out.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("file", "count")
	cmd.MarkFlagsMutuallyExclusive("file", "start")
	return cmd
}

// progressSource is a source whose progress is shown.
type progressSource = produce.Source

// writeSent tells what was sent, and of a file what was not.
func writeSent(cmd *cobra.Command, result produce.Result, name string, sent *file.File, asJSON bool) error {
	switch {
	case asJSON && sent != nil:
		return writeJSON(cmd.OutOrStdout(), producedFile{result, leftOutOf(sent)})
	case asJSON:
		return writeJSON(cmd.OutOrStdout(), result)
	}
	if err := writeProduced(cmd, result, name); err != nil || sent == nil {
		return err
	}
	left := leftOutOf(sent)
	return left.write(cmd.OutOrStdout())
}

func writeProduced(cmd *cobra.Command, r produce.Result, name string) error {
	w := cmd.OutOrStdout()
	if r.Readings == 0 && r.DeadLetters == 0 && r.Earlier > 0 {
		// --count is of all runs, so that a run that was killed is completed by the same command.
		_, err := fmt.Fprintf(w, "nothing to send: earlier runs of source %s have committed all %s readings (another --name sends as a new source)\n",
			name, count(r.Earlier))
		return err
	}
	_, err := fmt.Fprintf(w, "sent %s readings in %s transactions, %s dead letters, %s aborted",
		count(r.Readings), count(r.Transactions), count(r.DeadLetters), count(r.Aborted))
	if err == nil && r.Earlier > 0 {
		_, err = fmt.Fprintf(w, "; with earlier runs %s readings", count(r.Earlier+r.Readings))
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
