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
	Error         string       `json:"error,omitempty"` // error of the registry, shown on the page
}

const (
	registryTime = 10 * time.Second
	maxSubjects  = 500 // in the list
)

// schemaPage is the page of the registry's schemas. registry may be nil.
type schemaPage struct{ registry *registry.Client }

// list serves GET /api/schemas: the subjects and their versions.
func (p schemaPage) list(r *http.Request) (any, error) {
	list := schemaList{Subjects: []subjectRow{}}
	if p.registry == nil {
		return list, nil
	}
	list.Registry = p.registry.URL()
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	if err := p.readSubjects(ctx, &list); err != nil {
		list.Error = err.Error()
	}
	return list, nil
}

func (p schemaPage) readSubjects(ctx context.Context, list *schemaList) error {
	names, err := p.registry.Subjects(ctx)
	if err != nil {
		return err
	}
	if list.Compatibility, err = p.registry.Compatibility(ctx, ""); err != nil {
		return err
	}
	for _, name := range names[:min(len(names), maxSubjects)] {
		row := subjectRow{Name: name}
		if row.Versions, err = p.registry.Versions(ctx, name); err != nil {
			return err
		}
		if row.Compatibility, err = p.registry.Compatibility(ctx, name); err != nil {
			return err
		}
		if n := len(row.Versions); n > 0 {
			newest, err := p.registry.Version(ctx, name, row.Versions[n-1])
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

// subject serves GET /api/schema?subject=: all versions, oldest first.
func (p schemaPage) subject(r *http.Request) (any, error) {
	if p.registry == nil {
		return nil, errNoRegistry
	}
	ctx, cancel := context.WithTimeout(r.Context(), registryTime)
	defer cancel()
	subject := r.FormValue("subject")
	versions, err := p.registry.Versions(ctx, subject)
	if err != nil {
		return nil, err
	}
	out := []schemaText{}
	for _, n := range versions {
		v, err := p.registry.Version(ctx, subject, n)
		if err != nil {
			return nil, err
		}
		out = append(out, schemaText{v.Version, v.Schema.ID, v.Schema.Type, strings.TrimSpace(v.Schema.Pretty()), v.Schema.References})
	}
	level, err := p.registry.Compatibility(ctx, subject)
	if err != nil {
		return nil, err
	}
	return map[string]any{"subject": subject, "versions": out, "compatibility": level}, nil
}

// schemaReaders reports whether two schemas can read each other's data: an empty list means yes.
type schemaReaders struct {
	Backward []string `json:"backward"` // why the newer schema cannot read data of the older one
	Forward  []string `json:"forward"`  // why the older schema cannot read data of the newer one
}

// compare serves GET /api/schema/compare?subject=&from=&to=: two versions of a subject.
func (p schemaPage) compare(r *http.Request) (any, error) {
	if p.registry == nil {
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
		v, err := p.registry.Version(ctx, r.FormValue("subject"), n)
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
