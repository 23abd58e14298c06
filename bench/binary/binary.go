// Package binary builds the weir that the benchmarks run.
package binary

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"weir.example/weir/bench/command"
)

// Build builds cmd/weir of this tree in a folder, an absolute path, and returns the file. It builds
// in Weir's own module, since the benchmarks' module does not require all that the command does.
func Build(ctx context.Context, folder string) (file string, err error) {
	command.Progress("build weir")
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "weir.example/weir").Output()
	if err != nil {
		return "", fmt.Errorf("find the module of weir: %w", err)
	}
	file = filepath.Join(folder, "weir")
	return file, execute(ctx, strings.TrimSpace(string(dir)), "go", "build", "-o", file, "./cmd/weir")
}

// BuildRevision builds cmd/weir of a git revision of this repository, in a work tree that it
// removes, and returns the file in folder, an absolute path.
func BuildRevision(ctx context.Context, folder, revision string) (file string, err error) {
	command.Progress("build weir of %s", revision)
	file = filepath.Join(folder, "weir-before")
	tree := filepath.Join(folder, "before")
	if err := execute(ctx, "", "git", "worktree", "add", "--detach", tree, revision); err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, execute(context.WithoutCancel(ctx), "", "git", "worktree", "remove", "--force", tree))
	}()
	return file, execute(ctx, tree, "go", "build", "-o", file, "./cmd/weir")
}

// execute runs a program in dir; its output is part of the error.
func execute(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // of this file
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
