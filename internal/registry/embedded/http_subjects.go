package embedded

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

func (r *Registry) getSubjects(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		prefix := c.query.Get("subjectPrefix")
		return page(c, slices.DeleteFunc(s.names(c.deleted()), func(name string) bool { return !strings.HasPrefix(name, prefix) })), nil
	})
}

// page returns the part of a list that the request's offset and limit select.
func page[T any](c *call, list []T) []T {
	if n, err := strconv.Atoi(c.query.Get("offset")); err == nil && n > 0 {
		list = list[min(n, len(list)):]
	}
	if n, err := strconv.Atoi(c.query.Get("limit")); err == nil && n >= 0 {
		list = list[:min(n, len(list))]
	}
	return list
}

func (r *Registry) postLookup(c *call) (any, error) {
	req, err := c.schema()
	if err != nil {
		return nil, err
	}
	return r.look(func(s *state) (any, error) {
		if s.latest(c.subject(), c.flag("deleted")) == nil {
			return nil, errSubjectNotFound(c.subject())
		}
		p, err := s.prepare(c.Context(), req)
		if err != nil {
			return nil, err
		}
		e := s.find(c.subject(), p.fingerprint, c.deleted())
		if e == nil {
			return nil, errLookupNotFound()
		}
		return s.answer(c.Context(), e, c.query.Get("format"))
	})
}

func (r *Registry) deleteSubjectCall(c *call) (any, error) {
	return r.deleteSubject(c.Context(), c.subject(), c.flag("permanent"))
}

func (r *Registry) getVersions(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		out := []int{}
		for _, e := range s.versions(c.subject(), c.deleted()) {
			out = append(out, e.Version)
		}
		if s.latest(c.subject(), c.deleted() != live) == nil {
			return nil, errSubjectNotFound(c.subject())
		}
		return page(c, out), nil
	})
}

func (r *Registry) postVersion(c *call) (any, error) {
	req, err := c.schema()
	if err != nil {
		return nil, err
	}
	id, err := r.register(c.Context(), c.subject(), req)
	if err != nil {
		return nil, err
	}
	return map[string]int{"id": id}, nil
}

func (r *Registry) getVersion(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		e, err := s.lookup(c.subject(), c.PathValue("version"), c.flag("deleted"))
		if err != nil {
			return nil, err
		}
		return s.answer(c.Context(), e, c.query.Get("format"))
	})
}

// lookup returns a version by number; -1 and "latest" mean the newest.
func (s *state) lookup(subject, which string, evenDeleted bool) (*entry, error) {
	version, err := strconv.ParseInt(which, 10, 64)
	isLatest := which == "latest" || version == -1 && err == nil
	if !isLatest && (err != nil || version < 1 || version > math.MaxInt32) {
		return nil, errInvalidVersion(which)
	}
	if s.latest(subject, evenDeleted) == nil {
		return nil, errSubjectNotFound(subject)
	}
	if isLatest {
		if e := s.latest(subject, false); e != nil {
			return e, nil
		}
		return s.latest(subject, true), nil
	}
	e := s.version(subject, int(version))
	if e == nil || e.Deleted && !evenDeleted {
		return nil, errVersionNotFound(int(version))
	}
	return e, nil
}

func (r *Registry) getVersionText(c *call) (any, error) {
	v, err := r.getVersion(c)
	return textOf(v, err)
}

func (r *Registry) getReferencedBy(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		e, err := s.lookup(c.subject(), c.PathValue("version"), true)
		if err != nil {
			return nil, err
		}
		ids := []int{}
		for _, by := range s.referredBy(c.subject(), e.Version) {
			ids = append(ids, by.ID)
		}
		slices.Sort(ids)
		return slices.Compact(ids), nil
	})
}

func (r *Registry) deleteVersionCall(c *call) (any, error) {
	return r.deleteVersion(c.Context(), c.subject(), c.PathValue("version"), c.flag("permanent"))
}

// checked is the response to a compatibility check.
type checked struct {
	Is       bool     `json:"is_compatible"`
	Messages []string `json:"messages,omitempty"`
}

func (r *Registry) postCheck(c *call) (any, error) {
	req, err := c.schema()
	if err != nil {
		return nil, err
	}
	return r.look(func(s *state) (any, error) {
		versions := s.versions(c.subject(), live)
		if which := c.PathValue("version"); which != "" && (len(versions) > 0 || which != "latest") {
			e, err := s.lookup(c.subject(), which, false)
			if err != nil {
				return nil, err
			}
			versions = []*entry{e}
		}
		p, err := s.prepare(c.Context(), req)
		if err != nil {
			return nil, err
		}
		details, err := s.check(c.Context(), c.subject(), p.schema, versions)
		out := checked{Is: len(details) == 0}
		if c.flag("verbose") {
			out.Messages = details
		}
		return out, err
	})
}
