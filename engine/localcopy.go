package engine

import (
	"errors"
	"fmt"
	"sync"

	"weir/plan"
	"weir/state"
)

// copies knows whether a process can keep local copies of a pipeline's state. They are a cache:
// after the first one that fails, as on a full disk, new tasks keep their state in memory, until
// the process ends.
type copies struct {
	mu   sync.Mutex
	lost error
}

// giveUp notes why a copy failed, and reports whether it is the first one.
func (c *copies) giveUp(err error) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first = c.lost == nil
	if first {
		c.lost = err
	}
	return first
}

// why returns why there are no copies, nil where there can be.
func (c *copies) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// openStore opens the store of a task: over its local copy, or in memory where it has none.
func (p *pipeline) openStore(stage *plan.Stage, partition int32) *state.Store {
	dir := p.stateDir(stage, partition)
	if dir == "" || !stage.Stateful || p.copies.why() != nil {
		return state.Memory()
	}
	store, err := state.Open(state.Config{
		Dir: dir, Identity: fmt.Sprintf("%s %s %d", p.Program.Name, p.ids[stage.Changelog], partition),
		CacheBytes: p.CacheBytes, MaxAge: p.maxAge(stage.Changelog), Logger: p.Logger, Now: p.Now,
	})
	switch {
	case errors.Is(err, state.ErrLocked):
		p.Logger.Warn("the local copy of the state is in use: keep this task's state in memory", "stage", stage.Name, "partition", partition)
		return state.Memory()
	case err != nil:
		p.loseCopies(stage.Name, partition, err)
		return state.Memory()
	}
	return store
}

// closeStore closes the store of a task.
func (s *session) closeStore(t *task) {
	if err := t.store.Close(); err != nil {
		s.loseCopies(t.stage.Name, t.partition, err)
	}
}

// loseCopies says that local copies can't be kept, once.
func (p *pipeline) loseCopies(stage string, partition int32, err error) {
	if !p.copies.giveUp(err) {
		return
	}
	p.Status.copiesLost(err.Error())
	p.Logger.Warn("local copies of the state can't be kept: the state stays in memory, and a start reads it from the changelog; "+
		"free the disk or raise the limit and restart, or set --state-dir none",
		"dir", p.StateDir, "stage", stage, "partition", partition, "err", err)
}
