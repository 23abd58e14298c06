package main

import (
	"context"
	"time"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/reading"
)

// startRegistry registers the readings' schema in an in-process registry, unless they are JSON.
// Only the input's format varies: results stay JSON.
func (b *bench) startRegistry(ctx context.Context) (closing func() error, err error) {
	if b.format == "json" {
		return func() error { return nil }, nil
	}
	r, err := embedded.Open(ctx, embedded.Config{Broker: broker.Config{Brokers: []string{b.brokers}}})
	if err != nil {
		return nil, err
	}
	b.registry = r.URL()
	client, err := registry.NewClient(registry.Config{URLs: []string{b.registry}})
	if err == nil {
		defer client.Close()
		b.encoding, err = produce.Register(ctx, client, produce.Registered{Format: b.format, Topic: b.source})
	}
	if err != nil {
		_ = r.Close() // the first error is returned
		return nil, err
	}
	return r.Close, nil
}

// encode appends reading i, of device d, at event time ts, in the format of the run.
func (b *bench) encode(dst []byte, d *device, i int64, ts time.Time) ([]byte, error) {
	if b.encoding == nil {
		return d.appendJSON(dst, i, ts), nil
	}
	return b.encoding.Append(dst, &reading.Reading{
		DeviceID: d.id, Sensor: "temperature", Value: value(i), Unit: "Cel", TS: ts.UnixMilli(), Seq: i / devices, Boot: d.boot,
	})
}
