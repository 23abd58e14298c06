package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/tlsconf"
)

// serveFlags are the flags of what this process serves: its certificate, and who may log in.
type serveFlags struct {
	cert, key, clientCA string
	insecure            bool
	openID              guard.OpenID
	hosts               []string
	proxies             []string
	proxyHeader         string
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
	f.StringSliceVar(&s.hosts, "allowed-host", nil, "another name by which HTTP requests may address this machine, such as that of a proxy; addresses, names without a dot and the host's name are always allowed")
	f.StringSliceVar(&s.proxies, "trusted-proxy", nil, "address or network of a reverse proxy that has logged users in and names them in --proxy-header, for the console, the admin port and the registry")
	f.StringVar(&s.proxyHeader, "proxy-header", guard.DefaultProxyHeader, "header in which --trusted-proxy names the user")
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

// web returns what the servers of HTTP share.
func (s *serveFlags) web(log *slog.Logger) (web node.Web, err error) {
	web.Hosts, web.Insecure = s.hosts, s.insecure
	if web.Proxies, err = guard.ParseProxies(s.proxies, s.proxyHeader); err != nil {
		return web, usage(err)
	}
	web.TLS, err = s.server(log)
	return web, err
}

// webOf returns it with the users of a broker's data directory.
func (s *serveFlags) webOf(ctx context.Context, at *node.Attachment, log *slog.Logger) (node.Web, error) {
	web, err := s.web(log)
	if err != nil {
		return web, err
	}
	provider, err := s.provider()
	if err != nil {
		return web, err
	}
	return web, at.Users(ctx, &web, provider, log)
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
