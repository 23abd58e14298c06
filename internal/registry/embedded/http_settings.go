package embedded

import (
	"slices"
	"strings"

	"weir.example/weir/internal/registry/compat"
)

type levelAnswer struct {
	Level string `json:"compatibilityLevel"`
}

func (r *Registry) getConfig(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		if _, own := s.levels[c.subject()]; !own && c.subject() != "" && !c.flag("defaultToGlobal") {
			return nil, errNoLevel(c.subject())
		}
		return levelAnswer{s.level(c.subject())}, nil
	})
}

func (r *Registry) putConfig(c *call) (any, error) {
	var asked struct {
		Level string `json:"compatibility"`
	}
	if err := c.decode(&asked); err != nil {
		return nil, err
	}
	level, err := compat.ParseLevel(asked.Level)
	if err != nil {
		return nil, errInvalidLevel()
	}
	asked.Level = string(level)
	return asked, r.put(c, configKey, func(subject *string) any { return configValue{subject, asked.Level} })
}

func (r *Registry) deleteConfig(c *call) (any, error) {
	var old levelAnswer
	err := r.change(c.Context(), func(s *state) ([]record, error) {
		if _, own := s.levels[c.subject()]; !own && c.subject() != "" {
			return nil, errSubjectNotFound(c.subject())
		}
		old.Level = s.level(c.subject())
		return []record{{key: key{Type: configKey, Subject: pointer(c.subject())}}}, nil
	})
	return old, err
}

type modeAnswer struct {
	Mode string `json:"mode"`
}

func (r *Registry) getMode(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		if _, own := s.modes[c.subject()]; !own && c.subject() != "" && !c.flag("defaultToGlobal") {
			return nil, errNoMode(c.subject())
		}
		return modeAnswer{s.mode(c.subject())}, nil
	})
}

func (r *Registry) putMode(c *call) (any, error) {
	var asked modeAnswer
	if err := c.decode(&asked); err != nil {
		return nil, err
	}
	asked.Mode = strings.ToUpper(asked.Mode)
	if !slices.Contains([]string{readWrite, readOnly, readOnlyOverride, importing}, asked.Mode) {
		return nil, errInvalidMode()
	}
	if asked.Mode == importing && !c.flag("force") {
		_, err := r.look(func(s *state) (any, error) {
			if c.subject() == "" && len(s.names(live)) > 0 || s.latest(c.subject(), false) != nil {
				return nil, errNotPermitted("Cannot import since found existing subjects")
			}
			return nil, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return asked, r.put(c, modeKey, func(subject *string) any { return modeValue{subject, asked.Mode} })
}

func (r *Registry) deleteMode(c *call) (any, error) {
	var old modeAnswer
	err := r.change(c.Context(), func(s *state) ([]record, error) {
		if _, own := s.modes[c.subject()]; !own && c.subject() != "" {
			return nil, errSubjectNotFound(c.subject())
		}
		old.Mode = s.mode(c.subject())
		return []record{{key: key{Type: modeKey, Subject: pointer(c.subject())}}}, nil
	})
	return old, err
}

// put writes a setting of a subject, or the global one.
func (r *Registry) put(c *call, kind string, value func(subject *string) any) error {
	if c.subject() != "" && !validSubject(c.subject()) {
		return errInvalidSubject(c.subject())
	}
	return r.change(c.Context(), func(*state) ([]record, error) {
		subject := pointer(c.subject())
		return []record{{key{Type: kind, Subject: subject}, value(subject)}}, nil
	})
}
