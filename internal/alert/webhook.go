package alert

import (
	"context"
	"strings"
)

// webhook posts a notification as JSON. The header Idempotency-Key contains its id, and
// Weir-Alert-Id the ids of its alerts.
type webhook struct {
	cfg *WebhookConfig
	*poster
}

// Send implements Receiver.
func (w *webhook) Send(ctx context.Context, n *Notification) error {
	h := headersOf(w.cfg.Headers)
	ids := make([]string, len(n.Alerts))
	for i, a := range n.Alerts {
		ids[i] = a.ID
	}
	h.Set("Idempotency-Key", n.ID)
	h.Set("Weir-Alert-Id", strings.Join(ids, ","))
	return w.post(ctx, w.cfg.URL, h, n)
}
