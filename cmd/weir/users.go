package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/retry"
)

func newUsers() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "users",
		Short: "Users of the embedded broker",
		Long: `Adds, lists and removes users of the embedded broker in --data-dir. As soon as there is one, all clients of the broker have
to log in. Processes of this machine that may read the data directory log in with it.

On the broker, a role is a set of ACLs, which weir acl lists and changes; in the console, at the admin port, and with
--registry-login in the schema registry, it decides what a user may do:

  device    writes readings
  reader    reads topics, groups, transactions and schemas; sees the console, metrics and status
  operator  also writes, creates and changes topics, runs pipelines, registers schemas, replays dead letters, aborts
            transactions, and sees the audit trail
  admin     also changes users, ACLs, the settings of the registry, and sees profiles`,
		Example: `  weir users add alice --role admin
  weir users add press-7 --role device --topic sensor_data_tx
  weir users add prometheus --role reader --token
  weir users rotate alice
  weir users list`,
	}
	cmd.AddCommand(newUsersAdd(), newUsersList(), newUsersRotate(), newUsersRemove())
	return cmd
}

// credentialFlags say how a user is going to log in.
type credentialFlags struct {
	file  string
	none  bool
	token bool
}

func (c *credentialFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.file, "new-password-file", "", "file with the password of the user, - for standard input (default: a random one, which is printed)")
	f.BoolVar(&c.token, "token", false, "print a bearer token instead of a password, for programs that use the console, the admin port, the registry or the MQTT broker")
	f.BoolVar(&c.none, "no-password", false, "only a certificate or a token of the OpenID provider names this user")
}

// give gives a user new credentials, and returns the secret to print, or "".
func (c *credentialFlags) give(user *guard.User) (secret string, err error) {
	switch {
	case c.token && (c.none || c.file != ""), c.none && c.file != "":
		return "", usage(errors.New("--token, --no-password and --new-password-file exclude each other"))
	case c.none:
		return "", nil
	case c.token:
		secret, user.Token = guard.NewToken()
		return secret, nil
	case c.file == "":
		secret = guard.NewPassword()
		user.SCRAM, err = guard.BothKeys(secret)
		return secret, err
	}
	var text []byte
	if c.file == "-" {
		text, err = io.ReadAll(io.LimitReader(os.Stdin, 1<<16))
	} else {
		text, err = os.ReadFile(c.file)
	}
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	user.SCRAM, err = guard.BothKeys(strings.TrimRight(string(text), "\r\n"))
	return "", err
}

// guarded calls fn with the users of the embedded broker's data directory, and a client that may do
// everything.
func guarded(cmd *cobra.Command, kafka *kafkaFlags, fn func(ctx context.Context, users *guard.Users, client *kgo.Client) error) error {
	return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
		if at.DataDir == "" {
			return usage(errors.New("users are those of an embedded broker: for a Kafka cluster, use its own tools, such as kafka-configs"))
		}
		users, err := guard.OpenUsers(at.DataDir)
		if err != nil {
			return err
		}
		client, err := broker.Connect(ctx, at.Broker)
		if err != nil {
			return err
		}
		defer client.Close()
		return fn(ctx, users, client)
	})
}

func newUsersAdd() *cobra.Command {
	var (
		kafka kafkaFlags
		with  credentialFlags
		topic siteFlags
		role  string
	)
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user, and print its password once",
		Args:  oneArg("the user's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			has, err := guard.ParseRole(role)
			if err = errors.Join(err, guard.CheckName(args[0])); err != nil {
				return usage(err)
			}
			at, err := topic.site()
			if err != nil {
				return err
			}
			user := guard.User{Name: args[0], Role: has}
			secret, err := with.give(&user)
			if err != nil {
				return err
			}
			kafka.create = true
			return guarded(cmd, &kafka, func(ctx context.Context, users *guard.Users, client *kgo.Client) error {
				if err := users.Change(func(all map[string]guard.User) error {
					if _, exists := all[user.Name]; exists {
						return fmt.Errorf("user %q exists: change its password with weir users rotate, or remove it first", user.Name)
					}
					all[user.Name] = user
					return nil
				}); err != nil {
					return err
				}
				if err := createRole(ctx, client, user, at.Readings()); err != nil {
					return fmt.Errorf("user %q was added, but not its ACLs: %w", user.Name, err)
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "added user %q with role %s\n", user.Name, user.Role)
				return printSecret(cmd, secret)
			})
		},
	}
	kafka.add(cmd)
	with.add(cmd)
	topic.add(cmd, "devices write these readings")
	cmd.Flags().StringVar(&role, "role", "", "device, reader, operator or admin")
	return cmd
}

