package embedded

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/registry"
)

// answered is a version in a response.
type answered struct {
	Subject    string               `json:"subject,omitempty"`
	Version    int                  `json:"version,omitempty"`
	ID         int                  `json:"id,omitempty"`
	MaxID      int                  `json:"maxId,omitempty"`
	Type       registry.Type        `json:"schemaType,omitempty"`
	References []registry.Reference `json:"references,omitempty"`
	Metadata   json.RawMessage      `json:"metadata,omitempty"`
	RuleSet    json.RawMessage      `json:"ruleSet,omitempty"`
	Text       string               `json:"schema"`
}

// answer returns a version in the requested format; "serialized" is a base64-encoded Protobuf
// descriptor.
func (s *state) answer(ctx context.Context, e *entry, format string) (answered, error) {
	out := answered{
		Subject: e.Subject, Version: e.Version, ID: e.ID, Type: e.Type, References: e.References,
		Metadata: e.Metadata, RuleSet: e.RuleSet, Text: e.Text,
	}
	if format != "serialized" || e.kind() != registry.Protobuf {
		return out, nil
	}
	schema, err := s.schema(e)
	if err != nil {
		return out, err
	}
	file, err := schema.CompileProtobuf(ctx)
	if err != nil {
		return out, err
	}
	b, err := protoBytes(file)
	out.Text = base64.StdEncoding.EncodeToString(b)
	return out, err
}

// raw is a schema's text returned as the response itself, not as a JSON string, as in Confluent's
// registry.
type raw = json.RawMessage

// textOf returns the text of a version: unchanged if it is JSON, else as a string.
func textOf(v any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	text := v.(answered).Text //nolint:forcetypeassert // stored as answered
	if json.Valid([]byte(text)) {
		return raw(text), nil
	}
	return text, nil
}

func (r *Registry) getSchemas(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		out := []answered{}
		for _, subject := range s.names(all) {
			versions := s.versions(subject, c.deleted())
			if !strings.HasPrefix(subject, c.query.Get("subjectPrefix")) || len(versions) == 0 {
				continue
			}
			if c.flag("latestOnly") {
				versions = versions[len(versions)-1:]
			}
			for _, e := range versions {
				v, err := s.answer(c.Context(), e, "")
				if err != nil {
					return nil, err
				}
				out = append(out, v)
			}
		}
		return page(c, out), nil
	})
}

// byID returns the schema with the request's id, deleted or not.
func (s *state) byID(c *call) (*entry, error) {
	id, err := strconv.Atoi(c.PathValue("id"))
	if err != nil {
		return nil, refuse(http.StatusNotFound, "HTTP 404 Not Found")
	}
	e := s.schemas[id]
	if e == nil {
		return nil, errSchemaNotFound(id)
	}
	return e, nil
}

func (r *Registry) getID(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		e, err := s.byID(c)
		if err != nil {
			return nil, err
		}
		out, err := s.answer(c.Context(), e, c.query.Get("format"))
		out.Subject, out.Version, out.ID = "", 0, 0 // a schema may have several
		if c.flag("fetchMaxId") {
			out.MaxID = s.maxID
		}
		return out, err
	})
}

func (r *Registry) getIDText(c *call) (any, error) {
	v, err := r.getID(c)
	return textOf(v, err)
}

// usage is a version that has a schema.
type usage struct {
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

func (s *state) usages(c *call) ([]usage, error) {
	found, err := s.byID(c)
	if err != nil {
		return nil, err
	}
	out := []usage{}
	for _, subject := range s.names(all) {
		for _, e := range s.versions(subject, c.deleted()) {
			if e.ID == found.ID {
				out = append(out, usage{subject, e.Version})
			}
		}
	}
	return out, nil
}

func (r *Registry) getIDVersions(c *call) (any, error) {
	return r.look(func(s *state) (any, error) { return s.usages(c) })
}

func (r *Registry) getIDSubjects(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		usages, err := s.usages(c)
		out := []string{}
		for _, u := range usages {
			out = append(out, u.Subject)
		}
		return slices.Compact(out), err
	})
}
