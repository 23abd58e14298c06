package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weir.example/weir/internal/guard"
	"weir.example/weir/internal/node"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/registry/compat"
	"weir.example/weir/internal/registry/embedded"
)

func newSchema() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Register, check, compare and delete schemas in a registry",
		Long: `Uses the registry of --registry, or that of the weir up that runs on the data directory. A subject has the versions of a
schema; for the values of a topic it is TOPIC-value.`,
		Example: `  weir schema list
  weir schema check sensor_data_tx-value --file reading.avsc      # exit code 3 if incompatible
  weir schema register sensor_data_tx-value --file reading.avsc
  weir schema diff weir.SensorReading 1 2
  weir schema compatibility set sensor_data_tx-value FULL`,
	}
	cmd.AddCommand(newSchemaRegister(), newSchemaCheck(), newSchemaList(), newSchemaShow(), newSchemaDiff(), newSchemaCompatibility(), newSchemaDelete())
	return cmd
}

// schemaFlags are common to all commands that use a registry.
type schemaFlags struct {
	registryFlags
	dataDir string
	log     logFlag
	out     output
}

func (f *schemaFlags) add(cmd *cobra.Command) {
	f.registryFlags.add(cmd)
	cmd.Flags().StringVar(&f.dataDir, "data-dir", ".weir", "data directory of a running weir up, whose registry is used without --registry")
	f.log.add(cmd.Flags())
	f.out.add(cmd)
}

// run calls fn with a client of the registry.
func (f *schemaFlags) run(cmd *cobra.Command, fn func(ctx context.Context, c *registry.Client, asJSON bool) error) error {
	asJSON, err := f.out.json()
	if err != nil {
		return err
	}
	if !f.given() {
		found, certificate := embedded.Find(f.dataDir)
		f.config.Pinned = certificate
		f.config.URLs = []string{cmp.Or(found, "http://"+node.DefaultRegistryListen)}
		if found != "" && f.config.User == "" && f.config.Token == "" { // whoever may read the data directory may do everything
			if f.config.Password, err = guard.Secret(f.dataDir); err != nil {
				return err
			}
			if f.config.Password != "" {
				f.config.User = guard.InternalName
			}
		}
	}
	client, err := f.client(f.log.logger(cmd.ErrOrStderr()))
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(cmd.Context(), client, asJSON)
}

// schemaFile is a schema in a file.
type schemaFile struct {
	path       string
	kind       string
	references []string
}

func (f *schemaFile) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.path, "file", "", "file with the schema: .avsc, .proto or .json")
	cmd.Flags().StringVar(&f.kind, "type", "", "type of the schema: AVRO, PROTOBUF or JSON (default: from the file's name)")
	cmd.Flags().StringArrayVar(&f.references, "reference", nil, "a schema that this one references, as NAME=SUBJECT:VERSION; may be repeated")
	_ = cmd.MarkFlagRequired("file") // defined above
}

func (f *schemaFile) read() (*registry.Schema, error) {
	s := &registry.Schema{}
	var err error
	if f.kind != "" {
		s.Type, err = registry.ParseType(f.kind)
	} else {
		s.Type, err = registry.TypeOfFile(f.path)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("%w; set --type", err))
	}
	for _, text := range f.references {
		name, at, named := strings.Cut(text, "=")
		i := strings.LastIndexByte(at, ':')
		if !named || i < 0 {
			return nil, usage(fmt.Errorf("--reference %q: expected NAME=SUBJECT:VERSION", text))
		}
		version, err := strconv.Atoi(at[i+1:])
		if err != nil {
			return nil, usage(fmt.Errorf("--reference %q: invalid version number", text))
		}
		s.References = append(s.References, registry.Reference{Name: name, Subject: at[:i], Version: version})
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	s.Text = string(text)
	return s, nil
}

