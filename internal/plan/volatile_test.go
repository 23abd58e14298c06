package plan

import (
	"strings"
	"testing"
)

const volatileTables = `
CREATE TABLE t (k STRING, site STRING, n INT, ts TIMESTAMP_LTZ(3), p AS PROCTIME(), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json');
CREATE TABLE u (k STRING, n INT, arrived AS NOW(), PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'u', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE appended (k STRING, seen TIMESTAMP_LTZ(3)) WITH ('connector' = 'kafka', 'topic' = 'appended', 'format' = 'json');
CREATE TABLE upserted (k STRING, n BIGINT, seen TIMESTAMP_LTZ(3), PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'upserted', 'key.format' = 'json', 'value.format' = 'json');
CREATE TABLE by_time (seen TIMESTAMP_LTZ(3), n BIGINT, PRIMARY KEY (seen) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'by_time', 'key.format' = 'json', 'value.format' = 'json');
`

// TestVolatile compiles queries with functions whose values depend on the transaction, and with
// aggregates that collect values. Each has the beginning of its error, or "" if it is accepted.
func TestVolatile(t *testing.T) {
	for query, want := range map[string]string{
		`INSERT INTO appended SELECT k, NOW() FROM t WHERE ts > NOW() - INTERVAL '1' HOUR;`:                                                                                       ``,
		`INSERT INTO appended SELECT k, ts FROM (SELECT k, ts, RAND() AS r FROM t) WHERE r < 0.5;`:                                                                                ``,
		`INSERT INTO upserted SELECT k, COUNT(*), NOW() FROM t GROUP BY k;`:                                                                                                       ``,
		`INSERT INTO upserted SELECT k, n, arrived FROM u;`:                                                                                                                       ``,
		`INSERT INTO by_time SELECT NOW(), COUNT(*) FROM t GROUP BY k;`:                                                                                                           `the query doesn't select its key, so by_time can't tell which row replaces which`,
		`INSERT INTO by_time SELECT seen, COUNT(*) FROM (SELECT k, NOW() AS seen, COUNT(*) AS c FROM t GROUP BY k) GROUP BY seen;`:                                                `NOW over rows that are updated is not supported`,
		`INSERT INTO upserted SELECT k, COUNT(*), MAX(seen) FROM (SELECT k, NOW() AS seen FROM t) GROUP BY k;`:                                                                    ``,
		`INSERT INTO upserted SELECT k, c, seen FROM (SELECT k, COUNT(*) AS c, MAX(ts) AS seen FROM t GROUP BY k) WHERE seen > CURRENT_TIMESTAMP - INTERVAL '1' HOUR;`:            `CURRENT_TIMESTAMP over rows that are updated is not supported`,
		`INSERT INTO upserted SELECT k, COUNT(*), MAX(ts) FROM t GROUP BY k HAVING COUNT(*) > RAND_INTEGER(5);`:                                                                   `RAND_INTEGER over rows that are updated is not supported`,
		`INSERT INTO upserted SELECT u.k, u.n, NOW() FROM u WHERE u.n > RAND_INTEGER(10);`:                                                                                        `RAND_INTEGER over rows that are updated is not supported`,
		`INSERT INTO appended SELECT a.k, b.ts FROM t a JOIN t b ON a.k = b.k AND b.ts > NOW();`:                                                                                  ``,
		`INSERT INTO upserted SELECT k, COUNT(*), window_time FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(p), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end, window_time;`: ``,
		`INSERT INTO upserted SELECT k, n, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY p DESC) AS r FROM t) WHERE r = 1;`:                                       ``,
		`INSERT INTO upserted SELECT k, COUNT(*) OVER (PARTITION BY k ORDER BY p), ts FROM t;`:                                                                                    ``,
		`INSERT INTO appended SELECT t.k, t.ts FROM t JOIN u FOR SYSTEM_TIME AS OF t.p ON t.k = u.k;`:                                                                             `a join FOR SYSTEM_TIME AS OF PROCTIME() is supported only with a table of a database`,
		`CREATE TABLE clocked (k STRING, ts AS CURRENT_TIMESTAMP, WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'clocked', 'format' = 'json');
INSERT INTO appended SELECT k, ts FROM clocked;`: `a watermark can't depend on CURRENT_TIMESTAMP, whose value is another one when the records`,
		`INSERT INTO appended SELECT k, CURRENT_WATERMARK(ts) FROM t WHERE ts > CURRENT_WATERMARK(ts) OR CURRENT_WATERMARK(ts) IS NULL;`:                                                                            ``,
		`INSERT INTO appended SELECT k, CURRENT_WATERMARK(CAST(ts AS TIMESTAMP_LTZ(3))) FROM t;`:                                                                                                                    ``,
		`INSERT INTO appended SELECT k, CURRENT_WATERMARK(p) FROM t;`:                                                                                                                                               `CURRENT_WATERMARK expects the column with the watermark, unchanged`,
		`INSERT INTO appended SELECT k, CURRENT_WATERMARK(w) FROM (SELECT k, window_time AS w FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY k, window_start, window_end, window_time);`: `CURRENT_WATERMARK of computed rows is not supported`,
		`INSERT INTO appended SELECT CURRENT_DATABASE(), ts FROM t;`:                                                                                                                                                `CURRENT_DATABASE is not supported`,
		`INSERT INTO appended SELECT TYPEOF(ts), ts FROM t;`:                                                                                                                                                        `TYPEOF of a time attribute is not supported`,
		`INSERT INTO appended SELECT k, ts FROM t WHERE (ts, n) OVERLAPS (ts, ts);`:                                                                                                                                 `a period of OVERLAPS ends with a TIMESTAMP_LTZ(3) or an interval, got INT`,
		`INSERT INTO appended SELECT k, ts FROM t WHERE (ts, ts) PRECEDES (ts, ts);`:                                                                                                                                `PRECEDES of periods is not supported`,
		`INSERT INTO upserted SELECT k, 1, MAX(ts) FROM t GROUP BY k HAVING LISTAGG(n) = '';`:                                                                                                                       `LISTAGG requires strings, got INT`,
		`INSERT INTO upserted SELECT k, 1, MAX(ts) FROM t GROUP BY k HAVING LISTAGG(site, k) = '';`:                                                                                                                 `the separator of LISTAGG must be a literal such as ', '`,
		`INSERT INTO upserted SELECT k, 1, MAX(ts) FROM t GROUP BY k HAVING PERCENTILE(n, 1.5) > 0;`:                                                                                                                `the percentage of PERCENTILE must be a constant between 0 and 1`,
		`INSERT INTO upserted SELECT k, 1, MAX(ts) FROM t GROUP BY k HAVING PERCENTILE(n, n) > 0;`:                                                                                                                  `the percentage of PERCENTILE must be a constant between 0 and 1`,
		`INSERT INTO upserted SELECT k, 1, MAX(ts) FROM t GROUP BY k HAVING LISTAGG(site) WITHIN GROUP (ORDER BY n) = '';`:                                                                                          `LISTAGG(*) and LISTAGG WITHIN GROUP are not supported`,
		`INSERT INTO upserted SELECT k, 1, ts FROM (SELECT k, ts, JSON_ARRAYAGG(n) OVER (PARTITION BY k ORDER BY ts) AS j FROM t) WHERE j = '';`:                                                                    `JSON_ARRAYAGG … OVER is not supported`,
		`INSERT INTO upserted SELECT k, 1, MAX(ts) FROM t GROUP BY k HAVING JSON_OBJECTAGG(n VALUE site) = '';`:                                                                                                     `the key of JSON_OBJECTAGG must be a string, got INT`,
		`INSERT INTO upserted SELECT site, 1, MAX(seen) FROM (SELECT site, k, n, MAX(ts) AS seen FROM t GROUP BY site, k, n) GROUP BY site HAVING JSON_OBJECTAGG(k VALUE n) = '';`:                                  `JSON_OBJECTAGG over updating rows requires keys that are unique in each group`,
	} {
		_, err := Compile(volatileTables+query, "test")
		got := ""
		if err != nil {
			_, got, _ = strings.Cut(err.Error(), ": ")
		}
		if want == "" && got != "" || !strings.HasPrefix(got, want) || strings.HasPrefix(got, "found") {
			t.Errorf("%s\n got %q\nwant %q", query, got, want)
		}
	}
}
