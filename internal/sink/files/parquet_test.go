package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/longtest"
	"weir.example/weir/internal/secret"
	"weir.example/weir/internal/sink"
)

// allTypes are columns of every type, in an order that is not that of their names.
const allTypes = "z BOOLEAN, i1 TINYINT, i2 SMALLINT, i4 INT, i8 BIGINT NOT NULL, f4 FLOAT, f8 DOUBLE, d9 DECIMAL(9, 2), d18 DECIMAL(18, 3), d38 DECIMAL(38, 10), " +
	"s STRING, y BYTES, dt DATE, tm TIME(3), ts TIMESTAMP(6), lt TIMESTAMP_LTZ(3), `a,b c` ARRAY<INT>, aa ARRAY<ARRAY<STRING>>, m MAP<STRING, ROW<x INT, l ARRAY<DOUBLE>>>, r ROW<q STRING, p ROW<b BIGINT, a DECIMAL(38, 0)>>"

func decimal(s string) *big.Int {
	v, ok := new(big.Int).SetString(s, 10)
	if !ok {
		panic(s)
	}
	return v
}

// typedRows are a full row, one of NULLs, and one of empty values and extremes.
func typedRows() [][]any {
	ts := time.Date(2026, 11, 29, 12, 30, 15, 123456000, time.UTC).UnixMicro()
	full := []any{
		true, int64(-128), int64(-32768), int64(-5), int64(1) << 62, 1.5, 2.25, decimal("-12345"), decimal("123456789012345678"), decimal("-12345678901234567890123456789012345678"),
		"é", "\x00\xff", int64(20786), int64(45_015_123), ts, ts / 1000 * 1000, []any{int64(1), nil, int64(3)}, []any{[]any{"a", nil}, []any{}, nil, []any{"b"}},
		&column.Dict{Keys: []any{"k", "l", "m"}, Values: []any{[]any{int64(1), []any{1.5, nil}}, nil, []any{nil, []any{}}}},
		[]any{"q", []any{int64(9), decimal("7")}},
	}
	nulls := make([]any, len(full))
	nulls[4] = int64(0)
	empty := []any{
		false, int64(127), int64(32767), int64(2147483647), int64(-1), -0.5, 1e300, decimal("999999999"), decimal("-999999999999999999"), decimal("99999999999999999999999999999999999999"),
		"", "", int64(-1), int64(0), int64(-1), int64(0), []any{}, []any{}, &column.Dict{}, []any{nil, nil},
	}
	return [][]any{full, nulls, empty}
}

