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

// poster posts JSON over HTTP. Its errors have no URL: what follows the host is often a secret.
type poster struct{ client *http.Client }

func newPoster(trust *tls.Config) *poster {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = trust
	return &poster{&http.Client{
		Transport: transport,
		// To follow would make a GET of the POST, which loses the alert, and could hand headers to
		// another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close implements Receiver.
func (p *poster) Close() { p.client.CloseIdleConnections() }

// post sends body as JSON and expects a 2xx status.
func (p *poster) post(ctx context.Context, to string, headers http.Header, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header = headers
	r.Header.Set("Content-Type", "application/json")
	answer, err := p.client.Do(r)
	if err != nil {
		var bare *url.Error
		if errors.As(err, &bare) {
			err = bare.Err
		}
		return fmt.Errorf("%s: %w", r.URL.Host, explainTLS(err))
	}
	defer func() { _ = answer.Body.Close() }() // it is read, or not looked at
	switch at, err := answer.Location(); {
	case answer.StatusCode/100 == 2:
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20)) // so that the connection can be used again
		return nil
	case answer.StatusCode/100 == 3 && err == nil:
		return fmt.Errorf("it answered %s, and points to %s://%s: put the new address into url", answer.Status, at.Scheme, at.Host)
	}
	said, err := io.ReadAll(io.LimitReader(answer.Body, 200))
	if err != nil {
		return fmt.Errorf("it answered %s: %w", answer.Status, err)
	}
	return fmt.Errorf("it answered %s: %s", answer.Status, strings.Join(strings.Fields(string(said)), " "))
}

func headersOf(given map[string]string) http.Header {
	h := make(http.Header)
	for name, value := range given {
		h.Set(name, value)
	}
	return h
}
