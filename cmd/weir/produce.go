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
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/source/directory"
	"weir.example/weir/internal/source/file"
	"weir.example/weir/internal/source/fleet"
)

// produceCommand is one invocation of weir produce.
type produceCommand struct {
	kafka    kafkaFlags
	topic    siteFlags
	admins   adminFlags
	traces   traceFlags
	out      output
	stop     stopFlag
	fleet    fleet.Config
	file     fileFlags
	watch    watchFlags
	format   formatFlags
	config   produce.Config // from flags; run fills in the rest
	name     string
	start    string
	strategy string

	asJSON  bool
	site    site.Site
	subject registry.Strategy
	source  produce.Source
	opened  *file.File     // nil unless one file is sent
	watched *directory.Dir // nil unless a directory is watched
	bar     *bar           // of run
}

func newProduce() *cobra.Command {
	var p produceCommand
	cmd := &cobra.Command{
		Use:   "produce",
		Short: "Send readings of a simulated fleet, a file or a directory of files, in transactions",
		Long: `Sends readings to the topic sensor_data_tx, or to that of --topic. The position of the source is committed in the same
transaction: after a crash, the same command resumes where the last commit ended, without gaps or duplicates. Rows of a file
that are not valid readings go to the dead letters in the same transaction, with their bytes and the reason.

A directory is watched until the command is stopped. Each of its files is sent once, by its name and its content.`,
		Example: `  weir produce --count 100000 --devices 1000
  weir produce --rate 5000 --outages 0.1 --repeats 0.05
  weir produce --file readings.csv.gz
  weir produce --file export.csv --dry-run
  weir produce --watch incoming/
  weir produce --format avro-confluent --registry http://127.0.0.1:8081
  weir produce --file log.ndjson --device-column host --ts-column when --value-columns temp,load`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.parse(); err != nil {
				return err
			}
			if err := p.open(cmd); err != nil {
				return err
			}
			if p.opened != nil {
				defer p.opened.Close()
			}
			if p.watched != nil {
				defer p.watched.Close()
			}
			if p.file.dry {
				return p.file.dryRun(cmd, p.opened, p.asJSON)
			}
			if err := p.stop.watch(cmd.Context(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			p.kafka.create = true
			return p.kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				return p.run(ctx, cmd, log, at)
			})
		},
	}
	p.add(cmd)
	return cmd
}

func (p *produceCommand) add(cmd *cobra.Command) {
	p.kafka.add(cmd)
	p.topic.add(cmd, siteScope)
	p.format.add(cmd)
	p.admins.add(cmd, "")
	p.traces.add(cmd)
	addFleetFlags(cmd, &p.fleet)
	p.file.add(cmd)
	p.watch.add(cmd)
	f, c := cmd.Flags(), &p.config
	f.Int64Var(&p.fleet.Count, "count", 0, "total number of readings of the simulated fleet, earlier runs included; 0 for no limit")
	f.StringVar(&p.start, "start", "", "event time of the first simulated reading, RFC 3339 (default: now, and readings follow the clock)")
	f.StringVar(&p.name, "name", "", "name of the source; its position is stored under this name (default: from the file, the directory or the seed)")
	f.Float64Var(&c.Rate, "rate", 0, "readings per second; 0 for as fast as possible")
	f.DurationVar(&c.CommitInterval, "commit-interval", 100*time.Millisecond, "length of a transaction")
	f.DurationVar(&c.TransactionTimeout, "transaction-timeout", 15*time.Second, "time after which the broker aborts the transaction of a dead producer")
	f.StringVar(&c.Compression, "compression", "snappy", "none, gzip, snappy, lz4 or zstd")
	f.StringVar(&c.AckLog, "ack-log", "", "file to append acknowledged readings to, for weir verify --acks")
	f.BoolVar(&c.MarkTransactions, "mark", false, "mark each record with its transaction, so that weir verify detects partially committed ones")
	f.StringVar(&p.strategy, "subject-strategy", "topic", "subject of the readings' schema: topic (TOPIC-value), record (weir.SensorReading) or topic-record")
	p.stop.add(cmd)
	p.out.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("file", "count")
	cmd.MarkFlagsMutuallyExclusive("file", "start")
	for _, other := range []string{"file", "count", "start", "dry-run"} {
		cmd.MarkFlagsMutuallyExclusive("watch", other)
	}
}

// parse checks the flags that need neither the source nor a broker.
func (p *produceCommand) parse() (err error) {
	if p.asJSON, err = p.out.json(); err != nil {
		return err
	}
	if err := p.format.validate(false); err != nil {
		return err
	}
	if p.subject, err = registry.ParseStrategy(p.strategy); err != nil {
		return usage(err)
	}
	p.site, err = p.topic.site()
	return err
}

