// Package binary builds the weir that the benchmarks run.
package binary

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Build builds cmd/weir of this tree into the file to, an absolute path. It builds in Weir's own
// module, since the benchmarks' module does not require all that the command does.
func Build(ctx context.Context, to string) error {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "weir.example/weir").Output()
	if err != nil {
		return fmt.Errorf("find the module of weir: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", to, "./cmd/weir") //nolint:gosec // path given by the caller
	build.Dir = strings.TrimSpace(string(dir))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build weir: %w: %s", err, out)
	}
	return nil
}
