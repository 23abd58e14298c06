package subscribe

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/tlsconf"
)

// Config is an entry of subscribe in ingest.yaml: a broker whose messages are taken.
type Config struct {
	URL      string        `yaml:"url"`       // mqtt://host:1883, or mqtts://host:8883 with TLS
	ClientID string        `yaml:"client_id"` // under which the broker keeps the session: one per process and broker
	Topics   []string      `yaml:"topics"`    // topic filters; default those of the rules
	QoS      *byte         `yaml:"qos"`       // 0 or 1; default 1
	Version  string        `yaml:"version"`   // 5 or 3.1.1; default 5, or else 3.1.1 if the broker refuses it
	Session  time.Duration `yaml:"session"`   // how long the broker keeps messages while Weir is away, with MQTT 5; default 24h
	Share    string        `yaml:"share"`     // group of a shared subscription; default none
	Retained string        `yaml:"retained"`  // skip or use; default skip
	Username string        `yaml:"username"`
	Password string        `yaml:"password"` // ${env:NAME} or ${file:PATH}
	TLS      TLSConfig     `yaml:"tls"`

	secrets secret.Source
	dial    func(ctx context.Context, network, address string) (net.Conn, error) // for tests; default that of net.Dialer
}

// TLSConfig names files in PEM.
type TLSConfig struct {
	CA   string `yaml:"ca"`   // default the system's authorities
	Cert string `yaml:"cert"` // of this client, with key
	Key  string `yaml:"key"`
}

// Complete checks the configuration and sets its defaults. filters are those of the rules; dir is
// the directory of files with secrets.
func (c *Config) Complete(filters []string, dir string) error {
	c.secrets = secret.Source{Dir: dir}
	if len(c.Topics) == 0 {
		c.Topics = filters
	}
	if c.QoS == nil {
		c.QoS = new(byte)
		*c.QoS = 1
	}
	c.Session, c.Retained = cmp.Or(c.Session, 24*time.Hour), cmp.Or(c.Retained, "skip")
	if _, _, err := c.address(); err != nil {
		return err
	}
	switch {
	case c.ClientID == "":
		return errors.New("client_id is missing: the broker keeps messages for a client under a fixed name, such as weir-1")
	case len(c.ClientID) > 65535 || strings.ContainsAny(c.ClientID, "\x00+#"):
		return fmt.Errorf("client_id: %q is not a client id", c.ClientID)
	case len(c.Topics) == 0:
		return errors.New("topics is missing, and there are no rules whose topic filters could be used")
	case *c.QoS > 1:
		return fmt.Errorf("qos must be 0 or 1, got %d: with 1, each message reaches Kafka exactly once already", *c.QoS)
	case c.Version != "" && c.Version != "5" && c.Version != "3.1.1":
		return fmt.Errorf("version must be 5 or 3.1.1, got %q", c.Version)
	case c.Session < time.Second || c.Session > 1000*24*time.Hour:
		return fmt.Errorf("session must be between 1s and 24000h, got %s", c.Session)
	case c.Retained != "skip" && c.Retained != "use":
		return fmt.Errorf("retained must be skip or use, got %q", c.Retained)
	case strings.ContainsAny(c.Share, "/+#\x00"):
		return fmt.Errorf("share: %q is not the name of a group", c.Share)
	case c.Password != "" && c.Username == "":
		return errors.New("password needs username")
	case c.Password != "" && !secret.Refers(c.Password):
		return errors.New("password: refer to it with ${env:NAME} or ${file:PATH} instead of writing it into the file")
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return errors.New("tls: set both cert and key, or neither")
	}
	if _, secure, _ := c.address(); !secure && c.TLS != (TLSConfig{}) {
		return errors.New("tls needs a URL that begins with mqtts://")
	}
	for _, filter := range c.Topics {
		if err := checkFilter(filter); err != nil {
			return fmt.Errorf("topics: %w", err)
		}
	}
	return nil
}

// checkFilter checks an MQTT topic filter.
func checkFilter(filter string) error {
	if filter == "" || len(filter) > 65535 || strings.ContainsRune(filter, 0) {
		return errors.New("a topic filter has 1 to 65535 bytes, none of them 0")
	}
	levels := strings.Split(filter, "/")
	if levels[0] == "$share" {
		return fmt.Errorf("%q: set share to the name of the group instead", filter)
	}
	for i, level := range levels {
		if strings.ContainsAny(level, "+#") && level != "+" && (level != "#" || i < len(levels)-1) {
			return fmt.Errorf("%q: + stands for a whole level, and # for all that follow", filter)
		}
	}
	return nil
}

// address returns host and port, and whether the connection uses TLS.
func (c *Config) address() (string, bool, error) {
	u, err := url.Parse(c.URL)
	if c.URL == "" || err != nil || u.Hostname() == "" {
		return "", false, errors.New("url must be that of a broker, such as mqtt://127.0.0.1:1883 or mqtts://broker.example:8883")
	}
	if u.User != nil {
		return "", false, errors.New("url has a user: set username and password instead, so that no log shows them")
	}
	secure, port := false, "1883"
	switch u.Scheme {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		secure, port = true, "8883"
	default:
		return "", false, fmt.Errorf("url: %s:// is not supported: use mqtt:// or mqtts://", u.Scheme)
	}
	if strings.Trim(u.Path, "/")+u.RawQuery != "" {
		return "", false, errors.New("url has something after the port: topics are set with topics")
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)), secure, nil
}

// tls returns the configuration of TLS; nil for none. The files are read each time, so that they
// can be replaced.
func (c *Config) tls() (*tls.Config, error) {
	address, secure, err := c.address()
	if err != nil || !secure {
		return nil, err
	}
	t, err := tlsconf.Client(c.TLS.CA, c.TLS.Cert, c.TLS.Key)
	if err != nil {
		return nil, err
	}
	t.ServerName, _, err = net.SplitHostPort(address)
	return t, err
}

// wants reports whether a topic matches one of Topics.
func (c *Config) wants(topic string) bool {
	return slices.ContainsFunc(c.Topics, func(filter string) bool { return match(filter, topic) })
}

// filters returns the filters as they are sent to the broker.
func (c *Config) filters() []string {
	all := disjoint(c.Topics)
	if c.Share != "" {
		for i := range all {
			all[i] = "$share/" + c.Share + "/" + all[i]
		}
	}
	return all
}
