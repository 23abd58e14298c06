package main

import (
	"errors"
	"net"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/console"
	"weir.example/weir/internal/top"
)

// consoleClient has the flags with which top and status find a console.
type consoleClient struct {
	url, token string
	listen     string // of weir up and weir console, set by the environment or the configuration file
}

func (c *consoleClient) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.url, "console", "", "address (URL) of the console of a running weir (default: that of console-listen in weir.yaml, or http://"+console.DefaultListen+")")
	secretVar(f, &c.token, "console-token", "token of the console")
	f.StringVar(&c.listen, "console-listen", "", "")
	for _, name := range []string{"console-listen", "console-token", "console-token-file"} {
		if err := f.SetAnnotation(name, flagOf, []string{"up", "console"}); err != nil {
			panic(err) // the flags have just been added
		}
	}
	f.Lookup("console-listen").Hidden = true // set by the environment or weir.yaml only; on the command line, use --console
}

// client returns a client of the console that the flags select.
func (c *consoleClient) client() *top.Client {
	at := &top.Client{URL: c.url, Token: c.token}
	if at.URL == "" {
		at.URL = "http://" + reachable(c.listen)
	}
	return at
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
			return top.Run(cmd.Context(), c.client())
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
			if !asJSON {
				return top.Status(cmd.Context(), c.client(), cmd.OutOrStdout())
			}
			status, err := top.Snapshot(cmd.Context(), c.client())
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
