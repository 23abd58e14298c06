package alert

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/txtest"
)

const scriptID = Group + "-a"

// script is a deliverer whose answers of the broker a test decides.
type script struct {
	*world
	broker *txtest.Broker
	done   chan error // what Deliver returned
	fenced bool       // Deliver is expected to end by itself
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

// told checks what the receiver has been told so far.
func (s *script) told(want ...string) {
	s.t.Helper()
	if got := s.hook.alerts(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("the receiver was told %v, expected %v", got, want)
	}
}

// The broker answers a commit with an error that does not say what became of it. The receiver hears
// of the alert once, and of its end.
func TestScriptCommitAnsweredUnknown(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			commit := s.broker.Hold(txtest.Commit(scriptID))
			s.row("d1", "warning")
			commit.Await()
			s.told() // nothing before it is committed
			taking := s.broker.Hold(txtest.Taking(scriptID))
			if committed {
				commit.DoAndAnswer(kerr.UnknownServerError)
			} else {
				commit.Answer(kerr.UnknownServerError)
			}
			taking.Await()
			s.told()
			taking.Pass()
			s.hook.await(t, "d1/firing/1")
			s.row("d1", "")
			s.hook.await(t, "d1/firing/1", "d1/resolved/2")
		})
	}
}

// Another process takes the deliverer's place when all of a transaction but its end is done: the
// deliverer stops, tells nobody, and leaves the transactional id to the newer one.
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
			t.Errorf("the fenced deliverer ended with %v", err)
		}
	case <-time.After(txtest.Patience):
		t.Fatal("the fenced deliverer does not end")
	}
	if now := s.broker.Producer(scriptID); now != newer {
		t.Errorf("the newer process was %v, and %v has its transactional id now", newer, now)
	}
	s.told()
}

// The group refuses the offsets: what the rows say is applied to the alerts as they are committed,
// and told once.
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
		s.told(want[:i]...)
		again.Pass()
		s.hook.await(t, want[:i+1]...)
	}
}

// The state of an alert can't be written: nobody is told before it is.
func TestScriptStateRefused(t *testing.T) {
	s := newScript(t)
	refused := s.broker.RefuseWrite(StateTopic, kerr.RecordListTooLarge)
	s.row("d1", "warning")
	refused()
	s.hook.await(t, "d1/firing/1")
	s.row("d1", "")
	s.hook.await(t, "d1/firing/1", "d1/resolved/2")
}
