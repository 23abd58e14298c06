package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newExplain() *cobra.Command {
	var (
		format string
		topic  siteFlags
	)
	cmd := &cobra.Command{
		Use:   "explain FILE",
		Short: "Show how a pipeline runs: relations, stages, topics, and what state and exchanges cost",
		Example: `  weir explain per_minute.sql
  weir explain per_minute.sql -o svg > plan.svg     # a drawing for any browser
  weir explain device_stats -o dot                  # a bundled pipeline, for Graphviz
  weir explain per_minute.sql -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("%s needs exactly one file", cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := topic.site()
			if err != nil {
				return err
			}
			text, program, err := compileFile(args[0], at)
			if err != nil {
				return &fileError{inFile(args[0], text, err)}
			}
			switch format {
			case "text":
				fmt.Fprint(cmd.OutOrStdout(), program.Text(), program.CostText())
			case "dot":
				fmt.Fprint(cmd.OutOrStdout(), program.Dot())
			case "svg":
				fmt.Fprint(cmd.OutOrStdout(), program.SVG())
			case "json":
				return writeJSON(cmd.OutOrStdout(), program)
			default:
				return usage(fmt.Errorf("unknown output %q: choose text, svg, dot or json", format))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text, svg for a drawing, dot for Graphviz, or json for programs")
	topic.add(cmd, bundledScope)
	return cmd
}
