package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.example/weir/internal/sink/sinktest"
)

// allTypes has a column of each type that a table can have.
const allTypes = `k STRING, bool BOOLEAN, tiny TINYINT, small SMALLINT, i INT, big BIGINT, f FLOAT, d DOUBLE, dec_ DECIMAL(20, 4), txt STRING, vc VARCHAR(10), ch CHAR(3),
	bin BYTES, dat DATE, tim TIME, ts TIMESTAMP(6), ltz TIMESTAMP_LTZ(3), ints ARRAY<INT>, texts ARRAY<STRING>, decs ARRAY<DECIMAL(10, 2)>, stamps ARRAY<TIMESTAMP(3)>,
	bins ARRAY<BYTES>, bools ARRAY<BOOLEAN>, dates ARRAY<DATE>, r ROW<a INT, b ROW<c STRING>>, m MAP<STRING, DOUBLE>, nested ARRAY<ARRAY<INT>>, bag MULTISET<STRING>`

var allRows = []string{
	`{"k":"a","bool":true,"tiny":-128,"small":32767,"i":-2147483648,"big":9223372036854775807,"f":0.1,"d":1.7976931348623157E308,"dec_":-1234567890123456.7891,"txt":"ü\n\"\\,{}","vc":"0123456789","ch":"xy ","bin":"AP8=","dat":"2026-02-28","tim":"23:59:59","ts":"2026-03-01 12:00:00.123456","ltz":"1969-12-31 23:59:59.999Z","ints":[1,null,-3],"texts":["a\"b","c\\d",null,"","NULL","{}",", "],"decs":[1.50,-0.01],"stamps":["2026-01-01 00:00:00.5"],"bins":["AP8=",""],"bools":[true,false],"dates":["1999-12-31"],"r":{"a":1,"b":{"c":"x"}},"m":{"a":1.5,"b":null},"nested":[[1,2],[],[3]],"bag":{"x":2,"":1}}`,
	`{"k":"b","bool":null,"tiny":null,"small":null,"i":null,"big":null,"f":null,"d":null,"dec_":null,"txt":null,"vc":null,"ch":null,"bin":null,"dat":null,"tim":null,"ts":null,"ltz":null,"ints":null,"texts":null,"decs":null,"stamps":null,"bins":null,"bools":null,"dates":null,"r":null,"m":null,"nested":null,"bag":null}`,
	`{"k":"c","bool":false,"tiny":0,"small":0,"i":0,"big":0,"f":"NaN","d":"-Infinity","dec_":0,"txt":"","vc":"","ch":"   ","bin":"","dat":"0001-01-01","tim":"00:00:00","ts":"0001-01-01 00:00:00","ltz":"9999-12-31 23:59:59.999Z","ints":[],"texts":[],"decs":[],"stamps":[],"bins":[],"bools":[],"dates":[],"r":{"a":null,"b":null},"m":{},"nested":[],"bag":{}}`,
}

// The rows as the database returns them.
var allStored = []string{
	`a|t|-128|32767|-2147483648|9223372036854775807|0.1|1.7976931348623157e+308|-1234567890123456.7891|ü` + "\n" + `"\,{}|0123456789|xy |\x00ff|2026-02-28|23:59:59|2026-03-01 12:00:00.123456|1969-12-31 23:59:59.999+00|{1,NULL,-3}|{"a\"b","c\\d",NULL,"","NULL","{}",", "}|{1.50,-0.01}|{"2026-01-01 00:00:00.5"}|{"\\x00ff","\\x"}|{t,f}|{1999-12-31}|{"a": 1, "b": {"c": "x"}}|{"a": 1.5, "b": null}|[[1, 2], [], [3]]|{"": 1, "x": 2}`,
	`b|` + strings.TrimSuffix(strings.Repeat("NULL|", 27), "|"),
	`c|f|0|0|0|0|NaN|-Infinity|0.0000|||   |\x|0001-01-01|00:00:00|0001-01-01 00:00:00|9999-12-31 23:59:59.999+00|{}|{}|{}|{}|{}|{}|{}|{"a": null, "b": null}|{}|[]|{}`,
}

// Each type arrives unchanged, by COPY and by INSERT … ON CONFLICT, in the table that ddl prints.
func TestTypes(t *testing.T) {
	for name, key := range map[string]string{"copy": "", "upsert": "k"} {
		t.Run(name, func(t *testing.T) {
			server, db, conn := database(t)
			p, of := table(t, server, db, allTypes, key)
			target := newTarget(p, of)
			run(t, conn, CreateTable(of, target.jdbc))
			run(t, conn, "SET TIME ZONE 'UTC'; SET extra_float_digits = 1")
			at := sinktest.Cluster(t, 2)
			for i, row := range allRows {
				k := ""
				if key != "" {
					k = `{"k":"` + string(rune('a'+i)) + `"}`
				}
				sinktest.Write(t, at, sinktest.Record(int32(i%2), k, row))
			}
			done := sinktest.Deliver(t, sinktest.Config(at, p, of, target))
			if diff := cmp.Diff(allStored, query(t, conn, "SELECT * FROM t ORDER BY k")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if done.Rows != 3 || done.DeadLetters != 0 || done.Lag != 0 {
				t.Errorf("status %+v", done)
			}
		})
	}
}
