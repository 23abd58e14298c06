// Package top shows the console of a running weir in a terminal.
//
//	client.go  requests to the console's API, and errors with a hint
//	status.go  a single snapshot, as text or JSON
//	model.go   the interactive program: pages, keys, polling
//	view.go    the pages as text
//	table.go   tables, bars, numbers and names
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

// Client sends requests to a console.
type Client struct {
	URL      string // http://host:port or https://host:port
	User     string // with Password
	Password string
	Token    string       // instead of User
	HTTP     *http.Client // default http.DefaultClient
}

// timeout bounds a request.
const timeout = 5 * time.Second

// get requests a path of the API and decodes the response into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	at := strings.TrimSuffix(c.URL, "/") + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return fmt.Errorf("invalid console URL %q: %w", c.URL, err)
	}
	if c.User != "" {
		req.SetBasicAuth(c.User, c.Password)
	} else if c.Token != "" {
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
		return fmt.Errorf("the console at %s requires a login: set --console-user and WEIR_CONSOLE_PASSWORD, or WEIR_CONSOLE_TOKEN", c.URL)
	}
	if resp.StatusCode != http.StatusOK {
		var failed api.Error
		if json.Unmarshal(body, &failed) == nil && failed.Error != "" {
			return fmt.Errorf("the console at %s: %s", c.URL, failed.Error)
		}
		return fmt.Errorf("the server at %s is not a weir console: %s", c.URL, resp.Status)
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("the server at %s is not a weir console: %w", c.URL, err)
	}
	return nil
}

// explain adds a hint to a network error.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the console at %s did not respond within %s", c.URL, timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no weir is running at %s: start one with weir up, or set --console to the URL of its console", c.URL)
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("connect to the console at %s: %w", c.URL, err)
}
