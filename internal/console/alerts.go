package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir.example/weir/internal/alert"
)

const (
	alertTime = 5 * time.Second // bounds reading the alerts: an open transaction in their topic may block it
	maxAlerts = 200             // per response
)

// alertRow is an alert and whether it is silenced.
type alertRow struct {
	*alert.Alert
	Silenced bool `json:"silenced"`
}

func (a *alertRow) state() string {
	if a.Silenced && a.Status == alert.Firing {
		return "silenced"
	}
	return string(a.Status)
}

// has reports whether a lower-case text occurs in the summary, the name or a label.
func (a *alertRow) has(text string) bool {
	for _, label := range a.Labels { // including alertname
		if strings.Contains(strings.ToLower(label), text) {
			return true
		}
	}
	return strings.Contains(strings.ToLower(a.Summary), text)
}

type alertList struct {
	Alerts   []alertRow      `json:"alerts"` // firing ones first, newest first
	Silences []alert.Silence `json:"silences"`
	Counts   map[string]int  `json:"counts"`  // by state: firing, silenced, resolved
	Matched  int             `json:"matched"` // before Alerts was limited
}

// alerts serves GET /api/alerts?state=&q=: firing and recently resolved alerts, and active
// silences.
func (c *Console) alerts(r *http.Request) (any, error) {
	list := alertList{Alerts: []alertRow{}, Silences: []alert.Silence{}, Counts: map[string]int{"firing": 0, "silenced": 0, "resolved": 0}}
	known := &alert.State{}
	if state := c.cluster.state(); state.topic(c.cfg.Site.Alerts()) != nil {
		ctx, cancel := context.WithTimeout(r.Context(), alertTime)
		defer cancel()
		var err error
		if known, err = alert.ReadState(ctx, c.cfg.Broker, c.cfg.Site); err != nil {
			return nil, err
		}
	}
	now := c.cfg.Now()
	for _, s := range slices.Concat(c.cfg.Silences, known.Silences) {
		if now.Before(s.Until) {
			list.Silences = append(list.Silences, s)
		}
	}
	want, text := r.FormValue("state"), strings.ToLower(r.FormValue("q"))
	for _, a := range known.Alerts {
		row := alertRow{a, alert.Silenced(a, list.Silences, now)}
		list.Counts[row.state()]++
		if want != "" && want != row.state() || !row.has(text) {
			continue
		}
		list.Matched++
		if len(list.Alerts) < maxAlerts {
			list.Alerts = append(list.Alerts, row)
		}
	}
	return list, nil
}
