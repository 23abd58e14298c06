// Command weir streams sensor readings through Kafka transactions, exactly once, and proves it.
//
// Exit codes: 0 fine, 1 failed, 2 usage, 3 a check did not hold, 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"charm.land/fang/v2"
	"github.com/spf13/cobra"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/flink"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitCheck       = 3
	exitInterrupted = 130
)

func main() { os.Exit(run(context.Background())) }

func run(parent context.Context) int {
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	root := newRoot()
	unwrapHelp(root)
	out := &stdout{File: os.Stdout}
	root.SetOut(out)
	err := fang.Execute(ctx, root,
		fang.WithVersion(version()),
		fang.WithErrorHandler(func(w io.Writer, _ fang.Styles, err error) { printError(w, err) }),
	)
	if err == nil && out.failed() != nil { // whatever the command made of it
		err = fmt.Errorf("write output: %w", out.failed())
		printError(os.Stderr, err)
	}
	return exitCode(err)
}

// unwrapHelp makes one line of each paragraph of the commands' help, which is then wrapped to the
// width of the terminal. Indented lines, as of lists, stay as they are.
func unwrapHelp(c *cobra.Command) {
	lines := strings.Split(c.Long, "\n")
	long := lines[0]
	prose := func(line string) bool { return line != "" && !strings.HasPrefix(line, " ") }
	for i, line := range lines[1:] {
		if prose(lines[i]) && prose(line) {
			long += " " + line
		} else {
			long += "\n" + line
		}
	}
	c.Long = long
	for _, sub := range c.Commands() {
		unwrapHelp(sub)
	}
}

// stdout remembers the first write that failed, as on a full disk: a command whose output is cut
// must not end with 0.
type stdout struct {
	*os.File
	mu  sync.Mutex
	err error
}

// Write implements io.Writer.
func (s *stdout) Write(b []byte) (int, error) {
	n, err := s.File.Write(b)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err == nil {
			s.err = err
		}
	}
	return n, err
}

// WriteString implements io.StringWriter.
func (s *stdout) WriteString(text string) (int, error) { return s.Write([]byte(text)) }

// ReadFrom implements io.ReaderFrom.
func (s *stdout) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}

func (s *stdout) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Sensor readings through Kafka, counted exactly once",
		Long: `Weir takes sensor readings in, writes them to Kafka in transactions, processes them exactly once,
and proves that not one was lost or doubled. Without --brokers it brings its own broker.`,
		Example: `  weir up                                  # broker, simulated fleet, producer and consumer in one
  weir produce --file readings.csv.gz      # a file's readings, resumed where the last run ended
  weir consume                             # statistics of each sensor of each device
  weir verify                              # was anything lost, doubled, torn or reordered?`,
		SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			return fromFile(cmd)
		},
	}
	root.PersistentFlags().String("config", "", "file with values of flags, YAML (default weir.yaml, where there is one)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(newUp(), newProduce(), newConsume(), newRun(), newCheck(), newExplain(), newTest(), newTail(), newDLQ(), newSchema(), newTopics(), newAlerts(), newTransactions(), newMonitor(), newVerify(), newChaos(), newConsole(), newTop(), newStatus(), newFlink(), newKafka())
	return root
}

// usageError is a mistake in how the command was called.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(err error) error { return &usageError{err} }

// errCheck is the outcome of a check that did not hold; its report is already printed.
var errCheck = errors.New("the check did not hold")

// errInterrupted ends a command that was stopped before it was done; what it did is committed.
var errInterrupted = errors.New("interrupted: what was done is committed, and the same command resumes there")

func exitCode(err error) int {
	var wrong *usageError
	var file *fileError
	var open *broker.LeftOpenError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &open): // also where time was up, which is a context that was canceled
		return exitFailed
	case errors.Is(err, errCheck):
		return exitCheck
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &wrong), errors.As(err, &file), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	default:
		return exitFailed
	}
}

// fileError is a mistake in a file, shown with the line that has it.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// printError writes one line: what is wrong and what to do. Mistakes in a file, and what differs
// between two of its versions, are shown line by line.
func printError(w io.Writer, err error) {
	if errors.Is(err, errCheck) {
		return
	}
	var file *fileError
	var changed *engine.ChangedError
	var onFlink *flink.ChangedError
	if errors.As(err, &file) || errors.As(err, &changed) || errors.As(err, &onFlink) {
		fmt.Fprintln(w, "weir: "+strings.TrimSpace(err.Error()))
		return
	}
	fmt.Fprintln(w, "weir: "+oneLine(err))
	var wrong *usageError
	if errors.As(err, &wrong) {
		fmt.Fprintln(w, "Run the command with --help for its flags and examples.")
	}
}

// oneLine is the text of an error on one line, in the words of the command line.
func oneLine(err error) string {
	if exitCode(err) == exitInterrupted && !errors.Is(err, errInterrupted) {
		return "interrupted"
	}
	text := strings.TrimSpace(err.Error())
	if unknown, suggested, ok := strings.Cut(text, "\n\nDid you mean this?\n"); ok { // cobra's
		return unknown + ": did you mean " + strings.Join(strings.Fields(suggested), " or ") + "?"
	}
	if before, _, ok := strings.Cut(text, " flag: strconv.ParseBool: "); ok {
		return before + " flag: not true or false"
	}
	for _, number := range []struct{ parser, name string }{{"Int", "whole number"}, {"Uint", "whole number from 0 on"}, {"Float", "number"}} {
		if before, cause, ok := strings.Cut(text, " flag: strconv.Parse"+number.parser+": "); ok {
			if strings.HasSuffix(cause, strconv.ErrRange.Error()) {
				return before + " flag: out of range"
			}
			return before + " flag: not a " + number.name
		}
	}
	text = strings.Replace(text, " flag: time: ", " flag: ", 1)
	return strings.ReplaceAll(text, "\n", "; ")
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("%s takes no arguments, found %q", cmd.CommandPath(), args[0]))
	}
	return nil
}

func oneArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Errorf("%s wants one %s, found %d arguments", cmd.CommandPath(), name, len(args)))
		}
		return nil
	}
}
