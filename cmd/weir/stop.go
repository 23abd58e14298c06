package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/broker"
)

// stopFlag is how long a command that has transactions may take to stop.
type stopFlag struct{ timeout time.Duration }

func (s *stopFlag) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&s.timeout, "stop-timeout", broker.DefaultStopTimeout,
		"after Ctrl-C or SIGTERM, to end what is begun; a command that needs longer says what it leaves open and exits with 1")
}

// limit is what is left to transactions, so that what comes after them is within the timeout, too.
// It must be asked for when flags are parsed.
func (s *stopFlag) limit() time.Duration { return s.timeout * 9 / 10 }

// watch ends the process where a stop takes longer than the timeout whatever the reason: a broker
// that hangs, a receiver of alerts.
func (s *stopFlag) watch(ctx context.Context, w io.Writer) error {
	if s.timeout <= 0 {
		return usage(fmt.Errorf("--stop-timeout %s: choose a time above 0", s.timeout))
	}
	context.AfterFunc(ctx, func() {
		time.AfterFunc(s.timeout, func() {
			fmt.Fprintf(w, "weir: not stopped within %s (--stop-timeout): a transaction may be left open, and readers then wait until the broker aborts it; "+
				"weir transactions list shows it, the next start of the same command ends it\n", s.timeout)
			os.Exit(exitFailed)
		})
	})
	return nil
}
