package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/alert"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/site"
)

// alertScope is the scope of --topic of commands on alerts.
const alertScope = "alerts and silences are those of these readings"

func newAlerts() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alerts",
		Short: "List and silence alerts, and test receivers",
		Example: `  weir run alert_temperature --alerts alerts.yaml     # run a pipeline and deliver its alerts
  weir alerts list
  weir alerts silence device_id=pump-7 --for 2h --comment "under repair"
  weir alerts test --alerts alerts.yaml`,
	}
	cmd.AddCommand(newAlertsList(), newAlertsSilence(), newAlertsTest())
	return cmd
}

// readAlerts reads the file of --alerts; nil if it is not set.
func readAlerts(file string, programs []*plan.Program) (*alert.Config, error) {
	if file == "" {
		return nil, nil
	}
	c, err := alert.ReadConfig(file)
	if err != nil {
		return nil, usage(err)
	}
	if _, err := node.AlertTables(programs); err != nil {
		return nil, usage(err)
	}
	return c, nil
}

func newAlertsList() *cobra.Command {
	var (
		kafka kafkaFlags
		topic siteFlags
		out   output
		all   bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List firing alerts and silences",
		Example: `  weir alerts list
  weir alerts list --all            # including those resolved in the last hour
  weir alerts list -o json | jq '.alerts[] | select(.severity == "critical")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			of, err := topic.site()
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
				state, err := alert.ReadState(ctx, at.Broker, of)
				if err != nil {
					return err
				}
				now := time.Now()
				state.Silences = slices.DeleteFunc(state.Silences, func(s alert.Silence) bool { return !now.Before(s.Until) })
				known := len(state.Alerts)
				if !all {
					state.Alerts = slices.DeleteFunc(state.Alerts, func(a *alert.Alert) bool { return a.Status != alert.Firing })
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), state)
				}
				return writeAlerts(cmd, state, known-len(state.Alerts))
			})
		},
	}
	kafka.add(cmd)
	topic.add(cmd, alertScope)
	cmd.Flags().BoolVar(&all, "all", false, "include alerts resolved in the last hour")
	out.add(cmd)
	return cmd
}

// writeAlerts prints alerts and silences. leftOut is the number of resolved alerts not in state.
func writeAlerts(cmd *cobra.Command, state *alert.State, leftOut int) error {
	if len(state.Alerts) == 0 {
		fmt.Fprint(cmd.OutOrStdout(), "No alerts are firing.")
		if leftOut > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), " Resolved in the last hour: %s; --all shows them.", count(int64(leftOut)))
		}
		fmt.Fprintln(cmd.OutOrStdout())
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	if len(state.Alerts) > 0 {
		fmt.Fprintln(w, "STATUS\tSEVERITY\tSINCE\tALERT\tSUMMARY\tNOTIFIED")
	}
	for _, a := range state.Alerts {
		receivers := notified(a, time.Now())
		status := string(a.Status)
		if a.Status == alert.Firing && alert.Silenced(a, state.Silences, time.Now()) {
			status = "silenced"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", status, a.Severity, a.Since.Local().Format(time.DateTime), a.Name, a.Summary, receivers)
	}
	if len(state.Silences) > 0 {
		fmt.Fprintln(w, "\nSILENCE\tUNTIL\tMATCHES\tCOMMENT")
	}
	for _, s := range state.Silences {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.ID, s.Until.Local().Format(time.DateTime), matches(s.Match), s.Comment)
	}
	return w.Flush()
}

// notified lists the receivers that were notified of an alert, and those that are failing.
func notified(a *alert.Alert, now time.Time) string {
	var all []string
	for _, receiver := range slices.Sorted(maps.Keys(a.Sent)) {
		all = append(all, fmt.Sprintf("%s (%s, %d×)", receiver, a.Sent[receiver].Status, a.Sent[receiver].N))
	}
	for _, receiver := range slices.Sorted(maps.Keys(a.Failing)) {
		f := a.Failing[receiver]
		all = append(all, fmt.Sprintf("%s FAILS for %s, %d×: %s", receiver, now.Sub(f.Since).Round(time.Second), f.Attempts, f.Error))
	}
	if len(all) == 0 {
		return "no one yet"
	}
	return strings.Join(all, ", ")
}

func matches(m alert.Matcher) (text string) {
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			text += " "
		}
		text += name + "=" + m[name]
	}
	return text
}

func newAlertsSilence() *cobra.Command {
	var (
		kafka   kafkaFlags
		topic   siteFlags
		out     output
		length  time.Duration
		comment string
		end     string
	)
	cmd := &cobra.Command{
		Use:   "silence LABEL=PATTERN…",
		Short: "Suppress notifications of alerts for a while",
		Long: `While the silence lasts, no notifications are sent for alerts whose labels match. Labels are alertname, severity and the columns of
the alert's key; * and ? in a pattern are wildcards. When the silence ends, receivers are notified of alerts that are still firing.`,
		Example: `  weir alerts silence device_id=pump-7 --for 2h --comment "under repair"
  weir alerts silence alertname=alert_temperature severity=warning --for 30m
  weir alerts silence --end 5f0c2a91`,
		RunE: func(cmd *cobra.Command, args []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			match, err := alert.ParseMatcher(args)
			if err != nil {
				return usage(err)
			}
			var id [4]byte
			_, _ = rand.Read(id[:]) // never fails
			now := time.Now().UTC().Truncate(time.Millisecond)
			s := alert.Silence{ID: hex.EncodeToString(id[:]), Match: match, From: now, Until: now.Add(length), Comment: comment}
			if end == "" {
				if err := s.Validate(); err != nil {
					return usage(err)
				}
			} else if len(match) > 0 {
				return usage(errors.New("--end takes the id of a silence and no labels"))
			}
			of, err := topic.site()
			if err != nil {
				return err
			}
			return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
				if end != "" {
					return endSilence(ctx, cmd, at, of, end)
				}
				if err := alert.PutSilence(ctx, at.Broker, of, s); err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), s)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "silence %s until %s: %s\n", s.ID, s.Until.Local().Format(time.DateTime), matches(s.Match))
				return nil
			})
		},
	}
	kafka.add(cmd)
	topic.add(cmd, alertScope)
	cmd.Flags().DurationVar(&length, "for", time.Hour, "length of the silence")
	cmd.Flags().StringVar(&comment, "comment", "", "reason, shown to others")
	cmd.Flags().StringVar(&end, "end", "", "end the silence with this id now")
	out.add(cmd)
	return cmd
}

