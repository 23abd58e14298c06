// Package lookup answers the lookup joins of pipelines from tables of databases.
//
//	lookup.go   Tables: what a pipeline looks up; Worker: answers that are fixed for a transaction
//	cache.go    answers that are kept for later transactions
//	metrics.go  keys, rows, queries and errors
//
// An answer is an input of the transaction in which it is given. A Worker gives the same one for a
// key until the transaction ends, also to other lookup joins in the same columns of the table; an
// aborted transaction takes its answers with it. Each answer is read by one statement, so that it
// is never half of an update.
package lookup

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"time"

	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// Table is a table as lookup joins read it.
type Table struct {
	*plan.Table
	Keys []int // columns that are looked up
	Read []int // columns whose values are read
}

// Source reads a table. It is used by one goroutine at a time, and is closed after an error.
type Source interface {
	// Rows returns the rows of each key, with the values of Table.Read.
	Rows(ctx context.Context, keys []operator.LookupKey) ([][]operator.LookupRow, error)
	Close()
}

// Open connects to a table and checks that its columns are those of SQL. The error is a
// *RefusedError if trying again is useless until somebody changes something.
type Open func(ctx context.Context, pipeline string, t *Table) (Source, error)

// RefusedError says that a table can't be read until somebody changes something. Its text says
// what.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// Config of Tables.
type Config struct {
	Program *plan.Program
	Open    Open
	Now     func() time.Time // for the cache
	Logger  *slog.Logger
	Metrics *Metrics // nil for none
}

// Tables is what a pipeline looks up. Its workers share the caches.
type Tables struct {
	Config
	groups []*group
	of     map[*plan.Relation]*place
}

// group is the lookup joins in the same columns of a table.
type group struct {
	Table
	cache *cache // nil if the table has none
	counts
}

// place is where a lookup join finds its columns in the rows of its group.
type place struct {
	*group
	columns []int // positions in group.Read; nil: all of them
}

// New returns the tables that a program looks up.
func New(c Config) *Tables {
	t := &Tables{Config: c, of: make(map[*plan.Relation]*place)}
	joins := c.Program.Lookups()
	for _, r := range joins {
		j := r.Op.(*plan.LookupJoin) //nolint:forcetypeassert // see Lookups
		t.of[r] = &place{group: t.group(j)}
		for _, column := range j.Columns(r) {
			if g := t.of[r].group; !slices.Contains(g.Read, column) {
				g.Read = append(g.Read, column)
			}
		}
	}
	for _, r := range joins {
		at := t.of[r]
		j := r.Op.(*plan.LookupJoin) //nolint:forcetypeassert // see Lookups
		if columns := j.Columns(r); !slices.Equal(columns, at.Read) {
			at.columns = make([]int, len(columns))
			for i, column := range columns {
				at.columns[i] = slices.Index(at.Read, column)
			}
		}
	}
	for _, g := range t.groups {
		c.Metrics.add(c.Program.Name, g)
	}
	return t
}

func (t *Tables) group(j *plan.LookupJoin) *group {
	for _, g := range t.groups {
		if g.Table.Table == j.Table && slices.Equal(g.Keys, j.Keys) {
			return g
		}
	}
	g := &group{Table: Table{Table: j.Table, Keys: j.Keys}}
	if of, ok := j.Table.Delivery.(*plan.JDBC); ok && of.Cache != nil {
		g.cache = newCache(of.Cache, t.Now)
	}
	t.groups = append(t.groups, g)
	return g
}

// checkLimit is how long Check waits for a database.
const checkLimit = 5 * time.Second

// Check opens each table once. A database that does not answer is no error: transactions wait for
// it.
func (t *Tables) Check(ctx context.Context) error {
	for _, g := range t.groups {
		limited, cancel := context.WithTimeout(ctx, checkLimit)
		s, err := t.Open(limited, t.Program.Name, &g.Table)
		cancel()
		if err == nil {
			s.Close()
			continue
		}
		if refused(err) || ctx.Err() != nil {
			return err
		}
		t.Logger.Warn("the database of a lookup does not answer: transactions will wait for it", "table", g.Name, "err", err)
	}
	return nil
}

// Close frees the caches. The counters stay.
func (t *Tables) Close() {
	for _, g := range t.groups {
		g.cache.clear()
	}
}

// Worker answers the lookups of one worker. It implements operator.Lookups.
type Worker struct {
	tables  *Tables
	ctx     context.Context // limits the lookups of the transaction
	answers map[*group]map[string][]operator.LookupRow
	bytes   int64
	sources map[*group]Source
}

// Worker returns a new worker.
func (t *Tables) Worker() *Worker {
	return &Worker{tables: t, ctx: context.Background(), answers: make(map[*group]map[string][]operator.LookupRow), sources: make(map[*group]Source)}
}

