package alert

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/txtest"
)

var scriptID = (site.Site{}).AlertGroup() + "-a"

// script is a deliverer with a broker whose responses the test controls.
type script struct {
	*world
	broker *txtest.Broker
	done   chan error // returned by Deliver
	fenced bool       // Deliver is expected to return before it is stopped
}

func newScript(t *testing.T) *script {
	t.Helper()
	t.Parallel()
	b := txtest.New(t, kfake.SeedTopics(2, "hot"))
	s := &script{broker: b, world: &world{t: t, at: b.Config("a"), hook: newHook(t), client: b.Client()}}
	s.config = config(t, fmt.Sprintf(`
receivers: {hook: {webhook: {url: %q, headers: {Authorization: Bearer x}}}}
routes: [{receivers: [hook], group_wait: 1ms, group_interval: 1ms, group_by: ["..."]}]`, s.hook.URL))
	ctx, cancel := context.WithCancel(t.Context())
	s.done = make(chan error, 1)
	go func() {
		s.done <- Deliver(ctx, DeliverConfig{
			Broker: s.at, Alerts: s.config, Instance: "a", SessionTimeout: txtest.SessionTimeout, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
			Tables: []Table{{Name: "too_hot", Topic: "hot", Upsert: true, Key: []string{"device_id"}}},
		})
	}()
	t.Cleanup(func() {
		cancel()
		if !s.fenced {
			if err := <-s.done; err != nil {
				t.Errorf("deliver: %v", err)
			}
		}
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

// received checks the alerts that have reached the receiver so far.
func (s *script) received(want ...string) {
	s.t.Helper()
	if got := s.hook.alerts(); !slices.Equal(got, want) {
		s.t.Errorf("the receiver got %v, want %v", got, want)
	}
}

// The broker answers a commit with an error that leaves its outcome unknown. The receiver is
// notified of the alert once, and of its resolution.
func TestScriptCommitAnsweredUnknown(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			commit := s.broker.Hold(txtest.Commit(scriptID))
			s.row("d1", "warning")
			commit.Await()
			s.received() // nothing is sent before the commit
			taking := s.broker.Hold(txtest.Taking(scriptID))
			if committed {
				commit.DoAndAnswer(kerr.UnknownServerError)
			} else {
				commit.Answer(kerr.UnknownServerError)
			}
			taking.Await()
			s.received()
			taking.Pass()
			s.hook.await(t, "d1/firing/1")
			s.row("d1", "")
			s.hook.await(t, "d1/firing/1", "d1/resolved/2")
		})
	}
}

// Another process takes over after the deliverer has written a transaction and before it commits:
// the deliverer stops, sends nothing, and leaves the transactional id to the newer process.
func TestScriptFencedBeforeCommit(t *testing.T) {
	s := newScript(t)
	s.fenced = true
	commit := s.broker.Hold(txtest.Commit(scriptID))
	s.row("d1", "warning")
	commit.Await()
	newer := s.broker.TakeOver(scriptID)
	commit.Pass()
	select {
	case err := <-s.done:
		if !broker.IsFenced(err) {
			t.Errorf("the fenced deliverer returned %v", err)
		}
	case <-time.After(txtest.Patience):
		t.Fatal("the fenced deliverer did not return")
	}
	if now := s.broker.Producer(scriptID); now != newer {
		t.Errorf("the transactional id belongs to %v, want the newer process %v", now, newer)
	}
	s.received()
}

// The group coordinator rejects the offsets: the rows are applied again to the committed state, and
// sent once.
func TestScriptOffsetsRefused(t *testing.T) {
	s := newScript(t)
	for i, severity := range []string{"warning", ""} {
		refused := s.broker.Hold(txtest.Offsets(scriptID))
		s.row("d1", severity)
		refused.Await()
		again := s.broker.Hold(txtest.Offsets(scriptID))
		refused.Answer(kerr.IllegalGeneration)
		again.Await()
		want := []string{"d1/firing/1", "d1/resolved/2"}
		s.received(want[:i]...)
		again.Pass()
		s.hook.await(t, want[:i+1]...)
	}
}

// The broker rejects a write of the alert's state: nothing is sent before a write succeeds.
func TestScriptStateRefused(t *testing.T) {
	s := newScript(t)
	refused := s.broker.RefuseWrite(site.DefaultAlerts, kerr.RecordListTooLarge)
	s.row("d1", "warning")
	refused()
	s.hook.await(t, "d1/firing/1")
	s.row("d1", "")
	s.hook.await(t, "d1/firing/1", "d1/resolved/2")
}