func endSilence(ctx context.Context, cmd *cobra.Command, at *node.Attachment, of site.Site, id string) error {
	state, err := alert.ReadState(ctx, at.Broker, of)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(state.Silences, func(s alert.Silence) bool { return s.ID == id }) {
		return fmt.Errorf("silence %s not found: weir alerts list shows all silences (remove those of a configuration file there)", id)
	}
	if err := alert.DeleteSilence(ctx, at.Broker, of, id); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "silence %s ended\n", id)
	return nil
}

// testResult is the outcome of a test message to one receiver.
type testResult struct {
	Receiver string `json:"receiver"`
	OK       bool   `json:"ok"`
	Error    string `json:"error,omitempty"`
}

func newAlertsTest() *cobra.Command {
	var (
		file string
		out  output
	)
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Send a test alert to each receiver of a configuration",
		Example: `  weir alerts test --alerts alerts.yaml
  weir alerts test --alerts alerts.yaml -o json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			if file == "" {
				return usage(errors.New("name the configuration with --alerts FILE"))
			}
			c, err := alert.ReadConfig(file)
			if err != nil {
				return usage(err)
			}
			failed := false
			for _, name := range slices.Sorted(maps.Keys(c.Receivers)) {
				t := testResult{Receiver: name, OK: true}
				if err := c.Try(cmd.Context(), name, time.Now()); err != nil {
					t.OK, t.Error, failed = false, strings.Join(strings.Fields(err.Error()), " "), true // responses of mail servers can have several lines
				}
				switch {
				case asJSON:
					if err := writeJSON(cmd.OutOrStdout(), t); err != nil {
						return err
					}
				case t.OK:
					fmt.Fprintf(cmd.OutOrStdout(), "%s: accepted\n", name)
				default:
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, t.Error)
				}
			}
			if failed {
				return errCheck
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "alerts", "", "file in YAML with the receivers")
	out.add(cmd)
	return cmd
}
