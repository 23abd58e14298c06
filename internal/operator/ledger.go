package operator

import (
	"fmt"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/plan"
)

// Ledger accounts for rows in windows, in tests: each row is in every window that it is not late
// for, and is emitted with each of them once. An extra accumulator counts the rows of each window
// in the state, so the books must balance even across crashes. Commit and Abort end a transaction.
type Ledger struct{ committed, open map[int]tally }

// tally holds the counts of one relation. Windows are counted per row: a row of HOP is in several.
type tally struct {
	rows, late, others int64 // rows, rows late for all their windows, and late windows of a row that has later ones
	in, out            int64 // number of rows times windows, on arrival and when the windows are emitted
}

// NewLedger creates an empty ledger, shared by all tasks of a pipeline.
func NewLedger() *Ledger { return &Ledger{make(map[int]tally), make(map[int]tally)} }

// Commit keeps the counts since the end of the last transaction; Abort drops them.
func (l *Ledger) Commit() {
	for id, t := range l.open {
		c := l.committed[id]
		l.committed[id] = tally{c.rows + t.rows, c.late + t.late, c.others + t.others, c.in + t.in, c.out + t.out}
	}
	clear(l.open)
}

// Abort drops the counts since the end of the last transaction.
func (l *Ledger) Abort() { clear(l.open) }

// Check compares rows in and out of windows, once all inputs have ended.
func (l *Ledger) Check() error {
	for id, t := range l.committed {
		if t.in != t.out {
			return fmt.Errorf("windows of relation %d: rows were assigned to windows %d times, but left windows %d times (%d rows, %d late)", id, t.in, t.out, t.rows, t.late)
		}
	}
	return nil
}

func (l *Ledger) count(id int, t tally) {
	o := l.open[id]
	l.open[id] = tally{o.rows + t.rows, o.late + t.late, o.others + t.others, o.in + t.in, o.out + t.out}
}

// countRows adds an accumulator that counts rows for the ledger.
func (g *aggregator) countRows(t *Task, r *plan.Relation) {
	if t.ledger == nil {
		return
	}
	counter := plan.Agg{Name: "COUNT", Arg: -1, Filter: -1}
	g.aggs, g.accs = append(g.aggs[:len(g.aggs):len(g.aggs)], counter), append(g.accs, newAccumulator(counter, column.Type{}))
	g.collectors = append(g.collectors, nil)
	g.counted = &column.Column{Type: column.Type{Kind: column.BigInt}}
	g.emitted = func(n int64) { t.ledger.count(r.ID, tally{out: n}) }
}

// expect counts the windows of a row, for windows that are assembled from slices.
func (a *windowAggregate) expect(slice int64, watermark rowWatermark, again bool) {
	if a.task.ledger == nil {
		return
	}
	t := tally{rows: 1}
	for end := a.firstEnd(slice); end <= a.lastEnd(slice); end += max(a.slide, 1) {
		if !a.clock.late(end, watermark) {
			t.in++
		}
	}
	switch {
	case t.in == 0 && again:
		t.others++
	case t.in == 0:
		t.late++
	}
	a.task.ledger.count(a.rel.ID, t)
}

// session counts a row, and whether it is in a session.
func (l *Ledger) session(id int, in bool) {
	switch {
	case l == nil:
	case in:
		l.count(id, tally{rows: 1, in: 1})
	default:
		l.count(id, tally{rows: 1, late: 1})
	}
}
