package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir.example/weir/internal/secret"
)

// secrets is where references find secrets, from --secrets-dir.
var secrets secret.Source

// secretFlag marks flags whose value is a secret.
const secretFlag = "secret"

// secretVar adds a flag for a secret, and one for the file that contains it.
func secretVar(f *pflag.FlagSet, to *string, name, usage string) {
	f.StringVar(to, name, "", usage+"; on the command line, other users of the machine can see it: use --"+name+"-file or the environment")
	f.String(name+"-file", "", "file with the value of --"+name)
	f.Lookup(name).Annotations = map[string][]string{secretFlag: {"true"}}
}

// warnOfSecrets warns of secrets on the command line. It must run before flags are set from
// elsewhere.
func warnOfSecrets(cmd *cobra.Command) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Annotations[secretFlag] != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "weir: other users of this machine can see --%s on the command line: use --%[1]s-file, or set it in the environment\n", f.Name)
		}
	})
}

// fromSecretFiles sets secrets from the files that --NAME-file names.
func fromSecretFiles(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[secretFlag] == nil || err != nil {
			return
		}
		path := flags.Lookup(f.Name + "-file").Value.String()
		if path == "" {
			return
		}
		if f.Changed {
			err = usage(fmt.Errorf("both --%s and --%[1]s-file are set", f.Name))
			return
		}
		text, failed := secret.ReadFile(path)
		if failed == nil {
			failed = flags.Set(f.Name, text)
		}
		if failed != nil {
			err = usage(fmt.Errorf("--%s-file: %w", f.Name, failed))
		}
	})
	return err
}
