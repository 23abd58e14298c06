package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

// subjectRow is a subject of the registry.
type subjectRow struct {
	Name          string `json:"name"`
	Versions      []int  `json:"versions"`
	Compatibility string `json:"compatibility"` // its own level, or the registry's
	Own           bool   `json:"own"`           // it has a level of its own
}

type schemaList struct {
	Registry      string       `json:"registry"`
	Compatibility string       `json:"compatibility,omitempty"`
	Subjects      []subjectRow `json:"subjects"`
	Error         string       `json:"error,omitempty"` // the registry does not answer: the page says so and goes on
}

const registryTime = 5 * time.Second

func (c *Console) registry() (*sr.Client, error) {
	if c.cfg.Registry == "" {
		return nil, errors.New("no schema registry is set (--registry)")
	}
	return sr.NewClient(sr.URLs(strings.Split(c.cfg.Registry, ",")...))
}

// schemas is GET /api/schemas: the subjects with their versions.
func (c *Console) schemas(r *http.Request) (any, error) {
	list := schemaList{Registry: c.cfg.Registry, Subjects: []subjectRow{}}
	if c.cfg.Registry == "" {
		return list, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	if err := c.readSubjects(ctx, &list); err != nil {
		list.Error = err.Error()
	}
	return list, nil
}

func (c *Console) readSubjects(ctx context.Context, list *schemaList) error {
	client, err := c.registry()
	if err != nil {
		return err
	}
	names, err := client.Subjects(ctx)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, level := range client.Compatibility(ctx) {
		if level.Err == nil {
			list.Compatibility = level.Level.String()
		}
	}
	for _, name := range names {
		versions, err := client.SubjectVersions(ctx, name)
		if err != nil {
			return err
		}
		row := subjectRow{Name: name, Versions: versions, Compatibility: list.Compatibility}
		if levels := client.Compatibility(ctx, name); len(levels) == 1 && levels[0].Err == nil {
			row.Compatibility, row.Own = levels[0].Level.String(), true
		}
		list.Subjects = append(list.Subjects, row)
	}
	return nil
}

// schemaText is one version of a subject.
type schemaText struct {
	Version    int                  `json:"version"`
	ID         int                  `json:"id"`
	Type       string               `json:"type"`
	Text       string               `json:"text"`
	References []sr.SchemaReference `json:"references,omitempty"`
}

// schema is GET /api/schema?subject=: all versions, the oldest first.
func (c *Console) schema(r *http.Request) (any, error) {
	client, err := c.registry()
	if err != nil {
		return nil, &httpError{http.StatusNotFound, err}
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	all, err := client.Schemas(ctx, r.FormValue("subject"))
	if err != nil {
		return nil, err
	}
	out := []schemaText{}
	for _, s := range all {
		out = append(out, schemaText{s.Version, s.ID, s.Type.String(), s.Schema.Schema, s.References})
	}
	slices.SortFunc(out, func(a, b schemaText) int { return a.Version - b.Version })
	return map[string]any{"subject": r.FormValue("subject"), "versions": out}, nil
}
