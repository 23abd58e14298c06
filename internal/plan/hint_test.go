package plan

import (
	"strings"
	"testing"
)

const hintTables = `
CREATE TABLE readings (id STRING, site STRING, v DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', 'format' = 'json');
CREATE TABLE devices (id STRING, owner STRING) WITH ('connector' = 'kafka', 'topic' = 'devices', 'format' = 'json');
CREATE TABLE owners (owner STRING) WITH ('connector' = 'kafka', 'topic' = 'owners', 'format' = 'json');
CREATE TABLE o (a STRING) WITH ('connector' = 'kafka', 'topic' = 'o', 'format' = 'json');
CREATE TABLE counts (a STRING, n BIGINT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'counts', 'key.format' = 'raw', 'value.format' = 'json');
`

// ttls lists the operators whose state can expire, in the order of the plan, with their TTLs.
func ttls(p *Program) string {
	var all []string
	p.visit(func(r *Relation) {
		if !r.Expires() {
			return
		}
		text := r.Op.Name() + " " + r.TTL[0].String()
		if _, join := r.Op.(*RegularJoin); join {
			text += " " + r.TTL[1].String()
		}
		all = append(all, text)
	})
	return strings.Join(all, ", ")
}

// Cases name what Flink 2.2 does with the same hints: see its QueryHintsResolver.
func TestStateTTLHints(t *testing.T) {
	const join = " FROM readings AS r JOIN devices AS d ON r.id = d.id"
	for _, c := range []struct{ sql, want string }{
		{"INSERT INTO o SELECT /*+ STATE_TTL('r' = '1 d', 'd' = '12h') */ r.id" + join, "RegularJoin 24h0m0s 12h0m0s"},
		{"INSERT INTO o SELECT /*+ STATE_TTL('d' = '12 h') */ r.id" + join, "RegularJoin 0s 12h0m0s"},
		{"SET 'table.exec.state.ttl' = '2 h'; INSERT INTO o SELECT /*+ state_ttl('d' = '0') */ r.id" + join, "RegularJoin 2h0m0s 0s"},
		// The last one counts within a hint, the first one between hints.
		{"INSERT INTO o SELECT /*+ STATE_TTL('r' = '1 h', 'r' = '2 h'), STATE_TTL('r' = '3 h', 'd' = '4 h') */ r.id" + join, "RegularJoin 2h0m0s 4h0m0s"},
		// A table without an alias, with any part of its path. Names on the left of a join that is
		// itself joined apply to the inner one.
		{"INSERT INTO o SELECT /*+ STATE_TTL('x.readings' = '1 h', 'd' = '2 h', 'owners' = '3 h') */ d.id FROM readings JOIN devices d ON readings.id = d.id JOIN owners ON d.owner = owners.owner", "RegularJoin 1h0m0s 2h0m0s, RegularJoin 0s 3h0m0s"},
		{"INSERT INTO counts SELECT /*+ STATE_TTL('devices' = '1 h') */ owner, COUNT(*) FROM devices WHERE id <> '' GROUP BY owner", "Aggregate 1h0m0s"},
		{"INSERT INTO o SELECT /*+ STATE_TTL('d' = '1 h') */ DISTINCT owner FROM (SELECT owner FROM devices) AS d", "Aggregate 1h0m0s"},
		{"INSERT INTO o SELECT /*+ STATE_TTL('d' = '1 h') */ DISTINCT a FROM (SELECT DISTINCT owner AS a FROM devices) AS d", "Aggregate 0s, Aggregate 1h0m0s"},
		// The groups of a join's rows are not those of a table.
		{"INSERT INTO counts SELECT /*+ STATE_TTL('r' = '1 h') */ owner, COUNT(*)" + join + " GROUP BY owner", "RegularJoin 1h0m0s 0s, Aggregate 0s"},
		// A hint of a query in a condition applies there alone.
		{"INSERT INTO o SELECT id FROM readings WHERE id IN (SELECT /*+ STATE_TTL('d' = '1 h') */ d.id FROM devices AS d JOIN owners ON d.owner = owners.owner)", "RegularJoin 1h0m0s 0s, RegularJoin 0s 0s"},
		// The watermark frees the state of an interval join: Flink ignores the hint, too.
		{"INSERT INTO o SELECT /*+ STATE_TTL('a' = '1 h') */ a.id FROM readings a JOIN readings b ON a.id = b.id AND a.ts = b.ts", ""},
	} {
		p, err := Compile(hintTables+c.sql, "hints")
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if got := ttls(p); got != c.want {
			t.Errorf("%s: %s, want %s", c.sql, got, c.want)
		}
		if c.want == "" {
			continue
		}
		if len(p.Differences) == 0 || p.Differences[len(p.Differences)-1].Name != "state-ttl" || !p.Expires {
			t.Errorf("%s: state that expires is not among the differences: %v", c.sql, p.Differences)
		}
	}
}

