package compat

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"weir.example/weir/internal/registry"
)

// readJSON reports whether every document that one JSON Schema accepts is accepted by another, by
// the rules of Confluent's registry. The main one: whether an object may have properties that its
// schema does not name (an open content model) decides which properties may be added and removed.
func readJSON(reader, writer *registry.Schema) ([]Problem, error) {
	r, err := reader.CompileJSON()
	if err != nil {
		return nil, err
	}
	w, err := writer.CompileJSON()
	if err != nil {
		return nil, err
	}
	d := jsonDiff{comparison: &comparison{under: make(map[jsonPair]bool), verdicts: make(map[jsonPair]bool), budget: maxComparisons}}
	d.schema("#", w, r)
	if d.budget <= 0 {
		return nil, fmt.Errorf("%w: too many alternatives to compare", registry.ErrHostile)
	}
	return d.problems, nil
}

// maxComparisons limits comparisons of two subschemas: nested alternatives multiply.
const maxComparisons = 50_000

// jsonDiff collects the problems at one path; those of tried alternatives share its comparison.
type jsonDiff struct {
	*comparison
	problems []Problem
}

type jsonPair struct{ w, r *jsonschema.Schema }

type comparison struct {
	under    map[jsonPair]bool // being compared: a schema may contain itself, and these are then assumed compatible
	taken    int               // number of such assumptions
	verdicts map[jsonPair]bool // of accepts
	budget   int
}

func (d *jsonDiff) add(rule, path, format string, args ...any) {
	d.problems = append(d.problems, Problem{Rule: rule, Path: path, Detail: fmt.Sprintf(format, args...)})
}

// accepts reports whether r accepts everything that w accepts.
func (d *jsonDiff) accepts(path string, w, r *jsonschema.Schema) bool {
	pair := jsonPair{referred(w), referred(r)}
	if verdict, ok := d.verdicts[pair]; ok {
		return verdict
	}
	sub := jsonDiff{comparison: d.comparison}
	before := d.taken
	sub.schema(path, w, r)
	yes := len(sub.problems) == 0
	if !yes || d.taken == before { // a yes that rests on an assumption is not cached
		d.verdicts[pair] = yes
	}
	return yes
}

func (d *jsonDiff) schema(path string, w, r *jsonschema.Schema) {
	w, r = referred(w), referred(r)
	pair := jsonPair{w, r}
	if d.under[pair] {
		d.taken++
		return
	}
	if d.budget--; d.budget <= 0 {
		return
	}
	d.under[pair] = true
	defer delete(d.under, pair)
	switch {
	case anything(r), nothing(w):
		return
	case nothing(r):
		d.add("TYPE_CHANGED", path, "no value is allowed here any more")
		return
	case w.Enum != nil || w.Const != nil:
		d.values(path, w, r)
		return
	case r.Enum != nil || r.Const != nil:
		d.add("ENUM_ARRAY_NARROWED", path, "any value was allowed, only some are now")
		return
	}
	if len(w.AnyOf)+len(w.OneOf) > 0 || len(r.AnyOf)+len(r.OneOf) > 0 {
		d.alternatives(path, w, r)
	}
	d.allOf(path, w, r)
	d.not(path, w, r)
	d.condition(path, w, r)
	if d.types(path, w, r) {
		d.strings(path, w, r)
		d.numbers(path, w, r)
		d.object(path, w, r)
		d.array(path, w, r)
	}
}

// values checks each value of an enumeration.
func (d *jsonDiff) values(path string, w, r *jsonschema.Schema) {
	var values []any
	if w.Const != nil {
		values = append(values, *w.Const)
	}
	if w.Enum != nil {
		values = append(values, w.Enum.Values...)
	}
	var refused []string
	for _, v := range values {
		if r.Validate(v) != nil {
			refused = append(refused, fmt.Sprint(v))
		}
	}
	if len(refused) > 0 {
		d.add("ENUM_ARRAY_NARROWED", path, "no longer allowed: %s", strings.Join(refused, ", "))
	}
}

// alternatives: each of the writer's must be accepted by one of the reader's.
func (d *jsonDiff) alternatives(path string, w, r *jsonschema.Schema) {
	written := slices.Concat(w.AnyOf, w.OneOf)
	read := slices.Concat(r.AnyOf, r.OneOf)
	switch {
	case len(written) == 0:
		if !slices.ContainsFunc(read, func(r *jsonschema.Schema) bool { return d.accepts(path, w, r) }) {
			d.add("TYPE_CHANGED", path, "none of the alternatives allows all that was allowed")
		}
	case len(read) == 0:
		for i, alternative := range written {
			d.schema(fmt.Sprintf("%s/%d", path, i), alternative, r)
		}
	default:
		for i, alternative := range written {
			if !slices.ContainsFunc(read, func(r *jsonschema.Schema) bool { return d.accepts(path, alternative, r) }) {
				d.add("COMBINED_TYPE_SUBSCHEMAS_CHANGED", fmt.Sprintf("%s/%d", path, i), "none of the alternatives allows all that this one did")
			}
		}
	}
}

