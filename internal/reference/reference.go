// Package reference keeps the pages of docs/reference that tests generate up to date.
package reference

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated pages of docs/reference")

// Check compares a page with what it should be, or writes it with -update, as make reference does.
func Check(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != want { //nolint:gosec // chosen by a test
		t.Errorf("%s is out of date (%v): run make reference", file, err)
	}
}