func newSchemaRegister() *cobra.Command {
	var (
		flags schemaFlags
		file  schemaFile
	)
	cmd := &cobra.Command{
		Use:   "register SUBJECT",
		Short: "Register a schema; a no-op if it already exists",
		Example: `  weir schema register sensor_data_tx-value --file reading.avsc
  weir schema register orders-value --file order.proto --reference item.proto=items-value:2`,
		Args: oneArg("subject"),
		RunE: func(cmd *cobra.Command, args []string) error {
			schema, err := file.read()
			if err != nil {
				return err
			}
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				if _, err := c.Register(ctx, args[0], schema); err != nil {
					return err
				}
				v, err := c.Lookup(ctx, args[0], schema)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"subject": v.Subject, "version": v.Version, "id": v.Schema.ID})
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: version %d, id %d\n", v.Subject, v.Version, v.Schema.ID)
				return err
			})
		},
	}
	flags.add(cmd)
	file.add(cmd)
	return cmd
}

func newSchemaCheck() *cobra.Command {
	var (
		flags schemaFlags
		file  schemaFile
	)
	cmd := &cobra.Command{
		Use:     "check SUBJECT",
		Short:   "Check whether a schema is compatible with those of a subject; exit code 3 if not",
		Example: `  weir schema check sensor_data_tx-value --file reading.avsc`,
		Args:    oneArg("subject"),
		RunE: func(cmd *cobra.Command, args []string) error {
			schema, err := file.read()
			if err != nil {
				return err
			}
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				report, err := c.Check(ctx, args[0], schema)
				if err != nil {
					return err
				}
				level, err := c.Compatibility(ctx, args[0])
				if err != nil {
					return err
				}
				if !report.Compatible && len(report.Messages) == 0 {
					report.Messages = explainIncompatible(ctx, c, args[0], level, schema)
				}
				if err := writeCheck(cmd.OutOrStdout(), args[0], level, report, asJSON); err != nil {
					return err
				}
				if !report.Compatible {
					return errCheck
				}
				return nil
			})
		},
	}
	flags.add(cmd)
	file.add(cmd)
	return cmd
}

// explainIncompatible returns the reasons why a schema is incompatible, for registries that don't.
// If not all versions can be read, it returns none.
func explainIncompatible(ctx context.Context, c *registry.Client, subject, level string, schema *registry.Schema) []string {
	numbers, err := c.Versions(ctx, subject)
	if err != nil {
		return nil
	}
	var versions []*registry.Version
	for _, n := range numbers {
		v, err := c.Version(ctx, subject, n)
		if err != nil {
			return nil
		}
		versions = append(versions, v)
	}
	messages, err := compat.Check(ctx, compat.Level(level), schema, versions)
	if err != nil {
		return nil
	}
	return messages
}

func writeCheck(w io.Writer, subject, level string, report registry.Report, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]any{"subject": subject, "level": level, "compatible": report.Compatible, "messages": report.Messages})
	}
	if report.Compatible {
		_, err := fmt.Fprintf(w, "%s: compatible (%s)\n", subject, level)
		return err
	}
	fmt.Fprintf(w, "%s: NOT compatible (%s)\n", subject, level)
	for _, m := range report.Messages {
		fmt.Fprintf(w, "  %s\n", m)
	}
	return nil
}

func newSchemaList() *cobra.Command {
	var flags schemaFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List subjects with versions, latest id, type and compatibility",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				lines, err := subjects(ctx, c)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), lines)
				}
				if len(lines) == 0 {
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "no subjects in the registry at %s\n", c.URL())
					return err
				}
				table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "SUBJECT\tTYPE\tVERSIONS\tLATEST ID\tCOMPATIBILITY")
				for _, l := range lines {
					fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", l.Subject, l.Type, strings.Trim(fmt.Sprint(l.Versions), "[]"), l.ID, l.Level)
				}
				return table.Flush()
			})
		},
	}
	flags.add(cmd)
	return cmd
}

