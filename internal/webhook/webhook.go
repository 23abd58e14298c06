// Package webhook sends requests to other servers over HTTP.
//
//	webhook.go   Client: requests whose errors show no secrets, and their answers
//	template.go  bodies from templates, whose values can't break out of JSON
//	preset.go    bodies for Slack, Teams, PagerDuty and ntfy
//	sign.go      signatures as in Standard Webhooks
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weir.example/weir/internal/secret"
)

// Client sends requests. Its errors do not contain the URL, whose path is often a secret, and it
// follows no redirects: a POST would become a GET, and headers could reach another host.
type Client struct {
	http    *http.Client
	timeout time.Duration
	hidden  []string
}

// NewClient returns a client. Secrets are replaced in the texts of answers and errors.
func NewClient(trust *tls.Config, timeout time.Duration, secrets ...string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // of the standard library
	transport.TLSClientConfig = trust
	return &Client{
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: timeout, hidden: secrets,
	}
}

// Close releases idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is the response to a request.
type Answer struct {
	Status     int
	Text       string        // the beginning of its body, in one line
	Redirect   string        // scheme and host of the new address
	RetryAfter time.Duration // 0 if it names none
}

const (
	shownText = 500     // bytes of an answer
	readText  = 4 << 10 // bytes of it that are read
	drained   = 1 << 20 // bytes of it that are skipped to keep the connection
)

// Send sends a request and returns its answer, whatever its status.
func (c *Client) Send(ctx context.Context, method, to string, headers http.Header, body []byte) (*Answer, error) {
	whole := ctx
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	r, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, errURL
	}
	r.Header = headers
	resp, err := c.http.Do(r)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		if whole.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("%s: no answer within %s", r.URL.Host, c.timeout)
		}
		return nil, fmt.Errorf("%s: %w", r.URL.Host, ExplainTLS(err))
	}
	defer func() { _ = resp.Body.Close() }() // the body was read as far as needed
	a := &Answer{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	if at, err := resp.Location(); resp.StatusCode/100 == 3 && err == nil {
		a.Redirect = at.Scheme + "://" + at.Host
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, readText))
	if err != nil && resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s: status %d: %w", r.URL.Host, resp.StatusCode, err)
	}
	a.Text = c.hide(strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "�")), " "))
	if len(a.Text) > shownText {
		a.Text = strings.ToValidUTF8(a.Text[:shownText], "") + "…"
	}
	_, _ = io.CopyN(io.Discard, resp.Body, drained) // allows the connection to be reused
	return a, nil
}

var errURL = errors.New("the URL is not valid") // its text may contain secrets

// hide returns a text without secrets.
func (c *Client) hide(text string) string {
	text = secret.Redact(text)
	for _, s := range c.hidden {
		if len(s) > 3 {
			text = strings.ReplaceAll(text, s, "******")
		}
	}
	return text
}

// OK reports whether the request was accepted.
func (a *Answer) OK() bool { return a.Status/100 == 2 }

// Err describes an answer that is not OK.
func (a *Answer) Err() error {
	text := fmt.Sprintf("the answer is %d %s", a.Status, http.StatusText(a.Status))
	switch {
	case a.Redirect != "":
		return fmt.Errorf("%s to %s, and redirects are not followed: set the URL to the new address", text, a.Redirect)
	case a.Text != "":
		return fmt.Errorf("%s: %s", text, a.Text)
	}
	return errors.New(text)
}

// Later reports whether the same request may be accepted later: the server is busy or down.
func (a *Answer) Later() bool {
	switch a.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return a.Status/100 == 5
}

// Endpoint reports whether the server objects to where or by whom the request is sent, rather than
// to its content, so that every other one would fail too.
func (a *Answer) Endpoint() bool {
	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusProxyAuthRequired, http.StatusGone:
		return true
	}
	return a.Status/100 != 2 && a.Status/100 != 4 && a.Status/100 != 5
}

// retryAfter parses the header: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second //nolint:gosec // at most 31 bits
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// ExplainTLS adds to the error of an untrusted certificate how to fix it.
func ExplainTLS(err error) error {
	var (
		unknown x509.UnknownAuthorityError
		other   x509.HostnameError
	)
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("its certificate is signed by an unknown authority: configure the file of its authority (ca): %w", err)
	case errors.As(err, &other):
		return fmt.Errorf("its certificate is for another name: use a name in the certificate: %w", err)
	}
	return err
}
