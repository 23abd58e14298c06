package file

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weir.example/weir/internal/source"
)

// lateKeys returns NDJSON with keys that appear, and change between text and number, long after the
// sample.
func lateKeys(rows int, rng *rand.Rand) string {
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, `{"deviceId":"d%d","ts":%d`, rng.IntN(3), 1767225600000+i)
		for _, key := range []string{"temp", "hum", "note"} {
			if rng.IntN(2) == 0 {
				fmt.Fprintf(&b, `,"%s":%s`, key, []string{"1.5", "2", `"x"`, "null", "true"}[rng.IntN(5)])
			}
		}
		if i > rows*3/4 && rng.IntN(3) == 0 {
			fmt.Fprintf(&b, `,"late%d":%s`, rng.IntN(4), []string{`"starting"`, "7", `"NaN"`, `{"a":1}`}[rng.IntN(4)])
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// A run that resumes after the sample has the same columns, sequence numbers and unused cells as an
// uninterrupted one.
func TestLateColumnsResume(t *testing.T) {
	const seed, rows = 28, 8000
	rng := rand.New(rand.NewPCG(seed, 1))
	content := lateKeys(rows, rng)
	if len(content) < headBytes*5/4 {
		t.Fatalf("only %d bytes, the sample has %d", len(content), headBytes)
	}
	cfg := Config{Path: writeFile(t, "f.ndjson", content)}
	open := func() *File {
		t.Helper()
		f, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	whole := open()
	var want []string
	read := func(f *File, size int) (lines []string, err error) {
		items := make([]source.Item, size)
		n, err := f.Next(items)
		for _, it := range items[:n] {
			lines = append(lines, show(it))
		}
		return lines, err
	}
	for {
		lines, err := read(whole, 1000)
		want = append(want, lines...)
		if errors.Is(err, io.EOF) {
			break
		}
	}
	late := slices.IndexFunc(want, func(l string) bool { return strings.Contains(l, " late") })
	if late < 0 || !slices.ContainsFunc(whole.Unused(), func(u Unused) bool { return strings.HasPrefix(u.Column, "late") && u.Numbers == 0 }) {
		t.Fatalf("no late column has both a reading and unused cells: %v", whole.Unused())
	}
	var got []string
	f := open()
	for n := 0; ; n++ {
		lines, err := read(f, 1+rng.IntN(1500))
		got = append(got, lines...)
		if errors.Is(err, io.EOF) {
			break
		}
		position := f.Position()
		f = open()
		if err := f.Seek(position); err != nil {
			t.Fatalf("seed %d, stop %d: %v", seed, n, err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("seed %d (-whole +resumed)\n%s", seed, diff)
	}
	if diff := cmp.Diff(whole.Unused(), f.Unused()); diff != "" {
		t.Errorf("unused (-whole +resumed)\n%s", diff)
	}
}

// Seek rejects a file in which rows that were sent have changed, even far from its beginning, and
// changed options.
func TestSeekRejectsOtherRows(t *testing.T) {
	content := lateKeys(8000, rand.New(rand.NewPCG(3, 1)))
	path := writeFile(t, "f.ndjson", content)
	f, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 9 { // to near the end
		if _, err := f.Next(make([]source.Item, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	position := f.Position()
	changed := []byte(content)
	at := headBytes + strings.Index(content[headBytes:], `"temp":1.5`)
	copy(changed[at:], `"temp":9.5`)
	for _, c := range []struct {
		name    string
		content string
		cfg     Config
	}{
		{"changed row", string(changed), Config{}},
		{"other years", content, Config{Years: [2]int{2027, 2030}, TSFormat: "unix-ms"}},
		{"other columns", content, Config{ValueColumns: []string{"temp"}}},
		{"one device", content, Config{DeviceName: "d"}},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		c.cfg.Path = path
		f, err := Open(c.cfg)
		if err != nil {
			continue // rejected by Open
		}
		if err := f.Seek(position); !errors.Is(err, source.ErrPosition) {
			t.Errorf("%s: error %v", c.name, err)
		}
		_ = f.Close()
	}
	if err := os.WriteFile(path, []byte(content+lateKeys(10, rand.New(rand.NewPCG(4, 1)))), 0o600); err != nil {
		t.Fatal(err)
	}
	grown, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer grown.Close()
	if err := grown.Seek(position); err != nil {
		t.Errorf("a file that has grown: %v", err)
	}
	if err := grown.Seek([]byte(`{"row":1,"settings":{}}`)); !errors.Is(err, source.ErrPosition) {
		t.Errorf("position of an earlier version: %v", err)
	}
}

// Unused reports the columns and numbers of cells that are not sent.
func TestUnused(t *testing.T) {
	for _, c := range []struct {
		content string
		cfg     Config
		unused  []Unused
		absent  []string
		empty   int64
	}{
		{"ts,device_id,temp,,note\n1767225600,d,1,,x\n1767225601,d,2,7,5\n1767225602,d,,,y\n", Config{},
			[]Unused{{"unnamed column 4", 1, 1}, {"note", 3, 1}}, nil, 1},
		{"ts,device_id,temp,hum,battery\n1767225600,d,1,2,\n1767225601,d,,3,\n", Config{ValueColumns: []string{"temp", "battery"}},
			[]Unused{{"hum", 2, 2}}, []string{"battery"}, 1},
		{"ts,device_id,sensor,value,unit,quality,place\n1767225600,d,temp,1,Cel,192,hall\n", Config{},
			[]Unused{{"quality", 1, 1}, {"place", 1, 0}}, nil, 0},
	} {
		c.cfg.Path = writeFile(t, "f.csv", c.content)
		f, err := Open(c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Preview()
		if err != nil || p.Rejected > 0 {
			t.Errorf("%+v, %v", p, err)
		}
		if diff := cmp.Diff(c.unused, f.Unused()); diff != "" {
			t.Errorf("%q unused (-want +got)\n%s", c.content, diff)
		}
		if diff := cmp.Diff(c.absent, f.Absent()); diff != "" {
			t.Errorf("%q absent (-want +got)\n%s", c.content, diff)
		}
		if f.EmptyRows() != c.empty {
			t.Errorf("%q: %d rows without a value", c.content, f.EmptyRows())
		}
		_ = f.Close()
	}
}

// CSV written by encoding/csv is read back unchanged with any delimiter and any cells.
func TestCSVRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(2, 4).Draw(t, "width")
		cell := rapid.StringMatching(`[a"',;\t|\n\r 0-9]{0,8}`)
		var rows [][]string
		for range rapid.IntRange(1, 8).Draw(t, "rows") {
			var r []string
			for range width {
				text := strings.ReplaceAll(cell.Draw(t, "cell"), "\r", "") // encoding/csv normalizes line ends
				r = append(r, strings.Trim(text, " "))
			}
			if strings.TrimSpace(strings.Join(r, "")) == "" {
				r[0] = "x"
			}
			rows = append(rows, r)
		}
		delimiter := rapid.SampledFrom([]byte(delimiters)).Draw(t, "delimiter")
		var b strings.Builder
		w := csv.NewWriter(&b)
		w.Comma = rune(delimiter)
		if err := w.WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		c := &csvRows{lines: newLines(bufio.NewReader(strings.NewReader(b.String()))), delimiter: delimiter}
		for i, want := range rows {
			var r row
			if err := errors.Join(c.next(&r), r.err); err != nil {
				t.Fatalf("%q row %d: %v", b.String(), i, err)
			}
			if !slices.Equal(r.cells, want) {
				t.Fatalf("%q row %d: %q, want %q", b.String(), i, r.cells, want)
			}
		}
		if err := c.next(&row{}); !errors.Is(err, io.EOF) {
			t.Fatalf("%q: %v after the last row", b.String(), err)
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add("f.csv", []byte("ts,device,v\n1767225600,d,\"1,5\"\n"))
	f.Add("f.json", []byte(`[{"ts":1767225600,"device":"d","v":1},{]`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		name = strings.Map(func(c rune) rune {
			if c < 'a' || c > 'z' {
				return '.'
			}
			return c
		}, name)
		path := filepath.Join(t.TempDir(), "f"+name)
		if len(name) > 100 || os.WriteFile(path, data, 0o600) != nil {
			return
		}
		file, err := Open(Config{Path: path})
		if err != nil {
			return
		}
		defer file.Close()
		items := make([]source.Item, 7)
		for range 1000 {
			n, err := file.Next(items)
			for _, it := range items[:n] {
				if it.Err == nil && it.Validate() != nil {
					t.Fatalf("%q gives an invalid reading %+v", data, it)
				}
			}
			if err != nil {
				return
			}
		}
	})
}

// FuzzPosition resumes at a saved position: it is refused, or names a row, and the rest is sent.
func FuzzPosition(f *testing.F) {
	cfg := Config{Path: filepath.Join(f.TempDir(), "f.csv")}
	if err := os.WriteFile(cfg.Path, []byte("ts,device,a,b\n1767225600,d,1,2\n1767225601,d,3,4\n1767225602,d,5,6\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	rest := func(file *File, at func(position []byte)) (lines []string) {
		for {
			at(file.Position())
			items := make([]source.Item, 1)
			n, err := file.Next(items)
			for _, it := range items[:n] {
				lines = append(lines, show(it))
			}
			if err != nil {
				return lines
			}
		}
	}
	open := func() *File {
		file, err := Open(cfg)
		if err != nil {
			f.Fatal(err)
		}
		return file
	}
	file := open()
	whole := rest(file, func(position []byte) { f.Add(position) })
	if err := file.Close(); err != nil {
		f.Fatal(err)
	}
	for _, other := range []string{``, `null`, `{}`, `7`, `{"rows":5}`, `{"row":-1,"settings":{}}`, `{"row":null,"settings":{}}`, `{"row":9223372036854775807,"given":1,"digest":"9ny4v1fz4d91","settings":{}}`} {
		f.Add([]byte(other))
	}
	ignore := func([]byte) {}
	f.Fuzz(func(t *testing.T, saved []byte) {
		file := open()
		defer file.Close()
		if err := file.Seek(saved); err != nil {
			if !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), hint) {
				t.Fatalf("%q: %v", saved, err)
			}
			return
		}
		var p struct{ Row, Given *int64 }
		if err := json.Unmarshal(saved, &p); err != nil || p.Row == nil {
			t.Fatalf("%q is taken for the beginning", saved)
		}
		again := open()
		defer again.Close()
		if err := again.Seek(file.Position()); err != nil {
			t.Fatalf("%q: the position %s is refused: %v", saved, file.Position(), err)
		}
		got := rest(file, ignore)
		if started := *p.Row > 0 || p.Given != nil && *p.Given > 0; started == (len(got) == len(whole)) || !slices.Equal(got, whole[len(whole)-len(got):]) {
			t.Fatalf("%q resumes with %q", saved, got)
		}
		if diff := cmp.Diff(got, rest(again, ignore)); diff != "" {
			t.Fatalf("%q (-resumed +resumed again)\n%s", saved, diff)
		}
	})
}
