package node_test

import (
	"testing"

	"weir.example/weir/internal/node"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/registry"
	"weir.example/weir/internal/site"
)

// The main job reads every format that producers write, under the same name.
func TestCompileDeviceStats(t *testing.T) {
	for _, format := range produce.Formats {
		program, err := node.CompileDeviceStats(site.Site{}, format, registry.Config{URLs: []string{"http://registry:8081"}, User: "it's me", Password: "p"})
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if program.Name != "device-stats" {
			t.Errorf("%s: pipeline %s", format, program.Name)
		}
		for _, table := range program.Tables {
			want := "json"
			if table.Kafka.Topic == node.SensorData {
				want = format
			}
			if table.Kafka.Value.Name != want {
				t.Errorf("%s: topic %s has values in %s, want %s", format, table.Kafka.Topic, table.Kafka.Value.Name, want)
			}
		}
	}
}
