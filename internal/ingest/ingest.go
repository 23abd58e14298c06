// Package ingest accepts readings that devices and gateways push: by HTTP as JSON, as InfluxDB's
// line protocol, and as messages of any form that rules map. Whatever is acknowledged is durable in
// a spool, from which a producer sends it to Kafka exactly once.
//
//	ingest.go    Config: ingest.yaml
//	http.go      the HTTP server: routes, limits, logins
//	store.go     a request's entry, its idempotency key, and the answer
//	readings.go  readings as JSON
//	lines.go     InfluxDB's line protocol
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
	"weir.example/weir/internal/ingest/spool"
	"weir.example/weir/internal/ingest/subscribe"
)

// Config is ingest.yaml.
type Config struct {
	HTTP   HTTPConfig    `yaml:"http"`
	Topics mapping.Rules `yaml:"topics"` // by topic filter, in order: the first that matches counts
	Lines  LinesConfig   `yaml:"lines"`
	Spool  SpoolConfig   `yaml:"spool"`

	Subscribe []subscribe.Config `yaml:"subscribe"` // MQTT brokers whose messages are taken

	mapping *mapping.Mapping
	dir     string // of the file
}

// HTTPConfig configures the HTTP server.
type HTTPConfig struct {
	Listen     string `yaml:"listen"`      // host:port; without a host 127.0.0.1; default 127.0.0.1:8086
	TokensFile string `yaml:"tokens_file"` // bearer tokens, one per line; default none: anybody may send
	MaxBody    string `yaml:"max_body"`    // of a request, decompressed; default 8MiB
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

// Read reads ingest.yaml.
func Read(path string) (*Config, error) { return ReadWith(path, "") }

// ReadWith is like Read, but listen replaces the address of the file if it is not "", and path may
// be "" for the defaults.
func ReadWith(path, listen string) (*Config, error) {
	c := &Config{}
	if path == "" {
		c.HTTP.Listen = listen
		return c, c.complete()
	}
	text, err := os.ReadFile(path) //nolint:gosec // chosen by the user
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.HTTP.Listen = cmp.Or(listen, c.HTTP.Listen)
	c.dir = filepath.Dir(path)
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c *Config) complete() (err error) {
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
	if c.HTTP.Listen == "" {
		c.HTTP.Listen = ":8086"
	}
	host, port, err := net.SplitHostPort(c.HTTP.Listen)
	if err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	c.HTTP.Listen = net.JoinHostPort(host, port)
	if _, err := size(c.HTTP.MaxBody, defaultBody); err != nil {
		return fmt.Errorf("http.max_body: %w", err)
	}
	if _, err := size(c.Spool.Max, 0); err != nil {
		return fmt.Errorf("spool.max: %w", err)
	}
	return nil
}

// Mapping returns the rules.
func (c *Config) Mapping() *mapping.Mapping { return c.mapping }

// OpenSpool opens the spool, by default in the data directory.
func (c *Config) OpenSpool(dataDir string, with spool.Config) (*spool.Spool, error) {
	with.Dir, with.KeyTTL = c.Spool.Dir, c.Spool.KeyTTL
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
