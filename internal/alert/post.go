package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// poster posts JSON over HTTP. Its errors do not contain the URL, whose path is often a secret.
type poster struct{ client *http.Client }

func newPoster(trust *tls.Config) *poster {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	return &poster{&http.Client{
		Transport: transport,
		// Following a redirect would turn the POST into a GET, which loses the alert, and could
		// send the headers to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close implements Receiver.
func (p *poster) Close() { p.client.CloseIdleConnections() }

// post sends body as JSON and expects a 2xx status.
func (p *poster) post(ctx context.Context, to string, headers http.Header, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(data))
	if err != nil {
		return err
	}
	r.Header = headers
	r.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(r)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return fmt.Errorf("%s: %w", r.URL.Host, explainTLS(err))
	}
	defer func() { _ = resp.Body.Close() }() // the body was read as far as needed
	switch at, err := resp.Location(); {
	case resp.StatusCode/100 == 2:
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // allows the connection to be reused
		return nil
	case resp.StatusCode/100 == 3 && err == nil:
		return fmt.Errorf("response %s redirects to %s://%s: set url to the new address", resp.Status, at.Scheme, at.Host)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	if err != nil {
		return fmt.Errorf("response %s: %w", resp.Status, err)
	}
	return fmt.Errorf("response %s: %s", resp.Status, strings.Join(strings.Fields(string(text)), " "))
}

func headersOf(pairs map[string]string) http.Header {
	h := make(http.Header)
	for name, value := range pairs {
		h.Set(name, value)
	}
	return h
}
