package embedded

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"weir.example/weir/internal/registry"
)

// state is the result of applying the topic's records in order. It is not safe for concurrent use.
type state struct {
	subjects map[string]map[int]*entry // by version
	levels   map[string]string         // compatibility by subject; "" is the global one
	modes    map[string]string         // likewise
	ids      map[string]int            // by fingerprint, including deleted schemas
	schemas  map[int]*entry            // one version per id
	maxID    int                       // the highest id ever assigned
}

// entry is a version. It is immutable: a deletion replaces it.
type entry struct {
	stored
	fingerprint string // equal for equal schemas, see canon.go
}

func newState() *state {
	return &state{
		subjects: make(map[string]map[int]*entry), levels: make(map[string]string), modes: make(map[string]string),
		ids: make(map[string]int), schemas: make(map[int]*entry),
	}
}

// apply updates the state with a record of the topic. It ignores unknown records, as Confluent's
// registry does.
func (s *state) apply(rawKey, rawValue []byte) error {
	var k key
	if err := json.Unmarshal(rawKey, &k); err != nil {
		return fmt.Errorf("key of a record of %s: %w", Topic, err)
	}
	subject := ""
	if k.Subject != nil {
		subject = *k.Subject
	}
	value := func(into any) error {
		if err := json.Unmarshal(rawValue, into); err != nil {
			return fmt.Errorf("value of %s in %s: %w", rawKey, Topic, err)
		}
		return nil
	}
	switch k.Type {
	case schemaKey:
		if rawValue == nil {
			s.forget(subject, k.Version)
			return nil
		}
		var v stored
		if err := value(&v); err != nil {
			return err
		}
		return s.put(v)
	case configKey:
		var v configValue
		return set(s.levels, subject, rawValue, func() (string, error) { err := value(&v); return v.Level, err })
	case modeKey:
		var v modeValue
		return set(s.modes, subject, rawValue, func() (string, error) { err := value(&v); return v.Mode, err })
	case deleteSubjectKey:
		var v deleteSubjectValue
		if rawValue == nil {
			return nil
		}
		if err := value(&v); err != nil {
			return err
		}
		for version := range s.subjects[v.Subject] {
			if version <= v.Version {
				s.markDeleted(v.Subject, version)
			}
		}
	case noopKey:
		var v noopValue
		if json.Unmarshal(rawValue, &v) == nil { // Confluent's own records have no value
			s.maxID = max(s.maxID, v.MaxID)
		}
	}
	return nil
}

func set(settings map[string]string, subject string, rawValue []byte, value func() (string, error)) error {
	if rawValue == nil {
		delete(settings, subject)
		return nil
	}
	v, err := value()
	if err == nil {
		settings[subject] = v
	}
	return err
}

func (s *state) put(v stored) error {
	fingerprint, err := fingerprint(&v, s.imports(v.kind(), v.References))
	if err != nil {
		return err
	}
	e := &entry{stored: v, fingerprint: fingerprint}
	if s.subjects[v.Subject] == nil {
		s.subjects[v.Subject] = make(map[int]*entry)
	}
	s.subjects[v.Subject][v.Version] = e
	s.maxID = max(s.maxID, v.ID)
	s.schemas[v.ID] = e
	if _, known := s.ids[fingerprint]; !known {
		s.ids[fingerprint] = v.ID
	}
	return nil
}

// size counts subjects and versions that are not deleted, and schemas that have an id.
func (s *state) size() (subjects, versions, schemas int) {
	for _, all := range s.subjects {
		live := 0
		for _, e := range all {
			if !e.Deleted {
				live++
			}
		}
		versions += live
		if live > 0 {
			subjects++
		}
	}
	return subjects, versions, len(s.schemas)
}

func (s *state) markDeleted(subject string, version int) {
	old := s.subjects[subject][version]
	if old == nil || old.Deleted {
		return
	}
	e := *old
	e.Deleted = true
	s.subjects[subject][version] = &e
	s.schemas[e.ID] = &e
}

// forget removes a version, and its id with the last version that has it. The id is never
// reassigned.
func (s *state) forget(subject string, version int) {
	e := s.subjects[subject][version]
	if e == nil {
		return
	}
	delete(s.subjects[subject], version)
	if len(s.subjects[subject]) == 0 {
		delete(s.subjects, subject)
	}
	for _, versions := range s.subjects {
		for _, other := range versions {
			if other.ID == e.ID {
				s.schemas[e.ID] = other
				return
			}
		}
	}
	delete(s.schemas, e.ID)
	if s.ids[e.fingerprint] == e.ID {
		delete(s.ids, e.fingerprint)
	}
}

