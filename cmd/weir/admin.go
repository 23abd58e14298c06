package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/node"
)

// adminFlags configure the admin port, which serves the metrics and health endpoints of a process.
type adminFlags struct {
	listen string
	hosts  []string
	pprof  bool
	addr   string // address in use; "" if it is not served
	cmd    *cobra.Command
}

// add adds the flags. By default the port is off, so that processes on one machine don't clash.
func (a *adminFlags) add(cmd *cobra.Command, listen string) {
	a.cmd = cmd
	what := "host:port for /metrics, /healthz, /readyz and /status; port 0 picks a free one"
	if listen == "" {
		what += " (default: off)"
	}
	cmd.Flags().StringVar(&a.listen, "admin-listen", listen, what)
	cmd.Flags().BoolVar(&a.pprof, "pprof", false, "serve profiles of the process at /debug/pprof of the admin port")
	addHosts(cmd, &a.hosts)
}

// admin creates the admin of this process and, if configured, serves it until ctx is done.
func (a *adminFlags) admin(ctx context.Context, log *slog.Logger) (*node.Admin, error) {
	admin := node.NewAdmin()
	admin.Hosts, admin.Profiles, admin.Secrets = a.hosts, a.pprof, secrets
	admin.Outputs = node.Outputs{Stdout: a.cmd.OutOrStdout(), Stderr: a.cmd.ErrOrStderr()}
	if a.listen == "" || a.listen == "none" {
		return admin, nil
	}
	chosen := a.cmd.Flags().Changed("admin-listen")
	addr, err := admin.Serve(ctx, a.listen, !chosen, log)
	if err != nil {
		return nil, err
	}
	a.addr = addr
	return admin, nil
}

// printAddress prints where the admin port is served.
func (a *adminFlags) printAddress() {
	if a.addr != "" {
		fmt.Fprintf(a.cmd.ErrOrStderr(), "metrics and health at %s\n", a.addr)
	}
}

// addHosts adds the flag of the names by which this machine is known.
func addHosts(cmd *cobra.Command, hosts *[]string) {
	cmd.Flags().StringSliceVar(hosts, "allowed-host", nil, "another name by which HTTP requests may address this machine, such as that of a proxy; addresses, names without a dot and the host's name are always allowed")
}