// subjectLine is a subject in a list.
type subjectLine struct {
	Subject  string        `json:"subject"`
	Type     registry.Type `json:"type"`
	Versions []int         `json:"versions"`
	ID       int           `json:"latest_id"`
	Level    string        `json:"compatibility"`
}

func subjects(ctx context.Context, c *registry.Client) ([]subjectLine, error) {
	names, err := c.Subjects(ctx)
	if err != nil {
		return nil, err
	}
	lines := []subjectLine{}
	for _, name := range names {
		line := subjectLine{Subject: name}
		if line.Versions, err = c.Versions(ctx, name); err != nil {
			return nil, err
		}
		latest, err := c.Latest(ctx, name)
		if err != nil {
			return nil, err
		}
		line.Type, line.ID = latest.Schema.Type, latest.Schema.ID
		if line.Level, err = c.Compatibility(ctx, name); err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// versionNumber parses the number of a version; "" and latest give the latest one.
func versionNumber(text string) (int, error) {
	if text == "" || text == "latest" {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, usage(fmt.Errorf("invalid version %q: expected a number from 1, or latest", text))
	}
	return n, nil
}

func newSchemaShow() *cobra.Command {
	var (
		flags schemaFlags
		id    int
	)
	cmd := &cobra.Command{
		Use:   "show [SUBJECT [VERSION]]",
		Short: "Print a schema of a subject, by default the latest version, or by its id",
		Example: `  weir schema show weir.SensorReading
  weir schema show sensor_data_tx-value 1
  weir schema show --id 7`,
		Args: func(_ *cobra.Command, args []string) error {
			if (id == 0) == (len(args) == 0) || len(args) > 2 {
				return usage(fmt.Errorf("weir schema show needs a subject and optionally a version, or --id"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				v := &registry.Version{}
				var err error
				if id != 0 {
					v.Schema, err = c.Schema(ctx, id)
				} else {
					v, err = schemaVersion(ctx, c, append(args, "")[:2])
				}
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), shownSchema(v))
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimRight(v.Schema.Pretty(), "\n"))
				return err
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&id, "id", 0, "id of the schema, as contained in records")
	return cmd
}

func shownSchema(v *registry.Version) map[string]any {
	out := map[string]any{"id": v.Schema.ID, "type": v.Schema.Type, "schema": v.Schema.Text}
	if v.Subject != "" {
		out["subject"], out["version"] = v.Subject, v.Version
	}
	if len(v.Schema.References) > 0 {
		out["references"] = v.Schema.References
	}
	return out
}

// schemaVersion looks up the version given by two arguments.
func schemaVersion(ctx context.Context, c *registry.Client, args []string) (*registry.Version, error) {
	n, err := versionNumber(args[1])
	if err != nil {
		return nil, err
	}
	return c.Version(ctx, args[0], n)
}

func newSchemaDelete() *cobra.Command {
	var (
		flags     schemaFlags
		permanent bool
	)
	cmd := &cobra.Command{
		Use:   "delete SUBJECT [VERSION]",
		Short: "Delete a subject or one version; records with its id stay readable until it is also deleted with --permanent",
		Example: `  weir schema delete old-value 3
  weir schema delete old-value && weir schema delete old-value --permanent`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := 0
			var err error
			if len(args) == 2 {
				if n, err = versionNumber(args[1]); err != nil {
					return err
				}
			}
			return flags.run(cmd, func(ctx context.Context, c *registry.Client, asJSON bool) error {
				versions, err := c.Delete(ctx, args[0], n, permanent)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"subject": args[0], "versions": versions, "permanent": permanent})
				}
				if n == -1 {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted the latest version of %s\n", args[0])
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "deleted %s, versions %s\n", args[0], strings.Trim(fmt.Sprint(versions), "[]"))
				return err
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&permanent, "permanent", false, "delete permanently: ids can no longer be looked up, and are not reused")
	return cmd
}
