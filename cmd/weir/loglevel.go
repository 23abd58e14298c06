package main

import (
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// logFlag is the --log-level flag. Its zero value is info, the default of the flag is warn.
type logFlag struct{ level slog.Level }

func (l *logFlag) add(f *pflag.FlagSet) {
	l.level = slog.LevelWarn
	f.Var(l, "log-level", "debug, info, warn or error; logs go to stderr")
}

// String implements pflag.Value.
func (l *logFlag) String() string { return strings.ToLower(l.level.String()) }

// Set implements pflag.Value.
func (l *logFlag) Set(s string) error {
	if l.level.UnmarshalText([]byte(s)) != nil {
		return errors.New("choose debug, info, warn or error")
	}
	return nil
}

// Type implements pflag.Value.
func (l *logFlag) Type() string { return "string" }

// logger returns a logger that writes text to a terminal, and otherwise JSON.
func (l *logFlag) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.level, ReplaceAttr: withUnits}
	if isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// withUnits formats durations as text, such as 107ms, instead of nanoseconds.
func withUnits(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
