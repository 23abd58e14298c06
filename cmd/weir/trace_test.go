package main

import (
	"testing"

	"weir.example/weir/internal/trace/tracetest"
)

// The processes that handle a reading contribute to one trace: the producer's and the pipeline's.
func TestOTLPEndpoint(t *testing.T) {
	t.Parallel()
	receiver := tracetest.NewReceiver(t)
	dir := t.TempDir()
	must(t, "produce", "--data-dir", dir, "--count", "500", "--otlp-endpoint", receiver.URL, "--otlp-sample", "0.1")
	must(t, "consume", "--data-dir", dir, "--until-end", "--otlp-endpoint", receiver.URL)
	produced := make(map[string]bool) // trace ids
	results := 0
	for _, s := range receiver.Spans() {
		switch s.Name {
		case "sensor_data_tx publish":
			produced[s.Trace] = true
		case "device_stats publish":
			results++
			if !produced[s.Trace] {
				t.Errorf("a result is of trace %s, which is no reading's", s.Trace)
			}
		}
	}
	if len(produced) == 0 || results == 0 {
		t.Errorf("%d readings and %d results were traced", len(produced), results)
	}
}
