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
		var told struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &told) == nil && told.Error != "" {
			return fmt.Errorf("the console at %s: %s", c.URL, told.Error)
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

// Overview is the part of GET /api/overview that is shown.
type Overview struct {
	Now     Point   `json:"now"`
	Points  []Point `json:"points"`
	Latency string  `json:"latency"`
	Flow    *struct {
		Elapsed      float64 `json:"elapsed"`
		Produced     int64   `json:"produced"`
		Consumed     int64   `json:"consumed"`
		Transactions int64   `json:"transactions"`
	} `json:"flow"`
	Devices   Counts     `json:"devices"`
	Brokers   []any      `json:"brokers"`
	Topics    int        `json:"topics"`
	Parts     int        `json:"partitions"`
	Under     int        `json:"under_replicated"`
	Offline   int        `json:"offline"`
	Letters   int64      `json:"letters"`
	Pipelines []Pipeline `json:"pipelines"`
	Error     string     `json:"error"`
}

// Point is the figures of a moment.
type Point struct {
	In   float64 `json:"in"`
	Out  float64 `json:"out"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Lag  int64   `json:"lag"`
	Open int     `json:"open"`
}

// Counts is how many devices there are.
type Counts struct {
	Total  int `json:"total"`
	Online int `json:"online"`
	Late   int `json:"late"`
	Silent int `json:"silent"`
}

// Pipeline is a pipeline in the list.
type Pipeline struct {
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Reason  string   `json:"reason"`
	Members int      `json:"members"`
	Here    bool     `json:"here"` // in the console's process; of others nothing below Lag is known
	Rate    float64  `json:"rate"`
	Lag     int64    `json:"lag"`
	Delay   *float64 `json:"delay"`
	P99     float64  `json:"p99"`
	Late    int64    `json:"late"`
	Letters int64    `json:"letters"`
	Dropped int64    `json:"dropped"` // by options such as json.ignore-parse-errors
	Skipped int64    `json:"skipped"` // offsets that were deleted before they were read
}

// Devices is a part of the device list.
type Devices struct {
	Counts  Counts `json:"counts"`
	Matched int    `json:"matched"`
	Rows    []struct {
		ID      string `json:"id"`
		Status  string `json:"status"`
		Seen    int64  `json:"seen"`
		Sensors []struct {
			Name  string    `json:"name"`
			Unit  string    `json:"unit"`
			Last  float64   `json:"last"`
			Spark []float64 `json:"spark"`
		} `json:"sensors"`
	} `json:"rows"`
}

// Topics is the list of topics.
type Topics struct {
	Topics []struct {
		Name     string   `json:"name"`
		Internal bool     `json:"internal"`
		Count    int      `json:"count"`
		Replicas int      `json:"replicas"`
		Records  int64    `json:"records"`
		Rate     float64  `json:"rate"`
		Lag      int64    `json:"lag"`
		Readers  []string `json:"readers"`
		Under    int      `json:"under_replicated"`
		Offline  int      `json:"offline"`
	} `json:"topics"`
}
