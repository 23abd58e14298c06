package alert

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"

	"weir.example/weir/internal/tlsconf"
)

// Config is the configuration of alerts: who is notified of which alerts.
type Config struct {
	Receivers map[string]*ReceiverConfig `yaml:"receivers"`
	Routes    []Route                    `yaml:"routes"`   // the first match applies; after one with continue, also the next
	Silences  []Silence                  `yaml:"silences"` // in addition to those of weir alerts silence

	// ResolveAfter is the time after the last row when an alert of an append-only table is
	// resolved. Default 5m.
	ResolveAfter time.Duration `yaml:"resolve_after"`
}

// Route sends matching alerts to receivers, in groups.
type Route struct {
	Match          Matcher       `yaml:"match"` // on alertname, severity and the key columns; default all alerts
	Receivers      []string      `yaml:"receivers"`
	Continue       bool          `yaml:"continue"`
	GroupBy        []string      `yaml:"group_by"`        // labels; default alertname; ["..."] sends each alert separately
	GroupWait      time.Duration `yaml:"group_wait"`      // before the first notification of a group, to wait for more of its alerts; default 5s
	GroupInterval  time.Duration `yaml:"group_interval"`  // between notifications of a changed group; default 1m
	RepeatInterval time.Duration `yaml:"repeat_interval"` // between notifications of an unchanged group; default 4h
}

// ReceiverConfig is a receiver of exactly one kind. URLs, headers, users and passwords may contain
// environment variables as ${NAME}.
type ReceiverConfig struct {
	Webhook      *WebhookConfig      `yaml:"webhook"`
	Alertmanager *AlertmanagerConfig `yaml:"alertmanager"`
	Email        *EmailConfig        `yaml:"email"`
	SendResolved *bool               `yaml:"send_resolved"` // default true
	Timeout      time.Duration       `yaml:"timeout"`       // of one notification; default 10s
	CA           string              `yaml:"ca"`            // PEM file of certificate authorities to trust; default the system's
}

// WebhookConfig is a URL to which notifications are posted, by default as JSON. Templates are those
// of text/template, with the values of that JSON.
type WebhookConfig struct {
	URL           string            `yaml:"url"` // default that of the preset, if it has one
	Headers       map[string]string `yaml:"headers"`
	Preset        string            `yaml:"preset"`         // slack, teams, pagerduty or ntfy, whose messages are sent instead
	RoutingKey    string            `yaml:"routing_key"`    // of PagerDuty
	Text          string            `yaml:"text"`           // template of a preset's message; default a line for each alert
	Body          string            `yaml:"body"`           // template of another body in JSON
	SigningSecret string            `yaml:"signing_secret"` // for signatures as in Standard Webhooks; default none
}

// AlertmanagerConfig is a Prometheus Alertmanager, which has its own routes, repeats and silences.
type AlertmanagerConfig struct {
	URL     string            `yaml:"url"` // without /api/v2
	Headers map[string]string `yaml:"headers"`
	Resend  time.Duration     `yaml:"resend"` // interval of notifications; after four of these without one it considers an alert resolved; default 1m
}

// EmailConfig is an SMTP server and the addresses of a mail.
type EmailConfig struct {
	To       []string `yaml:"to"`
	From     string   `yaml:"from"`
	Server   string   `yaml:"server"` // host:port
	User     string   `yaml:"user"`
	Password string   `yaml:"password"`
	TLS      string   `yaml:"tls"` // starttls, tls or none; default tls on port 465, otherwise starttls
}

// wantsResolved reports whether the receiver is notified of resolved alerts.
func (r *ReceiverConfig) wantsResolved() bool { return r.SendResolved == nil || *r.SendResolved }

// pace returns the group wait and interval of a route. They are shorter for an Alertmanager, which
// groups alerts itself and expects them early, as from Prometheus.
func (r *ReceiverConfig) pace(route *Route) (wait, interval time.Duration) {
	if r.Alertmanager != nil {
		return min(route.GroupWait, time.Second), min(route.GroupInterval, 5*time.Second)
	}
	return route.GroupWait, route.GroupInterval
}

// repeat returns the interval of repeated notifications.
func (r *ReceiverConfig) repeat(interval time.Duration) time.Duration {
	if r.Alertmanager != nil {
		return min(interval, r.Alertmanager.Resend)
	}
	return interval
}

// ReadConfig reads the file of --alerts.
func ReadConfig(file string) (*Config, error) {
	data, err := os.ReadFile(file) //nolint:gosec // path given by the user
	if err != nil {
		return nil, fmt.Errorf("read alert configuration: %w", err)
	}
	return ParseConfig(data, file)
}

// ParseConfig parses YAML. Errors name the file and line.
func ParseConfig(data []byte, file string) (*Config, error) {
	var c Config
	if err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, explainYAML(err))
	}
	c = c.withDefaults()
	if err := c.expand(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &c, nil
}

