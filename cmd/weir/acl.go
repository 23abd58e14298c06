package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/node"
)

func newACL() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acl",
		Short: "Kafka's ACLs: who may do what with topics, groups and transactional ids",
		Long: `Lists, adds and removes Kafka's ACLs of a broker, as kafka-acls does. The embedded broker has them as soon as it has a user.
What no ACL allows is denied, and what an ACL denies is denied although another one allows it.`,
		Example: `  weir acl list
  weir acl add --principal press-7 --operation write --topic sensor_data_tx
  weir acl add --principal alice --operation read --topic site1. --prefixed
  weir acl add --deny --principal bob --operation all --topic salaries`,
	}
	cmd.AddCommand(newACLList(), newACLChange(true), newACLChange(false))
	return cmd
}

func newACLList() *cobra.Command {
	var (
		kafka kafkaFlags
		out   output
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List all ACLs",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := out.json()
			if err != nil {
				return err
			}
			return administered(cmd, &kafka, func(ctx context.Context, admin *kadm.Client) error {
				every := kadm.NewACLs().Allow().Deny().AllowHosts().DenyHosts().AnyResource().Operations(kadm.OpAny).ResourcePatternType(kadm.ACLPatternAny)
				results, err := admin.DescribeACLs(ctx, every)
				if err != nil {
					return fmt.Errorf("list ACLs: %w", err)
				}
				type row struct {
					Principal  string `json:"principal"`
					Permission string `json:"permission"`
					Operation  string `json:"operation"`
					Type       string `json:"type"`
					Name       string `json:"name"`
					Pattern    string `json:"pattern"`
					Host       string `json:"host"`
				}
				rows := []row{}
				for _, r := range results {
					if r.Err != nil {
						return fmt.Errorf("list ACLs: %w %s", r.Err, r.ErrMessage)
					}
					for _, d := range r.Described {
						each := row{d.Principal, d.Permission.String(), d.Operation.String(), d.Type.String(), d.Name, d.Pattern.String(), d.Host}
						if !slices.Contains(rows, each) {
							rows = append(rows, each)
						}
					}
				}
				slices.SortFunc(rows, func(a, b row) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), rows)
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "PRINCIPAL\tPERMISSION\tOPERATION\tRESOURCE\tPATTERN\tHOST")
				for _, r := range rows {
					fmt.Fprintf(w, "%q\t%s\t%s\t%s %q\t%s\t%s\n", r.Principal, r.Permission, r.Operation, r.Type, r.Name, r.Pattern, r.Host)
				}
				return w.Flush()
			})
		},
	}
	kafka.add(cmd)
	out.add(cmd)
	return cmd
}

// administered calls fn with an admin client of the broker.
func administered(cmd *cobra.Command, kafka *kafkaFlags, fn func(context.Context, *kadm.Client) error) error {
	return kafka.attached(cmd, func(ctx context.Context, _ *slog.Logger, at *node.Attachment) error {
		client, err := broker.Connect(ctx, at.Broker)
		if err != nil {
			return err
		}
		defer client.Close()
		return fn(ctx, kadm.NewClient(client))
	})
}

// aclFlags describe ACLs.
type aclFlags struct {
	principals, operations, topics, groups, transactions []string
	host                                                 string
	cluster, prefixed, deny                              bool
}

func (a *aclFlags) builder() (*kadm.ACLBuilder, error) {
	var ops []kadm.ACLOperation
	for _, text := range a.operations {
		op, err := kmsg.ParseACLOperation(text)
		if err != nil || op == kadm.OpUnknown || op == kadm.OpAny {
			return nil, fmt.Errorf("unknown operation %q: choose all, read, write, create, delete, alter, describe, cluster_action, describe_configs, alter_configs or idempotent_write", text)
		}
		ops = append(ops, op)
	}
	if len(a.principals) == 0 || len(ops) == 0 || len(a.topics)+len(a.groups)+len(a.transactions) == 0 && !a.cluster {
		return nil, errors.New("say --principal, --operation, and one of --topic, --group, --transactional-id and --cluster")
	}
	var names []string
	for _, p := range a.principals {
		if !strings.HasPrefix(p, "User:") {
			p = "User:" + p
		}
		names = append(names, p)
	}
	b := kadm.NewACLs().Operations(ops...).ResourcePatternType(kadm.ACLPatternLiteral)
	if a.prefixed {
		b.ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	if a.deny {
		b.Deny(names...).DenyHosts(a.host)
	} else {
		b.Allow(names...).AllowHosts(a.host)
	}
	if len(a.topics) > 0 {
		b.Topics(a.topics...)
	}
	if len(a.groups) > 0 {
		b.Groups(a.groups...)
	}
	if len(a.transactions) > 0 {
		b.TransactionalIDs(a.transactions...)
	}
	if a.cluster {
		b.Clusters()
	}
	return b, nil
}

func newACLChange(add bool) *cobra.Command {
	var (
		kafka kafkaFlags
		flags aclFlags
	)
	use, short := "add", "Add ACLs"
	if !add {
		use, short = "remove", "Remove the ACLs that are exactly as given"
	}
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := flags.builder()
			if err != nil {
				return usage(err)
			}
			return administered(cmd, &kafka, func(ctx context.Context, admin *kadm.Client) error {
				if add {
					results, err := admin.CreateACLs(ctx, b)
					for _, r := range results {
						if r.Err != nil {
							err = errors.Join(err, fmt.Errorf("%s: %w %s", r.Name, r.Err, r.ErrMessage))
						}
					}
					return err
				}
				results, err := admin.DeleteACLs(ctx, b)
				n := 0
				for _, r := range results {
					if r.Err != nil {
						err = errors.Join(err, fmt.Errorf("%w %s", r.Err, r.ErrMessage))
					}
					n += len(r.Deleted)
				}
				if err == nil && n == 0 {
					err = errors.New("no ACL is as given: see weir acl list")
				}
				return err
			})
		},
	}
	kafka.add(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&flags.principals, "principal", nil, "users, or * for all; may be repeated")
	f.StringSliceVar(&flags.operations, "operation", nil, "operations: all, read, write, create, delete, alter, describe, cluster_action, describe_configs, alter_configs, idempotent_write")
	f.StringSliceVar(&flags.topics, "topic", nil, "topics, or * for all")
	_ = f.SetAnnotation("topic", ownFlag, []string{"true"})
	f.StringSliceVar(&flags.groups, "group", nil, "consumer groups, or * for all")
	_ = f.SetAnnotation("group", ownFlag, []string{"true"})
	f.StringSliceVar(&flags.transactions, "transactional-id", nil, "transactional ids, or * for all")
	f.BoolVar(&flags.cluster, "cluster", false, "the cluster itself")
	f.BoolVar(&flags.prefixed, "prefixed", false, "names are prefixes")
	f.BoolVar(&flags.deny, "deny", false, "deny instead of allow")
	f.StringVar(&flags.host, "host", "*", "address that the client connects from, or * for all")
	_ = f.SetAnnotation("host", ownFlag, []string{"true"})
	return cmd
}
