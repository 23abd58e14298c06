package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/sr"

	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/tlsconf"
)

// registryFlags select a schema registry.
type registryFlags struct{ config registry.Config }

func (r *registryFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&r.config.URLs, "registry", nil, "address of the schema registry, such as http://127.0.0.1:8081")
	f.StringVar(&r.config.User, "registry-user", "", "user of the registry")
	secretVar(f, &r.config.Password, "registry-password", "password of the registry")
	secretVar(f, &r.config.Token, "registry-token", "bearer token for the registry, instead of a user")
	f.StringVar(&r.config.CAFile, "registry-ca", "", "file in PEM format with certificate authorities trusted for the registry")
	f.StringVar(&r.config.CertFile, "registry-cert", "", "file in PEM format with the client certificate for the registry")
	f.StringVar(&r.config.KeyFile, "registry-key", "", "file in PEM format with the client key for the registry")
}

func (r *registryFlags) given() bool { return len(r.config.URLs) > 0 }

func (r *registryFlags) client(log *slog.Logger) (*registry.Client, error) {
	r.config.Logger = log
	if err := r.config.Validate(); err != nil {
		return nil, usage(err)
	}
	return registry.NewClient(r.config)
}

// plain returns a client of the sr library for the checker, which shares no code with the registry
// package. Without a registry it returns nil.
func (r *registryFlags) plain() (*sr.Client, error) {
	c := r.config
	if !r.given() {
		return nil, nil
	}
	if err := c.Validate(); err != nil {
		return nil, usage(err)
	}
	conf, err := tlsconf.Client(c.CAFile, c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	options := []sr.ClientOpt{sr.URLs(c.URLs...), sr.DialTLSConfig(conf)}
	if c.User != "" {
		options = append(options, sr.BasicAuth(c.User, c.Password))
	}
	if c.Token != "" {
		options = append(options, sr.BearerToken(c.Token))
	}
	return sr.NewClient(options...)
}

// shown returns a function that decodes keys and values with a schema to JSON if a registry is
// configured. Others, and those that can't be decoded, are returned unchanged.
func (r *registryFlags) shown(ctx context.Context, log *slog.Logger) (show func([]byte) []byte, done func(), err error) {
	if !r.given() {
		return func(b []byte) []byte { return b }, func() {}, nil
	}
	client, err := r.client(log)
	if err != nil {
		return nil, nil, err
	}
	return func(b []byte) []byte {
		text, ok, err := client.JSON(ctx, b)
		switch {
		case err != nil:
			log.Warn("record can't be decoded, showing its bytes", "err", err)
			return b
		case !ok:
			return b
		}
		return text
	}, client.Close, nil
}

// formatFlags select the format of readings.
type formatFlags struct {
	registry registryFlags
	format   string
}

func (f *formatFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "format", "json", "format of the readings' values: "+strings.Join(produce.Formats, ", ")+"; all but json need --registry")
	f.registry.add(cmd)
}

// validate checks the flags. served is set if the command serves a registry itself.
func (f *formatFlags) validate(served bool) error {
	switch {
	case !slices.Contains(produce.Formats, f.format):
		if f.format == "csv" || f.format == "ndjson" {
			return usage(fmt.Errorf("--format is the format of records in Kafka; for the file, use --file-format %s", f.format))
		}
		return usage(fmt.Errorf("unknown format %q: choose %s", f.format, strings.Join(produce.Formats, ", ")))
	case f.format != "json" && !f.registry.given() && !served:
		return usage(errors.New("--format " + f.format + " needs --registry, such as --registry http://127.0.0.1:8081"))
	}
	return nil
}

// encoding registers the schema of readings; nil for json.
func (f *formatFlags) encoding(ctx context.Context, log *slog.Logger, topic string, strategy registry.Strategy) (produce.Encoding, error) {
	if f.format == "json" {
		return nil, nil
	}
	client, err := f.registry.client(log)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return produce.Register(ctx, client, produce.Registered{Format: f.format, Topic: topic, Strategy: strategy, Logger: log})
}
