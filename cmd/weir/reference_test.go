package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir.example/weir/internal/reference"
)

// docs/reference/commands.md equals the help of the commands.
func TestReference(t *testing.T) {
	const file = "../../docs/reference/commands.md"
	var want strings.Builder
	want.WriteString(`# Commands

Made from the commands themselves by ` + "`make reference`" + `; the same as ` + "`weir COMMAND --help`" + `.

Every flag can be set in the environment as ` + "`WEIR_NAME`" + ` (` + "`--commit-interval`" + ` is ` + "`WEIR_COMMIT_INTERVAL`" + `) and in ` + "`weir.yaml`" + `; the command line wins over the environment, and that over the file.

| exit code | means |
|---|---|
| 0 | done; also after Ctrl-C or SIGTERM for commands that run until they are stopped, such as ` + "`weir up`" + ` and ` + "`weir run`" + ` |
| 1 | failed: the message says what, where and what to do; also a stop that ` + "`--stop-timeout`" + ` cut short, and one that may leave a transaction open |
| 2 | called wrongly, or a mistake in a file |
| 3 | check failed |
| 130 | interrupted before its end, such as ` + "`weir produce`" + ` and ` + "`weir dlq replay`" + `; what was done is committed, and the same command continues |
`)
	groups := flagGroups()
	for _, g := range groups {
		fmt.Fprintf(&want, "\n## %s\n\n%s\n", g.title, g.text)
		writeFlags(&want, g.flags)
	}
	describe(&want, newRoot(), groups)
	reference.Check(t, file, want.String())
}

// flagGroup is a set of flags shared by many commands.
type flagGroup struct {
	title, text string
	flags       *pflag.FlagSet
}

func flagGroups() []flagGroup {
	kafka, registry := &cobra.Command{}, &cobra.Command{}
	new(kafkaFlags).add(kafka)
	new(registryFlags).add(registry)
	return []flagGroup{
		{"Flags for Kafka", "Commands that connect to Kafka have these.", kafka.Flags()},
		{"Flags for the schema registry", "Commands that read or write readings with schemas have these.", registry.Flags()},
	}
}

func describe(w *strings.Builder, cmd *cobra.Command, groups []flagGroup) {
	if cmd.Runnable() || cmd.HasSubCommands() && cmd.HasParent() {
		fmt.Fprintf(w, "\n## %s\n\n%s.\n", cmd.CommandPath(), cmd.Short)
		if cmd.Long != "" {
			fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(cmd.Long))
		}
		if cmd.Runnable() {
			fmt.Fprintf(w, "\n    %s\n", cmd.UseLine())
		}
		if cmd.Example != "" {
			fmt.Fprintf(w, "\nExamples:\n\n%s\n", indent(cmd.Example))
		}
		ownFlags(w, cmd, groups)
	}
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			describe(w, c, groups)
		}
	}
}

func indent(examples string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(examples, "\n  ", "\n")), "\n", "\n    ")
}

// ownFlags writes the flags of a command that belong to no group, and links to the groups that it
// uses.
func ownFlags(w *strings.Builder, cmd *cobra.Command, groups []flagGroup) {
	own, has := pflag.NewFlagSet("", pflag.ContinueOnError), make([]string, len(groups))
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		for i, g := range groups {
			if shared := g.flags.Lookup(f.Name); shared != nil && shared.Usage == f.Usage {
				has[i] = fmt.Sprintf("[%s](#%s)", strings.ToLower(g.title[:1])+g.title[1:], strings.ReplaceAll(strings.ToLower(g.title), " ", "-"))
				return
			}
		}
		if !f.Hidden && f.Name != "help" && f.Name != "config" {
			own.AddFlag(f)
		}
	})
	writeFlags(w, own)
	if links := slices.DeleteFunc(has, func(s string) bool { return s == "" }); len(links) > 0 {
		fmt.Fprintf(w, "\nAlso the %s.\n", strings.Join(links, " and the "))
	}
}

func writeFlags(w *strings.Builder, flags *pflag.FlagSet) {
	if !flags.HasFlags() {
		return
	}
	w.WriteString("\n| flag | default | |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := "`" + f.DefValue + "`"
		if slices.Contains([]string{"", "[]", "0s", "false"}, f.DefValue) {
			value = ""
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(f.Usage, "|", `\|`))
	})
}

// Help capitalizes only the first letter of a flag's first word, which would distort an acronym.
func TestUsageStartsWithAWord(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			words := strings.FieldsFunc(f.Usage, func(r rune) bool { return !unicode.IsLetter(r) })
			if f.Hidden {
				return
			}
			if len(words) == 0 {
				t.Errorf("%s --%s has no usage", cmd.CommandPath(), f.Name)
				return
			}
			word := words[0]
			if len(word) > 1 && word[1:] != strings.ToLower(word[1:]) {
				t.Errorf("%s --%s: %q begins with %s", cmd.CommandPath(), f.Name, f.Usage, word)
			}
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(newRoot())
}
