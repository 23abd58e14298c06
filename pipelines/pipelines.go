// Package pipelines embeds the SQL of Weir's bundled pipelines; README.md describes them.
package pipelines

import (
	"embed"
	"strings"
)

//go:embed *.sql
var files embed.FS

// Names returns the names of the bundled pipelines, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil { // the files are embedded
		panic(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".sql")
	}
	return names
}

// Source returns the SQL of a bundled pipeline.
func Source(name string) (sql string, ok bool) {
	text, err := files.ReadFile(name + ".sql")
	return string(text), err == nil
}