// printSecret prints a secret that is not stored anywhere.
func printSecret(cmd *cobra.Command, secret string) error {
	if secret == "" {
		return nil
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), secret)
	return err
}

// createRole creates the ACLs of a user's role. The broker may take a second to see its first user.
func createRole(ctx context.Context, client *kgo.Client, user guard.User, readings string) error {
	all := kadm.NewACLs().Allow().Deny().AllowHosts().DenyHosts().AnyResource().Operations(kadm.OpAny).ResourcePatternType(kadm.ACLPatternAny)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		found, err := kadm.NewClient(client).DescribeACLs(ctx, all)
		for _, f := range found {
			err = errors.Join(err, f.Err)
		}
		if !errors.Is(err, kerr.SecurityDisabled) {
			break
		}
		if err := retry.Sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range user.Role.ACLs(readings) {
		c := kmsg.NewCreateACLsRequestCreation()
		c.Principal, c.Host, c.PermissionType = "User:"+user.Name, "*", kmsg.ACLPermissionTypeAllow
		c.ResourceType, c.ResourcePatternType, c.ResourceName, c.Operation = a.Type, a.Pattern, a.Name, a.Operation
		req.Creations = append(req.Creations, c)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, r := range resp.Results {
		err = errors.Join(err, kerr.ErrorForCode(r.ErrorCode))
	}
	return err
}

func newUsersList() *cobra.Command {
	var (
		kafka kafkaFlags
		out   output
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List users, with their roles and how they log in",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			type row struct {
				Name       string   `json:"name"`
				Role       string   `json:"role"`
				Mechanisms []string `json:"mechanisms"`
			}
			return guarded(cmd, &kafka, func(_ context.Context, users *guard.Users, _ *kgo.Client) error {
				rows := []row{}
				for _, u := range users.List() {
					with := append([]string{}, u.Mechanisms()...)
					if u.Token != "" {
						with = append(with, "token")
					}
					rows = append(rows, row{u.Name, string(u.Role), with})
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), rows)
				}
				if len(rows) == 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "no users: clients need no login")
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "USER\tROLE\tLOGS IN WITH")
				for _, r := range rows {
					with := strings.Join(r.Mechanisms, ", ")
					if with == "" {
						with = "certificate or OpenID token"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.Role, with)
				}
				return w.Flush()
			})
		},
	}
	kafka.add(cmd)
	out.add(cmd)
	return cmd
}

func newUsersRotate() *cobra.Command {
	var (
		kafka kafkaFlags
		with  credentialFlags
	)
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Give a user a new password or token; connections with the old one end",
		Args:  oneArg("the user's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return guarded(cmd, &kafka, func(ctx context.Context, users *guard.Users, client *kgo.Client) error {
				var secret string
				var before guard.User
				err := users.Change(func(all map[string]guard.User) (err error) {
					user, ok := all[args[0]]
					if !ok {
						return fmt.Errorf("there is no user %q", args[0])
					}
					if len(user.SCRAM) == 0 && user.Token != "" && with.file == "" { // the token is what it logs in with
						with.token = true
					}
					secret, err = with.give(&user)
					before, user.Unseen = user, false
					all[user.Name] = user
					return err
				})
				if err == nil && before.Unseen { // weir up --secure-listen did not get to it
					err = createRole(ctx, client, before, "")
				}
				if err != nil {
					return err
				}
				return printSecret(cmd, secret)
			})
		},
	}
	kafka.add(cmd)
	with.add(cmd)
	return cmd
}

func newUsersRemove() *cobra.Command {
	var kafka kafkaFlags
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a user with its ACLs, and end its connections",
		Args:  oneArg("the user's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return guarded(cmd, &kafka, func(ctx context.Context, users *guard.Users, client *kgo.Client) error {
				if _, ok := users.Find(args[0]); !ok {
					return fmt.Errorf("there is no user %q", args[0])
				}
				principal := "User:" + args[0]
				filter := kadm.NewACLs().Allow(principal).Deny(principal).AllowHosts().DenyHosts().AnyResource().
					Operations(kadm.OpAny).ResourcePatternType(kadm.ACLPatternAny)
				deleted, err := kadm.NewClient(client).DeleteACLs(ctx, filter)
				for _, d := range deleted {
					err = errors.Join(err, d.Err)
				}
				if err != nil && !errors.Is(err, kerr.SecurityDisabled) {
					return fmt.Errorf("remove the ACLs of %q: %w", args[0], err)
				}
				return users.Change(func(all map[string]guard.User) error { delete(all, args[0]); return nil })
			})
		},
	}
	kafka.add(cmd)
	return cmd
}