// allOf: each part that the reader requires must follow from the writer's.
func (d *jsonDiff) allOf(path string, w, r *jsonschema.Schema) {
	for i, part := range r.AllOf {
		follows := func(w *jsonschema.Schema) bool { return d.accepts(path, w, part) }
		rest := *w
		rest.AllOf = nil
		if !slices.ContainsFunc(w.AllOf, follows) && !follows(&rest) {
			d.add("PRODUCT_TYPE_EXTENDED", fmt.Sprintf("%s/allOf/%d", path, i), "this was not asked for")
		}
	}
	if len(r.AllOf) == 0 && len(w.AllOf) == 1 && w.Types == nil {
		d.schema(path+"/allOf/0", w.AllOf[0], r)
	}
}

// not: the writer must have excluded everything that the reader excludes.
func (d *jsonDiff) not(path string, w, r *jsonschema.Schema) {
	if r.Not != nil && (w.Not == nil || !d.accepts(path+"/not", r.Not, w.Not)) {
		d.add("NOT_TYPE_EXTENDED", path+"/not", "more is excluded")
	}
}

// condition: with an unchanged if, the branches may allow more; any other change is refused.
func (d *jsonDiff) condition(path string, w, r *jsonschema.Schema) {
	if r.If == nil {
		return
	}
	if w.If == nil || !d.accepts(path, w.If, r.If) || !d.accepts(path, r.If, w.If) {
		d.add("CONDITION_CHANGED", path+"/if", "the condition was not there or was another one")
		return
	}
	d.optional("CONDITION_CHANGED", path+"/then", w.Then, r.Then)
	d.optional("CONDITION_CHANGED", path+"/else", w.Else, r.Else)
}

// optional compares subschemas that may be missing: a new one narrows.
func (d *jsonDiff) optional(rule, path string, w, r *jsonschema.Schema) {
	switch {
	case r == nil || anything(referred(r)):
	case w == nil:
		d.add(rule, path, "this was not asked for")
	default:
		d.schema(path, w, r)
	}
}

// types compares the allowed JSON types, and reports whether they are compatible.
func (d *jsonDiff) types(path string, w, r *jsonschema.Schema) bool {
	written, read := typesOf(w), typesOf(r)
	if len(read) == 0 {
		return true
	}
	if len(written) == 0 {
		if len(w.AllOf)+len(w.AnyOf)+len(w.OneOf) > 0 {
			return true // compared above
		}
		d.add("TYPE_NARROWED", path, "any type was allowed, only %s is now", strings.Join(read, ", "))
		return false
	}
	for _, t := range written {
		if !slices.Contains(read, t) && (t != "integer" || !slices.Contains(read, "number")) {
			d.add("TYPE_CHANGED", path, "%s was allowed, %s is now", strings.Join(written, ", "), strings.Join(read, ", "))
			return false
		}
	}
	return true
}

// typesOf returns the types that a schema names, or that its keywords apply to.
func typesOf(s *jsonschema.Schema) []string {
	switch {
	case s.Types != nil && !s.Types.IsEmpty():
		return s.Types.ToStrings()
	case s.Properties != nil, s.PatternProperties != nil, s.AdditionalProperties != nil, s.Required != nil, s.MinProperties != nil, s.MaxProperties != nil:
		return []string{"object"}
	case s.Items != nil, s.Items2020 != nil, s.PrefixItems != nil, s.MinItems != nil, s.MaxItems != nil, s.Contains != nil, s.UniqueItems:
		return []string{"array"}
	case s.MinLength != nil, s.MaxLength != nil, s.Pattern != nil:
		return []string{"string"}
	case s.Minimum != nil, s.Maximum != nil, s.ExclusiveMinimum != nil, s.ExclusiveMaximum != nil, s.MultipleOf != nil:
		return []string{"number"}
	default:
		return nil
	}
}

func (d *jsonDiff) strings(path string, w, r *jsonschema.Schema) {
	d.atMost("MAX_LENGTH", path+"/maxLength", w.MaxLength, r.MaxLength)
	d.atLeast("MIN_LENGTH", path+"/minLength", w.MinLength, r.MinLength)
	if r.Pattern != nil && (w.Pattern == nil || w.Pattern.String() != r.Pattern.String()) {
		d.add("PATTERN_CHANGED", path+"/pattern", "the pattern %q was not asked for", r.Pattern)
	}
}

