package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"golang.org/x/sync/singleflight"

	"weir.example/weir/internal/retry"
	"weir.example/weir/internal/tlsconf"
)

// Config names the registry's URLs, and how to authenticate.
type Config struct {
	URLs []string // http:// or https://; the next one is tried if one does not answer; at least one

	User     string // for basic authentication
	Password string // for basic authentication; never logged
	Token    string // bearer token, instead of User; never logged

	CAFile   string // PEM with the authorities to trust; default the system's
	CertFile string // PEM with the client's certificate, for mutual TLS
	KeyFile  string // PEM with the key of CertFile
	Pinned   string // PEM with the only certificate that the server may have, for a registry of this machine; default any trusted one

	Timeout time.Duration // of one request; default 5 s
	Logger  *slog.Logger  // default none
	Metrics *Metrics      // default none
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns an error for the first invalid setting.
func (c *Config) Validate() error {
	if len(c.URLs) == 0 {
		return errors.New("no registry: name at least one URL, such as http://127.0.0.1:8081")
	}
	for _, s := range c.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("invalid registry URL %q: expected one such as http://127.0.0.1:8081", s)
		}
		if u.User != nil {
			return errors.New("a registry's URL must not contain the password: set user and password separately, so that they are not logged")
		}
	}
	if c.Token != "" && c.User != "" {
		return errors.New("a registry takes a token or a user, not both")
	}
	if c.Password != "" && c.User == "" {
		return errors.New("a password for the registry needs a user")
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return errors.New("a client certificate needs its key: set both or neither")
	}
	if c.Timeout < 0 {
		return fmt.Errorf("the registry's timeout must not be negative, got %s", c.Timeout)
	}
	return nil
}

// Client is a registry's client. It caches schemas by id forever, because they never change; it
// never caches that one is missing. It is safe for concurrent use.
type Client struct {
	sr    *sr.Client
	http  *http.Client
	where string // the URLs, for errors
	log   *slog.Logger

	metrics *Metrics

	byID    sync.Map // int -> *Schema
	viewers sync.Map // int -> func(body []byte) ([]byte, error)
	flights singleflight.Group

	lookups, failures, waiting atomic.Int64
}

// Stats are counters since the client was created.
type Stats struct {
	Lookups  int64 // requests for a schema by id: cache misses
	Failures int64 // of these, those that did not return a schema
	Waiting  int64 // callers waiting in Await now
}

// NewClient returns a client. It does not connect.
func NewClient(c Config) (*Client, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // standard library
	conf, err := tlsconf.Client(c.CAFile, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	if c.Pinned != "" {
		if conf, err = tlsconf.Pinned(c.Pinned); err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
	}
	transport.TLSClientConfig = conf
	where := strings.Join(c.URLs, ",")
	c.Metrics.add(where)
	client := &Client{
		where: where, log: c.Logger, metrics: c.Metrics,
		http: &http.Client{Timeout: c.Timeout, Transport: counted{capped{transport}, c.Metrics, where}},
	}
	opts := []sr.ClientOpt{sr.URLs(slices.Clone(c.URLs)...), sr.HTTPClient(client.http), sr.UserAgent("weir")}
	if c.User != "" {
		opts = append(opts, sr.BasicAuth(c.User, c.Password))
	}
	if c.Token != "" {
		opts = append(opts, sr.BearerToken(c.Token))
	}
	if client.sr, err = sr.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("configure registry client: %w", err)
	}
	return client, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ping returns nil if the registry responds.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.sr.SupportedTypes(ctx)
	return c.failed(ctx, "ping", err)
}

// URL returns the registry's URLs, separated by commas.
func (c *Client) URL() string { return c.where }

// Stats returns the client's counters.
func (c *Client) Stats() Stats {
	return Stats{Lookups: c.lookups.Load(), Failures: c.failures.Load(), Waiting: c.waiting.Load()}
}

// Cached returns the schema with this id if it is in the cache, else nil.
func (c *Client) Cached(id int) *Schema {
	if s, ok := c.byID.Load(id); ok {
		return s.(*Schema) //nolint:forcetypeassert // only schemas are stored
	}
	return nil
}

// Schema returns the schema with this id, with its imports. Concurrent calls for the same id share
// one request. The error is an *Error, whose kind determines the reaction, or ctx's.
func (c *Client) Schema(ctx context.Context, id int) (*Schema, error) {
	if s := c.Cached(id); s != nil {
		return s, nil
	}
	// The request outlives a caller that gives up: others may wait for it, and the result is
	// cached.
	flight := c.flights.DoChan(strconv.Itoa(id), func() (any, error) {
		if s := c.Cached(id); s != nil {
			return s, nil
		}
		s, err := c.fetch(context.WithoutCancel(ctx), id)
		c.lookups.Add(1)
		c.metrics.lookedUp(c.where, err, 1)
		if err != nil {
			c.failures.Add(1)
			return nil, err
		}
		c.byID.Store(id, s)
		return s, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-flight:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Schema), nil //nolint:forcetypeassert // returned above
	}
}