// Begin begins a transaction, whose lookups must end before ctx does.
func (w *Worker) Begin(ctx context.Context) {
	w.ctx, w.bytes = ctx, 0
	for g := range w.answers {
		w.answers[g] = make(map[string][]operator.LookupRow)
	}
}

// Bytes returns the approximate memory of the answers of the transaction.
func (w *Worker) Bytes() int64 { return w.bytes }

// Close closes the connections.
func (w *Worker) Close() {
	for g := range w.sources {
		w.close(g)
	}
}

func (w *Worker) close(g *group) {
	if s := w.sources[g]; s != nil {
		s.Close()
		delete(w.sources, g)
	}
}

// Reach connects to the tables to which there is no connection.
func (w *Worker) Reach(ctx context.Context) error {
	for _, g := range w.tables.groups {
		if _, err := w.open(ctx, g); err != nil {
			return &operator.LookupError{Table: g.Name, Err: err}
		}
	}
	return nil
}

func (w *Worker) open(ctx context.Context, g *group) (Source, error) {
	if s := w.sources[g]; s != nil {
		return s, nil
	}
	s, err := w.tables.Open(ctx, w.tables.Program.Name, &g.Table)
	if err != nil {
		g.failed()
		return nil, err
	}
	w.sources[g] = s
	return s, nil
}

// Find implements operator.Lookups.
func (w *Worker) Find(r *plan.Relation, keys []operator.LookupKey) ([][]operator.LookupRow, error) {
	at := w.tables.of[r]
	if at == nil {
		return nil, fmt.Errorf("the lookup join %s is not one of the program", r.Describe())
	}
	answers := w.answers[at.group]
	if answers == nil {
		answers = make(map[string][]operator.LookupRow)
		w.answers[at.group] = answers
	}
	if err := w.complete(at.group, answers, keys); err != nil {
		return nil, &operator.LookupError{Table: at.Name, Err: err}
	}
	found := make([][]operator.LookupRow, len(keys))
	for i, k := range keys {
		found[i] = at.project(answers[k.ID])
	}
	return found, nil
}

// complete adds the answers of keys that were not looked up in this transaction.
func (w *Worker) complete(g *group, answers map[string][]operator.LookupRow, keys []operator.LookupKey) error {
	var missing []operator.LookupKey
	cached := 0
	for _, k := range keys {
		if _, ok := answers[k.ID]; ok {
			continue
		}
		if rows, ok := g.cache.get(k.ID); ok {
			cached++
			w.note(answers, k.ID, rows)
			continue
		}
		missing = append(missing, k)
	}
	g.answered(len(keys)-cached-len(missing), cached)
	if len(missing) == 0 {
		return nil
	}
	all, err := w.query(g, missing)
	if err != nil {
		return err
	}
	for i, k := range missing {
		w.note(answers, k.ID, all[i])
		g.cache.put(k.ID, all[i])
	}
	return nil
}

func (w *Worker) note(answers map[string][]operator.LookupRow, id string, rows []operator.LookupRow) {
	answers[id] = rows
	w.bytes += int64(len(id)) + sizeOf(rows)
}

// query asks the database. A connection that was idle may have died: it is replaced once.
func (w *Worker) query(g *group, keys []operator.LookupKey) ([][]operator.LookupRow, error) {
	for {
		_, reused := w.sources[g]
		s, err := w.open(w.ctx, g)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		rows, err := s.Rows(w.ctx, keys)
		if err == nil {
			g.queried(len(keys), rows, time.Since(began))
			return rows, nil
		}
		g.failed()
		w.close(g)
		if !reused || w.ctx.Err() != nil {
			return nil, err
		}
	}
}

// project returns the columns of a lookup join in rows of its group.
func (p *place) project(rows []operator.LookupRow) []operator.LookupRow {
	if p.columns == nil || len(rows) == 0 {
		return rows
	}
	all := make([]operator.LookupRow, len(rows))
	for i, r := range rows {
		all[i].Err = r.Err
		if r.Err != nil {
			continue
		}
		all[i].Values = make([]any, len(p.columns))
		for k, c := range p.columns {
			all[i].Values[k] = r.Values[c]
		}
	}
	return all
}

// sizeOf returns the approximate memory of rows.
func sizeOf(rows []operator.LookupRow) int64 {
	n := 64
	for _, r := range rows {
		n += 48 + 24*len(r.Values)
		for _, v := range r.Values {
			switch v := v.(type) {
			case string:
				n += len(v)
			case *big.Int:
				n += 32 + v.BitLen()/8
			}
		}
	}
	return int64(n)
}
