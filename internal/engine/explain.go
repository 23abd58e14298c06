package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"weir.example/weir/internal/broker"
)

// groupError adds the cause to an error of the consumer group, if it is known.
func (s *session) groupError(ctx context.Context, err error) error {
	group := Group(s.cfg.Program)
	switch {
	case errors.Is(err, kerr.InvalidSessionTimeout):
		return fmt.Errorf("join group %s: %w: --session-timeout %s is outside the broker's range (%s)", group, err, s.cfg.SessionTimeout, sessionRange(ctx, s.group.Admin))
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		err = fmt.Errorf("join group %s: %w: another consumer uses the group id %s with another protocol: stop it, or give it another group id", group, err, group)
		if now := s.cfg.Now(); s.w.conflictSince.IsZero() {
			s.w.conflictSince = now
		} else if now.Sub(s.w.conflictSince) > s.cfg.SessionTimeout { // the group has expelled a dead process of an older version by then
			return &fatalError{err}
		}
		return err
	}
	return fmt.Errorf("consume in group %s: %w", group, err)
}

// sessionRange describes which session timeouts the brokers accept, as far as they can be asked.
func sessionRange(ctx context.Context, admin *kadm.Client) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	names := []string{"group.min.session.timeout.ms", "group.max.session.timeout.ms"}
	values := make(map[string]string)
	if brokers, err := admin.ListBrokers(ctx); err == nil {
		configs, _ := admin.DescribeBrokerConfigs(ctx, brokers.NodeIDs()...) // without an answer only the names are shown
		for _, of := range configs {
			for _, entry := range of.Configs {
				values[entry.Key] = entry.MaybeValue()
			}
		}
	}
	for i, name := range names {
		if v := values[name]; v != "" {
			names[i] += " is " + v
		}
	}
	return strings.Join(names, ", ")
}

// explainFenced names the transactional id of a fenced worker, and what may have fenced it.
func (w *worker) explainFenced(err error) error {
	if !broker.IsFenced(err) {
		return err
	}
	return fmt.Errorf("another process acquired the transactional id %s of instance %s, or weir transactions abort ended its transaction "+
		"(nothing is lost or written twice; if hosts or containers share a name, give each process its own --instance; otherwise restart it): %w",
		w.transactionalID(), w.instance, err)
}
