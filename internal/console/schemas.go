package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/compat"
)

var errNoRegistry = &httpError{http.StatusNotFound, errors.New("no schema registry is configured")}

// subjectRow is a subject of the registry.
type subjectRow struct {
	Name          string `json:"name"`
	Versions      []int  `json:"versions"`
	Type          string `json:"type"` // of the newest version
	LatestID      int    `json:"latest_id"`
	Compatibility string `json:"compatibility"` // effective level
}

type schemaList struct {
	Registry      string       `json:"registry"`
	Compatibility string       `json:"compatibility,omitempty"`
	Subjects      []subjectRow `json:"subjects"`
	Error         string       `json:"error,omitempty"` // the registry failed; the page shows it
}

const (
	registryTime = 10 * time.Second
	maxSubjects  = 500 // in the list
)

// schemas is GET /api/schemas: the subjects and their versions.
func (c *Console) schemas(r *http.Request) (any, error) {
	list := schemaList{Subjects: []subjectRow{}}
	if c.registry == nil {
		return list, nil
	}
	list.Registry = c.registry.URL()
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	if err := c.readSubjects(ctx, &list); err != nil {
		list.Error = err.Error()
	}
	return list, nil
}

func (c *Console) readSubjects(ctx context.Context, list *schemaList) error {
	names, err := c.registry.Subjects(ctx)
	if err != nil {
		return err
	}
	if list.Compatibility, err = c.registry.Compatibility(ctx, ""); err != nil {
		return err
	}
	for _, name := range names[:min(len(names), maxSubjects)] {
		row := subjectRow{Name: name}
		if row.Versions, err = c.registry.Versions(ctx, name); err != nil {
			return err
		}
		if row.Compatibility, err = c.registry.Compatibility(ctx, name); err != nil {
			return err
		}
		if n := len(row.Versions); n > 0 {
			newest, err := c.registry.Version(ctx, name, row.Versions[n-1])
			if err != nil {
				return err
			}
			row.Type, row.LatestID = string(newest.Schema.Type), newest.Schema.ID
		}
		list.Subjects = append(list.Subjects, row)
	}
	return nil
}

// schemaText is one version of a subject.
type schemaText struct {
	Version    int                  `json:"version"`
	ID         int                  `json:"id"`
	Type       registry.Type        `json:"type"`
	Text       string               `json:"text"` // formatted
	References []registry.Reference `json:"references,omitempty"`
}

// schema is GET /api/schema?subject=: all versions, oldest first.
func (c *Console) schema(r *http.Request) (any, error) {
	if c.registry == nil {
		return nil, errNoRegistry
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	subject := r.FormValue("subject")
	versions, err := c.registry.Versions(ctx, subject)
	if err != nil {
		return nil, err
	}
	out := []schemaText{}
	for _, n := range versions {
		v, err := c.registry.Version(ctx, subject, n)
		if err != nil {
			return nil, err
		}
		out = append(out, schemaText{v.Version, v.Schema.ID, v.Schema.Type, strings.TrimSpace(v.Schema.Pretty()), v.Schema.References})
	}
	level, err := c.registry.Compatibility(ctx, subject)
	if err != nil {
		return nil, err
	}
	return map[string]any{"subject": subject, "versions": out, "compatibility": level}, nil
}

// schemaReaders is whether two schemas can read each other's data: an empty list means yes.
type schemaReaders struct {
	Backward []string `json:"backward"` // why the newer cannot read data of the older
	Forward  []string `json:"forward"`  // why the older cannot read data of the newer
}

// compareSchemas is GET /api/schema/compare?subject=&from=&to=: two versions of a subject.
func (c *Console) compareSchemas(r *http.Request) (any, error) {
	if c.registry == nil {
		return nil, errNoRegistry
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	var both [2]*registry.Schema
	for i, name := range []string{"from", "to"} {
		n, err := strconv.Atoi(r.FormValue(name))
		if err != nil {
			return nil, badRequest("invalid %s=%s: must be a version", name, r.FormValue(name))
		}
		v, err := c.registry.Version(ctx, r.FormValue("subject"), n)
		if err != nil {
			return nil, err
		}
		both[i] = v.Schema
	}
	var out schemaReaders
	var err error
	if out.Backward, err = compat.Reasons(ctx, both[1], both[0]); err != nil {
		return nil, err
	}
	out.Forward, err = compat.Reasons(ctx, both[0], both[1])
	return out, err
}
