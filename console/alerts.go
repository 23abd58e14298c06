package console

import (
	"context"
	"net/http"
	"slices"
	"time"

	"weir/alert"
)

// alertTime bounds a look at the alerts: their topic may have a transaction open.
const alertTime = 5 * time.Second

// alerts is GET /api/alerts: those that fire first, those that were resolved lately, and the silences that hold.
func (c *Console) alerts(r *http.Request) (any, error) {
	state := c.cluster.state()
	if state.topic(alert.StateTopic) == nil {
		return &alert.State{Alerts: []*alert.Alert{}, Silences: []alert.Silence{}}, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), alertTime)
	defer cancel()
	all, err := alert.ReadState(ctx, c.cfg.Broker)
	if err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	all.Silences = slices.DeleteFunc(all.Silences, func(s alert.Silence) bool { return !now.Before(s.Until) })
	return all, nil
}
