package engine

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.example/weir/internal/broker"
	"weir.example/weir/internal/operator"
	"weir.example/weir/internal/plan"
)

// spelledKey is a key and its representations by various clients; the first is Flink's. A nil
// representation is a record without a key.
type spelledKey struct {
	row       string // its columns in the result
	spellings []string
	null      bool
}

// spelledTables are sources whose keys have several representations.
var spelledTables = map[string]struct {
	columns, options, group string
	keys                    []spelledKey
}{
	"raw": {"a STRING", "'key.format' = 'raw', 'key.fields' = 'a'", "a", []spelledKey{
		{`"a":"x"`, []string{"x"}, false}, {`"a":"y"`, []string{"y"}, false}, {`"a":""`, []string{""}, false}, {`"a":null`, nil, true},
	}},
	"json number": {"a BIGINT", "'key.format' = 'json', 'key.fields' = 'a'", "a", []spelledKey{
		{`"a":1`, []string{`{"a":1}`, `{"a":1.0}`, `{"a":1e0}`, `{"a": 1}`, `{"a":"1"}`}, false},
		{`"a":20`, []string{`{"a":20}`, `{"a":2e1}`, `{"a":20.00}`, ` {"a":20}`}, false},
		{`"a":-3`, []string{`{"a":-3}`, `{"a":-3.0}`}, false},
		{`"a":null`, []string{`{"a":null}`, `{}`}, true},
	}},
	"json decimal": {"a DECIMAL(10, 2)", "'key.format' = 'json', 'key.fields' = 'a'", "a", []spelledKey{
		{`"a":1.00`, []string{`{"a":1.00}`, `{"a":1.0}`, `{"a":1}`, `{"a":1e0}`, `{"a":10e-1}`}, false},
		{`"a":2.50`, []string{`{"a":2.50}`, `{"a":2.5}`, `{"a":25e-1}`}, false},
		{`"a":70.00`, []string{`{"a":70.00}`, `{"a":7e1}`, `{"a":70}`}, false},
	}},
	"json text": {"a STRING", "'key.format' = 'json', 'key.fields' = 'a'", "a", []spelledKey{
		{`"a":"ab"`, []string{`{"a":"ab"}`, `{"a":"a\u0062"}`, `{"\u0061":"ab"}`}, false},
		{`"a":"a/b"`, []string{`{"a":"a/b"}`, `{"a":"a\/b"}`}, false},
		{`"a":"é"`, []string{`{"a":"é"}`, `{"a":"\u00e9"}`, `{"a":"\u00E9"}`}, false},
		{`"a":"q\"q"`, []string{`{"a":"q\"q"}`, `{"a":"q\u0022q"}`}, false},
	}},
	"several fields": {"a STRING, b BIGINT", "'key.format' = 'json', 'key.fields' = 'a;b'", "a, b", []spelledKey{
		{`"a":"x","b":1`, []string{`{"a":"x","b":1}`, `{"b":1,"a":"x"}`, `{"a":"x","b":1.0,"c":2}`}, false},
		{`"a":"x","b":2`, []string{`{"a":"x","b":2}`, `{"b":2,"a":"x"}`}, false},
		{`"a":"y","b":1`, []string{`{"a":"y","b":1}`, `{"a":"y", "b":1}`}, false},
		{`"a":"y","b":null`, []string{`{"a":"y","b":null}`, `{"a":"y"}`}, true},
		{`"a":null,"b":1`, []string{`{"a":null,"b":1}`, `{"b":1}`}, true},
	}},
	"prefix": {"k_a STRING, k_b BIGINT", "'key.format' = 'json', 'key.fields' = 'k_a;k_b', 'key.fields-prefix' = 'k_', 'value.fields-include' = 'EXCEPT_KEY'", "k_a, k_b", []spelledKey{
		{`"k_a":"x","k_b":1`, []string{`{"a":"x","b":1}`, `{"b":1,"a":"x"}`}, false},
		{`"k_a":"y","k_b":2`, []string{`{"a":"y","b":2}`, `{"a":"y","b":2.0}`}, false},
		{`"k_a":"z","k_b":3`, []string{`{"a":"z","b":3}`}, false},
	}},
	"csv": {"a STRING, b BIGINT", "'key.format' = 'csv', 'key.fields' = 'a;b'", "a, b", []spelledKey{
		{`"a":"x","b":1`, []string{`x,1`, `"x",1`, `x, 1`, `x,+1`, `x,1,`}, false},
		{`"a":"two words","b":2`, []string{`"two words",2`, `two words,2`}, false},
		{`"a":"","b":3`, []string{`,3`, `"",3`}, false},
	}},
	// A topic keyed by two columns and grouped by one needs an exchange in any case.
	"part of the key": {"a STRING, b BIGINT", "'key.format' = 'json', 'key.fields' = 'a;b'", "a", []spelledKey{
		{`"a":"x"`, []string{`{"a":"x","b":1}`, `{"a":"x","b":2}`, `{"a":"x","b":3}`}, false}, {`"a":"y"`, []string{`{"a":"y","b":4}`, `{"a":"y","b":5}`}, false},
	}},
}

