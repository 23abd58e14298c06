package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
)

// Tables with a 'topic-pattern' read the topics that exist when the pipeline starts, and those that
// are found while it runs. The plan topic records them, because the state belongs to the topics
// that it was computed from: none is ever dropped, and one that is found later is read from its
// beginning, wherever the first start began to read the others.
//
// One process finds a new topic. It records the topic, prepares the pipeline again, and rejoins the
// group with it, which starts a rebalance. Every other process reads the record before it processes
// anything under the new assignment, and then prepares the pipeline again as well.

// match compiles the plan with the topics that its patterns match.
func (p *pipeline) match(ctx context.Context, admin *kadm.Client) error {
	patterns := p.compiled.Patterns()
	if len(patterns) == 0 {
		return nil
	}
	found, err := p.findMatches(ctx, admin, patterns)
	if err != nil {
		return err
	}
	p.planned, err = plan.CompileMatched(p.compiled.SQL, p.compiled.Name, found)
	return err
}

// findMatches returns the topics of the running plan, and behind them all others that match now:
// the place of a topic is part of the state, as that of its rows' lanes.
func (p *pipeline) findMatches(ctx context.Context, admin *kadm.Client, patterns []string) (plan.Matches, error) {
	listed, err := admin.ListTopics(ctx) // without those of Kafka itself
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	all := make(plan.Matches)
	for _, pattern := range patterns {
		topics, err := p.compiled.Match(pattern, listed.Names())
		if err != nil {
			return nil, &fatalError{err}
		}
		if p.running != nil {
			recorded := p.running.Matches[pattern]
			topics = slices.DeleteFunc(topics, func(topic string) bool { return slices.Contains(recorded, topic) })
			topics = append(slices.Clone(recorded), topics...)
		}
		all[pattern] = topics
	}
	return all, nil
}

// joined reports whether a topic has been matched since the first start.
func (m *manifest) joined(t *plan.Table) bool {
	if m == nil || t.Pattern == "" {
		return false
	}
	was, known := m.Matches[t.Pattern]
	return known && !slices.Contains(was, t.Kafka.Topic)
}

// matchedError says that the topics of a pattern are others than those with which the pipeline was
// prepared.
type matchedError struct{ pattern, topics string }

func (e *matchedError) Error() string {
	return fmt.Sprintf("topics %s match the pattern '%s' now", e.topics, e.pattern)
}

// checkMatches compares the topics of patterns with the recorded ones, which another process may
// have found more of.
func (p *pipeline) checkMatches(ctx context.Context) error {
	if len(p.cfg.Program.Matches) == 0 {
		return nil
	}
	recorded, err := p.readManifest(ctx)
	if err != nil || recorded == nil {
		return err
	}
	return p.differing(recorded.Matches)
}

func (p *pipeline) differing(now plan.Matches) error {
	for _, pattern := range slices.Sorted(maps.Keys(now)) {
		if was := p.cfg.Program.Matches[pattern]; !slices.Equal(was, now[pattern]) {
			topics := slices.DeleteFunc(slices.Clone(now[pattern]), func(topic string) bool { return slices.Contains(was, topic) })
			return &matchedError{pattern, strings.Join(topics, ", ")}
		}
	}
	return nil
}

// discover waits until new topics match a pattern and can join the running pipeline.
func (p *pipeline) discover(ctx context.Context) error {
	every := p.compiled.Discovery()
	if every == 0 || p.cfg.UntilEnd || p.bounded() {
		return nil
	}
	refused := ""
	for retry.Sleep(ctx, every) == nil {
		var found *matchedError
		err := p.discoverOnce(ctx, &refused)
		switch {
		case errors.As(err, &found):
			return found
		case err != nil && ctx.Err() == nil:
			p.cfg.Logger.Warn("looking for new topics failed, retrying", "err", err)
		}
	}
	return nil
}

func (p *pipeline) discoverOnce(ctx context.Context, refused *string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	admin, err := p.admin(ctx)
	if err != nil {
		return err
	}
	defer admin.Close()
	now, err := p.findMatches(ctx, admin, p.compiled.Patterns())
	if err != nil {
		return err
	}
	found := p.differing(now)
	if found == nil {
		return nil
	}
	why, err := p.cannotJoin(ctx, admin, now)
	if err != nil {
		return err
	}
	if why == "" {
		return found
	}
	if why != *refused {
		p.cfg.Logger.Error("new topics match a pattern, but can't be read before the pipeline is started again", "reason", why)
	}
	*refused = why
	return nil
}

// cannotJoin returns why new topics can't join the running pipeline, which they would stop; "" if
// they can.
func (p *pipeline) cannotJoin(ctx context.Context, admin *kadm.Client, now plan.Matches) (string, error) {
	for _, pattern := range slices.Sorted(maps.Keys(now)) {
		for _, topic := range now[pattern] {
			if slices.Contains(p.cfg.Program.Matches[pattern], topic) {
				continue
			}
			n, err := partitionsOf(ctx, admin, topic)
			if err != nil {
				return "", err
			}
			for _, s := range p.cfg.Program.Stages {
				reads := slices.ContainsFunc(s.Inputs, func(in *plan.Relation) bool {
					scan, ok := in.Op.(*plan.Scan)
					return ok && scan.Table.Pattern == pattern
				})
				switch tasks := p.tasksOf(s); {
				case !reads:
				case s.Copartitioned && n != tasks:
					return fmt.Sprintf("topic %s has %d partitions, and those whose rows meet its rows by key have %d: give it as many", topic, n, tasks), nil
				case s.Stateful && n > tasks:
					return fmt.Sprintf("topic %s has %d partitions, and the state of the pipeline has %d: stop the pipeline, and start it with weir run --repartition", topic, n, tasks), nil
				}
			}
		}
	}
	return "", nil
}
