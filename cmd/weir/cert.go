package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/tlsconf"
)

func newCert() *cobra.Command {
	var (
		dir string
		req tlsconf.Request
	)
	cmd := &cobra.Command{
		Use:   "cert NAME",
		Short: "Make a certificate, signed by a certificate authority of your own",
		Long: `Writes NAME.pem and NAME-key.pem, signed by the certificate authority in the same directory, which the first call creates.
Clients trust ca.pem; keep ca-key.pem secret. For machines that others depend on, use the certificates of your organisation
instead.`,
		Example: `  weir cert server --host weir.example --host 192.0.2.10
  weir up --listen 192.0.2.10:9092 --listen-cert tls/server.pem --listen-key tls/server-key.pem
  weir cert press-7 --client     # the client logs in as CN=press-7`,
		Args: oneArg("the certificate's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = args[0]
			if !req.Client && len(req.Hosts) == 0 {
				req.Hosts = []string{"localhost", "127.0.0.1", "::1"}
				if name, err := os.Hostname(); err == nil {
					req.Hosts = append(req.Hosts, name)
				}
			}
			authority, err := tlsconf.OpenAuthority(dir, time.Now())
			if err != nil {
				return err
			}
			cert, key, err := authority.Issue(dir, req, time.Now())
			if err != nil {
				return usage(err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n%s\n", filepath.ToSlash(authority.CertFile), cert, key)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "tls", "directory of the authority and its certificates")
	f.StringSliceVar(&req.Hosts, "host", nil, "name or address of the server; may be repeated (default: this machine)")
	_ = f.SetAnnotation("host", ownFlag, []string{"true"})
	f.BoolVar(&req.Client, "client", false, "a client's certificate, for mutual TLS")
	f.IntVar(&req.Days, "days", tlsconf.DefaultDays, "days until it expires")
	return cmd
}
