package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// public lists the folders of the packages that other modules may import, see ADR 11.
var public = []string{".", "pipelines", "reading"}

// Every other package is internal, a command or, like deploy, only tests. bench is a separate
// module.
func TestPublicPackages(t *testing.T) {
	for dir := range goFiles(t) {
		first, _, _ := strings.Cut(dir, "/")
		if !slices.Contains(public, dir) && !slices.Contains([]string{"internal", "cmd", "bench", "deploy"}, first) {
			t.Errorf("%s is public: move it under internal/, or add it to public and to ADR 11", dir)
		}
	}
}

// Exported declarations of public packages do not mention internal types.
func TestPublicSignatures(t *testing.T) {
	files := goFiles(t)
	for _, dir := range public {
		if len(files[dir]) == 0 {
			t.Errorf("%s has no Go files", dir)
		}
		for _, name := range files[dir] {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path.Join(dir, name), source(t, dir, name), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, leak := range internalTypes(file) {
				t.Errorf("%s: an exported declaration mentions the internal type %s.%s", set.Position(leak.Pos()), leak.X, leak.Sel)
			}
		}
	}
}

// The check finds leaks in each kind of declaration, and ignores unexported ones.
func TestInternalTypes(t *testing.T) {
	const text = `package p
import ("m/internal/a"; b "m/internal/c"; "m/open")
type T struct { Field a.One; hidden a.No; Open open.No }
type F func(*b.Two)
func (T) Method() (a.Three, error) { var x a.No; return x, nil }
func (t hidden) Method() a.No
func Function(x ...a.Four) {}
func hide(a.No) {}
var V a.Five
var w a.No
const C = a.Six
type I interface { M(a.Seven); m(a.No) }
type A = a.Eight
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, leak := range internalTypes(file) {
		got = append(got, leak.Sel.Name)
	}
	want := []string{"One", "Two", "Three", "Four", "Five", "Seven", "Eight"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// internalTypes returns the internal types that the exported declarations of a file mention.
func internalTypes(file *ast.File) (leaks []*ast.SelectorExpr) {
	internal := make(map[string]bool) // by the name used in this file
	for _, i := range file.Imports {
		at, err := strconv.Unquote(i.Path.Value)
		if err != nil || !strings.Contains(at, "/internal/") {
			continue
		}
		name := path.Base(at)
		if i.Name != nil {
			name = i.Name.Name
		}
		internal[name] = true
	}
	var check func(n ast.Node) bool
	check = func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType, *ast.InterfaceType:
			for _, f := range fieldsOf(n).List {
				if len(f.Names) == 0 || slices.ContainsFunc(f.Names, (*ast.Ident).IsExported) {
					ast.Inspect(f.Type, check)
				}
			}
			return false
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && internal[x.Name] {
				leaks = append(leaks, n)
			}
		}
		return true
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv.List[0].Type)) {
				ast.Inspect(d.Type, check)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						ast.Inspect(s.Type, check)
					}
				case *ast.ValueSpec:
					if s.Type != nil && slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
						ast.Inspect(s.Type, check)
					}
				}
			}
		}
	}
	return leaks
}

func fieldsOf(n ast.Node) *ast.FieldList {
	if s, ok := n.(*ast.StructType); ok {
		return s.Fields
	}
	return n.(*ast.InterfaceType).Methods //nolint:forcetypeassert // cases of the caller
}

func exportedReceiver(t ast.Expr) bool {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	name, ok := t.(*ast.Ident)
	return ok && name.IsExported()
}
