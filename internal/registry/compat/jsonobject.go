package compat

import (
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// object compares properties by content model. A property may be added if the writer's objects
// could not have had it (closed) or had it under a compatible rule (partially open); it may be
// removed if the reader's objects may have any property (open) or have a compatible rule for it.
func (d *jsonDiff) object(path string, w, r *jsonschema.Schema) {
	d.required(path, w, r)
	for _, name := range slices.Sorted(maps.Keys(w.Properties)) {
		at := path + "/properties/" + name
		if in, ok := r.Properties[name]; ok {
			d.schema(at, w.Properties[name], in)
		} else {
			d.removed(at, name, w.Properties[name], r)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Properties)) {
		if _, had := w.Properties[name]; !had {
			d.added(path+"/properties/"+name, name, w, r)
		}
	}
	d.patterns(path, w, r)
	d.additionalProperties(path+"/additionalProperties", w, r)
	d.atMost("MAX_PROPERTIES", path+"/maxProperties", w.MaxProperties, r.MaxProperties)
	d.atLeast("MIN_PROPERTIES", path+"/minProperties", w.MinProperties, r.MinProperties)
	d.optional("PROPERTY_NAMES_NARROWED", path+"/propertyNames", w.PropertyNames, r.PropertyNames)
	d.dependencies(path+"/dependencies", w, r)
}

func (d *jsonDiff) required(path string, w, r *jsonschema.Schema) {
	for _, name := range r.Required {
		in, named := r.Properties[name]
		_, had := w.Properties[name]
		if slices.Contains(w.Required, name) || named && !had || named && hasDefault(in) {
			continue // the content model decides about new properties
		}
		d.add("REQUIRED_ATTRIBUTE_ADDED", path+"/required/"+name, "the property was optional and has no default")
	}
}

func (d *jsonDiff) removed(at, name string, had, r *jsonschema.Schema) {
	if open(r) || nothing(referred(had)) {
		return
	}
	rule := covering(r, name)
	switch {
	case rule == nil || nothing(rule):
		d.add("PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", at, "properties that are not named are not allowed any more")
	case !d.accepts(at, had, rule):
		d.add("PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", at, "the rule for properties that are not named does not allow what this one did")
	}
}

func (d *jsonDiff) added(at, name string, w, r *jsonschema.Schema) {
	in := r.Properties[name]
	if open(w) {
		if !anything(referred(in)) {
			d.add("PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", at, "older objects may have the property with any value")
		}
		return
	}
	if rule := covering(w, name); rule != nil && !nothing(rule) && !d.accepts(at, rule, in) {
		d.add("PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", at, "older objects may have the property with other values")
	}
	if slices.Contains(r.Required, name) && !hasDefault(in) {
		d.add("REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL", at, "older objects do not have the property, and it has no default")
	}
}

// patterns: the writer must have had a pattern's rule too, unless its objects had only named
// properties.
func (d *jsonDiff) patterns(path string, w, r *jsonschema.Schema) {
	before := make(map[string]*jsonschema.Schema)
	for p, s := range w.PatternProperties {
		before[p.String()] = s
	}
	for p, in := range r.PatternProperties {
		at := path + "/patternProperties/" + p.String()
		if had, ok := before[p.String()]; ok {
			d.schema(at, had, in)
		} else if rule := additional(w.AdditionalProperties); rule == nil || !d.accepts(at, rule, in) {
			d.optional("PATTERN_PROPERTY_ADDED", at, rule, in)
		}
	}
}

func (d *jsonDiff) additionalProperties(at string, w, r *jsonschema.Schema) {
	had, in := additional(w.AdditionalProperties), additional(r.AdditionalProperties)
	switch {
	case in == nil:
	case nothing(in) && (had == nil || !nothing(had)):
		d.add("ADDITIONAL_PROPERTIES_REMOVED", at, "properties that are not named were allowed")
	case had == nil:
		d.optional("ADDITIONAL_PROPERTIES_NARROWED", at, nil, in)
	default:
		d.schema(at, had, in)
	}
}

func (d *jsonDiff) dependencies(at string, w, r *jsonschema.Schema) {
	hadNames, hadSchemas := dependent(w)
	names, schemas := dependent(r)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		for _, need := range names[name] {
			if !slices.Contains(hadNames[name], need) {
				d.add("DEPENDENCY_ARRAY_EXTENDED", at+"/"+name, "%s did not need %s", name, need)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		d.optional("DEPENDENCY_SCHEMA_ADDED", at+"/"+name, hadSchemas[name], schemas[name])
	}
}

// dependent collects what the presence of a property requires, in the keywords of all drafts.
func dependent(s *jsonschema.Schema) (map[string][]string, map[string]*jsonschema.Schema) {
	names, schemas := maps.Clone(s.DependentRequired), maps.Clone(s.DependentSchemas)
	for name, v := range s.Dependencies {
		switch v := v.(type) {
		case []string:
			if names == nil {
				names = make(map[string][]string)
			}
			names[name] = v
		case *jsonschema.Schema:
			if schemas == nil {
				schemas = make(map[string]*jsonschema.Schema)
			}
			schemas[name] = v
		}
	}
	return names, schemas
}

// open reports whether objects may have properties with any name and value.
func open(s *jsonschema.Schema) bool {
	return len(s.PatternProperties) == 0 && additional(s.AdditionalProperties) == nil
}

// covering returns the rule for a property that is not named, or nil if there is none.
func covering(s *jsonschema.Schema, name string) *jsonschema.Schema {
	var found []string
	rules := make(map[string]*jsonschema.Schema)
	for p, rule := range s.PatternProperties {
		if p.MatchString(name) {
			found, rules[p.String()] = append(found, p.String()), rule
		}
	}
	if len(found) > 0 {
		return rules[slices.MinFunc(found, strings.Compare)]
	}
	return additional(s.AdditionalProperties)
}

func hasDefault(s *jsonschema.Schema) bool {
	return s.Default != nil || referred(s).Default != nil
}