// open opens the source: the file or directory if one is given, or else the simulated fleet.
func (p *produceCommand) open(cmd *cobra.Command) (err error) {
	if err := p.watch.validate(cmd.Flags()); err != nil {
		return err
	}
	if p.watch.config.Dir != "" {
		err = p.openWatch(cmd.Flags())
	} else if p.file.config.Path == "" {
		p.source, err = p.openFleet()
	} else if p.opened, err = p.file.open(cmd.Flags(), p.name); err == nil {
		p.source = p.opened
		if !p.file.dry {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", p.file.config.Path, p.opened.Columns())
		}
	}
	if err == nil {
		p.source = produce.Named(p.source, p.site.SourceName(p.source.Name()))
	}
	return err
}

func (p *produceCommand) openFleet() (produce.Source, error) {
	if p.file.dry {
		return nil, usage(errors.New("--dry-run needs --file"))
	}
	if err := checkFleet(&p.fleet); err != nil {
		return nil, usage(err)
	}
	p.fleet.Name, p.fleet.Rate = p.name, p.config.Rate
	if p.start != "" {
		var err error
		if p.fleet.Start, err = time.Parse(time.RFC3339, p.start); err != nil {
			return nil, usage(fmt.Errorf("--start must be in RFC 3339 format, such as 2026-01-31T00:00:00Z: %w", err))
		}
	}
	source, err := fleet.New(p.fleet)
	if err != nil {
		return nil, usage(err)
	}
	return source, nil
}

// run sends the source's readings and reports the result.
func (p *produceCommand) run(ctx context.Context, cmd *cobra.Command, log *slog.Logger, at *node.Attachment) error {
	if err := node.ApplyTopics(ctx, at.Broker, p.site); err != nil {
		return err
	}
	admin, err := p.admins.admin(ctx, at, log)
	if err != nil {
		return err
	}
	defer admin.Close()
	closeTraces, err := p.traces.open(ctx, admin, log)
	if err != nil {
		return err
	}
	defer closeTraces()
	p.admins.printAddress()
	if p.format.registry.given() {
		p.format.registry.config = admin.SchemaRegistry(p.format.registry.config)
	}
	cfg := p.config
	if cfg.Encoding, err = p.format.encoding(ctx, log, p.site.Readings(), p.subject); err != nil {
		return err
	}
	if err := at.Observe(admin.Registry); err != nil {
		return err
	}
	p.bar = newBar(cmd.ErrOrStderr(), p.source, p.opened != nil)
	cfg.Broker, cfg.Logger, cfg.StopTimeout = admin.Broker(at.Broker), log, p.stop.limit()
	cfg.Topic, cfg.DLQ, cfg.Progress = p.site.Readings(), p.site.DeadLetters(), p.site.Progress()
	cfg.OnCommit, cfg.OnResume = p.committed, p.bar.resume
	cfg = admin.Producer(cfg, p.source)
	result, err := produce.Run(ctx, cfg, p.source)
	p.bar.stop()
	if err != nil {
		return err
	}
	stopped := ctx.Err() != nil
	err = p.writeSent(cmd, result, stopped)
	if err == nil && stopped {
		return errInterrupted
	}
	return err
}

// writeSent reports what was sent and, for a file, what was not.
func (p *produceCommand) writeSent(cmd *cobra.Command, result produce.Result, stopped bool) error {
	switch {
	case p.asJSON && p.opened != nil:
		return writeJSON(cmd.OutOrStdout(), producedFile{result, leftOutOf(p.opened)})
	case p.asJSON:
		return writeJSON(cmd.OutOrStdout(), result)
	}
	if err := writeProduced(cmd, result, p.source.Name(), stopped); err != nil || p.opened == nil {
		return err
	}
	left := leftOutOf(p.opened)
	return left.write(cmd.OutOrStdout())
}

func writeProduced(cmd *cobra.Command, r produce.Result, name string, stopped bool) error {
	w := cmd.OutOrStdout()
	if !stopped && r.Readings == 0 && r.DeadLetters == 0 && r.Earlier > 0 {
		// --count includes earlier runs, so that the same command completes a run that was killed.
		_, err := fmt.Fprintf(w, "nothing to send: earlier runs of source %s have committed all %s readings (to send them again as a new source, change --name)\n",
			name, count(r.Earlier))
		return err
	}
	_, err := fmt.Fprintf(w, "sent %s in %s, %s, %s aborted",
		plural(r.Readings, "reading"), plural(r.Transactions, "transaction"), plural(r.DeadLetters, "dead letter"), count(r.Aborted))
	if err == nil && r.Earlier > 0 {
		_, err = fmt.Fprintf(w, "; %s including earlier runs", plural(r.Earlier+r.Readings, "reading"))
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
