package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/trail"
)

// recorded lists the commands that change something or run pipelines. They write to the audit trail
// of the embedded broker's data directory.
var recorded = []string{
	"up", "run", "consume", "produce", "ingest", "topics apply", "users add", "users rotate", "users remove", "acl add", "acl remove",
	"dlq replay", "alerts silence", "transactions abort", "transactions commit", "sink",
}

// recordCommand writes that a command has begun. Call ended with its error at its end.
func recordCommand(cmd *cobra.Command, dir string, log *slog.Logger) (ended func(error)) {
	name := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	if dir == "" || !slices.Contains(recorded, name) {
		return func(error) {}
	}
	d := trail.Deed{Who: "local", From: fmt.Sprintf("process %d", os.Getpid()), On: strings.Join(append([]string{name}, cmd.Flags().Args()...), " ")}
	if u, err := user.Current(); err == nil {
		d.Who = "local:" + u.Username
	}
	add := func(what string, failed error) {
		d.What, d.At = what, time.Now().UTC()
		if failed != nil {
			d.Error = failed.Error()
		}
		if err := trail.Append(dir, d); err != nil {
			log.Warn("the audit trail is incomplete", "err", err)
		}
	}
	add(trail.Command, nil)
	return func(err error) { add(trail.CommandEnd, err) }
}

func newAudit() *cobra.Command {
	var (
		dir    string
		since  time.Duration
		filter trail.Filter
		out    output
	)
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who has done what: logins, and changes of topics, ACLs and users",
		Long: `Prints the audit trail of an embedded broker: logins of its clients and those that failed, requests that change topics, groups,
ACLs and users, acquired transactional ids, and the commands of Weir on this machine that change something or run
pipelines. It is a file that only the owner of the data directory can read, and that no client of the broker can change.`,
		Example: `  weir audit --since 24h
  weir audit --failed --what login
  weir audit --who alice -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if filter.What != "" && !slices.Contains(trail.Kinds, filter.What) {
				return usage(fmt.Errorf("unknown --what %q: choose one of %s", filter.What, strings.Join(trail.Kinds, ", ")))
			}
			if since < 0 {
				return usage(errors.New("--since must not be negative"))
			}
			if since > 0 {
				filter.Since = time.Now().Add(-since)
			}
			if _, err := os.Stat(dir); err != nil {
				return fmt.Errorf("the audit trail is in the data directory of an embedded broker: name it with --data-dir: %w", err)
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			print := func(d trail.Deed) error {
				_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", d.At.Format(time.RFC3339), orDash(d.Who), orDash(d.From), d.What, orDash(d.On), d.Error)
				return err
			}
			if asJSON { // one object a line: the trail may be long
				lines := json.NewEncoder(cmd.OutOrStdout())
				print = func(d trail.Deed) error { return lines.Encode(d) }
			} else {
				fmt.Fprintln(table, "TIME\tWHO\tFROM\tWHAT\tON\tERROR")
			}
			unreadable, err := trail.Read(dir, filter, print)
			if unreadable > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d lines can't be read.\n", unreadable)
			}
			return errors.Join(err, table.Flush())
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "data-dir", ".weir", "directory of the embedded broker")
	f.DurationVar(&since, "since", 0, "only what was done this long ago or later, such as 24h; default everything that is kept")
	f.StringVar(&filter.Who, "who", "", "only what this user has done")
	f.StringVar(&filter.What, "what", "", "only this kind: "+strings.Join(trail.Kinds, ", "))
	f.BoolVar(&filter.Failed, "failed", false, "only what was refused, or failed")
	out.add(cmd)
	return cmd
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
