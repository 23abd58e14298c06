package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/node"
)

func newTail() *cobra.Command {
	var (
		kafka     kafkaFlags
		out       output
		schemas   registryFlags
		fromStart bool
		untilEnd  bool
	)
	cmd := &cobra.Command{
		Use:   "tail TOPIC",
		Short: "Show the committed records of a topic",
		Example: `  weir tail device_stats
  weir tail sensor_data_tx --from-start --until-end -o json | wc -l
  weir tail sensor_data_tx --registry http://127.0.0.1:8081   # decode Avro, Protobuf and JSON with schemas`,
		Args: oneArg("topic"),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				show, done, err := schemas.shown(ctx, log)
				if err != nil {
					return err
				}
				defer done()
				w := bufio.NewWriter(cmd.OutOrStdout())
				write := writeRecordText
				if asJSON {
					write = writeRecordJSON
				}
				err = broker.Tail(ctx, at.Broker, args[0], broker.TailOptions{FromStart: fromStart, UntilEnd: untilEnd},
					func(r *kgo.Record) error {
						r.Key, r.Value = show(r.Key), show(r.Value)
						return write(w, r)
					}, w.Flush)
				if errors.Is(err, context.Canceled) {
					err = nil // Ctrl-C is the normal end of a tail
				}
				return errors.Join(err, w.Flush())
			})
		},
	}
	kafka.add(cmd)
	schemas.add(cmd)
	cmd.Flags().BoolVar(&fromStart, "from-start", false, "start with the oldest record (default: new records only)")
	cmd.Flags().BoolVar(&untilEnd, "until-end", false, "stop after the records that existed at the start")
	out.add(cmd)
	return cmd
}

func writeRecordText(w io.Writer, r *kgo.Record) error {
	if _, err := fmt.Fprintf(w, "%d:%d  %s  %s", r.Partition, r.Offset, textBytes(r.Key), textBytes(r.Value)); err != nil {
		return err
	}
	for _, h := range r.Headers {
		if _, err := fmt.Fprintf(w, "  %s=%s", h.Key, textBytes(h.Value)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// textBytes formats bytes on one line: printable text unchanged, anything else quoted. Empty values
// and the text null are quoted too, to distinguish them from a missing value.
func textBytes(b []byte) string {
	if b == nil {
		return "null"
	}
	if len(b) == 0 || string(b) == "null" || !utf8.Valid(b) {
		return fmt.Sprintf("%q", b)
	}
	for _, c := range string(b) {
		if c < 0x20 || c == 0x7f {
			return fmt.Sprintf("%q", b)
		}
	}
	return string(b)
}

func writeRecordJSON(w io.Writer, r *kgo.Record) error {
	m := map[string]any{
		"topic": r.Topic, "partition": r.Partition, "offset": r.Offset,
		"timestamp": r.Timestamp.UTC().Format(time.RFC3339Nano),
		"headers":   broker.JSONHeaders(r.Headers),
	}
	broker.PutBytes(m, "key", r.Key)
	broker.PutBytes(m, "value", r.Value)
	return writeJSON(w, m)
}
