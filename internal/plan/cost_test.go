package plan

import (
	"encoding/json"
	"strings"
	"testing"
)

const costly = `
CREATE TABLE readings (id STRING, site STRING, v DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');
CREATE TABLE devices (id STRING, owner STRING, unread STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'devices', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE counts (site STRING, n BIGINT, vs BIGINT, PRIMARY KEY (site) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'raw', 'value.format' = 'json');
CREATE TABLE minutes (id STRING, a DOUBLE) WITH ('connector' = 'kafka', 'topic' = 'minutes', 'format' = 'json');
CREATE TABLE owned (id STRING, v DOUBLE, owner STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'owned', 'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO counts SELECT site, COUNT(*), COUNT(DISTINCT v) FROM readings GROUP BY site;
INSERT INTO minutes SELECT id, AVG(v) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY id, window_start, window_end;
INSERT INTO owned SELECT r.id, v, owner FROM readings AS r JOIN devices AS d ON r.id = d.id;`

// costsOf returns the costs of a plan as text.
func costsOf(t *testing.T, sql string) string {
	t.Helper()
	p, err := Compile(sql, "costly")
	if err != nil {
		t.Fatal(err)
	}
	return p.CostText()
}

func TestCosts(t *testing.T) {
	forever := costsOf(t, costly)
	for _, want := range []string{
		"Exchange by (site) through topic costly.repartition1\n    a row: by site; holds v; about 37 bytes; freed once it is read",
		"a group: by site; holds COUNT(*), COUNT(DISTINCT v); about 50 bytes; freed never: grows with the number of distinct site",
		"a value of COUNT(DISTINCT v): by site, v; about 27 bytes; freed with its group",
		"a group of a window: by id; holds AVG(v); about 34 bytes; freed once the watermark has passed the end of its windows",
		"a row of devices: by id; holds id, owner; about 54 bytes; freed by a tombstone only: grows with the number of distinct id",
		"a row of the left input: by id; holds id, v; about 45 bytes; freed never: grows with the number of its rows",
	} {
		if !strings.Contains(forever, want) {
			t.Errorf("no %q in\n%s", want, forever)
		}
	}
	shared := costsOf(t, strings.Replace(costly, "SELECT site, COUNT(*), COUNT(DISTINCT v)", "SELECT site, COUNT(DISTINCT id) FILTER (WHERE v > 1), COUNT(DISTINCT id)", 1))
	if n := strings.Count(shared, "a value of"); n != 1 || !strings.Contains(shared, "a value of COUNT(DISTINCT id) FILTER (WHERE (v > 1.0)), COUNT(DISTINCT id): by site, id; about ") {
		t.Errorf("%d entries of values, want a shared one:\n%s", n, shared)
	}
	if strings.Contains(forever, "unread") {
		t.Errorf("a column that is not read is stored:\n%s", forever)
	}
	limited := costsOf(t, "SET 'table.exec.state.ttl' = '1 h';"+costly)
	for _, want := range []string{
		"freed 1h0m0s after its last change, by the watermark",
		"freed by a tombstone, or 1h0m0s after its last change, by the time of the transaction",
	} {
		if !strings.Contains(limited, want) {
			t.Errorf("no %q in\n%s", want, limited)
		}
	}
	if strings.Contains(limited, "never") {
		t.Errorf("state is kept forever despite a TTL:\n%s", limited)
	}
}

// The JSON of each relation with an exchange or state has its costs.
func TestCostsAsJSON(t *testing.T) {
	p, err := Compile(costly, "costly")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var plan struct {
		Stages []struct {
			Relations []struct {
				Op, State string
				Costs     []Cost
			}
		}
	}
	if err := json.Unmarshal(data, &plan); err != nil {
		t.Fatal(err)
	}
	for _, s := range plan.Stages {
		for _, r := range s.Relations {
			if stores := r.State != "" || r.Op == "Exchange"; stores != (len(r.Costs) > 0) {
				t.Errorf("%s with state %q has %d costs", r.Op, r.State, len(r.Costs))
			}
		}
	}
}

// A column that the query does not name is called by its expression.
func TestCostsNameColumns(t *testing.T) {
	costs := costsOf(t, costly+`
INSERT INTO counts SELECT s, COUNT(*), MAX(c) FROM (SELECT UPPER(site), COUNT(*) FROM readings GROUP BY site) AS t (s, c) GROUP BY s;
INSERT INTO owned SELECT r.id, v, owner FROM readings AS r JOIN (SELECT UPPER(id), owner FROM devices) AS d ON r.id = d.`+"`EXPR$0`")
	if strings.Contains(costs, "by EXPR$") || strings.Contains(costs, "holds EXPR$") || !strings.Contains(costs, "by UPPER(id);") {
		t.Errorf("a column has a number in\n%s", costs)
	}
}
