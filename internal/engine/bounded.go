package engine

import (
	"time"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// endEmpty ends bounded inputs that have no more records. Without records, step does not end them:
// in new tasks, and in tasks that an abort has rolled back to before their end although their
// positions are at it.
func (s *session) endEmpty() error {
	s.rolledBack = false
	if len(s.p.ends) == 0 {
		return nil
	}
	for id, t := range s.tasks {
		if t.op.Ended() {
			continue
		}
		for _, topic := range t.stage.Topics() {
			end, bounded := s.p.endOf(topic, id.partition)
			if !bounded {
				// A topic may have fewer partitions than the stage has tasks.
				if _, source := s.p.ends[topic]; !source || id.partition < s.p.partitions[topic] {
					continue
				}
			}
			if next, resumed := s.nextOffset(topicPartition{topic, id.partition}); bounded && (!resumed || next < end) {
				continue
			}
			if err := s.call(t, func(now time.Time, out *operator.Output) error { return t.op.End(topic, now, out) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// finished reports whether a bounded pipeline is done for this worker: all its tasks have ended. A
// worker without tasks is done when those of all workers of this process have ended. It does not
// trust the group's offsets: tasks that have read everything may have windows to emit. If tasks run
// in other processes, they are assigned to this worker when these leave the group.
func (s *session) finished() bool {
	for _, t := range s.tasks {
		if !t.op.Ended() || t.op.Pending() {
			return false
		}
	}
	s.p.noteEnded(s.tasks)
	return len(s.tasks) > 0 || s.p.allEnded()
}

// noteEnded notes tasks that have ended and have committed everything.
func (p *pipeline) noteEnded(tasks map[taskID]*task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range tasks {
		p.ended[id] = true
	}
}

func (p *pipeline) allEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stage := range p.cfg.Program.Stages {
		for partition := range p.tasksOf(stage) {
			if !p.ended[taskID{stage.Name, partition}] {
				return false
			}
		}
	}
	return true
}

// idle marks inputs idle that have had no record for their idle timeout.
func (s *session) idle() error {
	for _, t := range s.tasks {
		for _, in := range t.stage.Inputs {
			scan, ok := in.Op.(*plan.Scan)
			if !ok || scan.Table.IdleTimeout == 0 || t.op.IsIdle(scan.Table.Kafka.Topic) || s.cfg.Now().Sub(t.last[scan.Table.Kafka.Topic]) < scan.Table.IdleTimeout {
				continue
			}
			if err := s.call(t, func(now time.Time, out *operator.Output) error { return t.op.Idle(scan.Table.Kafka.Topic, now, out) }); err != nil {
				return err
			}
		}
	}
	return nil
}
