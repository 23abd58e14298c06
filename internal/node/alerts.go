package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/site"
)

// errNoAlerts reports that receivers are configured without a table of alerts.
var errNoAlerts = errors.New("receivers of alerts are configured, but no pipeline writes alerts: a table of alerts needs the columns severity and summary, and a primary key")

// AlertTables returns the tables of alerts that pipelines write.
func AlertTables(programs []*plan.Program) (all []alert.Table, err error) {
	for _, p := range programs {
		tables, err := alert.Tables(p)
		if err != nil {
			return nil, err
		}
		all = append(all, tables...)
	}
	if len(all) == 0 {
		return nil, errNoAlerts
	}
	return all, nil
}

// Deliver notifies receivers of the alerts of a site's pipelines until ctx is done, and then has
// the duration stop to finish; 0 means broker.DefaultStopTimeout. If c is nil, it returns
// immediately.
func (a *Admin) Deliver(ctx context.Context, at broker.Config, of site.Site, c *alert.Config, programs []*plan.Program, stop time.Duration, log *slog.Logger) error {
	if c == nil {
		return nil
	}
	tables, err := AlertTables(programs)
	if err != nil {
		return err
	}
	instances, free, err := TakeInstances(of.AlertGroup(), "", 1)
	if err != nil {
		return err
	}
	defer free()
	health := alert.NewHealth()
	a.Part("alerts", func(context.Context) error { return health.Ready() })
	if err := alert.Deliver(ctx, alert.DeliverConfig{Broker: at, Alerts: c, Tables: tables, Site: of, Instance: instances[0], StopTimeout: stop, Logger: log, Health: health, Metrics: a.alerts}); err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	return nil
}
