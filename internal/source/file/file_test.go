package file

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// all opens a file and returns a line for each item: device/boot/seq sensor=value unit @ts, or the
// error.
func all(t *testing.T, cfg Config) []string {
	t.Helper()
	cfg.Boot, _, _ = strings.Cut(filepath.Base(cfg.Path), ".") // short
	f, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	items := make([]source.Item, 3)
	for {
		n, err := f.Next(items)
		for _, it := range items[:n] {
			lines = append(lines, strings.ReplaceAll(show(it), filepath.Dir(cfg.Path)+"/", ""))
		}
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			return append(lines, "stopped: "+strings.ReplaceAll(err.Error(), filepath.Dir(cfg.Path)+"/", ""))
		}
	}
}

func show(it source.Item) string {
	if it.Err != nil {
		return fmt.Sprintf("%v | %s", it.Err, it.Raw)
	}
	return fmt.Sprintf("%s/%s/%d %s=%v%s @%s", it.DeviceID, it.Boot, it.Seq, it.Sensor, it.Value, it.Unit, reading.AppendTime(nil, it.TS))
}

// anyYear accepts event times near 1970, which are short.
var anyYear = [2]int{1, 9999}

func TestFiles(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	const wide = "ts_ms,device_id,device,temp,light,note\n" +
		"1594512094386,d1,one,21.5,true,x\n" +
		"1594512094735,d2,two,,false,y\n" +
		"1594512098074,d1,one,warm,FALSE,z\n"
	for _, c := range []struct {
		name, file, content string
		cfg                 Config
		want                []string
	}{
		{
			name: "wide CSV without settings", file: "lab.csv", content: wide,
			want: []string{
				"d1/lab/0 temp=21.5 @2020-07-12T00:01:34.386Z",
				"d1/lab/1 light=1 @2020-07-12T00:01:34.386Z",
				"d2/lab/0 light=0 @2020-07-12T00:01:34.735Z",
				`lab.csv:4: column temp: "warm" is neither a finite number nor a boolean | 1594512098074,d1,one,warm,FALSE,z`,
				"d1/lab/2 light=0 @2020-07-12T00:01:38.074Z",
			},
		},
		{
			name: "gzip, chosen columns and units", file: "lab.csv.gz", content: zipped(t, wide),
			cfg: Config{ValueColumns: []string{"light"}, DeviceColumn: "device", Units: map[string]string{"light": "1"}, BootColumn: "note"},
			want: []string{
				"one/x/0 light=11 @2020-07-12T00:01:34.386Z",
				"two/y/0 light=01 @2020-07-12T00:01:34.735Z",
				"one/z/1 light=01 @2020-07-12T00:01:38.074Z",
			},
		},
		{
			name: "no device column, no zone", file: "machine.csv", content: "timestamp,value\n2013-12-02 21:15:00,73.967\n",
			cfg:  Config{Location: berlin, DeviceName: "machine"},
			want: []string{"machine/machine/0 value=73.967 @2013-12-02T20:15:00.000Z"},
		},
		{
			name: "invalid rows", file: "bad.csv", cfg: Config{Years: anyYear}, content: "\ufefftime,id,v\n1,a,1\n2,b\n3,c,3,4\n\"4,d,4\n",
			want: []string{
				"a/bad/0 v=1 @1970-01-01T00:00:01.000Z",
				"bad.csv:3: has 2 cells, the header has 3 | 2,b",
				"bad.csv:4: has 4 cells, the header has 3: a cell with a ',' needs quotes | 3,c,3,4",
				"bad.csv:5: unclosed quote | \"4,d,4",
			},
		},
		{
			name: "own readings in NDJSON", file: "own.ndjson",
			content: `{"device_id":"d","sensor":"s","value":1,"unit":"Cel","ts":"2026-01-01T00:00:00.000Z","seq":7,"boot":"b"}` + "\n\n" +
				`{"device_id":"","sensor":"s","value":1,"ts":"2026-01-01T00:00:00.000Z","seq":8}` + "\n" +
				`{"device_id":"d"` + "\n" + `[1]` + "\n",
			want: []string{
				"d/b/7 s=1Cel @2026-01-01T00:00:00.000Z",
				`own.ndjson:3: column device_id: the device id is missing | {"device_id":"","sensor":"s","value":1,"ts":"2026-01-01T00:00:00.000Z","seq":8}`,
				`own.ndjson:4: is not JSON: unexpected end | {"device_id":"d"`,
				`own.ndjson:5: is not a JSON object | [1]`,
			},
		},
		{
			name: "wide NDJSON with nulls and new keys", file: "w.jsonl", cfg: Config{Years: anyYear},
			content: `{"host":"h","time":1.5,"t":1,"on":true,"deep":{"a":1}}` + "\n" + `{"t":null,"new":3,"time":2,"host":"h","on":false}` + "\n",
			want: []string{
				"h/w/0 t=1 @1970-01-01T00:00:01.500Z", "h/w/1 on=1 @1970-01-01T00:00:01.500Z",
				"h/w/2 on=0 @1970-01-01T00:00:02.000Z", "h/w/3 new=3 @1970-01-01T00:00:02.000Z",
			},
		},
		{
			name: "truncated gzip", file: "cut.csv.gz", content: zipped(t, "ts,v\n"+strings.Repeat("1,2\n", 3))[:20],
			want: nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Path = writeFile(t, c.file, c.content)
			if c.want == nil {
				if _, err := Open(c.cfg); err == nil || !strings.Contains(err.Error(), c.file) {
					t.Errorf("error %v", err)
				}
				return
			}
			if diff := cmp.Diff(c.want, all(t, c.cfg)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A truncated gzip returns its complete rows, and then an error with the row where it ends.
func TestTruncatedGzip(t *testing.T) {
	var content strings.Builder
	content.WriteString("ts,v\n")
	for i := range 200_000 {
		fmt.Fprintf(&content, "%d,%d\n", i, i*7919%1000)
	}
	whole := zipped(t, content.String())
	lines := all(t, Config{Path: writeFile(t, "t.csv.gz", whole[:len(whole)/2]), DeviceName: "d", Years: anyYear})
	last := lines[len(lines)-1]
	if len(lines) < 50_000 || !strings.Contains(last, "stopped: t.csv.gz: reading stopped after row") {
		t.Errorf("%d items, the last %q", len(lines), last)
	}
}

func TestOpenRejects(t *testing.T) {
	path := writeFile(t, "f.csv", "ts,device,temperature\n2026-01-01T00:00:00Z,d,2\n")
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Path: "-"}, "standard input cannot be replayed"},
		{Config{Path: path + "x"}, "no such file"},
		{Config{Path: filepath.Dir(path)}, "is a directory"},
		{Config{Path: writeFile(t, "e.csv", "")}, "the file is empty"},
		{Config{Path: path, DeviceName: "d", DeviceColumn: "device"}, "choose one"},
		{Config{Path: path, Years: [2]int{2100, 1990}}, "invalid range of years"},
		{Config{Path: path, Delimiter: "ab"}, "unknown delimiter"},
		{Config{Path: path, Decimal: "'"}, "unknown decimal sign"},
		{Config{Path: path, ValueColumns: []string{"temperatur"}}, "the columns are ts, device, temperature; did you mean temperature?"},
		{Config{Path: path, TSFormat: "iso"}, `unknown time format "iso"`},
		{Config{Path: path, Format: "xml"}, "choose csv, ndjson or json"},
		{Config{Path: writeFile(t, "n.csv", "a,b\n1,2\n")}, "no column for the event time among a, b"},
		{Config{Path: writeFile(t, "v.csv", "ts,device,b\n2026-01-01T00:00:00Z,d,x\n")}, "no value column"},
	} {
		if _, err := Open(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.cfg, err, c.want)
		}
	}
}

