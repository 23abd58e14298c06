package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// References are replaced by environment variables and files below the directory, and by nothing
// else.
func TestExpand(t *testing.T) {
	t.Setenv("WEIR_SECRET_A", "it's $1 ${env:NO}")
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a": 0o600, "open": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("from a file\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "outside")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "inside")); err != nil {
		t.Fatal(err)
	}
	s := Source{Dir: dir}
	for text, want := range map[string]string{
		"no ${reference} $env:A":                        "no ${reference} $env:A",
		"me:${env:WEIR_SECRET_A}!":                      "me:it's $1 ${env:NO}!",
		"${file:a}/${file:inside}/${env:WEIR_SECRET_A}": "from a file/from a file/it's $1 ${env:NO}",
	} {
		if got, err := s.Expand(text); got != want || err != nil {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	if got, err := s.ExpandSQL("'${env:WEIR_SECRET_A}'"); got != "'it''s $1 ${env:NO}'" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for ref, want := range map[string]string{
		"${env:WEIR_SECRET_NONE}": "not set", "${file:../a}": "relative", "${file:/etc/hostname}": "relative", "${file:outside}": "escapes",
		"${file:none}": "no such file", "${file:open}": "chmod 600",
	} {
		if got, err := s.Expand("x" + ref); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ref) || got != "" {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	if _, err := (Source{}).Expand("${file:a}"); err == nil || !strings.Contains(err.Error(), "--secrets-dir") {
		t.Error(err)
	}
}