func TestBadHints(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"SELECT /*+ STATE_TTL('x' = '1 d') */ id FROM readings r JOIN devices d USING (id)", "line 2, column 36: x in STATE_TTL is not a table of this FROM"},
		{"SELECT /*+ STATE_TTL('readings' = '1 d') */ id FROM readings r JOIN devices d USING (id)", "readings in STATE_TTL is not a table of this FROM: write its alias if it has one"},
		{"SELECT /*+ STATE_TTL('r' = 'soon') */ id FROM readings r JOIN devices d USING (id)", "line 2, column 42: 'soon' is not a TTL: write a duration"},
		{"SELECT /*+ STATE_TTL(r) */ id FROM readings r JOIN devices d USING (id)", "STATE_TTL has no tables"},
		{"SELECT /*+ STATE_TTL('r' = '1 d') */ id FROM readings r", "STATE_TTL has no effect on r: this SELECT neither joins nor groups its rows"},
		{"SELECT /*+ STATE_TTL('devices' = '1 d') */ 'x' FROM devices JOIN (SELECT id FROM devices) AS devices ON TRUE", "devices in STATE_TTL means two tables of FROM"},
		{"SELECT /*+ BROADCAST(d) */ id FROM readings r JOIN devices d USING (id)", "the hint BROADCAST is not supported: remove it: Flink applies it to batch jobs only"},
		{"SELECT /*+ OPTIONS('a' = 'b') */ id FROM readings r", "the hint OPTIONS is not allowed after SELECT"},
		{"SELECT id FROM readings /*+ STATE_TTL('readings' = '1 d') */", "the hint STATE_TTL is not allowed after a table's name: write it after SELECT"},
		{"SELECT id FROM readings WHERE id IN (SELECT /*+ STATE_TTL('x' = '1 d') */ id FROM devices)", "x in STATE_TTL is not a table of this FROM"},
		{"SELECT /*+ nonsense(1) */ id FROM readings", "found 1, expected a name or a 'string'"},
		{"SELECT /*+ nonsense */ id FROM readings", "line 2, column 26: the hint nonsense is not supported"},
	} {
		_, err := Compile(strings.ReplaceAll(hintTables, "\n", " ")+"\nINSERT INTO o "+c.sql, "hints")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.sql, err, c.want)
		}
	}
}

// State that Flink drops and Weir keeps is named.
func TestStateThatOutlivesTheTTL(t *testing.T) {
	const ttl = "SET 'table.exec.state.ttl' = '1 h';"
	for _, c := range []struct{ sql, want string }{
		{"INSERT INTO o SELECT CAST(SUM(v) OVER (PARTITION BY id ORDER BY ts) AS STRING) FROM readings", "the state of OVER is kept; Flink drops it as well"},
		{"INSERT INTO o SELECT id FROM devices LIMIT 3", "the state of LIMIT is kept"},
		{`CREATE TABLE versions (id STRING, owner STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'versions', 'key.format' = 'raw', 'value.format' = 'json');
INSERT INTO o SELECT r.id FROM readings r LEFT JOIN versions FOR SYSTEM_TIME AS OF r.ts AS d ON r.id = d.id`, "the state of FOR SYSTEM_TIME AS OF is kept"},
		{"INSERT INTO o SELECT id FROM devices", ""},
	} {
		p, err := Compile(hintTables+ttl+c.sql, "hints")
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		var got string
		for _, d := range p.Differences {
			if d.Name == "state-ttl" {
				got = d.Message
			}
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.sql, got, c.want)
		}
	}
}
