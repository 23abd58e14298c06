package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/reading"
)

// DefaultRegistryListen is where the registry is looked for, as Confluent's is.
const DefaultRegistryListen = "127.0.0.1:8081"

// ServeRegistry says where the schema registry beside the embedded broker listens.
type ServeRegistry struct {
	Listen   string // host:port
	Optional bool   // go on without it where the address is taken
}

// served is a registry of this process, or nil.
type served struct{ *embedded.Registry }

// openRegistry serves the registry that the configuration asks for, with the schema of readings in
// it. It is nil where none is asked for, the broker is not ours, or its address is taken and it is
// no more than welcome.
func (cfg *Config) openRegistry(ctx context.Context, kafka *Attachment) (r *served, busy, err error) {
	if cfg.ServeRegistry == nil || !kafka.Embedded() {
		return nil, nil, nil
	}
	ctx = context.WithoutCancel(ctx) // who stops now stops cleanly, a moment later
	opened, err := embedded.Open(ctx, embedded.Config{
		Broker: kafka.Broker, Addr: cfg.ServeRegistry.Listen, Dir: cfg.Kafka.DataDir, Logger: cfg.Logger, Metrics: cfg.Admin.served,
	})
	if cfg.ServeRegistry.Optional && errors.Is(err, embedded.ErrBusy) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if len(cfg.Registry.URLs) == 0 {
		cfg.Registry.URLs = []string{opened.URL()}
	}
	r = &served{opened}
	cfg.Admin.SchemaRegistry(registry.Config{URLs: []string{opened.URL()}})
	if err := registerReading(ctx, opened.URL()); err != nil {
		r.close(cfg.Logger)
		return nil, nil, err
	}
	return r, nil, nil
}

// registerReading makes the schema of readings known under its own name. A schema that was put
// there by hand, and which the reading's does not fit, stays.
func registerReading(ctx context.Context, url string) error {
	client, err := registry.NewClient(registry.Config{URLs: []string{url}})
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Register(ctx, reading.SchemaName, &registry.Schema{Type: registry.Avro, Text: reading.AvroSchema})
	if err != nil && !errors.Is(err, registry.ErrIncompatible) {
		return fmt.Errorf("make the schema of readings known: %w", err)
	}
	return nil
}

func (s *served) url() string {
	if s == nil {
		return ""
	}
	return s.URL()
}

func (s *served) close(log *slog.Logger) {
	if s == nil {
		return
	}
	if err := s.Close(); err != nil {
		log.Warn("schema registry not stopped cleanly", "err", err)
	}
}
