package console

import "net/http"

// alerts is GET /api/alerts.
func (c *Console) alerts(*http.Request) (any, error) {
	return map[string]any{"alerts": []any{}}, nil
}
