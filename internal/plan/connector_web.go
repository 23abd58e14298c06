package plan

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sql"
)

// Web is a server to which rows are sent over HTTP. URL and the values of Headers may refer to
// secrets.
type Web struct {
	URL           string
	Headers       map[string]string
	Timeout       time.Duration // of one request
	CA, Cert, Key string        // files in PEM; CA "" trusts the system's authorities
}

const (
	webTimeout    = 10 * time.Second
	maxWebTimeout = 50 * time.Second // below the time that a delivery may take
	headersPrefix = "headers."
)

var webOptions = append([]option{
	{key: "url", kind: textOption, otherwise: required, about: "The URL, which may refer to a secret; some presets have one."},
	{key: "timeout", kind: durationOption, otherwise: "10 s", about: "The time limit of a request, at most 50 s."},
	{key: headersPrefix, kind: textOption, about: "A header of requests, such as 'headers.X-Site'."},
}, tlsOptions...)

var tlsOptions = []option{
	{key: "tls.ca", kind: textOption, about: "The file of the authorities that are trusted, in PEM; without it, the system's."},
	{key: "tls.cert", kind: textOption, about: "The file of the client's certificate, in PEM; set with 'tls.key'."},
	{key: "tls.key", kind: textOption, about: "The file of the certificate's key, in PEM."},
}

// reservedHeaders are set by the connectors, or by HTTP.
var reservedHeaders = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Idempotency-Key", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature", "Weir-Op"}

// OnlyInWeir returns the connector of a target that Flink does not have; "" for others.
func OnlyInWeir(d Delivery) string {
	switch d.(type) {
	case *LineProtocol:
		return "influxdb"
	case *Webhook:
		return "http"
	case *MQTT:
		return "mqtt"
	}
	return ""
}

// bind reads the options that all connectors over HTTP have. The URL may be missing.
func (w *Web) bind(t *Table, o *options) (err error) {
	w.URL, w.Timeout = o.get("url"), webTimeout
	if err := checkWebURL(o); err != nil {
		return err
	}
	if timeout := o.get("timeout"); timeout != "" {
		if w.Timeout, err = ParseDuration(timeout); err != nil || w.Timeout < time.Millisecond || w.Timeout > maxWebTimeout {
			return o.bad("timeout", "write a duration such as 10 s, at most 50 s")
		}
	}
	w.Headers = make(map[string]string)
	for key, option := range o.all {
		name, ok := strings.CutPrefix(key, headersPrefix)
		if !ok {
			continue
		}
		o.read[key] = true
		canonical := http.CanonicalHeaderKey(name)
		for _, reserved := range reservedHeaders {
			if canonical == reserved {
				return sql.Errorf(option, "table %s: the header %s can't be set: it is part of the protocol", t.Name, name)
			}
		}
		if !validHeaderName(name) || strings.ContainsAny(option.Value, "\r\n\x00") {
			return sql.Errorf(option, "table %s: %q is not a header of HTTP", t.Name, name)
		}
		if secret.Option(name) && !secret.Refers(option.Value) {
			return sql.Errorf(option, "table %s: the header %s is a secret", t.Name, name).WithHint("refer to it with ${env:NAME} or ${file:PATH} instead of writing it into the file")
		}
		w.Headers[canonical] = option.Value
	}
	w.CA, w.Cert, w.Key, err = tlsFiles(t, o)
	return err
}

func validHeaderName(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// tlsFiles reads the options that name files of TLS.
func tlsFiles(t *Table, o *options) (ca, cert, key string, err error) {
	ca, cert, key = o.get("tls.ca"), o.get("tls.cert"), o.get("tls.key")
	if (cert == "") != (key == "") {
		return "", "", "", sql.Errorf(t, "table %s: the options 'tls.cert' and 'tls.key' must be set together", t.Name)
	}
	return ca, cert, key, nil
}

// checkWebURL checks the option 'url', unless it refers to secrets: then it is checked when they
// are known.
func checkWebURL(o *options) error {
	text := o.get("url")
	if text == "" || secret.Refers(text) {
		return nil
	}
	hint := CheckWebURL(text)
	if hint == "" {
		return nil
	}
	return sql.Errorf(o.all["url"].ValuePos, "the option 'url' is not that of a web server").WithHint("%s", hint)
}

// CheckWebURL returns what is wrong with a URL, without showing it; "" for nothing.
func CheckWebURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "write http://HOST:PORT/PATH or https://…"
	case u.User != nil:
		return "it has a user or password: use options, whose values are not shown"
	case u.Fragment != "":
		return "leave out what follows #"
	}
	return ""
}
