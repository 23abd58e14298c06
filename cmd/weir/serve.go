package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/tlsconf"
)

// serveFlags are the flags of what this process serves: its certificate, and who may log in.
type serveFlags struct {
	cert, key, clientCA string
	insecure            bool
	openID              guard.OpenID
}

func (s *serveFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.cert, "listen-cert", "", "file in PEM format with the certificate to serve (see weir cert); read again when it changes")
	f.StringVar(&s.key, "listen-key", "", "file in PEM format with the key of --listen-cert")
	f.StringVar(&s.clientCA, "listen-client-ca", "", "file in PEM format with authorities whose certificates let clients log in")
	f.BoolVar(&s.insecure, "insecure-listen", false, "allow addresses that other machines can reach without TLS and a login")
	f.StringVar(&s.openID.Issuer, "oidc-issuer", "", "provider of OpenID tokens that let clients log in, as a URL")
	f.StringVar(&s.openID.Audience, "oidc-audience", "", "audience that the tokens must have")
	f.StringVar(&s.openID.Keys, "oidc-keys", "", "provider's keys as a URL of a JWKS (default: that of its configuration)")
	f.StringVar(&s.openID.Claim, "oidc-claim", "sub", "claim of the tokens that names the user")
}

// server returns the certificate to serve, or nil.
func (s *serveFlags) server(log *slog.Logger) (*tlsconf.Server, error) {
	if s.cert == "" && s.key == "" && s.clientCA == "" {
		return nil, nil
	}
	server, err := tlsconf.NewServer(s.cert, s.key, s.clientCA, log)
	if err != nil {
		return nil, usage(err)
	}
	return server, nil
}

// provider returns the OpenID provider, or nil.
func (s *serveFlags) provider() (*guard.OpenID, error) {
	if s.openID.Issuer == "" && s.openID.Audience == "" && s.openID.Keys == "" {
		return nil, nil
	}
	if err := s.openID.Validate(); err != nil {
		return nil, usage(err)
	}
	return &s.openID, nil
}
