package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/broker/embedded"
	"weir.example/weir/internal/node"
)

// kafkaFlags select the broker.
type kafkaFlags struct {
	config  broker.Config
	dataDir string
	profile string // of the embedded broker
	named   bool   // dataDir was set by the user
	create  bool   // start a broker if there is none; for commands that write
	later   bool   // the named brokers need not answer yet
	log     logFlag
}

func (k *kafkaFlags) add(cmd *cobra.Command) {
	k.addConnection(cmd)
	f := cmd.Flags()
	f.StringVar(&k.dataDir, "data-dir", ".weir", "data directory of the embedded broker; joins a weir that already serves it or, if it does not exist, one that serves another directory")
	f.StringVar(&k.profile, "profile", embedded.DefaultProfile, "profile of the embedded broker, if this command starts it: edge, for machines with little memory and slow disks, stores at most 512 MiB and answers fetches with at most 1 MiB; default has no cap on stored bytes")
}

// addConnection adds only the flags that apply to brokers given with --brokers.
func (k *kafkaFlags) addConnection(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&k.config.Brokers, "brokers", nil, "Kafka brokers, host:port,…; without it, the embedded broker in --data-dir is used")
	f.BoolVar(&k.config.TLS, "tls", false, "connect with TLS")
	f.StringVar(&k.config.CAFile, "tls-ca", "", "file in PEM format with trusted certificate authorities")
	f.StringVar(&k.config.CertFile, "tls-cert", "", "file in PEM format with the client certificate")
	f.StringVar(&k.config.KeyFile, "tls-key", "", "file in PEM format with the client key")
	f.BoolVar(&k.config.TLSInsecure, "tls-insecure", false, "accept any server certificate")
	f.StringVar(&k.config.SASL, "sasl", "", "mechanism of SASL: "+strings.Join(broker.Mechanisms, ", "))
	f.StringVar(&k.config.User, "user", "", "user for SASL")
	secretVar(f, &k.config.Password, "password", "password for SASL")
	f.StringVar(&k.config.TokenFile, "sasl-token-file", "", "file with the token for SASL OAUTHBEARER, read again at each login")
	f.Var((*mebibytes)(&k.config.MaxDecompressed), "max-decompressed", "size in MiB that a compressed batch of records may have when it is decompressed; larger ones become dead letters")
	k.log.add(f)
}

// mebibytes is a flag for a number of bytes, in MiB.
type mebibytes int

// String implements pflag.Value.
func (m *mebibytes) String() string {
	return strconv.Itoa(cmp.Or(int(*m), broker.MaxDecompressed) >> 20)
}

// Type implements pflag.Value.
func (m *mebibytes) Type() string { return "int" }

// Set implements pflag.Value.
func (m *mebibytes) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1024 {
		return errors.New("not a number from 1 to 1024")
	}
	*m = mebibytes(n << 20)
	return nil
}

func (k *kafkaFlags) kafka(log *slog.Logger) (node.Kafka, error) {
	if len(k.config.Brokers) > 0 {
		if err := k.config.Validate(); err != nil {
			return node.Kafka{}, usage(err)
		}
	}
	k.warnInsecure(log)
	if _, err := embedded.FindProfile(k.profile); err != nil {
		return node.Kafka{}, usage(err)
	}
	return node.Kafka{Broker: k.config, DataDir: k.dataDir, Elsewhere: !k.named, Later: k.later, Create: k.create, Profile: k.profile, Logger: log}, nil
}

// warnInsecure warns about settings that let others read a password or pose as the broker.
func (k *kafkaFlags) warnInsecure(log *slog.Logger) {
	c := k.config
	if c.TLSInsecure {
		log.Warn("any server certificate is accepted: whoever is on the way to the brokers can read and change the traffic (--tls-insecure)")
	}
	if (strings.EqualFold(c.SASL, "PLAIN") || strings.EqualFold(c.SASL, "OAUTHBEARER")) && !c.TLS && c.CAFile == "" && c.CertFile == "" && !c.TLSInsecure {
		log.Warn("the password or token is sent without TLS: whoever sees the traffic has it; use --tls, or a SCRAM mechanism")
	}
}

// attached calls fn with the selected broker.
func (k *kafkaFlags) attached(cmd *cobra.Command, fn func(ctx context.Context, log *slog.Logger, at *node.Attachment) error) (err error) {
	log := k.log.logger(cmd.ErrOrStderr())
	k.named = cmd.Flags().Changed("data-dir")
	kafka, err := k.kafka(log)
	if err != nil {
		return err
	}
	at, err := kafka.Attach(cmd.Context())
	if err != nil {
		return err
	}
	if at.Found {
		k.dataDir = at.DataDir
		fmt.Fprintf(cmd.ErrOrStderr(), "%s does not exist: using the %s, on %s.\n", kafka.DataDir, at.Describe(), at.DataDir)
	}
	defer func() {
		err = errors.Join(err, at.Close(cmd.Context(), func() {
			fmt.Fprintln(cmd.ErrOrStderr(), "Done. Other weir processes still use this broker; it stops when they exit (Ctrl-C stops it now).")
		}))
	}()
	ended := recordCommand(cmd, at.DataDir, log)
	err = fn(cmd.Context(), log, at)
	ended(err)
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// ownFlag marks a flag whose name has a different meaning in other commands, so that it is set
// neither from the environment nor from the configuration file.
const ownFlag = "own"

// fromEnvironment sets flags that were not given from WEIR_NAME, where NAME has _ instead of -.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		name := "WEIR_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(name)
		if !ok || f.Changed || f.Annotations[ownFlag] != nil || err != nil {
			return
		}
		if setErr := flags.Set(f.Name, value); setErr != nil {
			err = usage(fmt.Errorf("environment variable %s: %w", name, setErr))
		}
	})
	return err
}

// output is the -o flag.
type output struct{ format string }

func (o *output) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "text", "text, or json for programs")
}

func (o *output) json() (bool, error) {
	switch o.format {
	case "json":
		return true, nil
	case "text":
		return false, nil
	default:
		return false, usage(fmt.Errorf("unknown output %q: choose text or json", o.format))
	}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