// Reading that is interrupted anywhere and resumed from its position returns the same items as
// reading the whole file.
func TestFileResumesAnywhere(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var content strings.Builder
		content.WriteString("ts,device,a,b\n0,d0,1.5,1.5\n") // the columns of values are found by their numbers
		for i := range rapid.IntRange(1, 60).Draw(t, "rows") {
			cell := rapid.SampledFrom([]string{"1.5", "", "true", "bad", "-3"})
			fmt.Fprintf(&content, "%d,d%d,%s,%s\n", i, rapid.IntRange(0, 2).Draw(t, "device"), cell.Draw(t, "a"), cell.Draw(t, "b"))
		}
		path := filepath.Join(dir, "f.csv")
		if err := os.WriteFile(path, []byte(content.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Path: path, Years: anyYear}
		if rapid.Bool().Draw(t, "named") {
			cfg.ValueColumns = []string{"a", "b"}
		}
		open := func() *File {
			f, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		var whole, pieces []string
		f := open()
		items := make([]source.Item, 1000)
		n, _ := f.Next(items)
		for _, it := range items[:n] {
			whole = append(whole, show(it))
		}
		f = open()
		for {
			chunk := make([]source.Item, rapid.IntRange(1, 9).Draw(t, "size"))
			n, err := f.Next(chunk)
			for _, it := range chunk[:n] {
				pieces = append(pieces, show(it))
			}
			if err != nil {
				break
			}
			position := f.Position()
			f = open()
			if err := f.Seek(position); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Fatalf("%s(-whole +resumed)\n%s", content.String(), diff)
		}
	})
}

