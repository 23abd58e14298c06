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
		Short: "Show or set the compatibility level, globally or per subject",
		Long: `BACKWARD (the default): the new schema can read data of the last version; upgrade consumers first.
FORWARD: the last version can read data of the new schema; upgrade producers first. FULL: both.
With _TRANSITIVE, all versions count, not only the last. NONE: no checks.`,
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
		Short: "Print the effective level",
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
		Short: "Set the level of a subject, or the global level",
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