// imports resolves references as far as their schemas exist.
func (s *state) imports(kind registry.Type, references []registry.Reference) []registry.Import {
	imports, err := s.resolve(&registry.Schema{Type: kind, References: references})
	if err != nil {
		return nil // the fingerprint falls back to the text
	}
	return imports
}

func (s *state) resolve(schema *registry.Schema) ([]registry.Import, error) {
	return registry.ResolveImports(schema, func(r registry.Reference) (*registry.Schema, error) {
		e := s.version(r.Subject, r.Version)
		if r.Version == -1 {
			e = s.latest(r.Subject, false)
		}
		if e == nil {
			return nil, fmt.Errorf("no schema found for reference %q to version %d of subject %q", r.Name, r.Version, r.Subject)
		}
		if e.kind() != schema.Type {
			return nil, fmt.Errorf("reference %q is %s, not %s", r.Name, e.kind(), schema.Type)
		}
		return &registry.Schema{Type: e.kind(), Text: e.Text, References: e.References}, nil
	})
}

// schema converts a version for the compilers and the compatibility check.
func (s *state) schema(e *entry) (*registry.Schema, error) {
	out := &registry.Schema{ID: e.ID, Type: e.kind(), Text: e.Text, References: e.References}
	var err error
	out.Imports, err = s.resolve(out)
	return out, err
}

// version returns a version, deleted or not, or nil.
func (s *state) version(subject string, version int) *entry { return s.subjects[subject][version] }

// versions returns the versions of a subject that match want, ascending.
func (s *state) versions(subject string, want deleted) []*entry {
	var out []*entry
	for _, v := range slices.Sorted(maps.Keys(s.subjects[subject])) {
		if e := s.subjects[subject][v]; want.lets(e.Deleted) {
			out = append(out, e)
		}
	}
	return out
}

// latest returns the newest version, or nil.
func (s *state) latest(subject string, evenDeleted bool) *entry {
	want := live
	if evenDeleted {
		want = all
	}
	if versions := s.versions(subject, want); len(versions) > 0 {
		return versions[len(versions)-1]
	}
	return nil
}

// names lists the subjects that have a version matching want, sorted.
func (s *state) names(want deleted) []string {
	out := []string{}
	for _, subject := range slices.Sorted(maps.Keys(s.subjects)) {
		versions := s.versions(subject, all)
		gone := !slices.ContainsFunc(versions, func(e *entry) bool { return !e.Deleted })
		if want == all || gone == (want == onlyDeleted) {
			out = append(out, subject)
		}
	}
	return out
}

// find returns the version of a subject with an equal schema, or nil.
func (s *state) find(subject, fingerprint string, want deleted) *entry {
	for _, e := range s.versions(subject, want) {
		if e.fingerprint == fingerprint {
			return e
		}
	}
	return nil
}

// referredBy lists the versions, not deleted, that refer to a version.
func (s *state) referredBy(subject string, version int) []*entry {
	var out []*entry
	for _, name := range slices.Sorted(maps.Keys(s.subjects)) {
		for _, e := range s.versions(name, live) {
			if slices.ContainsFunc(e.References, func(r registry.Reference) bool { return r.Subject == subject && r.Version == version }) {
				out = append(out, e)
			}
		}
	}
	return out
}

// level returns the effective compatibility level of a subject.
func (s *state) level(subject string) string {
	return setting(s.levels, subject, "BACKWARD")
}

// mode returns the effective mode of a subject.
func (s *state) mode(subject string) string {
	if s.modes[""] == readOnlyOverride {
		return readOnlyOverride
	}
	return setting(s.modes, subject, readWrite)
}

func setting(settings map[string]string, subject, otherwise string) string {
	if v, ok := settings[subject]; ok {
		return v
	}
	if v, ok := settings[""]; ok {
		return v
	}
	return otherwise
}

// deleted selects versions by whether they are deleted.
type deleted int

const (
	live deleted = iota
	all
	onlyDeleted
)

func (d deleted) lets(isDeleted bool) bool {
	return d == all || isDeleted == (d == onlyDeleted)
}
