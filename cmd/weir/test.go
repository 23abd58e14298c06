package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/sqltest"
)

func newTest() *cobra.Command {
	var (
		out    output
		update bool
	)
	cmd := &cobra.Command{
		Use:   "test DIR",
		Short: "Run the tests of pipelines, without a broker",
		Long: `For each x.sql in the directory, runs the tests x.case and x.*.case, which contain input records and expected rows.

  send sensor_data_tx
  {"device_id":"a","sensor":"t","value":1,"ts":"2026-01-01T00:00:01Z"}
  send sensor_data_tx partition=1 key=b timestamp=2026-01-01T00:00:02Z
  {"device_id":"b","sensor":"t","value":2,"ts":"2026-01-01T00:00:02Z"}
  table devices             the rows of a table that lookup joins read, from here on
  {"id":"a","name":"pump"}
  clock 30s                 time passes without a record
  end                       the inputs have ended: all windows close
  expect per_minute
  {"device_id":"a","readings":1}
  expect .late              late rows; .dlq are dead letters, .dropped are records dropped by options such as json.ignore-parse-errors

The order of rows does not matter. Lines that begin with # are comments.`,
		Example: `  weir test pipelines
  weir test pipelines --update     # write the actual rows into the tests; review the diff`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("%s needs exactly one directory", cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			results, err := sqltest.Dir(args[0], update)
			if err != nil {
				return usage(err)
			}
			failed := 0
			for _, r := range results {
				if !r.OK {
					failed++
				}
				if asJSON {
					if err := writeJSON(cmd.OutOrStdout(), r); err != nil {
						return err
					}
					continue
				}
				writeResult(cmd, r)
			}
			if !asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "%s, %d failed\n", plural(len(results), "test"), failed)
			}
			if failed > 0 {
				return errCheck
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&update, "update", false, "write the actual rows into the tests")
	out.add(cmd)
	return cmd
}

func writeResult(cmd *cobra.Command, r sqltest.Result) {
	state := "ok  "
	switch {
	case r.Updated:
		state = "new "
	case !r.OK:
		state = "FAIL"
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%s  %s  %s\n", state, r.Test, r.Took.Round(10*time.Microsecond))
	if r.Dropped != "" {
		fmt.Fprintf(w, "      dropped by options: %s\n", r.Dropped)
	}
	for line := range strings.Lines(r.Error + r.Diff) {
		fmt.Fprintf(w, "      %s\n", strings.TrimRight(line, "\n"))
	}
}
