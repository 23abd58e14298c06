package layout

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of packages in ARCHITECTURE.md has a row for each folder with Go files, and none for
// folders that do not exist.
func TestArchitectureListsPackages(t *testing.T) {
	const root = "/" // the row of the module's root
	text := source(t, "docs", "ARCHITECTURE.md")
	rows := make(map[string]bool)
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*/`) \\|").FindAllStringSubmatch(text, -1) {
		for _, folder := range strings.Split(row[1], ", ") { // a row may list several
			folder = strings.Trim(folder, "`")
			if rows[folder] {
				t.Errorf("docs/ARCHITECTURE.md lists %s twice", folder)
			}
			rows[folder] = true
			if info, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(folder))); err != nil || !info.IsDir() {
				t.Errorf("docs/ARCHITECTURE.md lists %s, which does not exist", folder)
			}
		}
	}
	if len(rows) < 20 {
		t.Fatalf("found only %d rows", len(rows))
	}
	for dir := range goFiles(t) {
		row := dir + "/"
		switch {
		case dir == ".":
			row = root
		case strings.HasPrefix(dir, "bench/"): // one row for the module
			row = "bench/"
		}
		if !rows[row] {
			t.Errorf("docs/ARCHITECTURE.md has no row for the package in %s", row)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// documents returns the repository's Markdown files, without their code blocks.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := os.DirFS(filepath.Join("..", ".."))
	all := make(map[string]string)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			text, err := fs.ReadFile(root, name)
			all[name] = fence.ReplaceAllString(string(text), "")
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("found only %d documents", len(all))
	}
	return all
}

// Links between the repository's documents point to existing files and headings.
func TestLinks(t *testing.T) {
	documents := documents(t)
	root := os.DirFS(filepath.Join("..", ".."))
	for name, text := range documents {
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(l[1], ":") { // an external link
				continue
			}
			file, anchor, _ := strings.Cut(l[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			if _, err := fs.Stat(root, target); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, l[1])
				continue
			}
			if anchor != "" && !anchors(documents[target])[anchor] {
				t.Errorf("%s links to %s, which has no such heading", name, l[1])
			}
		}
	}
}

// Paths in the documents' code spans exist.
func TestPaths(t *testing.T) {
	span := regexp.MustCompile("`((?:bench|cmd|deploy|docs|internal|pipelines|reading)/[^`\\s*:]+)`")
	for name, text := range documents(t) {
		for _, p := range span.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(p[1]))); err != nil {
				t.Errorf("%s names %s, which does not exist", name, p[1])
			}
		}
	}
}

// anchors returns the URL fragments of a document's headings, as GitHub generates them.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return all
}
