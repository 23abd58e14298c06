package main

import (
	"errors"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/console"
	"weir.example/weir/internal/top"
)

// consoleClient are the flags by which top and status find a console.
type consoleClient struct{ top.Client }

func (c *consoleClient) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.URL, "console", "http://"+console.DefaultListen, "where the console of a running weir is")
	f.StringVar(&c.Token, "console-token", "", "its token; better in the environment as WEIR_CONSOLE_TOKEN")
}

func newTop() *cobra.Command {
	var c consoleClient
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running weir at the terminal: figures, pipelines, devices, topics",
		Example: `  weir top
  weir top --console http://edge-7:8080`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !isTerminal(cmd.OutOrStdout()) {
				return usage(errors.New("weir top wants a terminal: for programs there is weir status -o json"))
			}
			return top.Run(cmd.Context(), &c.Client)
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
		Short: "What a running weir does at this moment",
		Example: `  weir status
  weir status -o json | jq .now.lag`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if !asJSON {
				return top.Status(cmd.Context(), &c.Client, cmd.OutOrStdout())
			}
			status, err := top.Snapshot(cmd.Context(), &c.Client)
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
