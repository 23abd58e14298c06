package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/promtest"
	"weir.example/weir/internal/stack"
)

// hasDataFor waits until each query of a dashboard and of its alerting rules returns data with the
// expected labels.
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

// watched is a cluster monitored by weir monitor, and a Prometheus that scrapes the monitor.
type watched struct {
	t    *testing.T
	at   string // the --brokers flag
	prom *promtest.Prometheus
}

// watch monitors brokers until the test ends. It creates the topic solo, whose partitions have one
// replica each.
func watch(t *testing.T, at string) *watched {
	t.Helper()
	client, err := broker.Connect(t.Context(), broker.Config{Brokers: strings.Split(strings.TrimPrefix(at, "--brokers="), ",")})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 3, 1, nil, "solo"); err != nil {
		t.Fatal(err)
	}
	listen := promtest.FreeAddr(t)
	start(t, "monitor", at, "--admin-listen="+listen, "--every=1s")
	return &watched{t, at, promtest.Start(t, promtest.Options{Jobs: map[string][]string{"weir-monitor": {listen}}})}
}

// without calls do while a broker is down and others have taken over its partitions. The monitor
// must report that it is down, and later that it is back. Each query of the Kafka dashboard and
// rules must return data both before and during the outage.
func (w *watched) without(kafka *stack.Kafka, i int, do func()) {
	w.t.Helper()
	ctx, stop := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer stop()
	hasDataFor(w.t, w.prom, "kafka")
	w.prom.Await(ctx, w.t, `weir_monitor_brokers_up == 3 and weir_monitor_gaps == 0 and on () sum(weir_monitor_partitions_offline) == 0`)
	if err := kafka.Kill(i); err != nil {
		w.t.Fatal(err)
	}
	w.prom.Await(ctx, w.t, `weir_monitor_brokers_up == 2 and weir_monitor_brokers_known == 3`)
	w.prom.Await(ctx, w.t, `weir_monitor_partitions_under_replicated{topic="sensor_data_tx"} == 4`)
	w.prom.Await(ctx, w.t, `weir_monitor_partitions_offline{topic="solo"} == 1 and on () weir_monitor_partitions_offline{topic="sensor_data_tx"} == 0`)
	w.prom.Await(ctx, w.t, `weir_monitor_transactions_hanging == 0 and weir_monitor_gaps == 0`)
	do()
	hasDataFor(w.t, w.prom, "kafka")
	shown := must(w.t, "monitor", w.at)
	for _, want := range []string{"brokers       2 of 3", "1 is gone but still has replicas", "solo: 1 of 3 under-replicated, 1 offline"} {
		if !strings.Contains(shown, want) {
			w.t.Errorf("weir monitor does not say %q:\n%s", want, shown)
		}
	}
	if err := kafka.Start(ctx, i); err != nil {
		w.t.Fatal(err)
	}
	w.prom.Await(ctx, w.t, `weir_monitor_brokers_up == 3 and on () sum(weir_monitor_partitions_under_replicated) == 0 and on () sum(weir_monitor_partitions_offline) == 0`)
}
