package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/ingest/mapping"
	"weir.example/weir/internal/ingest/subscribe"
)

func newIngestGuess() *cobra.Command {
	c := subscribe.Config{ClientID: fmt.Sprintf("weir-guess-%08x", rand.Uint32()), Retained: "use"}
	listen := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "guess URL",
		Short: "Listen to an MQTT broker and propose rules for its messages",
		Long: `Listens to an MQTT broker for a while and prints a proposal of a file for weir ingest: the well-known sources among the messages, and
rules for the others. Retained messages count as well, so that most topics are seen at once. Check names, units, times and time
zones before you use it; weir ingest test shows what the rules make of messages. It acknowledges nothing and leaves no session.`,
		Example: `  weir ingest guess mqtt://127.0.0.1 > ingest.yaml
  weir ingest guess mqtts://broker.example --ca ca.pem --username me --password '${env:MQTT_PASSWORD}' --filter 'site/#'
  mosquitto_sub -t '#' -v -W 30 | weir ingest test ingest.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(fmt.Errorf("%s needs the URL of a broker, such as mqtt://127.0.0.1:1883", cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c.URL = args[0]
			if len(c.Topics) == 0 {
				c.Topics = []string{"#"}
			}
			dir, err := os.Getwd()
			if err != nil {
				return err
			}
			if err := c.Complete(nil, filepath.Clean(dir)); err != nil {
				return usage(err)
			}
			if listen <= 0 || listen > time.Hour {
				return usage(fmt.Errorf("--for must be between 1ns and 1h, got %s", listen))
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "listening for %s\n", listen)
			return guess(cmd.Context(), cmd.OutOrStdout(), &c, listen)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&listen, "for", listen, "how long to listen")
	f.StringArrayVar(&c.Topics, "filter", nil, "topic filter of the messages; may be given several times (default #)")
	f.StringVar(&c.Username, "username", "", "user name at the broker")
	f.StringVar(&c.Password, "password", "", "reference to the password: ${env:NAME}, or ${file:NAME} of a file in this directory")
	f.StringVar(&c.TLS.CA, "ca", "", "file in PEM format with the authorities to trust, for mqtts://")
	f.StringVar(&c.TLS.Cert, "cert", "", "file in PEM format with this client's certificate")
	f.StringVar(&c.TLS.Key, "key", "", "file in PEM format with its key")
	return cmd
}

// guess listens and prints a proposal.
func guess(ctx context.Context, out io.Writer, c *subscribe.Config, listen time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, listen)
	defer cancel()
	g := mapping.NewGuess()
	if err := subscribe.Listen(ctx, c, g.Add); err != nil {
		return err
	}
	if g.Messages == 0 {
		return fmt.Errorf("no messages within %s: listen longer with --for, or name other topics with --filter", listen)
	}
	rules := g.Rules()
	text := fmt.Sprintf("# Proposed from %d messages. Check names, units, times and time zones.\n", g.Messages)
	if g.Left > 0 {
		text += fmt.Sprintf("# %d messages were left out: there are too many topics, or they are too long.\n", g.Left)
	}
	text += fmt.Sprintf("subscribe:\n  - { url: %s, client_id: weir-1", strconv.Quote(c.URL))
	if c.Username != "" {
		text += fmt.Sprintf(", username: %s, password: %s", strconv.Quote(c.Username), strconv.Quote(c.Password))
	}
	if c.TLS != (subscribe.TLSConfig{}) {
		text += fmt.Sprintf(", tls: { ca: %s, cert: %s, key: %s }", strconv.Quote(c.TLS.CA), strconv.Quote(c.TLS.Cert), strconv.Quote(c.TLS.Key))
	}
	_, err := io.WriteString(out, text+" }\ntopics:\n"+rules)
	return err
}