// The values of typedRows with their columns and levels. TestParquetReaders shows what they mean to
// other readers.
const (
	wantFull  = `"[C:0 D:1 R:0 V:true C:1 D:1 R:0 V:-128 C:2 D:1 R:0 V:-32768 C:3 D:1 R:0 V:-5 C:4 D:0 R:0 V:4611686018427387904 C:5 D:1 R:0 V:1.5 C:6 D:1 R:0 V:2.25 C:7 D:1 R:0 V:-12345 C:8 D:1 R:0 V:123456789012345678 C:9 D:1 R:0 V:\xf6\xb6O\t\x0f\xfd\xcc\xec;\xb6o\xaf!\xc7\f\xb2 C:10 D:1 R:0 V:\u00e9 C:11 D:1 R:0 V:\x00\xff C:12 D:1 R:0 V:20786 C:13 D:1 R:0 V:45015123 C:14 D:1 R:0 V:1795955415123456 C:15 D:1 R:0 V:1795955415123000 C:16 D:3 R:0 V:1 C:16 D:2 R:1 V:<null> C:16 D:3 R:1 V:3 C:17 D:5 R:0 V:a C:17 D:4 R:2 V:<null> C:17 D:3 R:1 V:<null> C:17 D:2 R:1 V:<null> C:17 D:5 R:1 V:b C:18 D:2 R:0 V:k C:18 D:2 R:1 V:l C:18 D:2 R:1 V:m C:19 D:4 R:0 V:1 C:19 D:2 R:1 V:<null> C:19 D:3 R:1 V:<null> C:20 D:6 R:0 V:1.5 C:20 D:5 R:2 V:<null> C:20 D:2 R:1 V:<null> C:20 D:4 R:1 V:<null> C:21 D:2 R:0 V:q C:22 D:3 R:0 V:9 C:23 D:3 R:0 V:\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\a]"`
	wantNulls = `"[C:0 D:0 R:0 V:<null> C:1 D:0 R:0 V:<null> C:2 D:0 R:0 V:<null> C:3 D:0 R:0 V:<null> C:4 D:0 R:0 V:0 C:5 D:0 R:0 V:<null> C:6 D:0 R:0 V:<null> C:7 D:0 R:0 V:<null> C:8 D:0 R:0 V:<null> C:9 D:0 R:0 V:<null> C:10 D:0 R:0 V:<null> C:11 D:0 R:0 V:<null> C:12 D:0 R:0 V:<null> C:13 D:0 R:0 V:<null> C:14 D:0 R:0 V:<null> C:15 D:0 R:0 V:<null> C:16 D:0 R:0 V:<null> C:17 D:0 R:0 V:<null> C:18 D:0 R:0 V:<null> C:19 D:0 R:0 V:<null> C:20 D:0 R:0 V:<null> C:21 D:0 R:0 V:<null> C:22 D:0 R:0 V:<null> C:23 D:0 R:0 V:<null>]"`
	wantEmpty = `"[C:0 D:1 R:0 V:false C:1 D:1 R:0 V:127 C:2 D:1 R:0 V:32767 C:3 D:1 R:0 V:2147483647 C:4 D:0 R:0 V:-1 C:5 D:1 R:0 V:-0.5 C:6 D:1 R:0 V:1e+300 C:7 D:1 R:0 V:999999999 C:8 D:1 R:0 V:-999999999999999999 C:9 D:1 R:0 V:K;L\xa8Z\x86\xc4z\t\x8a\"?\xff\xff\xff\xff C:10 D:1 R:0 V: C:11 D:1 R:0 V: C:12 D:1 R:0 V:-1 C:13 D:1 R:0 V:0 C:14 D:1 R:0 V:-1 C:15 D:1 R:0 V:0 C:16 D:1 R:0 V:<null> C:17 D:1 R:0 V:<null> C:18 D:1 R:0 V:<null> C:19 D:1 R:0 V:<null> C:20 D:1 R:0 V:<null> C:21 D:1 R:0 V:<null> C:22 D:1 R:0 V:<null> C:23 D:1 R:0 V:<null>]"`
)

func typedFile(t *testing.T, compression string) string {
	t.Helper()
	dir := t.TempDir()
	of := table(t, dir, allTypes, "", "'format' = 'parquet', 'parquet.compression' = '"+compression+"'")
	s, _ := open(t, New("p", of, secret.Source{}), 0)
	defer s.Close()
	if err := s.Deliver(t.Context(), batch(of, 0, 0, typedRows()...), none); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "t-0-00000000000000000000.parquet")
}

func TestParquetTypes(t *testing.T) {
	for _, compression := range []string{"SNAPPY", "GZIP", "ZSTD", "UNCOMPRESSED"} {
		name := typedFile(t, compression)
		checkTypes(t, name, compression)
		checkTypes(t, compacted(t, name), compression)
	}
}

