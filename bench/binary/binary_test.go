package binary

import (
	"os/exec"
	"path/filepath"
	"testing"
)

func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds weir")
	}
	weir := filepath.Join(t.TempDir(), "weir")
	if err := Build(t.Context(), weir); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), weir, "--version").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