// withDefaults returns c with defaults. It sets them in the routes, receivers and silences of c as
// well.
func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.ResolveAfter, 5*time.Minute)
	for i := range c.Routes {
		r := &c.Routes[i]
		if r.GroupBy == nil {
			r.GroupBy = []string{"alertname"}
		}
		def(&r.GroupWait, 5*time.Second)
		def(&r.GroupInterval, time.Minute)
		def(&r.RepeatInterval, 4*time.Hour)
	}
	for _, r := range c.Receivers {
		if r == nil {
			continue
		}
		def(&r.Timeout, 10*time.Second)
		if r.Alertmanager != nil {
			def(&r.Alertmanager.Resend, time.Minute)
		}
		if r.Email != nil && r.Email.TLS == "" {
			r.Email.TLS = "starttls"
			if strings.HasSuffix(r.Email.Server, ":465") { // RFC 8314
				r.Email.TLS = "tls"
			}
		}
	}
	for i := range c.Silences {
		c.Silences[i].ID = fmt.Sprintf("file-%d", i+1)
	}
	return c
}

// expand replaces ${NAME} by the environment variable.
func (c *Config) expand() error {
	var missing []string
	expand := func(s *string) {
		*s = os.Expand(*s, func(name string) string {
			v, ok := os.LookupEnv(name)
			if !ok {
				missing = append(missing, name)
			}
			return v
		})
	}
	headers := func(h map[string]string) {
		for name, v := range h {
			expand(&v)
			h[name] = v
		}
	}
	for _, r := range c.Receivers {
		switch {
		case r == nil:
		case r.Webhook != nil:
			expand(&r.Webhook.URL)
			expand(&r.Webhook.RoutingKey)
			expand(&r.Webhook.SigningSecret)
			headers(r.Webhook.Headers)
		case r.Alertmanager != nil:
			expand(&r.Alertmanager.URL)
			headers(r.Alertmanager.Headers)
		case r.Email != nil:
			expand(&r.Email.User)
			expand(&r.Email.Password)
		}
	}
	if missing != nil {
		slices.Sort(missing)
		return fmt.Errorf("environment variables are not set: %s", strings.Join(slices.Compact(missing), ", "))
	}
	return nil
}

// Validate returns an error for the first invalid setting.
func (c *Config) Validate() error {
	if len(c.Receivers) == 0 {
		return errors.New("no receivers: name at least one under the key receivers")
	}
	names := slices.Sorted(maps.Keys(c.Receivers))
	for _, name := range names {
		if err := c.Receivers[name].validate(); err != nil {
			return fmt.Errorf("receiver %s: %w", name, err)
		}
	}
	if len(c.Routes) == 0 {
		return errors.New("no routes: define under the key routes which receivers get which alerts")
	}
	for i, r := range c.Routes {
		if len(r.Receivers) == 0 {
			return fmt.Errorf("route %d: no receivers", i+1)
		}
		for _, name := range r.Receivers {
			if c.Receivers[name] == nil {
				return fmt.Errorf("route %d: receiver %s not found, the receivers are %s", i+1, name, strings.Join(names, ", "))
			}
		}
		if err := r.Match.Validate(); err != nil {
			return fmt.Errorf("route %d: match: %w", i+1, err)
		}
		if r.GroupWait < 0 || r.GroupInterval < 0 || r.RepeatInterval < 0 {
			return fmt.Errorf("route %d: times must not be negative", i+1)
		}
	}
	for i := range c.Silences {
		if err := c.Silences[i].Validate(); err != nil {
			return fmt.Errorf("silence %d: %w", i+1, err)
		}
	}
	if c.ResolveAfter < 0 {
		return errors.New("resolve_after must not be negative")
	}
	return nil
}

func (r *ReceiverConfig) validate() error {
	if r == nil {
		return errors.New("no kind: set webhook, alertmanager or email")
	}
	kinds := 0
	for _, is := range []bool{r.Webhook != nil, r.Alertmanager != nil, r.Email != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		return errors.New("expected exactly one of webhook, alertmanager and email")
	}
	if _, err := tlsconf.Client(r.CA, "", ""); err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	switch {
	case r.Webhook != nil:
		_, err := newPoster(r.Webhook)
		return err
	case r.Alertmanager != nil:
		return validURL(r.Alertmanager.URL)
	}
	return r.Email.validate()
}

func validURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("url: expected http://host or https://host") // the value may be a secret
	}
	return nil
}

// configKeys are the keys of the file, for suggestions.
var configKeys = []string{
	"receivers", "routes", "silences", "resolve_after", "match", "continue", "group_by", "group_wait", "group_interval", "repeat_interval", "webhook",
	"alertmanager", "email", "send_resolved", "timeout", "ca", "url", "headers", "preset", "routing_key", "text", "body", "signing_secret", "resend", "to", "from", "server", "user", "password", "tls", "until", "comment",
}

// explainYAML reduces a YAML error to one line, and suggests the nearest known key for an unknown
// one.
func explainYAML(err error) error {
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		key, hint, best := unknown.Token.Value, "", 4
		for _, k := range configKeys {
			if d := levenshtein.ComputeDistance(k, key); d < best {
				best, hint = d, ": did you mean "+k+"?"
			}
		}
		return fmt.Errorf("line %d: unknown key %q%s", unknown.Token.Position.Line, key, hint)
	}
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		return fmt.Errorf("line %d: %s", at.GetToken().Position.Line, at.GetMessage())
	}
	return err
}
