// Command weir streams sensor readings through Kafka transactions, exactly once, and proves it.
//
// Exit codes: 0 success, 1 failure, 2 usage error, 3 check failed, 130 interrupted.
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
	"weir.example/weir/internal/console"
	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/flink"
	"weir.example/weir/internal/secret"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitCheck       = 3
	exitInterrupted = 130
)

func main() {
	if os.Getenv(console.SandboxVariable) != "" {
		os.Exit(console.Sandbox(os.Stdin, os.Stdout))
	}
	os.Exit(run(context.Background()))
}

func run(parent context.Context) int {
	secret.Private()
	broker.LimitMemory()
	ctx, stop := signal.NotifyContext(parent, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process immediately
	root := newRoot()
	unwrapHelp(root)
	out := &stdout{File: os.Stdout}
	root.SetOut(out)
	err := fang.Execute(ctx, root,
		fang.WithVersion(version()),
		fang.WithErrorHandler(func(w io.Writer, _ fang.Styles, err error) { printError(w, err) }),
	)
	if err == nil && out.failed() != nil { // even if the command ignored it
		err = fmt.Errorf("write output: %w", out.failed())
		printError(os.Stderr, err)
	}
	return exitCode(err)
}

// unwrapHelp joins the lines of each paragraph of the help texts, which are then wrapped to the
// width of the terminal. Indented lines, such as lists, are kept.
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

// stdout records the first failed write, for example on a full disk: a command whose output is
// incomplete must not exit with 0. What commands print contains names and values of others, which
// must not control the terminal.
type stdout struct {
	*os.File
	escape bool // not for help, which is coloured
	mu     sync.Mutex
	err    error
}

// Write implements io.Writer.
func (s *stdout) Write(b []byte) (int, error) {
	text := b
	if s.escape {
		text = escapeControls(b)
	}
	n, err := s.File.Write(text)
	if n == len(text) {
		n = len(b)
	}
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
		Short: "Streaming SQL over Kafka for sensor readings, exactly once",
		Long: `Weir writes sensor readings to Kafka in transactions, processes them with SQL exactly once, and proves that
none was lost or duplicated. Without --brokers it uses its embedded broker.`,
		Example: `  weir up                                  # broker, simulated devices, producer and pipeline in one process
  weir produce --file readings.csv.gz      # readings of a file, resumed where the last run ended
  weir consume                             # statistics per device and sensor
  weir verify                              # was anything lost, duplicated, partially committed or reordered?`,
		SilenceUsage: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if out, ok := cmd.Root().OutOrStdout().(*stdout); ok {
				out.escape = true
			}
			warnOfSecrets(cmd)
			if err := fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			if err := fromFile(cmd); err != nil {
				return err
			}
			return fromSecretFiles(cmd.Flags())
		},
	}
	root.PersistentFlags().String("config", "", "file in YAML with values of flags (default: weir.yaml, if it exists)")
	root.PersistentFlags().StringVar(&secrets.Dir, "secrets-dir", "", "directory with the files that ${file:NAME} refers to, in options of pipelines and in weir.yaml")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(newUp(), newProduce(), newIngest(), newConsume(), newRun(), newCheck(), newExplain(), newTest(), newTail(), newDLQ(), newSchema(), newTopics(), newUsers(), newACL(), newCert(), newAudit(), newAlerts(), newTransactions(), newMonitor(), newVerify(), newChaos(), newConsole(), newTop(), newStatus(), newFlink(), newKafka(), newSink())
	return root
}

// usageError is an error in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(err error) error { return &usageError{err} }

// errCheck means that a check failed and that its report has been printed.
var errCheck = errors.New("check failed")

// errInterrupted means that a command was stopped before it was complete; its progress is
// committed.
var errInterrupted = errors.New("interrupted: progress is committed; run the same command to resume")

func exitCode(err error) int {
	var wrong *usageError
	var file *fileError
	var open *broker.LeftOpenError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &open): // also after a timeout, which surfaces as a canceled context
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

// fileError is an error in a file, printed with its line.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// printError prints an error on one line. Errors in a file and differences between two versions of
// a pipeline take several lines.
func printError(w io.Writer, err error) {
	if errors.Is(err, errCheck) {
		return
	}
	var file *fileError
	var changed *engine.ChangedError
	var onFlink *flink.ChangedError
	if errors.As(err, &file) || errors.As(err, &changed) || errors.As(err, &onFlink) {
		fmt.Fprintf(w, "weir: %s\n", escapeControls([]byte(strings.TrimSpace(err.Error()))))
		return
	}
	fmt.Fprintf(w, "weir: %s\n", escapeControls([]byte(oneLine(err))))
	var wrong *usageError
	if errors.As(err, &wrong) {
		fmt.Fprintln(w, "Run the command with --help for its flags and examples.")
	}
}

// oneLine formats an error on one line, in the terms of the command line.
func oneLine(err error) string {
	if exitCode(err) == exitInterrupted && !errors.Is(err, errInterrupted) {
		return "interrupted"
	}
	text := strings.TrimSpace(err.Error())
	if unknown, suggested, ok := strings.Cut(text, "\n\nDid you mean this?\n"); ok { // added by cobra
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
		return usage(fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0]))
	}
	return nil
}

func oneArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Errorf("%s needs exactly one %s, got %d arguments", cmd.CommandPath(), name, len(args)))
		}
		return nil
	}
}
