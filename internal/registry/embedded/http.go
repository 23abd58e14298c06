package embedded

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/compat"
)

// handler is the REST API. A page of a browser that comes from elsewhere is refused: nobody has to
// log in here.
func (r *Registry) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, fn := range map[string]endpoint{
		"GET /{$}":                                                func(*call) (any, error) { return struct{}{}, nil },
		"GET /contexts":                                           func(*call) (any, error) { return []string{"."}, nil },
		"GET /subjects":                                           r.getSubjects,
		"POST /subjects/{subject}":                                r.postLookup,
		"DELETE /subjects/{subject}":                              r.deleteSubjectCall,
		"GET /subjects/{subject}/versions":                        r.getVersions,
		"POST /subjects/{subject}/versions":                       r.postVersion,
		"GET /subjects/{subject}/versions/{version}":              r.getVersion,
		"DELETE /subjects/{subject}/versions/{version}":           r.deleteVersionCall,
		"GET /subjects/{subject}/versions/{version}/schema":       r.getVersionText,
		"GET /subjects/{subject}/versions/{version}/referencedby": r.getReferencedBy,
		"GET /schemas":                                            r.getSchemas,
		"GET /schemas/types":                                      func(*call) (any, error) { return []registry.Type{registry.JSON, registry.Protobuf, registry.Avro}, nil },
		"GET /schemas/ids/{id}":                                   r.getID,
		"GET /schemas/ids/{id}/schema":                            r.getIDText,
		"GET /schemas/ids/{id}/subjects":                          r.getIDSubjects,
		"GET /schemas/ids/{id}/versions":                          r.getIDVersions,
		"GET /config":                                             r.getConfig,
		"PUT /config":                                             r.putConfig,
		"DELETE /config":                                          r.deleteConfig,
		"GET /config/{subject}":                                   r.getConfig,
		"PUT /config/{subject}":                                   r.putConfig,
		"DELETE /config/{subject}":                                r.deleteConfig,
		"GET /mode":                                               r.getMode,
		"PUT /mode":                                               r.putMode,
		"DELETE /mode":                                            r.deleteMode,
		"GET /mode/{subject}":                                     r.getMode,
		"PUT /mode/{subject}":                                     r.putMode,
		"DELETE /mode/{subject}":                                  r.deleteMode,
		"POST /compatibility/subjects/{subject}/versions":         r.postCheck,
		"POST /compatibility/subjects/{subject}/versions/{version}": r.postCheck,
	} {
		mux.HandleFunc(pattern, r.cfg.Metrics.observe(pattern, r.serve(fn)))
	}
	mux.HandleFunc("/", r.cfg.Metrics.observe("other", func(w http.ResponseWriter, _ *http.Request) {
		write(w, r.cfg.Logger, http.StatusNotFound, refuse(http.StatusNotFound, "HTTP 404 Not Found"))
	}))
	return http.NewCrossOriginProtection().Handler(withoutSlash(mux))
}

// withoutSlash takes /subjects/ for /subjects.
func withoutSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if p := req.URL.Path; len(p) > 1 && strings.HasSuffix(p, "/") {
			req.URL.Path, req.URL.RawPath = strings.TrimSuffix(p, "/"), strings.TrimSuffix(req.URL.RawPath, "/")
		}
		next.ServeHTTP(w, req)
	})
}

// call is a request that is being answered.
type call struct {
	*http.Request
	query url.Values
	body  io.Reader
}

type endpoint = func(*call) (any, error)

func (r *Registry) serve(fn endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		c := &call{Request: req, query: req.URL.Query(), body: http.MaxBytesReader(w, req.Body, r.cfg.MaxBody)}
		answer, err := fn(c)
		var refused *apiError
		switch {
		case err == nil:
			write(w, r.cfg.Logger, http.StatusOK, answer)
		case errors.As(err, &refused):
			write(w, r.cfg.Logger, refused.status(), refused)
		case req.Context().Err() != nil: // nobody waits for the answer
		default:
			r.cfg.Logger.Error("registry: request failed", "path", req.URL.Path, "err", err)
			write(w, r.cfg.Logger, http.StatusInternalServerError, refuse(50001, "%s", err))
		}
	}
}

func (c *call) subject() string { return c.PathValue("subject") }

func (c *call) flag(name string) bool { return strings.EqualFold(c.query.Get(name), "true") }

func (c *call) deleted() deleted {
	switch {
	case c.flag("deletedOnly"):
		return onlyDeleted
	case c.flag("deleted"):
		return all
	default:
		return live
	}
}

func (c *call) decode(into any) error {
	err := json.NewDecoder(c.body).Decode(into)
	var size *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &size):
		return errTooLarge(size.Limit)
	default:
		return refuse(http.StatusBadRequest, "Unreadable request body: %s", err)
	}
}

func (c *call) schema() (*request, error) {
	var req request
	if err := c.decode(&req); err != nil {
		return nil, err
	}
	if len(req.Text) > registry.MaxText {
		return nil, errTooLarge(registry.MaxText)
	}
	return &req, nil
}

// lookup finds a version by a number, -1 or "latest".
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

// answered is a version in an answer.
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

// answer is a version as a client wants it; format "serialized" is a Protobuf descriptor in base64.
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

func (r *Registry) getSubjects(c *call) (any, error) {
	return r.look(func(s *state) (any, error) {
		prefix := c.query.Get("subjectPrefix")
		return page(c, slices.DeleteFunc(s.names(c.deleted()), func(name string) bool { return !strings.HasPrefix(name, prefix) })), nil
	})
}

// page cuts a list as offset and limit say.
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

// raw is a schema's own text as an answer: not a string in JSON, as Confluent's registry answers.
type raw = json.RawMessage

func (r *Registry) getVersionText(c *call) (any, error) {
	v, err := r.getVersion(c)
	return textOf(v, err)
}

// textOf is the text of an answer: as it is where it is JSON, else as a string.
func textOf(v any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	text := v.(answered).Text //nolint:forcetypeassert // what both callers get
	if json.Valid([]byte(text)) {
		return raw(text), nil
	}
	return text, nil
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

// byID finds a schema by its id, deleted or not.
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
		out.Subject, out.Version, out.ID = "", 0, 0 // a schema may have many
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

// checked is the answer to whether a schema is compatible.
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

// put writes a setting of a subject, or of all.
func (r *Registry) put(c *call, kind string, value func(subject *string) any) error {
	if c.subject() != "" && !validSubject(c.subject()) {
		return errInvalidSubject(c.subject())
	}
	return r.change(c.Context(), func(*state) ([]record, error) {
		subject := pointer(c.subject())
		return []record{{key{Type: kind, Subject: subject}, value(subject)}}, nil
	})
}