// Rows are grouped by the value of a key, not by its representation, as in Flink, which gathers the
// rows of a key from all partitions. With 'any' Weir does the same; with murmur2 the rows are
// equal, or the error names a misplaced record.
func TestSpelledKeys(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for name, table := range spelledTables {
		for client, place := range map[string]func(key []byte, n int) int{
			"java":       func(key []byte, n int) int { return murmur2(key, n, 0) },
			"librdkafka": func(key []byte, n int) int { return int(crc32.ChecksumIEEE(key) % uint32(n)) },
		} {
			for _, oneSpelling := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/one spelling %t", name, client, oneSpelling), func(t *testing.T) {
					t.Parallel()
					rng := rand.New(rand.NewPCG(seed, 0))
					n := 3 + rng.IntN(3)
					c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(n), "readings", "results", "results.any"))
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(c.Close)
					at := broker.Config{Brokers: c.ListenAddrs()}
					var all []*kgo.Record
					var want []string
					for _, k := range table.keys {
						if k.null && oneSpelling {
							continue // spread over the partitions
						}
						each := 4 + rng.IntN(9)
						for i := range each {
							r := &kgo.Record{Topic: "readings", Partition: int32(rng.IntN(n)), Value: []byte("{" + k.row + "}")}
							if len(k.spellings) > 0 {
								spelling := k.spellings[i%len(k.spellings)]
								if oneSpelling && name != "part of the key" {
									spelling = k.spellings[0]
								}
								r.Key = []byte(spelling)
								r.Partition = int32(place(r.Key, n))
							}
							all = append(all, r)
						}
						want = append(want, fmt.Sprintf(`{%s,"n":%d}`, k.row, each))
					}
					rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
					produceGiven(t, at, all)
					slices.Sort(want)
					sql := fmt.Sprintf(`CREATE TABLE readings (%[1]s, ts AS TO_TIMESTAMP('2026-01-01 00:00:00'), WATERMARK FOR ts AS ts) WITH ('connector' = 'kafka', 'topic' = 'readings', %[2]s,
  'value.format' = 'json', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
CREATE TABLE results (%[4]s, n BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT %[3]s, COUNT(*) FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY %[3]s, window_start, window_end;`,
						table.columns, table.options, table.group, resultColumns(table.columns, table.group))
					err = runKeyed(t, at, "spelled", sql)
					var misplaced *operator.MisplacedRecordError
					refused := errors.As(err, &misplaced) && (client != "java" || !oneSpelling || name == "part of the key")
					if err != nil && !refused {
						t.Fatal(err)
					}
					if got := written(t, at, "results"); !refused && !slices.Equal(got, want) {
						t.Fatalf("by murmur2: %v, want %v", got, want)
					}
					if err := runKeyed(t, at, "any", "SET 'weir.key-partitioning' = 'any';"+strings.ReplaceAll(sql, "'results'", "'results.any'")); err != nil {
						t.Fatal(err)
					}
					if got := written(t, at, "results.any"); !slices.Equal(got, want) {
						t.Errorf("with 'any': %v, want %v", got, want)
					}
				})
			}
		}
	}
}

// resultColumns returns the grouping columns.
func resultColumns(columns, group string) string {
	var all []string
	for _, c := range strings.Split(strings.ReplaceAll(columns, "(10, 2)", "(10; 2)"), ", ") {
		name, _, _ := strings.Cut(c, " ")
		if slices.Contains(strings.Split(group, ", "), name) {
			all = append(all, strings.ReplaceAll(c, ";", ","))
		}
	}
	return strings.Join(all, ", ")
}

// written returns the values of a topic, sorted.
func written(t *testing.T, at broker.Config, topic string) (all []string) {
	t.Helper()
	if err := broker.ReadAll(t.Context(), at, topic, nil, func(r *kgo.Record) error { all = append(all, string(r.Value)); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// Unsupported key formats are refused by name when the pipeline is planned.
func TestKeyFormatsRefused(t *testing.T) {
	for _, format := range []string{"avro", "debezium-json"} {
		_, err := plan.Compile(`CREATE TABLE readings (a STRING) WITH ('connector' = 'kafka', 'topic' = 'readings', 'key.format' = '`+format+`', 'key.fields' = 'a', 'value.format' = 'json');
CREATE TABLE results (a STRING) WITH ('connector' = 'kafka', 'topic' = 'results', 'value.format' = 'json');
INSERT INTO results SELECT a FROM readings;`, "p")
		if err == nil || !strings.Contains(err.Error(), "'"+format+"' is not supported as 'key.format'") {
			t.Errorf("key.format %s: %v", format, err)
		}
	}
}
