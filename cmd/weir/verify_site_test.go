package main

import (
	"path"
	"testing"

	"weir.example/weir/internal/site"
)

// verify --topic checks only the local copies of that site's pipelines.
func TestVerifyChecksCopiesOfItsSite(t *testing.T) {
	other, err := site.Of("site_a.readings")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of       site.Site
		pipeline string // --pipeline
		checked  map[string]bool
	}{
		{other, "", map[string]bool{"site_a.readings.device_stats": true, "device_stats": false, "site_ab.readings.device_stats": false}},
		{other, "per_minute", map[string]bool{"per_minute": true, "site_a.readings.device_stats": false}},
		{site.Site{}, "per_minute", map[string]bool{"per_minute": true, "device_stats": false}},
	} {
		flags := copyFlags{dir: t.TempDir(), pipeline: c.pipeline}
		config, err := flags.config(&kafkaFlags{}, c.of)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range c.checked {
			if got, err := path.Match(config.Pipeline, name); err != nil || got != want {
				t.Errorf("--topic %s --pipeline %q: %s is checked: %t, %v", c.of.Readings(), c.pipeline, name, got, err)
			}
		}
	}
}
