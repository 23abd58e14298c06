package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/broker"
)

// stopFlag limits how long a command with transactions takes to stop.
type stopFlag struct{ timeout time.Duration }

func (s *stopFlag) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&s.timeout, "stop-timeout", broker.DefaultStopTimeout,
		"time to finish after Ctrl-C or SIGTERM; a command that needs longer names what it leaves open and exits with 1")
}

// limit returns the share of the timeout that transactions may use, which leaves time for the rest
// of the shutdown. Call it after the flags have been parsed.
func (s *stopFlag) limit() time.Duration { return s.timeout * 9 / 10 }

// watch ends the process if stopping takes longer than the timeout, for example because a broker or
// an alert receiver hangs.
func (s *stopFlag) watch(ctx context.Context, w io.Writer) error {
	if s.timeout <= 0 {
		return usage(fmt.Errorf("--stop-timeout must be positive, got %s", s.timeout))
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

// untilStopped returns the error of a command that runs until it is stopped: nil if the stop, which
// ends ctx, has only interrupted its start.
func untilStopped(ctx context.Context, err error) error {
	var open *broker.LeftOpenError
	if ctx.Err() == nil || errors.As(err, &open) || !onlyIs(err, ctx.Err()) {
		return err
	}
	return nil
}

// onlyIs reports whether each of the errors that are joined in err is the target.
func onlyIs(err, target error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !onlyIs(e, target) })
	}
	return errors.Is(err, target)
}
