package engine

import (
	"context"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/retry"
)

// endPollInterval is the time between two checks of the group's offsets.
const endPollInterval = 100 * time.Millisecond

// stopAtEnd calls stop when the group has committed everything that the sources had at the start,
// and all rows between stages that resulted from it. The group may have workers in other processes.
func (p *pipeline) stopAtEnd(ctx context.Context, stop func()) {
	for {
		err := p.awaitEnd(ctx)
		if err == nil {
			stop()
			return
		}
		if ctx.Err() != nil {
			return
		}
		p.cfg.Logger.Warn("checking for the end failed, retrying", "err", err)
		if retry.Sleep(ctx, endPollInterval) != nil {
			return
		}
	}
}

// awaitEnd waits until all of that is committed.
func (p *pipeline) awaitEnd(ctx context.Context) error {
	admin, err := p.admin(ctx)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := p.awaitCommitted(ctx, admin, p.until); err != nil {
		return err
	}
	// Rows between stages are complete once no stage has written any while all that are known were
	// read. The high watermark also covers rows after transactions that dead processes have left
	// open.
	for {
		before, err := p.exchangedEnds(ctx, admin)
		if err != nil {
			return err
		}
		if err := p.awaitCommitted(ctx, admin, before); err != nil {
			return err
		}
		after, err := p.exchangedEnds(ctx, admin)
		if err != nil {
			return err
		}
		if maps.EqualFunc(before, after, maps.Equal) {
			all := maps.Clone(p.until)
			maps.Copy(all, after)
			return p.awaitDue(ctx, admin, all)
		}
	}
}

// awaitDue waits until the tasks that read the given topics have emitted all due windows, which
// happens without reading anything. While a task moves to another worker, its partitions are not
// trusted; when they are again, p.due includes the task's windows.
func (p *pipeline) awaitDue(ctx context.Context, admin *kadm.Client, of ends) error {
	for {
		if p.due.Load() == 0 {
			trusted, err := p.trusted(ctx, admin, of)
			if err != nil || trusted && p.due.Load() == 0 {
				return err
			}
		}
		if err := retry.Sleep(ctx, endPollInterval); err != nil {
			return err
		}
	}
}

// exchangedEnds returns the current ends of the topics between stages.
func (p *pipeline) exchangedEnds(ctx context.Context, admin *kadm.Client) (ends, error) {
	var topics []string
	for _, s := range p.cfg.Program.Stages {
		for _, in := range s.Inputs {
			if _, ok := in.Op.(*plan.Exchange); ok {
				topics = append(topics, in.Topic())
			}
		}
	}
	if len(topics) == 0 {
		return nil, nil //nolint:nilnil // no topics, no ends
	}
	to, err := listEnds(ctx, admin, topics...)
	return newEnds(to), err
}

func (p *pipeline) awaitCommitted(ctx context.Context, admin *kadm.Client, to ends) error {
	for {
		done, err := p.committed(ctx, admin, to)
		if err != nil || done {
			return err
		}
		if err := retry.Sleep(ctx, endPollInterval); err != nil {
			return err
		}
	}
}

// committed reports whether the group has reached the ends. Records that retention deleted before
// they were read count as read.
func (p *pipeline) committed(ctx context.Context, admin *kadm.Client, to ends) (bool, error) {
	topics := make([]string, 0, len(to))
	for topic := range to {
		topics = append(topics, topic)
	}
	starts, err := listStarts(ctx, admin, topics...)
	if err != nil {
		return false, err
	}
	group, err := p.groupOffsets(ctx, admin, topics...)
	if err != nil {
		return false, err
	}
	for topic, partitions := range to {
		for partition, end := range partitions {
			start, _ := starts.Lookup(topic, partition)
			at, ok := group.Lookup(topic, partition)
			if reached := ok && at.Err == nil && at.At >= end; !reached && start.Offset < end {
				return false, nil
			}
		}
	}
	return p.trusted(ctx, admin, to)
}

// trusted reports whether the group's offsets equal those of the state: a worker that gets a
// partition corrects its offset if need be. Partitions that this process does not have are left to
// the workers of other processes, if there are any.
func (p *pipeline) trusted(ctx context.Context, admin *kadm.Client, of ends) (bool, error) {
	all := true
	p.mu.Lock()
	for topic, partitions := range of {
		for partition := range partitions {
			all = all && p.healed[topicPartition{topic, partition}]
		}
	}
	p.mu.Unlock()
	if all {
		return true, nil
	}
	members, err := p.members(ctx, admin)
	return len(members) > len(p.cfg.Instances), err
}

// untilEnds returns where the sources end now. The group also gets there if it starts at an end,
// because that is committed as its offset.
func (p *pipeline) untilEnds(ctx context.Context, admin *kadm.Client) (ends, error) {
	all := make(ends)
	for _, t := range p.sources() {
		if all[t.Kafka.Topic] != nil {
			continue
		}
		found, err := committedEnds(ctx, admin, t.Kafka.Topic)
		if err != nil {
			return nil, err
		}
		all[t.Kafka.Topic] = found[t.Kafka.Topic]
	}
	return all, nil
}
