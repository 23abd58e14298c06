// Package ingest accepts readings that devices and gateways push: by HTTP as JSON, as InfluxDB's
// line protocol, as metrics of OpenTelemetry and Prometheus, and as messages of any form that rules
// map. Whatever is acknowledged is durable in a spool, from which a producer sends it to Kafka
// exactly once.
//
//	ingest.go       Config: ingest.yaml
//	http.go         the HTTP server: routes, limits, logins
//	store.go        a request's entry, its idempotency key, and the answer
//	readings.go     readings as JSON
//	lines.go        InfluxDB's line protocol
//	points.go       points of metrics: which device and sensor a series is, what is refused
//	otlp.go         metrics of OpenTelemetry over HTTP
//	remotewrite.go  Prometheus's remote write, 1.0 and 2.0
package ingest

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/mqtt"
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/ingest/subscribe"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/tlsconf"
)

// Config is ingest.yaml.
type Config struct {
	HTTP    HTTPConfig    `yaml:"http"`
	MQTT    MQTTConfig    `yaml:"mqtt"`
	Topics  mapping.Rules `yaml:"topics"` // by topic filter, in order: the first that matches counts
	Lines   LinesConfig   `yaml:"lines"`
	Metrics MetricsConfig `yaml:"metrics"` // of OTLP and remote write
	Ack     string        `yaml:"ack"`     // when senders get their answer: spool, once a message is on the disk (default), or kafka, once it is committed there
	Spool   SpoolConfig   `yaml:"spool"`

	Subscribe []subscribe.Config `yaml:"subscribe"` // MQTT brokers whose messages are taken

	mapping *mapping.Mapping
	dir     string // of the file
}

// HTTPConfig configures the HTTP server.
type HTTPConfig struct {
	Listen     string `yaml:"listen"`      // host:port; without a host 127.0.0.1; default 127.0.0.1:8086, or none if there is another way in
	TokensFile string `yaml:"tokens_file"` // bearer tokens, one per line; default none: anybody may send
	MaxBody    string `yaml:"max_body"`    // of a request, decompressed; default 8MiB
}

// MQTTConfig configures the embedded MQTT broker.
type MQTTConfig struct {
	Listen        string        `yaml:"listen"`         // host:port; without a host 127.0.0.1; default none
	Cert          string        `yaml:"cert"`           // file in PEM format with the certificate to serve; default no TLS
	Key           string        `yaml:"key"`            // file in PEM format with its key
	ClientCA      string        `yaml:"client_ca"`      // file in PEM format with authorities whose certificates let clients log in
	MaxClients    int           `yaml:"max_clients"`    // connected at a time; default 20,000
	MaxPacket     string        `yaml:"max_packet"`     // default 1MiB
	SessionExpiry time.Duration `yaml:"session_expiry"` // longest time for which the session of an absent client is kept; default 24h
	Allow         []mqtt.Rule   `yaml:"allow"`          // what users with the role device may do; default: publish to all topics
}

// LinesConfig configures the line protocol.
type LinesConfig struct {
	DeviceTag string `yaml:"device_tag"` // default: the first of device_id, device and host that a line has
}

// SpoolConfig configures the spool.
type SpoolConfig struct {
	Dir    string        `yaml:"dir"`     // default ingest-spool in the data directory
	Max    string        `yaml:"max"`     // default 4GiB
	KeyTTL time.Duration `yaml:"key_ttl"` // how long idempotency keys are remembered; default 24h
}

// Override has settings that replace those of the file unless they are "".
type Override struct{ HTTP, MQTT, Ack string }

func (o Override) apply(c *Config) {
	c.HTTP.Listen, c.MQTT.Listen, c.Ack = cmp.Or(o.HTTP, c.HTTP.Listen), cmp.Or(o.MQTT, c.MQTT.Listen), cmp.Or(o.Ack, c.Ack)
}

// Read reads ingest.yaml.
func Read(path string) (*Config, error) { return ReadWith(path, Override{}) }

// ReadWith is like Read, but path may be "" for the defaults.
func ReadWith(path string, o Override) (*Config, error) {
	c := &Config{}
	if path == "" {
		o.apply(c)
		return c, c.complete()
	}
	text, err := os.ReadFile(path) //nolint:gosec // chosen by the user
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	o.apply(c)
	c.dir = filepath.Dir(path)
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Values of Config.Ack.
const (
	ackSpool = "spool"
	ackKafka = "kafka"
)

// plainRules are the rules for MQTT if the configuration has none.
const plainRules = `
"+device": {}
"+device/+sensor": { value: payload }
"+/+device/+sensor": { value: payload }
`

func (c *Config) complete() (err error) {
	if c.MQTT.Listen != "" && c.Topics.Empty() && len(c.Subscribe) == 0 {
		if err := yaml.Unmarshal([]byte(plainRules), &c.Topics); err != nil {
			return err
		}
	}
	if c.mapping, err = mapping.New(c.Topics); err != nil {
		return err
	}
	for i := range c.Subscribe {
		if err := c.Subscribe[i].Complete(c.mapping.Filters(), c.dir); err != nil {
			return fmt.Errorf("subscribe[%d]: %w", i, err)
		}
		for j := range i {
			if c.Subscribe[i].URL == c.Subscribe[j].URL && c.Subscribe[i].ClientID == c.Subscribe[j].ClientID {
				return fmt.Errorf("subscribe[%d]: another entry has the same url and client_id", i)
			}
		}
	}
	if c.HTTP.Listen == "" && c.MQTT.Listen == "" && len(c.Subscribe) == 0 {
		c.HTTP.Listen = ":8086"
	}
	for _, listen := range []struct {
		name string
		at   *string
	}{{"http.listen", &c.HTTP.Listen}, {"mqtt.listen", &c.MQTT.Listen}} {
		if *listen.at, err = local(*listen.at); err != nil {
			return fmt.Errorf("%s: %w", listen.name, err)
		}
	}
	broker, err := c.broker()
	if err != nil {
		return err
	}
	if err := broker.Validate(); err != nil {
		return err
	}
	if _, err := size(c.HTTP.MaxBody, defaultBody); err != nil {
		return fmt.Errorf("http.max_body: %w", err)
	}
	if _, err := size(c.Spool.Max, 0); err != nil {
		return fmt.Errorf("spool.max: %w", err)
	}
	switch c.Ack {
	case "", ackSpool, ackKafka:
		return nil
	}
	return fmt.Errorf("ack: %q is neither %s nor %s", c.Ack, ackSpool, ackKafka)
}

// local adds the host 127.0.0.1 to an address without a host. "" stays "".
func local(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port), nil
}