// checkTypes makes sure that a file has typedRows.
func checkTypes(t *testing.T, name, compression string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	if next, _ := file.Lookup("weir.next"); next != "3" {
		t.Errorf("the file ends before offset %q", next)
	}
	for _, c := range file.Metadata().RowGroups[0].Columns {
		if got := c.MetaData.Codec.String(); got != compression {
			t.Errorf("%s is compressed as %s", c.MetaData.PathInSchema, got)
		}
	}
	var names []string
	for _, field := range file.Schema().Fields() {
		names = append(names, field.Name())
	}
	if got := strings.Join(names, "|"); got != "z|i1|i2|i4|i8|f4|f8|d9|d18|d38|s|y|dt|tm|ts|lt|a,b c|aa|m|r" {
		t.Errorf("columns %s", got)
	}
	rows := make([]parquet.Row, 4)
	n, err := file.RowGroups()[0].Rows().ReadRows(rows)
	if n != 3 || err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(n, err)
	}
	for i, want := range []string{wantFull, wantNulls, wantEmpty} {
		if got := strconv.QuoteToASCII(fmt.Sprintf("%+v", rows[i])); got != want {
			t.Errorf("row %d: %s", i, got)
		}
	}
}

// compacted compacts the directory of a file, and returns the file that has taken its place.
func compacted(t *testing.T, name string) string {
	t.Helper()
	into := filepath.Join(t.TempDir(), "into")
	if _, err := Compact(t.Context(), CompactConfig{Source: filepath.Dir(name), Target: into}); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(into, filepath.Base(name))
}

