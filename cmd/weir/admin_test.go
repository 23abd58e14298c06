package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// A producer that waits for the registry before its first reading reports it on the admin port.
func TestProduceWaitsForRegistry(t *testing.T) {
	t.Parallel()
	const nowhere = "http://127.0.0.1:1"
	p := start(t, "produce", "--data-dir", t.TempDir(), "--count", "10", "--format", "avro-confluent", "--registry", nowhere, "--admin-listen", "127.0.0.1:0")
	listens := regexp.MustCompile(`metrics and health at (\S+)`)
	waitFor(t, "the admin port", func() bool { return listens.MatchString(p.errOut.String()) })
	addr := listens.FindStringSubmatch(p.errOut.String())[1]
	page := func(path string) (code int, body string) {
		answer, err := http.Get(addr + path) //nolint:gosec // belongs to this test
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	if code, body := page("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"part": "registry `+nowhere) || !strings.Contains(body, "connection refused") {
		t.Errorf("readyz is %d %s", code, body)
	}
	waitFor(t, "the metrics of the registry's client", func() bool {
		_, body := page("/metrics")
		metric := regexp.MustCompile(`weir_registry_client_requests_total\{outcome="unreachable",registry="` + nowhere + `"\} [1-9]`)
		return metric.MatchString(body)
	})
}
