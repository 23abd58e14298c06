// Package pipelines holds the pipelines that come with Weir, ready to run; see README.md.
package pipelines

import (
	"embed"
	"strings"

	"weir/plan"
)

//go:embed *.sql
var files embed.FS

// Names are the pipelines that come with Weir, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil { // the files are part of the program
		panic(err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".sql")
	}
	return names
}

// Source is the SQL of a pipeline, by its name.
func Source(name string) (sql string, ok bool) {
	text, err := files.ReadFile(name + ".sql")
	return string(text), err == nil
}

// DeviceStats is the main job's consumer: running statistics of each sensor of each device.
func DeviceStats() *plan.Program {
	text, _ := Source("device_stats")
	p, err := plan.Compile(text, "device_stats")
	if err != nil { // a test compiles it
		panic(err)
	}
	return p
}
