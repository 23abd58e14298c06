package transact

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/txtest"
)

var (
	errBroken = errors.New("session broken")
	errFinal  = errors.New("permanent error")
)

func newSessions(ctx context.Context) *Sessions {
	return &Sessions{Logger: slog.New(slog.DiscardHandler), Work: ctx, Permanent: func(err error) bool { return errors.Is(err, errFinal) }}
}

// A session that fails is followed by another one, until one ends without an error or with one that
// is permanent.
func TestRetry(t *testing.T) {
	unreachable := &broker.UnreachableError{}
	for _, tt := range []struct {
		name    string
		results []error // of the sessions
		connect bool
		want    error
	}{
		{"ends", []error{errBroken, errBroken, nil}, true, nil},
		{"permanent", []error{errBroken, errFinal}, true, errFinal},
		{"canceled without a stop", []error{context.Canceled, nil}, true, nil},
		{"never reached", []error{unreachable}, false, unreachable},
		{"lost connection", []error{unreachable, nil}, true, nil},
		{"invalid settings", []error{&settingsError{errBroken}}, true, errBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSessions(t.Context())
				var retried []error
				s.OnRetry = func(err error) { retried = append(retried, err) }
				n := 0
				err := s.Run(t.Context(), func(context.Context) error {
					n++
					if tt.connect {
						s.Reached()
					}
					return tt.results[n-1]
				})
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("Run returned %v, expected %v", err, tt.want)
				}
				if n != len(tt.results) || !slices.Equal(retried, tt.results[:n-1]) {
					t.Errorf("%d sessions, retries after %v", n, retried)
				}
			})
		})
	}
}

// A stop ends the wait between sessions, and the error of a session that it has interrupted is
// none.
func TestStop(t *testing.T) {
	for _, stopped := range []string{"in a session", "between sessions"} {
		t.Run(stopped, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				s := newSessions(t.Context())
				s.OnRetry = func(error) { stop() }
				err := s.Run(ctx, func(ctx context.Context) error {
					if stopped == "between sessions" {
						return errBroken
					}
					stop()
					return ctx.Err()
				})
				if err != nil {
					t.Errorf("Run returned %v", err)
				}
			})
		})
	}
}

// The waits between sessions grow while nothing is committed.
func TestBackoff(t *testing.T) {
	for _, commit := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSessions(t.Context())
			began, n := time.Now(), 0
			_ = s.Run(t.Context(), func(context.Context) error {
				if n++; n > 8 {
					return nil
				}
				if commit {
					s.Committed()
				}
				return errBroken
			})
			// 8 times 100 ms, or 100 ms doubled up to 5 s; each differs by half of it at most.
			if took := time.Since(began); (took > 2*time.Second) == commit {
				t.Errorf("8 sessions with commits %t took %s", commit, took)
			}
		})
	}
}

// openGroup opens a session that reads topic "in".
func openGroup(t *testing.T, b *txtest.Broker, s *Sessions, opts ...kgo.Opt) (*Group, error) {
	t.Helper()
	ignore := func(context.Context, *kgo.Client, map[string][]int32) {}
	return s.OpenGroup(t.Context(), GroupConfig{
		TransactionalID: "tx", Group: "group", Topics: []string{"in"}, Writes: []string{"out"},
		TransactionTimeout: time.Minute, SessionTimeout: txtest.SessionTimeout, OnAssigned: ignore, OnRevoked: ignore,
	}, opts...)
}

// Run ends the transaction that the last session has left open.
func TestLeftOpen(t *testing.T) {
	b := txtest.New(t, kfake.SeedTopics(1, "in", "out"))
	s := newSessions(t.Context())
	s.Broker = b.Config("a")
	err := s.Run(t.Context(), func(ctx context.Context) error {
		g, err := openGroup(t, b, s)
		if err != nil {
			return err
		}
		defer g.Close()
		if err := errors.Join(g.Begin(), s.Begun(ctx, g.Client), g.Client.ProduceSync(ctx, &kgo.Record{Topic: "out"}).FirstErr()); err != nil {
			return err
		}
		s.LeftOpen(errBroken)
		return errFinal
	})
	if !errors.Is(err, errFinal) {
		t.Errorf("Run returned %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), txtest.Patience)
	defer cancel()
	if err := broker.AwaitEnded(ctx, s.Broker, "tx"); err != nil {
		t.Error(err)
	}
	if rows := b.Committed("out"); len(rows[0]) > 0 {
		t.Errorf("%d records are committed", len(rows[0]))
	}
}

// End distinguishes a commit, an abort, and a commit whose outcome is unknown.
func TestEnd(t *testing.T) {
	b := txtest.New(t, kfake.SeedTopics(1, "in", "out"))
	s := newSessions(t.Context())
	s.Broker = b.Config("a")
	g, err := openGroup(t, b, s)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	end := func(try kgo.TransactionEndTry) (bool, error) {
		t.Helper()
		if err := errors.Join(g.Begin(), g.Client.ProduceSync(t.Context(), &kgo.Record{Topic: "out"}).FirstErr()); err != nil {
			t.Fatal(err)
		}
		return g.End(t.Context(), try)
	}
	if committed, err := end(kgo.TryCommit); !committed || err != nil {
		t.Errorf("commit: %t, %v", committed, err)
	}
	if committed, err := end(kgo.TryAbort); committed || err != nil {
		t.Errorf("abort: %t, %v", committed, err)
	}
	commit := b.Hold(txtest.Commit("tx"))
	commit.DoAndAnswer(kerr.UnknownServerError)
	if committed, err := end(kgo.TryCommit); committed || !errors.Is(err, broker.ErrUnknownEnd) {
		t.Errorf("commit without an answer: %t, %v", committed, err)
	}
	if rows := b.Committed("out"); len(rows[0]) != 2 {
		t.Errorf("%d records are committed, expected 2", len(rows[0]))
	}
}

// Options that the client library refuses are permanent: no broker has seen them.
func TestInvalidSettings(t *testing.T) {
	b := txtest.New(t, kfake.SeedTopics(1, "in"))
	s := newSessions(t.Context())
	s.Broker = b.Config("a")
	err := s.Run(t.Context(), func(context.Context) error {
		_, err := openGroup(t, b, s, kgo.FetchMaxWait(-time.Second))
		return err
	})
	if err == nil || !strings.HasPrefix(err.Error(), "open session: ") {
		t.Errorf("Run returned %v", err)
	}
}
