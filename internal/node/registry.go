package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/embedded"
	"weir.example/weir/reading"
)

// DefaultRegistryListen is the default address of the registry, with the same port as Confluent's.
const DefaultRegistryListen = "127.0.0.1:8081"

// ServeRegistry configures the schema registry that runs with the embedded broker.
type ServeRegistry struct {
	Listen   string // host:port
	Optional bool   // run without it if the address is in use
	Login    bool   // users of the broker have to log in, if there are any: readers to read, operators to write
}

// served is the registry of this process, or nil.
type served struct{ *embedded.Registry }

// openRegistry serves the registry, with the schema of readings registered. It returns nil if none
// is configured, if the broker is not embedded, or if it is optional and its address is in use;
// busy then reports that.
func (cfg *Config) openRegistry(ctx context.Context, kafka *Attachment) (r *served, busy, err error) {
	if cfg.ServeRegistry == nil || !kafka.Embedded() {
		return nil, nil, nil
	}
	ctx = context.WithoutCancel(ctx) // a stop takes effect only once the registry is open
	web := cfg.Admin.Web
	var users *guard.Guard
	var proxies guard.Proxies
	if cfg.ServeRegistry.Login || !guard.Loopback(cfg.ServeRegistry.Listen) && !web.Insecure {
		users, proxies = web.Guard, web.Proxies
	}
	opened, err := embedded.Open(ctx, embedded.Config{
		Guard: users, Proxies: proxies, TLS: web.TLS, Insecure: web.Insecure, Trail: web.Trail, Hosts: web.Hosts,
		Broker: kafka.Broker, Addr: cfg.ServeRegistry.Listen, Dir: cfg.Kafka.DataDir, Logger: cfg.Logger, Metrics: cfg.Admin.served,
	})
	if cfg.ServeRegistry.Optional && errors.Is(err, embedded.ErrBusy) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	r = &served{opened}
	own := registry.Config{URLs: []string{opened.URL()}}
	if strings.HasPrefix(opened.URL(), "https:") {
		own.Pinned = web.TLS.CertFile()
	}
	if users != nil {
		own.User = guard.InternalName
		if own.Password, err = guard.Secret(cfg.Kafka.DataDir); err != nil {
			r.close(cfg.Logger)
			return nil, nil, err
		}
	}
	if len(cfg.Registry.URLs) == 0 {
		cfg.Registry.URLs, cfg.Registry.User, cfg.Registry.Password, cfg.Registry.Pinned = own.URLs, own.User, own.Password, own.Pinned
	}
	cfg.Admin.SchemaRegistry(own)
	if err := registerReading(ctx, own); err != nil {
		r.close(cfg.Logger)
		return nil, nil, err
	}
	return r, nil, nil
}

// registerReading registers the schema of readings under its own name. An incompatible schema that
// was registered manually is kept.
func registerReading(ctx context.Context, own registry.Config) error {
	client, err := registry.NewClient(own)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Register(ctx, reading.SchemaName, &registry.Schema{Type: registry.Avro, Text: reading.AvroSchema})
	if err != nil && !errors.Is(err, registry.ErrIncompatible) {
		return fmt.Errorf("register the schema of readings: %w", err)
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
