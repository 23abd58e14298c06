package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"weir.example/weir/internal/engine"
	"weir.example/weir/internal/retry"
)

// sidePipelines are the pipelines that run alongside the main job. A failure of one is reported and
// stops neither the main job nor the others.
type sidePipelines struct {
	logger *slog.Logger
	admin  *Admin

	mu     sync.Mutex
	failed []error
}

// topicInterval is how often a missing source topic is looked up.
const topicInterval = time.Second

// run runs a pipeline until ctx is done or it fails permanently. It waits for source topics that do
// not exist yet.
func (s *sidePipelines) run(ctx context.Context, c engine.Config) {
	var logged engine.NoTopicError
	for {
		_, err := s.admin.Run(ctx, c)
		var missing *engine.NoTopicError
		if errors.As(err, &missing) {
			if *missing != logged {
				logged = *missing
				s.logger.Warn("pipeline is waiting for a topic", "pipeline", c.Program.Name, "reason", missing.Missing(), "table", missing.Table)
			}
			for _, instance := range c.Instances {
				c.Status.Wait(instance, missing.Missing())
			}
			if retry.Sleep(ctx, topicInterval) != nil {
				return
			}
			continue
		}
		if err != nil {
			s.fail(c, err)
		}
		return
	}
}

func (s *sidePipelines) fail(c engine.Config, err error) {
	s.logger.Error("pipeline failed; the others keep running", "pipeline", c.Program.Name, "err", err)
	for _, instance := range c.Instances {
		c.Status.Fail(instance, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = append(s.failed, fmt.Errorf("pipeline %s: %w", c.Program.Name, err))
}

// err returns the errors of the pipelines that failed.
func (s *sidePipelines) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.failed...)
}
