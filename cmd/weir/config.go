package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/suggest"
)

// defaultConfig is read from the working directory unless --config is set.
const defaultConfig = "weir.yaml"

// fromFile sets flags from the configuration file unless they are set on the command line or in the
// environment:
//
//	brokers: [kafka-1:9092, kafka-2:9092]   # for every command with this flag
//	flink:
//	  gateway: http://flink:8083            # only for weir flink …
//
// Unknown keys are errors.
func fromFile(cmd *cobra.Command) error {
	path := defaultConfig
	given := cmd.Flags().Lookup("config")
	if given != nil && given.Value.String() != "" {
		path = given.Value.String()
	}
	text, err := os.ReadFile(path) //nolint:gosec // path given by the user
	if errors.Is(err, os.ErrNotExist) && path == defaultConfig {
		return nil
	}
	if err != nil {
		return usage(fmt.Errorf("read the configuration: %w", err))
	}
	var section map[string]any
	if err := yaml.Unmarshal(text, &section); err != nil {
		return usage(fmt.Errorf("%s: %w", path, err))
	}
	if err := checkSection(cmd.Root(), section, ""); err != nil {
		return usage(fmt.Errorf("%s: %w", path, err))
	}
	var names []string // path of the command, without the root
	for c := cmd; c.HasParent(); c = c.Parent() {
		names = append([]string{c.Name()}, names...)
	}
	sections := []map[string]any{section}
	for _, name := range names {
		section, _ = section[name].(map[string]any)
		sections = append(sections, section)
	}
	slices.Reverse(sections) // the innermost wins
	root := sections[len(sections)-1]
	for _, name := range []string{"up", "console"} {
		s, _ := root[name].(map[string]any)
		if err := setFlags(cmd, s, path, func(f *pflag.Flag) bool { return slices.Contains(f.Annotations[flagOf], name) }); err != nil {
			return err
		}
	}
	for _, s := range sections {
		if err := setFlags(cmd, s, path, func(f *pflag.Flag) bool { return f.Annotations[ownFlag] == nil }); err != nil {
			return err
		}
	}
	return nil
}

// flagOf annotates a flag with other commands whose sections of the configuration file also set it.
const flagOf = "of"

// setFlags sets the flags that a section contains, are not set yet, and are accepted by accept.
func setFlags(cmd *cobra.Command, section map[string]any, path string, accept func(*pflag.Flag) bool) error {
	for key, value := range section {
		f := cmd.Flags().Lookup(key)
		_, isSection := value.(map[string]any) // of a command with the same name as a flag, such as console
		if f == nil || f.Changed || isSection || !accept(f) {
			continue
		}
		text := flagText(value)
		if f.Annotations[secretFlag] != nil && !secret.Refers(text) {
			if err := secret.CheckPrivate(path); err != nil {
				return usage(fmt.Errorf("%s: %w; or refer to it, as in %s: ${env:NAME}", key, err, key))
			}
		}
		text, err := secrets.Expand(text)
		if err == nil {
			err = cmd.Flags().Set(key, text)
		}
		if err != nil {
			return usage(fmt.Errorf("%s: %s: %w", path, key, err))
		}
	}
	return nil
}

// flagText formats a YAML value as a command-line argument.
func flagText(value any) string {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	var parts []string
	for _, v := range list {
		parts = append(parts, fmt.Sprint(v))
	}
	return strings.Join(parts, ",")
}

// checkSection rejects keys that are neither a flag of the command or its subcommands nor a
// subcommand.
func checkSection(cmd *cobra.Command, section map[string]any, path string) error {
	known := make(map[string]bool)
	var collect func(c *cobra.Command)
	collect = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect(cmd)
	delete(known, "help")
	delete(known, "config")
	for key, value := range section {
		inner, isSection := value.(map[string]any)
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == key })
		switch {
		case isSection && i >= 0:
			if err := checkSection(cmd.Commands()[i], inner, path+key+"."); err != nil {
				return err
			}
		case isSection:
			return fmt.Errorf("%s%s is not a weir command", path, key)
		case !known[key]:
			var names []string
			for name := range known {
				names = append(names, name)
			}
			slices.Sort(names)
			hint := suggest.DidYouMean(key, names)
			if hint != "" {
				hint = ": " + hint
			}
			return fmt.Errorf("unknown key %s%s%s", path, key, hint)
		}
	}
	return nil
}
