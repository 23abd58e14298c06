package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/site"
	"weir.example/weir/internal/sql"
	"weir.example/weir/pipelines"
)

// readingsFormat is the declaration in device_stats.sql that readings are JSON. It occurs first in
// the table of the readings.
const readingsFormat = "'value.format' = 'json',\n  'value.json.timestamp-format.standard' = 'ISO-8601'"

// CompileDeviceStats compiles the main job, running statistics of each sensor of each device, for
// readings of a site in one of produce.Formats. Formats other than json look up their schemas in
// the registry at.
func CompileDeviceStats(s site.Site, valueFormat string, at registry.Config) (*plan.Program, error) {
	const bundled = "device_stats"
	text, _ := pipelines.Source(bundled)
	text, name := s.SQL(text), s.Scoped(bundled)
	if valueFormat == "json" {
		return plan.Compile(text, name)
	}
	with := []string{"'value.format' = '" + valueFormat + "'"}
	if valueFormat == "json-schema-confluent" {
		with = append(with, "'value."+valueFormat+".timestamp-format.standard' = 'ISO-8601'")
	}
	options := format.RegistryOptions(at)
	for _, key := range slices.Sorted(maps.Keys(options)) {
		with = append(with, "'value."+valueFormat+"."+key+"' = "+sql.QuoteString(options[key]))
	}
	before, after, found := strings.Cut(text, readingsFormat)
	if !found {
		return nil, fmt.Errorf("read readings as %s: pipeline %s does not declare %q", valueFormat, name, readingsFormat)
	}
	return plan.Compile(before+strings.Join(with, ",\n  ")+after, name)
}
