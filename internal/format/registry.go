package format

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/secret"
)

// Schemas is a set of schemas fetched from schema registries. Formats look up schemas here and do
// no I/O: the caller must add a schema before decoding records with its id. Schemas is safe for
// concurrent use; nil is an empty set.
type Schemas struct {
	mu      sync.RWMutex
	byID    map[schemaID]known
	writers map[subject]int
	readers map[subject]int
}

type schemaID struct {
	url string
	id  int
}

type subject struct{ url, name string }

// known is a schema, or the reason why it is unavailable.
type known struct {
	schema *registry.Schema
	err    error
}

// NewSchemas returns an empty set.
func NewSchemas() *Schemas {
	return &Schemas{byID: make(map[schemaID]known), writers: make(map[subject]int), readers: make(map[subject]int)}
}

// Registry returns the URL of the schema registry, without a trailing slash.
func (o Options) Registry() string { return strings.TrimRight(o["url"], "/") }

// Subject returns the subject of a table's key or value schemas.
func (o Options) Subject() string { return o["subject"] }

// Add adds a schema.
func (s *Schemas) Add(url string, schema *registry.Schema) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[schemaID{url, schema.ID}] = known{schema: schema}
}

// Refuse records why records with this schema id can't be decoded.
func (s *Schemas) Refuse(url string, id int, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[schemaID{url, id}] = known{err: reason}
}

// Known reports whether an id is in the set, and whether its records were refused.
func (s *Schemas) Known(url string, id int) (known, refused bool) {
	k, ok := s.lookup(url, id)
	return ok, k.err != nil
}