func (c *Client) fetch(ctx context.Context, id int) (*Schema, error) {
	op := fmt.Sprintf("schema %d", id)
	answer, err := c.sr.SchemaByID(ctx, id)
	if err != nil {
		return nil, c.failed(ctx, op, err)
	}
	return c.complete(ctx, op, id, answer)
}

// Await is Schema for a caller that can't continue without the schema: while the registry is
// unavailable it waits as UntilAvailable does, and logs that it waits. Any other error is returned
// immediately.
func (c *Client) Await(ctx context.Context, id int) (*Schema, error) {
	var since, logged time.Time // zero while not waiting
	s, err := UntilAvailable(ctx, func() (*Schema, error) { return c.Schema(ctx, id) }, func(err error, _ time.Duration) {
		now := time.Now()
		if since.IsZero() {
			since, logged = now, now
			c.waiting.Add(1)
			c.metrics.wait(c.where, 1)
			c.log.Warn("records wait for their schema", "id", id, "registry", c.where, "err", err)
		}
		if now.Sub(logged) > 30*time.Second {
			logged = now
			c.log.Warn("records still wait for their schema", "id", id, "registry", c.where, "waited", now.Sub(since).Round(time.Second), "err", err)
		}
	})
	if since.IsZero() {
		return s, err
	}
	c.waiting.Add(-1)
	c.metrics.wait(c.where, -1)
	if err == nil {
		c.log.Info("schema received", "id", id, "registry", c.where, "waited", time.Since(since).Round(time.Millisecond))
	}
	return s, err
}

// UntilAvailable calls ask until its error is not ErrUnavailable, and returns its result. Between
// attempts it pauses from 100 ms up to 5 s; before each pause it calls waiting with the error and
// the length of the pause. If ctx is done during a pause, the error is ctx's.
func UntilAvailable[T any](ctx context.Context, ask func() (T, error), waiting func(err error, pause time.Duration)) (T, error) {
	backoff := retry.Backoff()
	for {
		answer, err := ask()
		if !errors.Is(err, ErrUnavailable) {
			return answer, err
		}
		pause := backoff.NextBackOff()
		waiting(err, pause)
		if err := retry.Sleep(ctx, pause); err != nil {
			var none T
			return none, err
		}
	}
}

// complete builds a Schema from a response: it vets the text and fetches its references.
func (c *Client) complete(ctx context.Context, op string, id int, answer sr.Schema) (*Schema, error) {
	t, err := ParseType(answer.Type.String())
	if err != nil {
		return nil, &Error{Op: op, URL: c.where, Message: err.Error(), Kind: ErrInvalid}
	}
	s := &Schema{ID: id, Type: t, Text: answer.Schema}
	for _, r := range answer.References {
		s.References = append(s.References, Reference(r))
	}
	s.Imports, err = ResolveImports(s, func(r Reference) (*Schema, error) { return c.referred(ctx, r) })
	if err == nil {
		return s, nil
	}
	var own *Error
	if errors.As(err, &own) || ctx.Err() != nil {
		return nil, err
	}
	kind := ErrInvalid
	if errors.Is(err, ErrHostile) {
		kind = ErrHostile
	}
	return nil, &Error{Op: op, URL: c.where, Message: err.Error(), Kind: kind}
}

// referred fetches a schema that another one refers to, deleted or not, without its own imports.
func (c *Client) referred(ctx context.Context, r Reference) (*Schema, error) {
	answer, err := c.sr.SchemaByVersion(sr.WithParams(ctx, sr.ShowDeleted), r.Subject, r.Version)
	if err != nil {
		return nil, c.failed(ctx, fmt.Sprintf("reference %q, version %d of subject %s", r.Name, r.Version, r.Subject), err)
	}
	s := &Schema{ID: answer.ID, Text: answer.Schema.Schema}
	for _, r := range answer.References {
		s.References = append(s.References, Reference(r))
	}
	return s, nil
}

// Latest returns the newest version of a subject.
func (c *Client) Latest(ctx context.Context, subject string) (*Version, error) {
	return c.Version(ctx, subject, -1)
}

// Version returns a version of a subject; -1 is the newest.
func (c *Client) Version(ctx context.Context, subject string, version int) (*Version, error) {
	op := fmt.Sprintf("version %d of subject %s", version, subject)
	if version == -1 {
		op = "latest version of subject " + subject
	}
	answer, err := c.sr.SchemaByVersion(ctx, subject, version)
	if err != nil {
		return nil, c.failed(ctx, op, err)
	}
	return c.version(ctx, op, answer)
}

