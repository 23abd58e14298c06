package front

import "time"

// Limits bounds what clients may use. A zero field gets its default.
type Limits struct {
	FrameBytes int // of a request, at most a quarter of MemoryBytes; default 100 MiB, Kafka's socket.request.max.bytes
	FetchBytes int // of a Fetch answer, plus at most one batch; default 55 MiB, Kafka's fetch.max.bytes
	BatchBytes int // of a batch, decompressed; default 32 MiB
	Items      int // array elements and tagged fields of a request; default 500,000

	// MemoryBytes bounds the requests that are read and the answers that are written, over all
	// connections. Further requests wait for memory, and Fetch answers become smaller. Default
	// 512 MiB.
	MemoryBytes int64

	Connections           int // default 10,000
	ConnectionsPerAddress int // default 90 % of Connections, so that one host cannot take all

	IdleTimeout   time.Duration // without a request; default 10 min, Kafka's connections.max.idle.ms
	FrameTimeout  time.Duration // for a request's bytes, plus 1 s for each 4 KiB that arrived; default 1 min
	WriteTimeout  time.Duration // for each MiB of an answer; default 5 min, a consumer's max.poll.interval.ms
	MemoryTimeout time.Duration // of a request that waits for memory; default 30 s

	LoginTimeout     time.Duration // for the TLS handshake, and for each message of a login; default 10 s
	FailedLoginDelay time.Duration // before the answer to a failed login; default 1 s
}

func (l Limits) withDefaults() Limits {
	l.FrameBytes = orDefault(l.FrameBytes, 100<<20)
	l.FetchBytes = orDefault(l.FetchBytes, 55<<20)
	l.BatchBytes = orDefault(l.BatchBytes, 32<<20)
	l.Items = orDefault(l.Items, 500_000)
	l.MemoryBytes = orDefault(l.MemoryBytes, 512<<20)
	l.FrameBytes = min(l.FrameBytes, int(l.MemoryBytes/4))
	l.Connections = orDefault(l.Connections, 10_000)
	l.ConnectionsPerAddress = orDefault(l.ConnectionsPerAddress, max(l.Connections/10*9, 1))
	l.IdleTimeout = orDefault(l.IdleTimeout, 10*time.Minute)
	l.FrameTimeout = orDefault(l.FrameTimeout, time.Minute)
	l.WriteTimeout = orDefault(l.WriteTimeout, 5*time.Minute)
	l.MemoryTimeout = orDefault(l.MemoryTimeout, 30*time.Second)
	l.LoginTimeout = orDefault(l.LoginTimeout, 10*time.Second)
	l.FailedLoginDelay = orDefault(l.FailedLoginDelay, time.Second)
	return l
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