func TestSeekRejectsAnotherFile(t *testing.T) {
	path := writeFile(t, "f.csv", "ts,id,v\n1,d,2\n2,d,3\n")
	f, err := Open(Config{Path: path, Years: anyYear})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Next(make([]source.Item, 1)); err != nil {
		t.Fatal(err)
	}
	position := f.Position()
	if err := os.WriteFile(path, []byte("ts,id,v\n1,d,9\n2,d,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(Config{Path: path, Years: anyYear}); err != nil {
		t.Fatal(err)
	}
	if err := f.Seek(position); !errors.Is(err, source.ErrPosition) || !strings.Contains(err.Error(), "another --name") {
		t.Errorf("error %v", err)
	}
}

func FuzzTimestamps(f *testing.F) {
	f.Add("2026-01-01T00:00:00Z", "auto")
	f.Add("1594512094386", "unix-ms")
	f.Fuzz(func(t *testing.T, text, format string) {
		clock, err := newTimestamps(&Config{TSFormat: format, Location: time.UTC}, []placed{{text: text}})
		if err != nil {
			return
		}
		_, _ = clock.parse(text) // must not panic
	})
}

func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(`{"ts":1,"v":2}` + "\n" + `{"v":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "f.ndjson")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := Open(Config{Path: path, Years: anyYear})
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

func BenchmarkWideCSV(b *testing.B) {
	var content strings.Builder
	content.WriteString("ts_ms,device_id,co,humidity,light,lpg,motion,smoke,temp\n")
	for i := range 20_000 {
		fmt.Fprintf(&content, "%d,b8:27:eb:bf:9d:51,0.0049,51.0,false,0.0076,false,0.0204,22.7\n", 1594512094386+i)
	}
	path := filepath.Join(b.TempDir(), "w.csv")
	if err := os.WriteFile(path, []byte(content.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := Open(Config{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	start := f.Position()
	items := make([]source.Item, 1024)
	for n := 0; n < b.N; {
		m, err := f.Next(items)
		n += m
		if errors.Is(err, io.EOF) {
			if err := f.Seek(start); err != nil {
				b.Fatal(err)
			}
		}
	}
}
