// Package pipelines holds the pipelines that come with Weir, ready to run; see README.md.
package pipelines

import (
	"embed"
	"maps"
	"slices"
	"strings"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
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
	p, err := DeviceStatsOf("json", registry.Config{})
	if err != nil { // a test compiles it
		panic(err)
	}
	return p
}

// DeviceStatsOf is DeviceStats over readings in another format than JSON, whose schemas are in a
// registry.
func DeviceStatsOf(name string, at registry.Config) (*plan.Program, error) {
	text, _ := Source("device_stats")
	if name != "json" {
		with := []string{"'value.format' = '" + name + "'"}
		if name == "json-schema-confluent" {
			with = append(with, "'value."+name+".timestamp-format.standard' = 'ISO-8601'")
		}
		options := format.RegistryOptions(at)
		for _, key := range slices.Sorted(maps.Keys(options)) {
			with = append(with, "'value."+name+"."+key+"' = '"+strings.ReplaceAll(options[key], "'", "''")+"'")
		}
		text = strings.Replace(text, readingsFormat, strings.Join(with, ",\n  "), 1)
	}
	return plan.Compile(text, "device_stats")
}

// readingsFormat is how device_stats.sql says that readings are JSON; the first place is the table
// of the readings.
const readingsFormat = "'value.format' = 'json',\n  'value.json.timestamp-format.standard' = 'ISO-8601'"
