package alert

import (
	"context"
	"maps"
	"regexp"
	"strings"
	"time"
)

// alertmanager posts alerts to the API of version 2. Alertmanager knows an alert by its labels; it
// takes one for resolved when endsAt has passed, so that a Weir that is gone does not leave alerts
// behind.
type alertmanager struct {
	cfg *AlertmanagerConfig
	*poster
}

type postableAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Send implements Receiver.
func (a *alertmanager) Send(ctx context.Context, n *Notification) error {
	alerts := make([]postableAlert, len(n.Alerts))
	for i, x := range n.Alerts {
		p := postableAlert{Labels: labelNames(x.Labels), Annotations: labelNames(x.Annotations), StartsAt: x.Since.UTC(), EndsAt: x.ResolvedAt.UTC()}
		p.Annotations["summary"], p.Annotations["weir_alert_id"] = x.Summary, x.ID
		if x.Status == Firing {
			p.EndsAt = time.Now().Add(4 * a.cfg.Resend).UTC()
		} else if !p.EndsAt.After(p.StartsAt) {
			p.EndsAt = p.StartsAt.Add(time.Millisecond) // it wants an end after the start
		}
		alerts[i] = p
	}
	return a.post(ctx, strings.TrimSuffix(a.cfg.URL, "/")+"/api/v2/alerts", headersOf(a.cfg.Headers), alerts)
}

// notLabel is what Prometheus does not allow in the name of a label.
var notLabel = regexp.MustCompile(`^[^a-zA-Z_]|[^a-zA-Z0-9_]`)

func labelNames(of map[string]string) map[string]string {
	names := make(map[string]string, len(of))
	for name, value := range maps.All(of) {
		if value != "" { // which is as good as none there
			names[notLabel.ReplaceAllString(name, "_")] = value
		}
	}
	return names
}
