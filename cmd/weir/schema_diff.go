package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/compat"
)

func newSchemaDiff() *cobra.Command {
	var (
		flags schemaFlags
		file  schemaFile
	)
	cmd := &cobra.Command{
		Use:   "diff SUBJECT FROM [TO]",
		Short: "Compare two versions of a subject, or one with a file: changed lines and compatibility",
		Example: `  weir schema diff sensor_data_tx-value 1 2
  weir schema diff sensor_data_tx-value latest --file reading.avsc`,
		Args: func(_ *cobra.Command, args []string) error {
			if want := 3 - len(slices.DeleteFunc([]string{file.path}, func(s string) bool { return s == "" })); len(args) != want {
				return usage(fmt.Errorf("weir schema diff needs a subject and two versions, or one version and --file"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				from, err := schemaVersion(ctx, c, args[:2])
				if err != nil {
					return err
				}
				to := &registry.Version{}
				if file.path != "" {
					to.Schema, err = file.read()
				} else {
					to, err = schemaVersion(ctx, c, []string{args[0], args[2]})
				}
				if err != nil {
					return err
				}
				return writeDiff(ctx, cmd.OutOrStdout(), from, to, asJSON)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&file.path, "file", "", "file with the other schema: .avsc, .proto or .json")
	cmd.Flags().StringVar(&file.kind, "type", "", "type of the schema: AVRO, PROTOBUF or JSON (default: from the file's name)")
	return cmd
}

func writeDiff(ctx context.Context, w io.Writer, from, to *registry.Version, asJSON bool) error {
	backward, err := compat.Reasons(ctx, to.Schema, from.Schema)
	if err != nil {
		return err
	}
	forward, err := compat.Reasons(ctx, from.Schema, to.Schema)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(w, map[string]any{"from": shownSchema(from), "to": shownSchema(to), "backward": backward, "forward": forward})
	}
	for _, line := range lineDiff(strings.Split(strings.TrimSpace(from.Schema.Pretty()), "\n"), strings.Split(strings.TrimSpace(to.Schema.Pretty()), "\n")) {
		fmt.Fprintln(w, line)
	}
	for _, way := range []struct {
		what     string
		problems []string
	}{
		{"the newer can read data of the older (backward)", backward},
		{"the older can read data of the newer (forward)", forward},
	} {
		answer := "yes"
		if len(way.problems) > 0 {
			answer = "NO"
		}
		fmt.Fprintf(w, "\n%s: %s\n", way.what, answer)
		for _, p := range way.problems {
			fmt.Fprintf(w, "  %s\n", p)
		}
	}
	return nil
}

// mostDiffCells limits the effort of comparing texts with little in common.
const mostDiffCells = 1 << 22

// lineDiff prefixes common lines with two spaces, deleted ones with - and added ones with +.
func lineDiff(from, to []string) []string {
	var head, tail []string
	for len(from) > 0 && len(to) > 0 && from[0] == to[0] {
		head, from, to = append(head, "  "+from[0]), from[1:], to[1:]
	}
	for len(from) > 0 && len(to) > 0 && from[len(from)-1] == to[len(to)-1] {
		tail, from, to = append(tail, "  "+from[len(from)-1]), from[:len(from)-1], to[:len(to)-1]
	}
	slices.Reverse(tail)
	return slices.Concat(head, changedLines(from, to), tail)
}

// changedLines diffs lines by their longest common subsequence.
func changedLines(from, to []string) (out []string) {
	common := make([][]int, len(from)+1) // length of the longest common subsequence of from[i:] and to[j:]
	if len(from)*len(to) <= mostDiffCells {
		for i := range common {
			common[i] = make([]int, len(to)+1)
		}
		for i := len(from) - 1; i >= 0; i-- {
			for j := len(to) - 1; j >= 0; j-- {
				common[i][j] = max(common[i+1][j], common[i][j+1])
				if from[i] == to[j] {
					common[i][j] = common[i+1][j+1] + 1
				}
			}
		}
	}
	i, j := 0, 0
	for i < len(from) || j < len(to) {
		switch {
		case i < len(from) && j < len(to) && from[i] == to[j]:
			out = append(out, "  "+from[i])
			i, j = i+1, j+1
		case i < len(from) && (j == len(to) || common[i] == nil || common[i+1][j] >= common[i][j+1]):
			out = append(out, "- "+from[i])
			i++
		default:
			out = append(out, "+ "+to[j])
			j++
		}
	}
	return out
}
