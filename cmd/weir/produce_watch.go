package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/source/directory"
	"weir.example/weir/internal/source/file"
)

// watchFlags select a directory to watch. How its files are read is in fileFlags.
type watchFlags struct{ config directory.Config }

func (w *watchFlags) add(cmd *cobra.Command) {
	flags, c := cmd.Flags(), &w.config
	flags.StringVar(&c.Dir, "watch", "", "directory whose files are sent, each once, until the command is stopped; they are read as with --file")
	flags.DurationVar(&c.Settle, "settle", 2*time.Second, "a file of --watch is complete once it has not changed for this long")
	flags.StringArrayVar(&c.Skip, "skip-file", nil, "name of a file of --watch that is not sent, or whose rest is not sent; repeatable")
}

func (w *watchFlags) validate(flags *pflag.FlagSet) error {
	switch {
	case flags.Changed("watch") && w.config.Dir == "":
		return usage(errors.New("--watch is empty"))
	case w.config.Dir == "" && (flags.Changed("settle") || flags.Changed("skip-file")):
		return usage(errors.New("--settle and --skip-file need --watch"))
	case w.config.Settle <= 0:
		return usage(fmt.Errorf("--settle must be positive, got %s", w.config.Settle))
	}
	return nil
}

// openWatch opens the directory.
func (p *produceCommand) openWatch(flags *pflag.FlagSet) (err error) {
	c := p.watch.config
	if c.File, err = p.file.read(flags); err != nil {
		return err
	}
	c.Name = p.name
	c.Opened = func(f *file.File) { p.bar.line("%s: %s", filepath.Base(f.Path()), f.Columns()) }
	if p.watched, err = directory.Open(c); err != nil {
		return err
	}
	p.source = p.watched
	return nil
}

// committed reports a commit, and the files of a directory that it has completed.
func (p *produceCommand) committed(c produce.Commit) {
	p.bar.commit(c)
	if p.watched == nil {
		return
	}
	for _, sent := range p.watched.Committed(c.Position) {
		left := leftOut{Unused: sent.Unused, EmptyRows: sent.EmptyRows, Absent: sent.Absent}
		text := sent.Name + ": sent completely"
		if lines := left.lines(); len(lines) > 0 {
			text += "; not sent: " + strings.Join(lines, "; ")
		}
		if sent.NoRows {
			text = sent.Name + ": has no rows, nothing to send"
		}
		p.bar.line("%s", text)
	}
}
