// Package binary builds the weir that the benchmarks run.
package binary

import (
	"context"
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
	build := exec.CommandContext(ctx, "go", "build", "-o", file, "./cmd/weir") //nolint:gosec // path given by the caller
	build.Dir = strings.TrimSpace(string(dir))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weir: %w: %s", err, out)
	}
	return file, nil
}
