package broker

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientLog forwards a client's log. The client's info level has a line per transaction, so it
// becomes debug.
func ClientLog(log *slog.Logger) kgo.Opt { return kgo.WithLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (c clientLog) Level() kgo.LogLevel {
	if c.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelDebug
	}
	return kgo.LogLevelWarn
}

// Log implements kgo.Logger.
func (c clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	at := slog.LevelDebug
	switch level {
	case kgo.LogLevelError, kgo.LogLevelWarn:
		at = slog.LevelWarn
	}
	c.log.Log(context.Background(), at, msg, append([]any{"part", "client"}, keyvals...)...)
}
