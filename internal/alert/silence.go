package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/retry"
)

// Matcher maps labels to patterns of their values, with * and ? as in file names. An empty Matcher
// matches all alerts.
type Matcher map[string]string

func (m Matcher) matches(labels map[string]string) bool {
	for name, pattern := range m {
		if ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(labels[name], "/", "\x00")); err != nil || !ok {
			return false
		}
	}
	return true
}

// Validate returns an error for an invalid pattern.
func (m Matcher) Validate() error {
	for name, pattern := range m {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%s: invalid pattern %q: %w", name, pattern, err)
		}
	}
	return nil
}

// ParseMatcher parses expressions of the form name=pattern.
func ParseMatcher(parts []string) (Matcher, error) {
	m := make(Matcher)
	for _, part := range parts {
		name, pattern, ok := strings.Cut(part, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%q: expected a label and a value, such as device_id=pump-*", part)
		}
		m[name] = pattern
	}
	return m, m.Validate()
}

// Silence suppresses firing notifications of matching alerts. Receivers that were notified before
// are still notified when the alert is resolved.
type Silence struct {
	ID      string    `json:"id" yaml:"-"`
	Match   Matcher   `json:"match" yaml:"match"`
	From    time.Time `json:"from" yaml:"from"` // zero: no lower bound
	Until   time.Time `json:"until" yaml:"until"`
	Comment string    `json:"comment,omitempty" yaml:"comment"`
}

// Validate returns an error if the silence is invalid.
func (s *Silence) Validate() error {
	switch {
	case len(s.Match) == 0:
		return errors.New("a silence without match would silence everything: set match")
	case s.Until.IsZero():
		return errors.New("a silence without until would last forever: set until")
	case !s.Until.After(s.From):
		return errors.New("until must be after from")
	}
	return s.Match.Validate()
}

func (s *Silence) active(now time.Time) bool { return !now.Before(s.From) && now.Before(s.Until) }

// Silenced reports whether an active silence matches an alert.
func Silenced(a *Alert, all []Silence, now time.Time) bool {
	return slices.ContainsFunc(all, func(s Silence) bool { return s.active(now) && s.Match.matches(a.Labels) })
}

func silenced(all []Silence, labels map[string]string) bool {
	return slices.ContainsFunc(all, func(s Silence) bool { return s.Match.matches(labels) })
}

// silences holds the configured silences and those in the state topic.
type silences struct {
	configured []Silence

	mu     sync.Mutex
	stored map[string]Silence // by id
}

// load sets the stored silences.
func (s *silences) load(stored []Silence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored = make(map[string]Silence)
	for _, x := range stored {
		s.stored[x.ID] = x
	}
}

// active returns the silences in effect at a time.
func (s *silences) active(now time.Time) (all []Silence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.configured {
		if x.active(now) {
			all = append(all, x)
		}
	}
	for _, x := range s.stored {
		if x.active(now) {
			all = append(all, x)
		}
	}
	return all
}

// follow keeps the stored silences up to date until ctx is done. It follows load.
func (s *silences) follow(ctx context.Context, at broker.Config, topic string, log *slog.Logger) {
	for ctx.Err() == nil {
		err := broker.Tail(ctx, at, topic, broker.TailOptions{FromStart: true}, func(r *kgo.Record) error {
			if err := s.apply(r); err != nil {
				log.Error("a silence is not in effect", "err", err)
			}
			return nil
		}, func() error { return nil })
		if ctx.Err() != nil {
			return
		}
		log.Warn("rereading silences", "topic", topic, "err", err)
		_ = retry.Sleep(ctx, time.Second) // the loop checks ctx
	}
}

// apply updates the stored silences with a record of the state topic. A silence that can't be read
// silences nothing, and is the error.
func (s *silences) apply(r *kgo.Record) error {
	id, x, err := silenceOf(r)
	if id == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if x == nil {
		delete(s.stored, id)
		return err
	}
	s.stored[id] = *x
	return nil
}
