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
)

// errNoAlerts says that there is nothing to tell anybody of.
var errNoAlerts = errors.New("receivers of alerts are configured, but no pipeline writes alerts: a table of alerts has the columns severity and summary, and a key")

// AlertTables finds the tables of alerts that pipelines write.
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

// Deliver tells receivers of the alerts of pipelines until ctx is done, and then has stop to end
// what is begun; 0 is the default of broker.DefaultStopTimeout. Without a configuration it does
// nothing.
func (a *Admin) Deliver(ctx context.Context, at broker.Config, c *alert.Config, programs []*plan.Program, stop time.Duration, log *slog.Logger) error {
	if c == nil {
		return nil
	}
	tables, err := AlertTables(programs)
	if err != nil {
		return err
	}
	instances, free, err := TakeInstances(alert.Group, "", 1)
	if err != nil {
		return err
	}
	defer free()
	health := alert.NewHealth()
	a.Part("alerts", func(context.Context) error { return health.Ready() })
	if err := alert.Deliver(ctx, alert.DeliverConfig{Broker: at, Alerts: c, Tables: tables, Instance: instances[0], StopTimeout: stop, Logger: log, Health: health, Metrics: a.alerts}); err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	return nil
}
