package layout

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	commentWidth = 100 // columns
	tabWidth     = 4
)

// goFiles returns the repository's Go files by directory, except those of other modules.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	files := make(map[string][]string)
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case strings.HasSuffix(name, ".go"):
			files[path.Dir(name)] = append(files[path.Dir(name)], path.Base(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found only %d folders with Go files", len(files))
	}
	return files
}

func source(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(dir), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The client's EndTransaction may abort instead of committing without an error: see broker.Commit.
func TestCommitsGoThroughBroker(t *testing.T) {
	commit := regexp.MustCompile(`\.(EndTransaction|EndAndBeginTransaction)\(.*TryCommit`)
	for dir, names := range goFiles(t) {
		for _, name := range names {
			if dir == "internal/broker" || strings.HasSuffix(name, "_test.go") {
				continue
			}
			if call := commit.FindString(source(t, dir, name)); call != "" {
				t.Errorf("%s/%s calls %s): use broker.Commit", dir, name, call)
			}
		}
	}
}

// Packages that must not depend on others, neither directly nor through a third package. Tests may.
var independent = map[string][]string{ // by folder; "" is the whole repository
	"internal/column": {""},
	"internal/moment": {""},
	"internal/sql":    {"internal/column", "internal/expr", "internal/plan"},
	"internal/format": {"internal/sql", "internal/expr", "internal/plan", "internal/operator"},
	"internal/expr":   {"internal/sql", "internal/format", "internal/plan", "internal/operator"},
	"internal/plan":   {"internal/operator", "internal/state", "internal/engine"},
	"internal/state":  {"internal/operator", "internal/engine"},
	"reading":         {""},
}

func TestImportsGoOneWay(t *testing.T) {
	imports := projectImports(t)
	for dir, forbidden := range independent {
		if _, exists := imports[dir]; !exists {
			t.Errorf("%s does not exist", dir)
		}
		for used, path := range reachable(imports, dir) {
			if slices.Contains(forbidden, used) || slices.Contains(forbidden, "") {
				t.Errorf("%s imports %s: %s", dir, used, strings.Join(path, " -> "))
			}
		}
	}
}

// projectImports returns the folders that the Go files of each folder import, except tests.
func projectImports(t *testing.T) map[string][]string {
	t.Helper()
	module := regexp.MustCompile(`(?m)^module (\S+)$`).FindStringSubmatch(source(t, ".", "go.mod"))[1]
	imports := make(map[string][]string)
	for dir, names := range goFiles(t) {
		imports[dir] = []string{}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, source(t, dir, name), parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range file.Imports {
				if folder, own := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module+"/"); own {
					imports[dir] = append(imports[dir], folder)
				}
			}
		}
	}
	return imports
}

// reachable returns the folders that dir imports directly or indirectly, each with the chain of
// imports that leads to it.
func reachable(imports map[string][]string, dir string) map[string][]string {
	paths := map[string][]string{dir: {dir}}
	for queue := []string{dir}; len(queue) > 0; queue = queue[1:] {
		for _, next := range imports[queue[0]] {
			if paths[next] == nil {
				paths[next] = append(slices.Clone(paths[queue[0]]), next)
				queue = append(queue, next)
			}
		}
	}
	delete(paths, dir)
	return paths
}

// Comments on separate lines wrap at 100 columns. Directives and single words, such as
// addresses, can't be wrapped.
func TestCommentsWrap(t *testing.T) {
	for dir, names := range goFiles(t) {
		for _, name := range names {
			for i, line := range strings.Split(source(t, dir, name), "\n") {
				text := strings.TrimLeft(line, "\t ")
				if !strings.HasPrefix(text, "// ") && !strings.HasPrefix(text, "//\t") || len(strings.Fields(text)) < 3 {
					continue
				}
				if width := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", strings.Repeat(" ", tabWidth))); width > commentWidth {
					t.Errorf("%s/%s:%d: comment of %d columns: wrap it at %d", dir, name, i+1, width, commentWidth)
				}
			}
		}
	}
}

// The map in a package comment has a line for each file: a tab, its name, a description. The
// description may name another file, and may continue on the next line.
var (
	mapLine = regexp.MustCompile(`(?m)^\t([a-z0-9_]+\.go| ).*$`)
	mapFile = regexp.MustCompile(`\b[a-z0-9_]+\.go\b`)
)

// If a package comment has a map of files, it names all files of the package and no others. Files
// for one operating system may be covered by the file that they complement.
func TestPackageMaps(t *testing.T) {
	for dir, names := range goFiles(t) {
		named := make(map[string]bool)
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, source(t, dir, name), parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range mapLine.FindAllString(file.Doc.Text(), -1) {
				for _, f := range mapFile.FindAllString(line, -1) {
					named[f] = true
				}
			}
		}
		if len(named) == 0 {
			continue
		}
		for _, f := range slices.Sorted(maps.Keys(named)) {
			if !slices.Contains(names, f) {
				t.Errorf("%s: the package comment names %s, which does not exist", dir, f)
			}
		}
		for _, name := range names {
			base, _, system := strings.Cut(strings.TrimSuffix(name, ".go"), "_")
			switch {
			case strings.HasSuffix(name, "_test.go"), name == "doc.go", named[name]:
			case system && named[base+".go"] && (strings.HasSuffix(name, "_linux.go") || strings.HasSuffix(name, "_other.go")):
			default:
				t.Errorf("%s: the package comment does not name %s", dir, name)
			}
		}
	}
}