func (c *Client) version(ctx context.Context, op string, answer sr.SubjectSchema) (*Version, error) {
	if s := c.Cached(answer.ID); s != nil {
		return &Version{Subject: answer.Subject, Version: answer.Version, Schema: s}, nil
	}
	s, err := c.complete(ctx, op, answer.ID, answer.Schema)
	if err != nil {
		return nil, err
	}
	c.byID.Store(s.ID, s)
	return &Version{Subject: answer.Subject, Version: answer.Version, Schema: s}, nil
}

// Register adds a schema to a subject and returns its id; it is a no-op if the subject already has
// the schema. The error is an ErrIncompatible if the subject's compatibility level forbids it.
func (c *Client) Register(ctx context.Context, subject string, s *Schema) (int, error) {
	op := "register under subject " + subject
	if err := Vet(s.Type, s.Text); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	id, err := c.sr.RegisterSchema(ctx, subject, s.wire(), 0, 0)
	return id, c.failed(ctx, op, err)
}

// Lookup returns the version of a subject that has exactly this schema.
func (c *Client) Lookup(ctx context.Context, subject string, s *Schema) (*Version, error) {
	op := "look up a schema of subject " + subject
	answer, err := c.sr.LookupSchema(ctx, subject, s.wire())
	if err != nil {
		return nil, c.failed(ctx, op, err)
	}
	return c.version(ctx, op, answer)
}

// Report is the result of a compatibility check.
type Report struct {
	Compatible bool     `json:"compatible"`
	Messages   []string `json:"messages,omitempty"` // reasons, in the registry's words
}

// Check tests whether a schema could be registered under a subject, without registering it. A
// subject that does not exist accepts any valid schema.
func (c *Client) Check(ctx context.Context, subject string, s *Schema) (Report, error) {
	op := "check against subject " + subject
	if err := Vet(s.Type, s.Text); err != nil {
		return Report{}, fmt.Errorf("%s: %w", op, err)
	}
	const all = -2 // all versions that the subject's level requires
	answer, err := c.sr.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), subject, all, s.wire())
	if err := c.failed(ctx, op, err); err != nil {
		return Report{}, err
	}
	return Report{Compatible: answer.Is, Messages: answer.Messages}, nil
}

// Subjects lists the subjects, sorted.
func (c *Client) Subjects(ctx context.Context) ([]string, error) {
	subjects, err := c.sr.Subjects(ctx)
	slices.Sort(subjects)
	return subjects, c.failed(ctx, "list subjects", err)
}

// Versions lists the version numbers of a subject, ascending.
func (c *Client) Versions(ctx context.Context, subject string) ([]int, error) {
	versions, err := c.sr.SubjectVersions(ctx, subject)
	slices.Sort(versions)
	return versions, c.failed(ctx, "versions of subject "+subject, err)
}

// Delete marks a subject, or one version of it if version is not 0, as deleted; with permanent it
// removes a subject or version that is already marked. Schemas marked as deleted can still be read
// by id, removed ones can't.
func (c *Client) Delete(ctx context.Context, subject string, version int, permanent bool) ([]int, error) {
	how, op := sr.SoftDelete, "delete subject "+subject
	if permanent {
		how = sr.HardDelete
	}
	if version == 0 {
		versions, err := c.sr.DeleteSubject(ctx, subject, how)
		return versions, c.failed(ctx, op, err)
	}
	op = fmt.Sprintf("delete version %d of subject %s", version, subject)
	return []int{version}, c.failed(ctx, op, c.sr.DeleteSchema(ctx, subject, version, how))
}

// Compatibility returns the effective level of a subject, its own or the global one; "" means the
// global one.
func (c *Client) Compatibility(ctx context.Context, subject string) (string, error) {
	r := c.sr.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), subject)[0]
	return r.Level.String(), c.failed(ctx, "compatibility of "+named(subject), r.Err)
}

// SetCompatibility sets the level of a subject; "" means the global one.
func (c *Client) SetCompatibility(ctx context.Context, subject, level string) error {
	var l sr.CompatibilityLevel
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		return fmt.Errorf("unknown compatibility level %q: choose one of %s", level, strings.Join(Levels, ", "))
	}
	r := c.sr.SetCompatibility(ctx, sr.SetCompatibility{Level: l}, subject)[0]
	return c.failed(ctx, "set compatibility of "+named(subject), r.Err)
}

// Levels are the compatibility levels that a subject can have.
var Levels = []string{"NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"}

func named(subject string) string {
	if subject == "" {
		return "all subjects"
	}
	return "subject " + subject
}

// wire returns the schema in the form of a request.
func (s *Schema) wire() sr.Schema {
	out := sr.Schema{Schema: s.Text}
	_ = out.Type.UnmarshalText([]byte(s.Type)) // one of the three types
	for _, r := range s.References {
		out.References = append(out.References, sr.SchemaReference(r))
	}
	return out
}

func isCertificate(err error) bool {
	var invalid *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var alert tls.AlertError
	return errors.As(err, &invalid) || errors.As(err, &authority) || errors.As(err, &alert)
}
