package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/state"
)

// copies tracks the local copies of a pipeline's state in this process. They are a cache: after the
// first failure, for example on a full disk, new tasks keep their state in memory until the process
// ends.
type copies struct {
	mu   sync.Mutex
	lost error
	open map[string]*openCopy // by folder
}

// openCopy is a local copy that a worker of this process has claimed.
type openCopy struct {
	store  *state.Store // nil while it is being opened
	closed chan struct{}
}

// claim waits until no worker of this process has the copy in a folder open, and reports whether
// the caller may open it. A worker that has lost the partition closes its copy between two polls,
// or between two records of a restore; the wait ends without the copy when ctx is done or the
// worker has taken longer than patience. Workers that wait for each other are impossible: each
// closes what it had lost before it waits.
func (c *copies) claim(ctx context.Context, dir string, patience time.Duration) bool {
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		holder := c.open[dir]
		if holder == nil {
			if c.open == nil {
				c.open = make(map[string]*openCopy)
			}
			c.open[dir] = &openCopy{closed: make(chan struct{})}
		}
		c.mu.Unlock()
		if holder == nil {
			return true
		}
		select {
		case <-holder.closed:
		case <-ctx.Done():
			return false
		case <-deadline:
			return false
		}
	}
}

// opened notes the store of a copy that the caller has claimed; nil releases the claim.
func (c *copies) opened(dir string, store *state.Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if store == nil {
		close(c.open[dir].closed)
		delete(c.open, dir)
		return
	}
	c.open[dir].store = store
}

// closed releases the copy of a closed store for other workers.
func (c *copies) closed(store *state.Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for dir, o := range c.open {
		if o.store == store {
			close(o.closed)
			delete(c.open, dir)
		}
	}
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

// lostReason returns the error that ended local copies; nil if they are kept.
func (c *copies) lostReason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// openStore opens the store of a task: over its local copy, or in memory if it has none, or if ctx
// is done.
func (p *pipeline) openStore(ctx context.Context, stage *plan.Stage, partition int32) *state.Store {
	dir := p.stateDir(stage, partition)
	if dir == "" || !stage.Stateful || p.copies.lostReason() != nil {
		return state.Memory()
	}
	inUse := func() *state.Store {
		p.cfg.Logger.Warn("local copy of the state is in use: keeping the state of this task in memory", "stage", stage.Name, "partition", partition)
		return state.Memory()
	}
	switch {
	case p.copies.claim(ctx, dir, p.cfg.TransactionTimeout):
	case ctx.Err() != nil:
		return state.Memory()
	default:
		return inUse()
	}
	store, err := state.Open(state.Config{
		Dir: dir, Identity: fmt.Sprintf("%s %s %d", p.cfg.Program.Name, p.ids[stage.Changelog], partition),
		CacheBytes: p.cfg.CacheBytes, MaxAge: p.maxAge(stage.Changelog), Logger: p.cfg.Logger, Now: p.cfg.Now,
	})
	p.copies.opened(dir, store)
	switch {
	case errors.Is(err, state.ErrLocked):
		return inUse()
	case err != nil:
		p.loseCopies(stage.Name, partition, err)
		return state.Memory()
	}
	return store
}

// closeStore closes the store of a task.
func (s *session) closeStore(t *task) {
	err := t.store.Close()
	s.p.copies.closed(t.store)
	if err != nil {
		s.p.loseCopies(t.stage.Name, t.partition, err)
	}
}

// loseCopies gives up local copies, and reports it the first time.
func (p *pipeline) loseCopies(stage string, partition int32, err error) {
	if !p.copies.giveUp(err) {
		return
	}
	p.cfg.Status.copiesLost(err.Error())
	p.cfg.Logger.Warn("local copies of the state can't be kept: the state stays in memory, and a start restores it from the changelog; "+
		"free disk space or raise the limit and restart, or set --state-dir none",
		"dir", p.cfg.StateDir, "stage", stage, "partition", partition, "err", err)
}