func (s *Schemas) lookup(url string, id int) (known, bool) {
	if s == nil {
		return known{}, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.byID[schemaID{url, id}]
	return k, ok
}

// SetWriter sets the id of the registered schema with which rows of a subject are written.
func (s *Schemas) SetWriter(url, name string, id int) { s.set(s.writers, url, name, id) }

// SetReader sets the id of the schema of a subject that matches the table's columns. Errors about
// incompatible schemas refer to it.
func (s *Schemas) SetReader(url, name string, id int) { s.set(s.readers, url, name, id) }

func (s *Schemas) set(ids map[subject]int, url, name string, id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids[subject{url, name}] = id
}

func (s *Schemas) writer(url, name string) (int, bool) {
	if s == nil {
		return 0, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.writers[subject{url, name}]
	return id, ok
}

func (s *Schemas) reader(url, name string) (int, bool) {
	if s == nil {
		return 0, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.readers[subject{url, name}]
	return id, ok
}

// SchemaID returns the schema id at the start of a key or value in the Confluent wire format.
func SchemaID(data []byte) (id int, ok bool) {
	id, _, err := registry.ReadHeader(data)
	return id, err == nil
}

// programs caches the compiled writers' schemas of a decoder. P decodes the records of one schema.
type programs[P any] struct {
	schemas *Schemas
	options Options
	compile func(*registry.Schema) (P, error)

	last    int
	current P
	made    map[int]result[P]
}

// result is a program, or the reason why there is none.
type result[P any] struct {
	program P
	err     error
}

func newPrograms[P any](s *Schemas, o Options, compile func(*registry.Schema) (P, error)) programs[P] {
	return programs[P]{schemas: s, options: o, compile: compile, last: -1, made: make(map[int]result[P])}
}

// program returns the program for a record, and the record's data after the header.
func (p *programs[P]) program(data []byte) (P, []byte, error) {
	id, data, err := registry.ReadHeader(data)
	if err != nil {
		var none P
		return none, nil, err
	}
	if id == p.last {
		return p.current, data, nil
	}
	current, err := p.of(id)
	if err != nil {
		return current, nil, err
	}
	p.last, p.current = id, current
	return current, data, nil
}

func (p *programs[P]) of(id int) (P, error) {
	made, ok := p.made[id]
	if ok {
		return made.program, made.err
	}
	k, ok := p.schemas.lookup(p.options.Registry(), id)
	switch {
	case !ok:
		return made.program, fmt.Errorf("schema %d: not looked up", id)
	case k.err != nil: // not cached, since it may become available
		return made.program, fmt.Errorf("schema %d: %w", id, k.err)
	}
	if made.program, made.err = p.compile(k.schema); made.err != nil {
		made.err = p.incompatible(id, made.err)
	}
	p.made[id] = made
	return made.program, made.err
}

// incompatible returns an error that names both schemas: the writer's, and the reader's if known.
func (p *programs[P]) incompatible(id int, err error) error {
	name := p.options.Subject()
	if reader, ok := p.schemas.reader(p.options.Registry(), name); ok {
		return fmt.Errorf("schema %d (of the writer) can't be read as schema %d (of the reader, %s): %w", id, reader, name, err)
	}
	return fmt.Errorf("schema %d (of the writer) can't be read as the table's columns: %w", id, err)
}

// fits returns an error if records of a schema can't be decoded.
func (p *programs[P]) fits(s *registry.Schema) error {
	_, err := p.compile(s)
	return err
}

// RegistryOptions returns the options for connecting to a registry.
func RegistryOptions(c registry.Config) Options {
	o := Options{"url": strings.Join(c.URLs, ",")}
	if c.User != "" {
		o["basic-auth.credentials-source"], o["basic-auth.user-info"] = "USER_INFO", c.User+":"+c.Password
	}
	for name, value := range map[string]string{
		"bearer-auth.token": c.Token, "ssl.truststore.location": c.CAFile, "ssl.keystore.location": c.CertFile, "ssl.keystore.key-location": c.KeyFile,
	} {
		if value != "" {
			o[name] = value
		}
	}
	return o
}

// SetRegistryDefaults completes the options of a table's key or value as Flink does: it replaces
// deprecated option names and sets the subject that Confluent's serializers use by default.
func (o Options) SetRegistryDefaults(topic string, key bool) {
	for _, name := range []string{"url", "subject", "schema"} {
		older := "schema-registry." + name
		if v, ok := o[older]; ok && o[name] == "" {
			o[name] = v
		}
		delete(o, older)
	}
	if o["subject"] == "" {
		o["subject"], _ = registry.TopicName.Subject(topic, "", key) // needs no record
	}
}

// RegistersSchemas reports whether missing schemas are registered when writing.
func (o Options) RegistersSchemas() bool {
	return !strings.EqualFold(o["auto.register.schemas"], "false")
}

func anything(string) error { return nil }

// registryOptions returns the options of formats with a registry, by their Flink names.
func registryOptions(more ...map[string]func(string) error) map[string]func(string) error {
	all := map[string]func(string) error{
		"url": anything, "subject": anything, "schema": anything, "auto.register.schemas": boolean,
		"basic-auth.credentials-source": oneOf("USER_INFO", "URL", "SASL_INHERIT"), "basic-auth.user-info": anything,
		"bearer-auth.credentials-source": oneOf("STATIC_TOKEN"), "bearer-auth.token": anything,
		"ssl.truststore.location": anything, "ssl.truststore.password": anything,
		"ssl.keystore.location": anything, "ssl.keystore.key-location": anything, "ssl.keystore.password": anything,
	}
	for _, m := range more {
		maps.Copy(all, m)
	}
	return all
}

func checkRegistry(o Options) error {
	if o["url"] == "" {
		return errors.New("it needs the option 'url' of the schema registry, such as http://127.0.0.1:8081")
	}
	for _, value := range o {
		if secret.Refers(value) { // checked when it is known
			return nil
		}
	}
	_, err := o.RegistryConfig()
	return err
}

// Expand returns the options with the secrets that they refer to.
func (o Options) Expand(from secret.Source) (Options, error) {
	all := make(Options, len(o))
	for name, value := range o {
		var err error
		if all[name], err = from.Expand(value); err != nil {
			return nil, fmt.Errorf("option '%s': %w", name, err)
		}
	}
	return all, nil
}

// RegistryConfig returns the connection settings in the options. Keys and certificates are PEM
// files instead of Flink's Java key stores: certificate and key are in one file, or the key is in
// ssl.keystore.key-location.
func (o Options) RegistryConfig() (registry.Config, error) {
	c := registry.Config{Token: o["bearer-auth.token"], CAFile: o["ssl.truststore.location"], CertFile: o["ssl.keystore.location"], KeyFile: cmp.Or(o["ssl.keystore.key-location"], o["ssl.keystore.location"])}
	for _, u := range strings.Split(o.Registry(), ",") {
		c.URLs = append(c.URLs, strings.TrimSpace(u))
	}
	if info := o["basic-auth.user-info"]; info != "" {
		var ok bool
		if c.User, c.Password, ok = strings.Cut(info, ":"); !ok {
			return c, errors.New("option 'basic-auth.user-info' must have the form user:password")
		}
	}
	for _, store := range []string{"ssl.truststore", "ssl.keystore"} {
		if o[store+".password"] != "" {
			return c, fmt.Errorf("option '%s.password': Java's key stores are not read; name a PEM file in '%s.location'", store, store)
		}
	}
	return c, c.Validate()
}
