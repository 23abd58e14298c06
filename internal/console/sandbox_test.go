package console

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// SQL that takes too much memory ends with its own process, and other SQL is still answered.
func TestSandbox(t *testing.T) {
	c := serve(t, Config{Sandbox: []string{os.Args[0]}})
	post := func(path, text string) (int, string) {
		return answer(t, "POST", c.URL()+path, fmt.Sprintf(`{"text":%q,"last":20}`, text))
	}
	const table = "CREATE TABLE readings (device_id STRING, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'sensor_data_tx', 'value.format' = 'json');\n"
	status, body := post("/api/sql/check", table+"SELECT device_id FROM readings;")
	if status != http.StatusOK || !strings.Contains(body, `"ok":true`) || !strings.Contains(body, `"graph"`) {
		t.Errorf("valid SQL: %d %s", status, body)
	}
	if status, body := post("/api/sql/check", table+"SELECT nothing FROM readings;"); status != http.StatusOK || !strings.Contains(body, `"line":2`) {
		t.Errorf("invalid SQL: %d %s", status, body)
	}
	wide := make([]string, 2000)
	for i := range wide {
		wide[i] = fmt.Sprintf("REPEAT('a', 60000 + %d) || device_id AS c%d", i, i)
	}
	began := time.Now()
	status, body = post("/api/sql/check", table+"SELECT "+strings.Join(wide, ", ")+" FROM readings;")
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "the SQL takes more than 256 MiB") {
		t.Errorf("expensive SQL: %d %s", status, body[:min(len(body), 300)])
	}
	t.Logf("%s: %s", time.Since(began), body[:min(len(body), 300)])
	if status, body := post("/api/sql/preview", table+"SELECT device_id FROM readings;"); status != http.StatusOK || !strings.Contains(body, `"ok":true`) {
		t.Errorf("preview: %d %s", status, body)
	}
}
