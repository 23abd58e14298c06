package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"unicode"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/compat"
)

// Modes of a subject, or the global one.
const (
	readWrite        = "READWRITE"
	readOnly         = "READONLY"
	readOnlyOverride = "READONLY_OVERRIDE" // global: overrides the subjects' own modes
	importing        = "IMPORT"            // requests set ids and versions; compatibility is not checked
)

// request is the body of a registration, a lookup or a check.
type request struct {
	Text       string               `json:"schema"`
	Type       string               `json:"schemaType"`
	References []registry.Reference `json:"references"`
	Metadata   json.RawMessage      `json:"metadata"`
	RuleSet    json.RawMessage      `json:"ruleSet"`
	ID         int                  `json:"id"`
	Version    int                  `json:"version"`
}

// prepared is a request that has passed all checks that don't need a subject.
type prepared struct {
	stored
	schema      *registry.Schema
	fingerprint string
}

// prepare vets and compiles a schema. The state must not change meanwhile.
func (s *state) prepare(ctx context.Context, req *request) (*prepared, error) {
	if strings.TrimSpace(req.Text) == "" {
		return nil, errInvalidSchema("empty schema")
	}
	kind, err := registry.ParseType(req.Type)
	if err != nil {
		return nil, errInvalidSchema(err.Error())
	}
	schema := &registry.Schema{Type: kind, Text: req.Text, References: req.References}
	if schema.Imports, err = s.resolve(schema); err != nil {
		return nil, errInvalidSchema(err.Error())
	}
	if schema.Text, err = canonical(ctx, schema); err != nil {
		return nil, errInvalidSchema(strings.TrimPrefix(err.Error(), registry.ErrInvalid.Error()+": "))
	}
	p := &prepared{schema: schema, stored: stored{
		ID: req.ID, Version: req.Version, References: req.References, Metadata: present(req.Metadata), RuleSet: present(req.RuleSet), Text: schema.Text,
	}}
	if kind != registry.Avro {
		p.Type = kind
	}
	p.fingerprint, err = fingerprint(&p.stored, schema.Imports)
	return p, err
}

