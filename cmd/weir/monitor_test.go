package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"weir/deploy/promtest"
)

// hasDataFor waits until each query of a dashboard and of its rules has data, with the labels that it names.
func hasDataFor(t *testing.T, prom *promtest.Prometheus, name string) {
	t.Helper()
	var missing []promtest.Query
	for _, d := range promtest.Dashboards(t, "../../deploy/grafana/dashboards/"+name+".json") {
		missing = append(missing, d.Queries()...)
	}
	for _, r := range promtest.Rules(t, "../../deploy/prometheus/rules/"+name+".yml") {
		missing = append(missing, r.Query())
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	promtest.Eventually(ctx, t, func() error {
		var errs []error
		still := missing[:0]
		for _, q := range missing {
			if err := prom.Ask(q); err != nil {
				errs, still = append(errs, err), append(still, q)
			}
		}
		missing = still
		return errors.Join(errs...)
	})
}
