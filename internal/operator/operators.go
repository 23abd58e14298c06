package operator

import (
	"fmt"

	"weir.example/weir/internal/plan"
)

// implementation is what this package implements for one of a plan's operators. To add an operator,
// write its file and list it in implementations.
type implementation struct {
	build func(base) (node, error)
	// entries lists the entries of a relation's state that move with the keys of its rows; nil if
	// the operator is stateless.
	entries func(*plan.Relation) []movedEntry
}

// implementations has an entry for each operator of a plan, by its name.
var implementations = map[string]implementation{
	(*plan.Aggregate)(nil).Name():    {builds(newAggregate), entriesOf(aggregateEntries)},
	(*plan.Exchange)(nil).Name():     {builds(newShuffleReader), nil},
	(*plan.Filter)(nil).Name():       {builds(newFilter), nil},
	(*plan.Insert)(nil).Name():       {builds(newWriter), nil},
	(*plan.Materialize)(nil).Name():  {builds(newMaterialize), entriesOf(materializeEntries)},
	(*plan.Normalize)(nil).Name():    {builds(newNormalize), entriesOf(normalizeEntries)},
	(*plan.Over)(nil).Name():         {builds(newOver), entriesOf(overEntries)},
	(*plan.IntervalJoin)(nil).Name(): {builds(newIntervalJoin), entriesOf(intervalJoinEntries)},
	(*plan.Project)(nil).Name():      {builds(newProject), nil},
	(*plan.Rank)(nil).Name():         {builds(newRank), entriesOf(rankEntries)},
	(*plan.RegularJoin)(nil).Name():  {builds(newRegularJoin), entriesOf(regularJoinEntries)},
	(*plan.Scan)(nil).Name():         {builds(newScan), nil},
	(*plan.LookupJoin)(nil).Name():   {builds(newLookupJoin), nil},
	(*plan.Limit)(nil).Name():        {builds(newLimit), entriesOf(limitEntries)},
	(*plan.TemporalSort)(nil).Name(): {builds(newTemporalSort), entriesOf(temporalSortEntries)},
	(*plan.TemporalJoin)(nil).Name(): {builds(newTemporalJoin), entriesOf(temporalJoinEntries)},
	(*plan.Union)(nil).Name():        {builds(newUnion), nil},
	(*plan.Unnest)(nil).Name():       {builds(newUnnest), nil},
	(*plan.ValuesJoin)(nil).Name():   {builds(newValuesJoin), nil},
	(*plan.Window)(nil).Name():       {builds(newWindowAssigner), nil},
	(*plan.WindowJoin)(nil).Name():   {builds(newWindowJoin), entriesOf(windowJoinEntries)},
}

// builds adapts the constructor of one kind of operator.
func builds[O plan.Op](create func(base, O) (node, error)) func(base) (node, error) {
	return func(b base) (node, error) { return create(b, b.rel.Op.(O)) } //nolint:forcetypeassert // registered for this type
}

// entriesOf adapts a function that lists the entries of one kind of operator.
func entriesOf[O plan.Op](list func(O) []movedEntry) func(*plan.Relation) []movedEntry {
	return func(r *plan.Relation) []movedEntry { return list(r.Op.(O)) } //nolint:forcetypeassert // registered for this type
}

// build creates the operator of a relation.
func (t *Task) build(r *plan.Relation) (node, error) {
	i, known := implementations[r.Op.Name()]
	if !known {
		return nil, fmt.Errorf("no operator for %T", r.Op)
	}
	return i.build(newBase(t, r))
}
