package top

import (
	"context"
	"fmt"
	"io"

	"weir.example/weir/internal/console/api"
)

// Status writes the current overview as text.
func Status(ctx context.Context, c *Client, w io.Writer) error {
	var o api.Overview
	if err := c.get(ctx, "/api/overview", nil, &o); err != nil {
		return err
	}
	for _, line := range (styles{}).overview(&o, 0) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot returns the current overview without its history.
func Snapshot(ctx context.Context, c *Client) (api.Overview, error) {
	var o api.Overview
	err := c.get(ctx, "/api/overview", nil, &o)
	o.Points = nil
	return o, err
}
