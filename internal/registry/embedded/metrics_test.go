package embedded_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"weir.example/weir/internal/registry/embedded"
)

// The metrics count requests by route, never by subject, and the registry's contents.
func TestMetrics(t *testing.T) {
	metrics := prometheus.NewRegistry()
	b := serveBroker(t, t.TempDir())
	c := config(b)
	c.Metrics = embedded.NewMetrics(metrics)
	r := open(t, c)
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	client := clientOf(t, r)
	for n, subject := range []string{"secret-a", "secret-b"} {
		for range 2 {
			if _, err := client.Register(t.Context(), subject, avroRecord(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := client.Delete(t.Context(), "secret-b", 0, false); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/subjects/secret-c/versions", "/nowhere/secret-d", "/subjects"} {
		answer, err := http.Get(r.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(`# HELP weir_registry_schemas Schemas; subjects may share them. Deleted ones are counted, since they keep their id.
# TYPE weir_registry_schemas gauge
weir_registry_schemas 2
# HELP weir_registry_subjects Subjects that have a version.
# TYPE weir_registry_subjects gauge
weir_registry_subjects 1
# HELP weir_registry_versions Versions of all subjects.
# TYPE weir_registry_versions gauge
weir_registry_versions 1
`), "weir_registry_schemas", "weir_registry_subjects", "weir_registry_versions"); err != nil {
		t.Error(err)
	}
	all, err := testutil.CollectAndFormat(metrics, expfmt.TypeTextPlain, "weir_registry_requests_total")
	if err != nil {
		t.Fatal(err)
	}
	text, posted := string(all), 0.0
	for _, want := range []string{
		`{code="2xx",route="POST /subjects/{subject}/versions"} 4`, `{code="4xx",route="GET /subjects/{subject}/versions"} 1`,
		`{code="4xx",route="other"} 1`, `{code="2xx",route="GET /subjects"} 1`, `{code="5xx",route="GET /subjects"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("the metrics name subjects")
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weir_registry_request_seconds" {
			for _, m := range f.Metric {
				if m.Label[0].GetValue() == "POST" {
					posted = float64(m.Histogram.GetSampleCount())
				}
			}
		}
	}
	if posted != 4 {
		t.Errorf("%v answers to POST are timed, want 4", posted)
	}
}
