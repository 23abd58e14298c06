package top

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Status looks once, and writes what it sees as text.
func Status(ctx context.Context, c *Client, w io.Writer) error {
	var o Overview
	if err := c.get(ctx, "/api/overview", nil, &o); err != nil {
		return err
	}
	for _, line := range (look{}).overview(&o, 0) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// StatusJSON looks once, and returns the overview of the console's API without its history.
func StatusJSON(ctx context.Context, c *Client) (map[string]json.RawMessage, error) {
	var o map[string]json.RawMessage
	if err := c.get(ctx, "/api/overview", nil, &o); err != nil {
		return nil, err
	}
	delete(o, "points")
	return o, nil
}
