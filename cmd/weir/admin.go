package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/node"
)

// adminFlags configure the admin port, which serves the metrics and health endpoints of a process.
type adminFlags struct {
	serve  serveFlags
	listen string
	token  string
	pprof  bool
	url    string // in use; "" if it is not served
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
	secretVar(cmd.Flags(), &a.token, "admin-token", "token with which clients without a user may read the admin port")
	cmd.Flags().BoolVar(&a.pprof, "pprof", false, "serve profiles of the process at /debug/pprof of the admin port")
	a.serve.add(cmd)
}

// admin creates the admin of this process and, if configured, serves it until ctx is done.
func (a *adminFlags) admin(ctx context.Context, at *node.Attachment, log *slog.Logger) (*node.Admin, error) {
	web, err := a.serve.webOf(ctx, at, log)
	if err != nil {
		return nil, err
	}
	return a.open(ctx, web, log)
}

// open creates the admin with the users of web.
func (a *adminFlags) open(ctx context.Context, web node.Web, log *slog.Logger) (*node.Admin, error) {
	admin := node.NewAdmin()
	web.Token = a.token
	admin.Web, admin.Profiles, admin.Secrets = web, a.pprof, secrets
	admin.Outputs = node.Outputs{Stdout: a.cmd.OutOrStdout(), Stderr: a.cmd.ErrOrStderr()}
	if a.listen == "" || a.listen == "none" {
		return admin, nil
	}
	chosen := a.cmd.Flags().Changed("admin-listen")
	url, err := admin.Serve(ctx, a.listen, !chosen, log)
	if exposed := new(guard.ExposedError); errors.As(err, &exposed) {
		return nil, usage(err)
	}
	if err != nil {
		return nil, err
	}
	a.url = url
	return admin, nil
}

// printAddress prints where the admin port is served.
func (a *adminFlags) printAddress() {
	if a.url != "" {
		fmt.Fprintf(a.cmd.ErrOrStderr(), "metrics and health at %s\n", a.url)
	}
}