// A row that Parquet can't represent is refused alone.
func TestParquetRefusesRow(t *testing.T) {
	dir := t.TempDir()
	of := table(t, dir, "n BIGINT NOT NULL, m MAP<STRING, INT>", "", "'format' = 'parquet'")
	s, _ := open(t, New("p", of, secret.Source{}), 0)
	defer s.Close()
	bad := &column.Dict{Keys: []any{"a", nil}, Values: []any{int64(1), int64(2)}}
	var refused []int64
	b := batch(of, 0, 5, []any{int64(1), nil}, []any{int64(2), bad}, []any{nil, nil}, []any{int64(4), &column.Dict{Keys: []any{"a"}, Values: []any{nil}}})
	b.From[0] = 0
	if err := s.Deliver(t.Context(), b, func(all []sink.Refusal) error {
		for _, r := range all {
			refused = append(refused, r.Origin.Offset)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{6, 7}, refused); diff != "" {
		t.Error(diff)
	}
	type row struct {
		N int64             `parquet:"n"`
		M map[string]*int32 `parquet:"m,optional"`
	}
	rows, err := parquet.ReadFile[row](filepath.Join(dir, "t-0-00000000000000000005.parquet"))
	if err != nil || len(rows) != 2 || rows[0].N != 1 || rows[1].N != 4 || len(rows[1].M) != 1 {
		t.Error(rows, err)
	}
}

// readers prints the rows of a file as JSON, as PyArrow and DuckDB read them.
const readers = `
import sys, json, decimal, datetime
import pyarrow.parquet, duckdb
def plain(v):
    if isinstance(v, decimal.Decimal): return str(v)
    if isinstance(v, bytes): return v.hex()
    if isinstance(v, datetime.datetime): return v.astimezone(datetime.timezone.utc).isoformat() if v.tzinfo else v.isoformat()
    if isinstance(v, (datetime.date, datetime.time)): return v.isoformat()
    if isinstance(v, dict): return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)): return [plain(x) for x in v]
    return v
def pairs(rows):
    for r in rows:
        if isinstance(r.get('m'), list): r['m'] = dict(r['m'])
    return rows
duck = duckdb.execute("SET TimeZone='UTC'; SELECT * FROM read_parquet(?)", [sys.argv[1]])
names = [d[0] for d in duck.description]
duck = [dict(zip(names, r)) for r in duck.fetchall()]
for rows in pairs(pyarrow.parquet.read_table(sys.argv[1]).to_pylist()), duck:
    for r in rows: print(json.dumps(plain(r)))
import pandas
assert len(pandas.read_parquet(sys.argv[1])) == 3
`

// The readers that people use see every value. It needs PyArrow, pandas and DuckDB of PyPI in the
// interpreter that WEIR_TEST_PYTHON names.
func TestParquetReaders(t *testing.T) {
	if !longtest.Enabled() {
		t.Skip("needs packages of PyPI: make long")
	}
	python := os.Getenv("WEIR_TEST_PYTHON")
	if python == "" {
		python = filepath.Join(t.TempDir(), "venv", "bin", "python")
		for _, args := range [][]string{{"python3", "-m", "venv", filepath.Dir(filepath.Dir(python))}, {python, "-m", "pip", "install", "-q", "duckdb", "pyarrow", "pandas", "pytz"}} {
			if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil { //nolint:gosec // a fixed list
				t.Fatalf("%v: %v: %s (Debian's packages python3-venv and python3-pip)", args, err, out)
			}
		}
	}
	name := typedFile(t, "ZSTD")
	checkReaders(t, python, name)
	checkReaders(t, python, compacted(t, name))
}

func checkReaders(t *testing.T, python, name string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), python, "-c", readers, name).CombinedOutput() //nolint:gosec // our own script
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	full := `{"z":true,"i1":-128,"i2":-32768,"i4":-5,"i8":4611686018427387904,"f4":1.5,"f8":2.25,"d9":"-123.45","d18":"123456789012345.678","d38":"-1234567890123456789012345678.9012345678",
"s":"é","y":"00ff","dt":"2026-11-29","tm":"12:30:15.123000","ts":"2026-11-29T12:30:15.123456","lt":"2026-11-29T12:30:15.123000+00:00","a,b c":[1,null,3],"aa":[["a",null],[],null,["b"]],
"m":{"k":{"x":1,"l":[1.5,null]},"l":null,"m":{"x":null,"l":[]}},"r":{"q":"q","p":{"b":9,"a":"7"}}}`
	nulls := `{"z":null,"i1":null,"i2":null,"i4":null,"i8":0,"f4":null,"f8":null,"d9":null,"d18":null,"d38":null,"s":null,"y":null,"dt":null,"tm":null,"ts":null,"lt":null,"a,b c":null,"aa":null,"m":null,"r":null}`
	empty := `{"z":false,"i1":127,"i2":32767,"i4":2147483647,"i8":-1,"f4":-0.5,"f8":1e300,"d9":"9999999.99","d18":"-999999999999999.999","d38":"9999999999999999999999999999.9999999999",
"s":"","y":"","dt":"1969-12-31","tm":"00:00:00","ts":"1969-12-31T23:59:59.999999","lt":"1970-01-01T00:00:00+00:00","a,b c":[],"aa":[],"m":{},"r":{"q":null,"p":null}}`
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 6 {
		t.Fatalf("%s", out)
	}
	for i, line := range lines {
		if diff := cmp.Diff(parseJSON(t, []string{full, nulls, empty}[i%3]), parseJSON(t, line)); diff != "" {
			t.Errorf("reader %d, row %d: %s", i/3, i%3, diff)
		}
	}
}

func parseJSON(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// A MULTISET is a map of its values to their numbers, which are required, as in Flink.
func TestParquetMultiset(t *testing.T) {
	dir := t.TempDir()
	of := table(t, dir, "n BIGINT NOT NULL, bag MULTISET<STRING>", "", "'format' = 'parquet'")
	s, _ := open(t, New("p", of, secret.Source{}), 0)
	defer s.Close()
	b := batch(of, 0, 0, []any{int64(1), &column.Dict{Keys: []any{"a", "b"}, Values: []any{int64(2), int64(1)}}}, []any{int64(2), &column.Dict{}}, []any{int64(3), nil})
	if err := s.Deliver(t.Context(), b, none); err != nil {
		t.Fatal(err)
	}
	type row struct {
		N   int64            `parquet:"n"`
		Bag map[string]int32 `parquet:"bag,optional"`
	}
	rows, err := parquet.ReadFile[row](filepath.Join(dir, "t-0-00000000000000000000.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	want := []row{{1, map[string]int32{"a": 2, "b": 1}}, {2, map[string]int32{}}, {3, nil}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}
