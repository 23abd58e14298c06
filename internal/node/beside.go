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

// besides are the pipelines that run beside the main job. One that can't run says so, and stops
// neither the main job nor the other pipelines.
type besides struct {
	logger *slog.Logger

	mu     sync.Mutex
	failed []error
}

// topicEvery is how often a pipeline looks for a topic that it waits for.
const topicEvery = time.Second

// run runs a pipeline until ctx is done or it fails for good. A topic that it reads and that does
// not exist is waited for.
func (b *besides) run(ctx context.Context, c engine.Config) {
	var waits engine.NoTopicError // that was logged
	for {
		_, err := engine.Run(ctx, c)
		var missing *engine.NoTopicError
		if errors.As(err, &missing) {
			if *missing != waits {
				waits = *missing
				b.logger.Warn("pipeline waits for a topic", "pipeline", c.Program.Name, "topic", missing.Topic, "table", missing.Table)
			}
			for _, instance := range c.Instances {
				c.Status.Wait(instance, "topic "+missing.Topic+" does not exist")
			}
			if retry.Sleep(ctx, topicEvery) != nil {
				return
			}
			continue
		}
		if err != nil {
			b.fail(c, err)
		}
		return
	}
}

func (b *besides) fail(c engine.Config, err error) {
	b.logger.Error("pipeline has failed; the others run on", "pipeline", c.Program.Name, "err", err)
	for _, instance := range c.Instances {
		c.Status.Fail(instance, err.Error())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failed = append(b.failed, fmt.Errorf("pipeline %s: %w", c.Program.Name, err))
}

// err is what the pipelines failed with.
func (b *besides) err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(b.failed...)
}