// present returns nil for a JSON null.
func present(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// register adds a schema to a subject and returns its id; equal schemas have the same id in all
// subjects.
func (r *Registry) register(ctx context.Context, subject string, req *request) (id int, err error) {
	if !validSubject(subject) {
		return 0, errInvalidSubject(subject)
	}
	err = r.change(ctx, func(s *state) ([]record, error) {
		p, err := s.prepare(ctx, req)
		if err != nil {
			return nil, err
		}
		if e := s.find(subject, p.fingerprint, live); e != nil && (req.ID <= 0 || req.ID == e.ID) {
			id = e.ID
			return nil, nil
		}
		p.Subject = subject
		if err := s.admit(ctx, p); err != nil {
			return nil, err
		}
		id = p.ID
		return []record{versionRecord(&p.stored)}, nil
	})
	return id, err
}

// admit decides whether a new schema of a subject may be added, and assigns its id and version.
func (s *state) admit(ctx context.Context, p *prepared) error {
	mode := s.mode(p.Subject)
	if mode == readOnly || mode == readOnlyOverride {
		return errNotPermitted("Subject %s is in read-only mode", p.Subject)
	}
	if mode == importing {
		return s.admitImport(p)
	}
	if p.ID > 0 {
		return errNotPermitted("Subject %s is not in import mode", p.Subject)
	}
	details, err := s.check(ctx, p.Subject, p.schema, s.versions(p.Subject, live))
	if err != nil {
		return err
	}
	if len(details) > 0 {
		return errIncompatible(p.Subject, details)
	}
	p.Version = 1
	if last := s.latest(p.Subject, true); last != nil {
		p.Version = last.Version + 1
	}
	known, ok := s.ids[p.fingerprint]
	if p.ID = known; !ok {
		p.ID = s.maxID + 1
	}
	return nil
}

// admitImport uses the request's id and version if they are free.
func (s *state) admitImport(p *prepared) error {
	if p.ID <= 0 {
		return errNotPermitted("Subject %s is in import mode: a schema needs its id", p.Subject)
	}
	if e := s.schemas[p.ID]; e != nil && e.fingerprint != p.fingerprint {
		return errNotPermitted("Overwrite new schema with id %d is not permitted.", p.ID)
	}
	if p.Version <= 0 {
		p.Version = 1
		if last := s.latest(p.Subject, true); last != nil {
			p.Version = last.Version + 1
		}
	}
	if e := s.version(p.Subject, p.Version); e != nil && e.fingerprint != p.fingerprint {
		return errNotPermitted("Overwrite version %d of subject %s is not permitted.", p.Version, p.Subject)
	}
	return nil
}

// check returns the reasons why a schema must not follow versions under the subject's effective
// level.
func (s *state) check(ctx context.Context, subject string, next *registry.Schema, versions []*entry) ([]string, error) {
	level := compat.Level(s.level(subject))
	var before []*registry.Version
	for _, e := range versions {
		schema, err := s.schema(e)
		if err != nil {
			return nil, errInvalidSchema(err.Error())
		}
		before = append(before, &registry.Version{Subject: subject, Version: e.Version, Schema: schema})
	}
	details, err := compat.Check(ctx, level, next, before)
	if errors.Is(err, registry.ErrInvalid) || errors.Is(err, registry.ErrHostile) {
		return nil, errInvalidSchema(err.Error())
	}
	return details, err
}

// deleteSubject marks the versions of a subject as deleted, or permanently removes those that are.
func (r *Registry) deleteSubject(ctx context.Context, subject string, permanent bool) (versions []int, err error) {
	err = r.change(ctx, func(s *state) ([]record, error) {
		if err := s.writable(subject); err != nil {
			return nil, err
		}
		there, living := s.versions(subject, all), s.versions(subject, live)
		switch {
		case len(there) == 0:
			return nil, errSubjectNotFound(subject)
		case !permanent && len(living) == 0:
			return nil, errSubjectDeleted(subject)
		case permanent && len(living) > 0:
			return nil, errSubjectNotDeleted(subject)
		case !permanent:
			there = living
		}
		var out []record
		for _, e := range there {
			if len(s.referredBy(subject, e.Version)) > 0 {
				return nil, errReferenceExists(subject, e.Version)
			}
			versions = append(versions, e.Version)
			if permanent {
				out = append(out, record{key: versionRecord(&e.stored).key})
			}
		}
		if permanent {
			return append(out, s.keepMaxID()), nil
		}
		last := versions[len(versions)-1]
		out = append(out, record{key{Type: deleteSubjectKey, Subject: &subject}, deleteSubjectValue{subject, last}})
		if _, ok := s.levels[subject]; ok {
			out = append(out, record{key: key{Type: configKey, Subject: &subject}})
		}
		if _, ok := s.modes[subject]; ok {
			out = append(out, record{key: key{Type: modeKey, Subject: &subject, Magic: 0}})
		}
		return out, nil
	})
	return versions, err
}

// deleteVersion does the same for one version.
func (r *Registry) deleteVersion(ctx context.Context, subject, which string, permanent bool) (version int, err error) {
	err = r.change(ctx, func(s *state) ([]record, error) {
		if err := s.writable(subject); err != nil {
			return nil, err
		}
		e, err := s.lookup(subject, which, true)
		if err != nil {
			return nil, err
		}
		version = e.Version
		switch {
		case !permanent && e.Deleted:
			return nil, errVersionDeleted(subject, version)
		case permanent && !e.Deleted:
			return nil, errVersionNotDeleted(subject, version)
		case len(s.referredBy(subject, version)) > 0:
			return nil, errReferenceExists(subject, version)
		case permanent:
			return []record{{key: versionRecord(&e.stored).key}, s.keepMaxID()}, nil
		}
		gone := e.stored
		gone.Deleted = true
		return []record{versionRecord(&gone)}, nil
	})
	return version, err
}

// keepMaxID writes the highest id to the topic when the version that has it may be compacted away.
func (s *state) keepMaxID() record {
	return record{key{Type: noopKey}, noopValue{s.maxID}}
}

func (s *state) writable(subject string) error {
	if mode := s.mode(subject); mode == readOnly || mode == readOnlyOverride {
		return errNotPermitted("Subject %s is in read-only mode", subject)
	}
	return nil
}

// validSubject rejects invalid names, and names in other contexts, which this registry does not
// support.
func validSubject(subject string) bool {
	return subject != "" && !strings.ContainsFunc(subject, unicode.IsControl) && !strings.HasPrefix(subject, ":.")
}
