// Package top is the console at a terminal: what a running weir tells in its console's API, in a
// few lines, live.
//
//	client.go  the API, and why it does not answer
//	status.go  one look, for people or programs
//	model.go   what is looked at, keys
//	view.go    pages of text
//	table.go   columns, bars, names of any kind
package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"weir.example/weir/internal/console/api"
)

// Client asks a console.
type Client struct {
	URL   string // http://host:port
	Token string
	HTTP  *http.Client // default one that waits five seconds
}

// patience is how long a question may take.
const patience = 5 * time.Second

// get asks a path of the API, and reads the answer into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at := strings.TrimSuffix(c.URL, "/") + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return fmt.Errorf("the console's address %q: %w", c.URL, err)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		return c.explain(err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("the console at %s asks for its token: give it with --console-token, or as WEIR_CONSOLE_TOKEN", c.URL)
	}
	if resp.StatusCode != http.StatusOK {
		var failed api.Error
		if json.Unmarshal(body, &failed) == nil && failed.Error != "" {
			return fmt.Errorf("the console at %s: %s", c.URL, failed.Error)
		}
		return fmt.Errorf("what answers at %s is no console of weir: %s", c.URL, resp.Status)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("what answers at %s is no console of weir: %w", c.URL, err)
	}
	return nil
}

// explain makes an error of the network one that says what to do.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the console at %s does not answer within %s", c.URL, patience)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no weir runs at %s: start weir up, or name its console with --console", c.URL)
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	return fmt.Errorf("reach the console at %s: %w", c.URL, err)
}
