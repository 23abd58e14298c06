package binary

import (
	"os/exec"
	"testing"
)

func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("builds weir")
	}
	weir, err := Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), weir, "--version").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