func (d *jsonDiff) numbers(path string, w, r *jsonschema.Schema) {
	d.bound("MAXIMUM_DECREASED", path+"/maximum", w.Maximum, r.Maximum, w.ExclusiveMaximum, -1)
	d.bound("MINIMUM_INCREASED", path+"/minimum", w.Minimum, r.Minimum, w.ExclusiveMinimum, 1)
	d.bound("EXCLUSIVE_MAXIMUM_DECREASED", path+"/exclusiveMaximum", w.ExclusiveMaximum, r.ExclusiveMaximum, nil, -1)
	d.bound("EXCLUSIVE_MINIMUM_INCREASED", path+"/exclusiveMinimum", w.ExclusiveMinimum, r.ExclusiveMinimum, nil, 1)
	if r.MultipleOf != nil && (w.MultipleOf == nil || !new(big.Rat).Quo(w.MultipleOf, r.MultipleOf).IsInt()) {
		d.add("MULTIPLE_OF_CHANGED", path+"/multipleOf", "numbers that are no multiple of %s were allowed", r.MultipleOf.RatString())
	}
}

// bound compares limits: r must not be tighter than w, or than also if w has only that. Tighter is
// -1 for lower, 1 for higher.
func (d *jsonDiff) bound(rule, path string, w, r, also *big.Rat, tighter int) {
	if w == nil {
		w = also
	}
	if r != nil && (w == nil || r.Cmp(w) == tighter) {
		was := "none"
		if w != nil {
			was = w.RatString()
		}
		d.add(rule, path, "the limit is %s and was %s", r.RatString(), was)
	}
}

func (d *jsonDiff) atMost(rule, path string, w, r *int) {
	if r != nil && w == nil {
		d.add(rule+"_ADDED", path, "there was no limit, it is %d now", *r)
	} else if r != nil && *r < *w {
		d.add(rule+"_DECREASED", path, "the limit was %d, it is %d now", *w, *r)
	}
}

func (d *jsonDiff) atLeast(rule, path string, w, r *int) {
	if r != nil && *r > 0 && w == nil {
		d.add(rule+"_ADDED", path, "there was no limit, it is %d now", *r)
	} else if r != nil && w != nil && *r > *w {
		d.add(rule+"_INCREASED", path, "the limit was %d, it is %d now", *w, *r)
	}
}

func (d *jsonDiff) array(path string, w, r *jsonschema.Schema) {
	d.atMost("MAX_ITEMS", path+"/maxItems", w.MaxItems, r.MaxItems)
	d.atLeast("MIN_ITEMS", path+"/minItems", w.MinItems, r.MinItems)
	if r.UniqueItems && !w.UniqueItems {
		d.add("UNIQUE_ITEMS_ADDED", path+"/uniqueItems", "items could be equal")
	}
	d.optional("CONTAINS_ADDED", path+"/contains", w.Contains, r.Contains)
	wFirst, wRest := items(w)
	rFirst, rRest := items(r)
	for i := range max(len(wFirst), len(rFirst)) {
		at := fmt.Sprintf("%s/items/%d", path, i)
		item := func(first []*jsonschema.Schema, rest *jsonschema.Schema) *jsonschema.Schema {
			if i < len(first) {
				return first[i]
			}
			return rest
		}
		d.optional("ITEM_ADDED_TO_OPEN_CONTENT_MODEL", at, item(wFirst, wRest), item(rFirst, rRest))
	}
	d.optional("ADDITIONAL_ITEMS_NARROWED", path+"/items", wRest, rRest)
}

// items returns the schemas of an array's first items, if it lists them, and that of the rest; nil
// accepts anything.
func items(s *jsonschema.Schema) (first []*jsonschema.Schema, rest *jsonschema.Schema) {
	if s.PrefixItems != nil || s.Items2020 != nil {
		return s.PrefixItems, s.Items2020
	}
	switch i := s.Items.(type) {
	case *jsonschema.Schema:
		return nil, i
	case []*jsonschema.Schema:
		return i, additional(s.AdditionalItems)
	default:
		return nil, nil
	}
}

// additional returns the schema of additionalItems or additionalProperties; nil accepts anything.
func additional(v any) *jsonschema.Schema {
	switch v := v.(type) {
	case *jsonschema.Schema:
		return v
	case bool:
		if !v {
			return &jsonschema.Schema{Bool: &v}
		}
	}
	return nil
}

// referred follows $ref. Keywords next to a $ref are ignored, as in older drafts.
func referred(s *jsonschema.Schema) *jsonschema.Schema {
	for range maxComparisons { // bounded, in case a $ref refers to itself
		if s.Ref == nil {
			return s
		}
		s = s.Ref
	}
	return s
}

func nothing(s *jsonschema.Schema) bool { return s.Bool != nil && !*s.Bool }

// anything reports whether a schema has no rules.
func anything(s *jsonschema.Schema) bool {
	if s.Bool != nil {
		return *s.Bool
	}
	return len(typesOf(s)) == 0 && s.Enum == nil && s.Const == nil && s.Not == nil && s.If == nil &&
		len(s.AllOf)+len(s.AnyOf)+len(s.OneOf) == 0 && s.RecursiveRef == nil && s.DynamicRef == nil &&
		s.PropertyNames == nil && len(s.Dependencies)+len(s.DependentRequired)+len(s.DependentSchemas) == 0
}
