package front

import (
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"
)

// Reason is why a connection or a request was refused. All end the connection.
type Reason string

// All reasons.
const (
	ReasonConnections Reason = "connections" // too many, in all or from one address
	ReasonSize        Reason = "size"        // a frame larger than FrameBytes, or too small for a header
	ReasonUnknown     Reason = "unknown"     // an API key or version that is not served
	ReasonMalformed   Reason = "malformed"   // bytes that are not a request of the API
	ReasonSlow        Reason = "slow"        // a request that does not arrive, or an answer that is not read, in time
	ReasonIdle        Reason = "idle"        // no request within IdleTimeout
	ReasonMemory      Reason = "memory"      // no memory for the request within MemoryTimeout
	ReasonTLS         Reason = "tls"         // a TLS handshake that failed
	ReasonLogin       Reason = "login"       // a login that failed, or a request without one
	ReasonPanic       Reason = "panic"       // a bug of this package
)

// refusal is the error of a refused request.
type refusal struct {
	reason Reason
	detail string
}

func (r *refusal) Error() string { return r.detail }

// logEvery is the shortest interval between log lines with the same reason: scanners must not fill
// the log.
const logEvery = 10 * time.Second

// refusals counts and logs refusals.
type refusals struct {
	log *slog.Logger

	mu     sync.Mutex
	counts map[Reason]int64
	logged map[Reason]loggedRefusal
}

type loggedRefusal struct {
	at    time.Time
	count int64
}

func newRefusals(log *slog.Logger) *refusals {
	r := &refusals{log: log, counts: make(map[Reason]int64), logged: make(map[Reason]loggedRefusal)}
	for _, reason := range []Reason{
		ReasonConnections, ReasonSize, ReasonUnknown, ReasonMalformed, ReasonSlow, ReasonIdle, ReasonMemory, ReasonTLS, ReasonLogin, ReasonPanic,
	} {
		r.counts[reason] = 0
	}
	return r
}

// add counts a refusal, and logs it unless one with the same reason was logged recently.
func (r *refusals) add(reason Reason, from net.Addr, detail string) {
	r.mu.Lock()
	r.counts[reason]++
	count, last, now := r.counts[reason], r.logged[reason], time.Now()
	quiet := now.Sub(last.at) < logEvery
	if !quiet {
		r.logged[reason] = loggedRefusal{now, count}
	}
	r.mu.Unlock()
	switch {
	case quiet:
	case reason == ReasonIdle:
		r.log.Debug("closed idle client connection", "part", "broker", "client", from)
	default:
		r.log.Warn("closed client connection", "part", "broker", "client", from, "reason", string(reason), "err", detail,
			"closed", count-last.count)
	}
}

// all returns the number of refusals by reason.
func (r *refusals) all() map[Reason]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.counts)
}
