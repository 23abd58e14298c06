package embedded

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kfake"
)

// logger forwards kfake's errors, and its warnings as debug lines. Its info and debug lines concern
// only kfake's internals.
type logger struct {
	log  *slog.Logger
	stop func(reason string)
}

// diverging are the messages of writes that have failed although kfake carries out, and
// acknowledges, what they should have stored. Readers would see half of a transaction after the
// next start, or an aborted one until then.
var diverging = []string{
	"endTx: failed to persist control batch for %s p%d pid %d",
	"persist pid entry open: %v", "persist pid entry write: %v",
	"persist group entry open: %v", "persist group entry write: %v",
}

// Logf implements kfake.Logger. kfake calls it before it answers the request whose write has
// failed, and before it handles another one.
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if slices.Contains(diverging, format) {
		l.stop(fmt.Sprintf(format, args...))
	}
	switch level {
	case kfake.LogLevelError:
		l.log.Error(fmt.Sprintf(format, args...), "part", "broker")
	case kfake.LogLevelWarn:
		l.log.Debug(fmt.Sprintf(format, args...), "part", "broker")
	}
}

// stopProcess stops the process as a kill does, so that the next start completes what was decided:
// the journal has the decision. Kafka's brokers halt on an I/O error of their log directory, too.
func stopProcess(reason string) {
	panic(fmt.Sprintf("the embedded broker cannot write to its data directory (%s): check the disk, then start weir again, which completes the transaction", reason))
}
