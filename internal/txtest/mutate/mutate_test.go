package main

import (
	"go/parser"
	"go/token"
	"os"
	"testing"
)

// Each fault can be applied to the current code, and the result is syntactically valid Go.
func TestMutationsApply(t *testing.T) {
	t.Chdir("../../..")
	seen := make(map[string]bool)
	for _, m := range mutations {
		source, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		mutant, err := m.apply(string(source))
		if err == nil {
			_, err = parser.ParseFile(token.NewFileSet(), m.file, mutant, 0)
		}
		if err != nil {
			t.Errorf("%s: %v", m.fault, err)
		}
		if mutant == string(source) || seen[m.fault] {
			t.Errorf("%s changes nothing, or is there twice", m.fault)
		}
		seen[m.fault] = true
	}
}
