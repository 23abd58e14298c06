package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/console"
	"weir.example/weir/internal/node"
)

// consoleFlags are the flags of the console.
type consoleFlags struct {
	listen string
	token  string
	write  bool
}

func (c *consoleFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.listen, "console-listen", console.DefaultListen, "address of the console; none disables it")
	secretVar(f, &c.token, "console-token", "token with which clients without a user may use the console as an operator")
	f.BoolVar(&c.write, "console-write", false, "allow the console to replay dead letters and end transactions")
}

// config returns nil if the console is disabled.
func (c *consoleFlags) config(cmd *cobra.Command, web node.Web) (*console.Config, error) {
	if c.listen == "none" {
		return nil, nil
	}
	cfg := &console.Config{
		Listen: c.listen, Token: c.token, Write: c.write, Version: version(), Optional: !cmd.Flags().Changed("console-listen"),
		Hosts: web.Hosts, Guard: web.Guard, Proxies: web.Proxies, TLS: web.TLS, Insecure: web.Insecure, Trail: web.Trail,
	}
	if err := cfg.Validate(); err != nil {
		return nil, usage(err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, which checks SQL in a process of its own: %w", err)
	}
	cfg.Sandbox = []string{self}
	return cfg, nil
}

func newConsole() *cobra.Command {
	var (
		kafka kafkaFlags
		flags consoleFlags
		topic siteFlags
		names registryFlags
		serve serveFlags
	)
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Serve the live console for a broker: devices, pipelines, topics, dead letters",
		Long: `Serves the console of weir up for a broker whose producers and pipelines run in other processes. It is read-only unless
--console-write is given. Metrics that only the process of a pipeline has, such as watermarks, are not shown.`,
		Example: `  weir console --brokers kafka-1:9092
  weir console --brokers kafka-1:9092 --console-listen 0.0.0.0:8080 --console-token-file token \
    --listen-cert tls/server.pem --listen-key tls/server-key.pem`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.listen == "none" {
				return usage(errors.New("--console-listen none disables the console: leave it out"))
			}
			named, err := topic.site()
			if err != nil {
				return err
			}
			return untilStopped(cmd.Context(), kafka.attached(cmd, func(ctx context.Context, log *slog.Logger, at *node.Attachment) error {
				web, err := serve.webOf(ctx, at, log)
				if err != nil {
					return err
				}
				cfg, err := flags.config(cmd, web)
				if err != nil {
					return err
				}
				cfg.Broker, cfg.Logger, cfg.Optional, cfg.Site, cfg.AuditDir = at.Broker, log, false, named, at.DataDir
				if names.given() {
					if cfg.Registry, err = names.client(log); err != nil {
						return err
					}
				}
				page, err := console.Open(ctx, *cfg)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "console of the %s: %s\n", at.Describe(), page.URL())
				return page.Run(ctx)
			}))
		},
	}
	kafka.add(cmd)
	flags.add(cmd)
	serve.add(cmd)
	names.add(cmd)
	topic.add(cmd, "devices, statistics and dead letters are those of these readings")
	return cmd
}
