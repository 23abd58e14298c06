package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/compat"
)

func newSchemaCompatibility() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compatibility",
		Short: "Which schema may follow which: of a subject, or of all",
		Long: `BACKWARD (the default): the new schema reads what the last version wrote; consumers go first.
FORWARD: the last version reads what the new schema writes; producers go first. FULL: both.
With _TRANSITIVE: not only the last version but all. NONE: anything goes.`,
		Example: `  weir schema compatibility get
  weir schema compatibility set FULL_TRANSITIVE
  weir schema compatibility set sensor_data_tx-value FORWARD`,
	}
	cmd.AddCommand(newCompatibilityGet(), newCompatibilitySet())
	return cmd
}

func newCompatibilityGet() *cobra.Command {
	var flags schemaFlags
	cmd := &cobra.Command{
		Use:   "get [SUBJECT]",
		Short: "Print the level in effect",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				subject := append(args, "")[0]
				level, err := c.Compatibility(ctx, subject)
				if err != nil {
					return err
				}
				return writeLevel(cmd.OutOrStdout(), subject, level, asJSON)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func newCompatibilitySet() *cobra.Command {
	var flags schemaFlags
	cmd := &cobra.Command{
		Use:   "set [SUBJECT] LEVEL",
		Short: "Set the level, of all subjects where none is named",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			level, err := compat.ParseLevel(args[len(args)-1])
			if err != nil {
				return usage(err)
			}
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				subject := ""
				if len(args) == 2 {
					subject = args[0]
				}
				if err := c.SetCompatibility(ctx, subject, string(level)); err != nil {
					return err
				}
				return writeLevel(cmd.OutOrStdout(), subject, string(level), asJSON)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func writeLevel(w io.Writer, subject, level string, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]string{"subject": subject, "compatibility": level})
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", cmp.Or(subject, "all subjects"), level)
	return err
}