// broker returns the settings of the MQTT broker that the file has.
func (c *Config) broker() (mqtt.Config, error) {
	m := mqtt.Config{Listen: c.MQTT.Listen, MaxClients: c.MQTT.MaxClients, SessionExpiry: c.MQTT.SessionExpiry, Allow: c.MQTT.Allow}
	var err error
	if m.MaxPacket, err = size(c.MQTT.MaxPacket, 0); err != nil {
		return m, fmt.Errorf("mqtt.max_packet: %w", err)
	}
	return m, nil
}

// ListenMQTT starts the MQTT broker; nil if there is none. What the file does not say is taken from
// with.
func (c *Config) ListenMQTT(dataDir string, with mqtt.Config) (*mqtt.Broker, error) {
	if c.MQTT.Listen == "" {
		return nil, nil
	}
	m, err := c.broker()
	if err != nil {
		return nil, err
	}
	m.Intake, m.Guard, m.TLS, m.Insecure, m.Logger = with.Intake, with.Guard, with.TLS, with.Insecure, with.Logger
	m.Dir = filepath.Join(dataDir, "mqtt")
	if c.MQTT.Cert+c.MQTT.Key+c.MQTT.ClientCA != "" {
		if m.TLS, err = tlsconf.NewServer(c.MQTT.Cert, c.MQTT.Key, c.MQTT.ClientCA, with.Logger); err != nil {
			return nil, fmt.Errorf("mqtt: %w", err)
		}
	}
	return mqtt.Listen(m)
}

// Mapping returns the rules.
func (c *Config) Mapping() *mapping.Mapping { return c.mapping }

// OpenSpool opens the spool, by default in the data directory.
func (c *Config) OpenSpool(dataDir string, with spool.Config) (*spool.Spool, error) {
	with.Dir, with.KeyTTL, with.AckCommitted = c.Spool.Dir, c.Spool.KeyTTL, c.Ack == ackKafka
	if with.Dir == "" {
		with.Dir = filepath.Join(dataDir, "ingest-spool")
	}
	var err error
	if with.MaxBytes, err = size(c.Spool.Max, 0); err != nil {
		return nil, err
	}
	return spool.Open(with)
}

const defaultBody = 8 << 20

// size parses a number of bytes such as 512MiB.
func size(text string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	number, shift := text, 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(text, unit); ok {
			number, shift = strings.TrimSpace(rest), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<(62-shift) {
		return 0, fmt.Errorf("%q is not a size such as 512MiB or 4GiB", text)
	}
	return n << shift, nil
}

// tokens are the hashes of bearer tokens.
type tokens [][sha256.Size]byte

// minToken is the length of the shortest token that is accepted.
const minToken = 16

func readTokens(path string) (tokens, error) {
	if err := secret.CheckPrivate(path); err != nil {
		return nil, fmt.Errorf("http.tokens_file: %w", err)
	}
	text, err := os.ReadFile(path) //nolint:gosec // chosen by the user
	if err != nil {
		return nil, fmt.Errorf("http.tokens_file: %w", err)
	}
	var all tokens
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(line) < minToken || strings.ContainsAny(line, " \t") {
			return nil, fmt.Errorf("http.tokens_file: line %d of %s is not a token: it needs at least %d characters without spaces", i+1, path, minToken)
		}
		all = append(all, sha256.Sum256([]byte(line)))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("http.tokens_file: %s has no tokens", path)
	}
	return all, nil
}

// allow reports whether a request has one of the tokens, as Bearer, or as Token as InfluxDB's
// clients send it.
func (t tokens) allow(r *http.Request) bool {
	kind, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") && !strings.EqualFold(kind, "Token") {
		return false
	}
	hash, found := sha256.Sum256([]byte(strings.TrimSpace(given))), 0
	for i := range t {
		found |= subtle.ConstantTimeCompare(hash[:], t[i][:])
	}
	return found == 1
}

// checkExposed refuses an address that other machines can reach if anybody may send.
func (c *HTTPConfig) checkExposed(insecure bool) error {
	if insecure || c.TokensFile != "" || guard.Loopback(c.Listen) {
		return nil
	}
	return errors.New("http.listen: other machines can reach " + c.Listen + ", and anybody could send readings: set http.tokens_file, listen at 127.0.0.1, or use weir ingest --insecure-listen")
}
