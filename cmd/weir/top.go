package main

import (
	"errors"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/console"
	"weir.example/weir/internal/tlsconf"
	"weir.example/weir/internal/top"
)

// consoleClient has the flags with which top and status find a console.
type consoleClient struct {
	url            string
	user, password string
	token          string
	ca             string
	listen         string // of weir up and weir console, set by the environment or the configuration file
}

func (c *consoleClient) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.url, "console", "", "address (URL) of the console of a running weir (default: that of console-listen in weir.yaml, or http://"+console.DefaultListen+")")
	f.StringVar(&c.user, "console-user", "", "user who logs in to the console")
	secretVar(f, &c.password, "console-password", "password of --console-user")
	secretVar(f, &c.token, "console-token", "token of a user, or of the console")
	f.StringVar(&c.ca, "console-ca", "", "file in PEM format with the authority of the console's certificate (default: the system's)")
	f.StringVar(&c.listen, "console-listen", "", "")
	for _, name := range []string{"console-listen", "console-token", "console-token-file"} {
		if err := f.SetAnnotation(name, flagOf, []string{"up", "console"}); err != nil {
			panic(err) // the flags have just been added
		}
	}
	f.Lookup("console-listen").Hidden = true // set by the environment or weir.yaml only; on the command line, use --console
}

// client returns a client of the console that the flags select.
func (c *consoleClient) client() (*top.Client, error) {
	if c.user != "" && c.token != "" {
		return nil, usage(errors.New("--console-user and --console-token exclude each other"))
	}
	at := &top.Client{URL: c.url, User: c.user, Password: c.password, Token: c.token}
	if c.ca != "" {
		trust, err := tlsconf.Client(c.ca, "", "")
		if err != nil {
			return nil, usage(err)
		}
		at.HTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
	}
	if at.URL == "" {
		at.URL = "http://" + reachable(c.listen)
	}
	return at, nil
}

// reachable converts the address at which a console listens to one that can be reached from this
// machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	switch {
	case err != nil || port == "0": // not set, none, or a port chosen by the system
		return console.DefaultListen
	case host == "" || host == "0.0.0.0":
		host = "127.0.0.1"
	case host == "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}

func newTop() *cobra.Command {
	var c consoleClient
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running weir in the terminal: rates, pipelines, devices, topics",
		Example: `  weir top
  weir top --console http://edge-7:8080`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !isTerminal(cmd.OutOrStdout()) {
				return usage(errors.New("weir top needs a terminal: programs can use weir status -o json"))
			}
			at, err := c.client()
			if err != nil {
				return err
			}
			return top.Run(cmd.Context(), at)
		},
	}
	c.add(cmd)
	return cmd
}

func newStatus() *cobra.Command {
	var (
		c   consoleClient
		out output
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running weir is doing",
		Example: `  weir status
  weir status -o json | jq .now.lag`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			at, err := c.client()
			if err != nil {
				return err
			}
			if !asJSON {
				return top.Status(cmd.Context(), at, cmd.OutOrStdout())
			}
			status, err := top.Snapshot(cmd.Context(), at)
			if err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), status)
		},
	}
	c.add(cmd)
	out.add(cmd)
	return cmd
}
