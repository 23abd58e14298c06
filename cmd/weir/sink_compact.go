package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink/files"
)

func newSinkCompact() *cobra.Command {
	var (
		out  output
		c    files.CompactConfig
		size string
	)
	cmd := &cobra.Command{
		Use:   "compact DIRECTORY --into DIRECTORY",
		Short: "Write the files of a filesystem sink to fewer, larger ones elsewhere",
		Long: `Reads the directory that a table with the connector filesystem has as its 'path', and writes the same rows to fewer
files in another directory: Parquet, JSON or CSV as before, in the same directories of PARTITIONED BY. The original files
stay as they are, and the pipeline can write more of them meanwhile.

A file appears complete, and a run that was interrupted or killed continues where it was: run the same command again. Run
later, it adds the files that the sink has written since; files that it has written before are not touched. Rows keep
their order within a partition of the topic, and weir verify --sinks PIPELINE --compacted DIRECTORY compares them with
the topic.

Parquet files with other columns are put together if the columns that some lack can be NULL. Other differences of
columns and types are refused.`,
		Example: `  weir sink compact /data/archive --into /data/archive-compact
  weir sink compact /data/archive --into /data/archive-compact --file-size 1GB
  weir verify --sinks archive.sql --compacted /data/archive-compact`,
		Args: oneArg("directory of a filesystem sink"),
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			c.Source = args[0]
			if c.Target == "" {
				return usage(fmt.Errorf("--into is missing: name the directory of the new files, outside of %s", c.Source))
			}
			bytes, err := plan.ParseSize(size)
			if err != nil {
				return usage(fmt.Errorf("--file-size %s: write a size such as 512MB or 1GB", size))
			}
			c.FileSize = int64(bytes)
			var done func()
			c.Progress, done = progressLine(cmd, func(read, total int64) string { return "read " + bytesText(read) + " of " + bytesText(total) })
			report, err := files.Compact(cmd.Context(), c)
			done()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), report)
			}
			return writeCompactReport(cmd.OutOrStdout(), report)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Target, "into", "", "directory of the new files; it is created")
	f.StringVar(&c.Table, "table", "", "the table, if the directory has the files of several")
	f.StringVar(&size, "file-size", "512MB", "size of files that are put together in one")
	out.add(cmd)
	return cmd
}

func writeCompactReport(w io.Writer, r *files.CompactReport) error {
	var b strings.Builder
	if r.Continued {
		fmt.Fprintln(&b, "an interrupted compaction was continued; files of the source since then are left for the next run")
	}
	if r.Files == 0 {
		fmt.Fprintf(&b, "table %s: no new files in %s\n", r.Table, r.Source)
	} else {
		fmt.Fprintf(&b, "table %s: %s rows of %s files (%s) are now in %s files (%s) in %s\n",
			r.Table, count(r.Rows), count(int64(r.FilesRead)), bytesText(r.BytesRead), count(int64(r.Files)), bytesText(r.Bytes), r.Target)
	}
	if n := len(r.LeftOut); n > 0 {
		fmt.Fprintf(&b, "left out: %s that the sink has not written, such as %s\n", plural(n, "file"), r.LeftOut[0])
	}
	_, err := io.WriteString(w, b.String())
	return err
}
