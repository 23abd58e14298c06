package file

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// utf16Text encodes a text like Excel's "Unicode text".
func utf16Text(text string, bigEndian bool) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		if bigEndian {
			b.WriteByte(byte(u >> 8))
			b.WriteByte(byte(u))
		} else {
			b.WriteByte(byte(u))
			b.WriteByte(byte(u >> 8))
		}
	}
	return b.String()
}

// Files written by other programs are read correctly, or rejected with the actual reason.
func TestFilesOfOtherPrograms(t *testing.T) {
	const rows = "a/f/0 temp=1 @2026-01-01T00:00:00.000Z|a/f/1 temp=2.5 @2026-01-01T00:00:01.000Z"
	for _, c := range []struct {
		name, file, content string
		cfg                 Config
		want                string // items, joined by |
		rejected            string // or text in the error of Open
	}{
		{name: "keys of NDJSON that appear later", file: "f.ndjson",
			content: `{"deviceId":"a","ts":"2026-01-01T00:00:00Z","temp":20.5}` + "\n" +
				`{"deviceId":"a","ts":"2026-01-01T00:00:01Z","hum":40}` + "\n" +
				`{"deviceId":"a","ts":"2026-01-01T00:00:02Z","battery":3.3,"note":"x"}` + "\n" +
				`{"deviceId":"a","ts":"2026-01-01T00:00:03Z","temp":20.6}` + "\n",
			want: "a/f/0 temp=20.5 @2026-01-01T00:00:00.000Z|a/f/1 hum=40 @2026-01-01T00:00:01.000Z|" +
				"a/f/2 battery=3.3 @2026-01-01T00:00:02.000Z|a/f/3 temp=20.6 @2026-01-01T00:00:03.000Z"},
		{name: "configured columns of NDJSON that appear later", file: "f.ndjson", cfg: Config{ValueColumns: []string{"hum", "temp"}},
			content: `{"device":"a","ts":"2026-01-01T00:00:00Z","temp":1}` + "\n" + `{"device":"a","ts":"2026-01-01T00:00:01Z","hum":4}` + "\n",
			want:    "a/f/0 temp=1 @2026-01-01T00:00:00.000Z|a/f/1 hum=4 @2026-01-01T00:00:01.000Z"},
		{name: "a device that is an object", file: "f.ndjson", content: `{"device":{"id":"a"},"ts":"2026-01-01T00:00:00Z","temp":1}` + "\n",
			rejected: "the device id is a JSON object or array"},
		{name: "empty at first", file: "f.csv", content: "device_id,ts,temp,hum\na,2026-01-01T00:00:00Z,,50\na,2026-01-01T00:00:01Z,20,51\n",
			want: "a/f/0 hum=50 @2026-01-01T00:00:00.000Z|a/f/1 temp=20 @2026-01-01T00:00:01.000Z|a/f/2 hum=51 @2026-01-01T00:00:01.000Z"},
		{name: "NaN at first", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,NaN\na,2026-01-01T00:00:01Z,20\n",
			want: `f.csv:2: column temp: "NaN" is not a finite number ~ a,2026-01-01T00:00:00Z,NaN|a/f/0 temp=20 @2026-01-01T00:00:01.000Z`},
		{name: "NA at first", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,N/A\na,2026-01-01T00:00:01Z,20\n",
			want: `f.csv:2: column temp: "N/A" is neither a finite number nor a boolean ~ a,2026-01-01T00:00:00Z,N/A|a/f/0 temp=20 @2026-01-01T00:00:01.000Z`},
		{name: "text at first, numbers in most rows", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,warm\na,2026-01-01T00:00:01Z,20\na,2026-01-01T00:00:02Z,21\n",
			want: `f.csv:2: column temp: "warm" is neither a finite number nor a boolean ~ a,2026-01-01T00:00:00Z,warm|` +
				"a/f/0 temp=20 @2026-01-01T00:00:01.000Z|a/f/1 temp=21 @2026-01-01T00:00:02.000Z"},

		{name: "Device ID", file: "f.csv", content: "Device ID,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", want: rows},
		{name: "deviceId", file: "f.csv", content: "deviceId,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", want: rows},
		{name: "device-id", file: "f.csv", content: "device-id,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", want: rows},
		{name: "DEVICE_ID and Time Stamp", file: "f.csv", content: "DEVICE_ID,Time Stamp,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", want: rows},
		{name: "no device", file: "f.csv", content: "time,machine,temp\n2026-01-01T00:00:00Z,m,1\n", rejected: "no column for the device among time, machine, temp"},
		{name: "one device", file: "f.csv", cfg: Config{DeviceName: "a"}, content: "time,temp\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:01Z,2.5\n", want: rows},
		{name: "two devices", file: "f.csv", content: "host,machine_id,ts,temp\nh,m,2026-01-01T00:00:00Z,1\n", rejected: "host or machine_id"},
		{name: "two spellings", file: "f.csv", content: "device_id,Device ID,ts,temp\nh,m,2026-01-01T00:00:00Z,1\n", rejected: "device_id or Device ID"},
		{name: "date and time apart", file: "f.csv", content: "device_id,date,time,temp\na,2026-01-01,00:00:00,1\n", rejected: "date or time"},
		{name: "sensor and value", file: "f.csv", content: "Device ID,ts,sensor,value\na,2026-01-01T00:00:00Z,temp,1\na,2026-01-01T00:00:01Z,temp,2.5\n", want: rows},

		{name: "date as a number", file: "f.csv", content: "device_id,ts,temp\na,20260101,1\na,20260102,2\n", rejected: "20260101 is a date (yyyymmdd), not an epoch"},
		{name: "date and time as a number", file: "f.csv", content: "device_id,ts,temp\na,20260101000000,1\n", rejected: "is a date (yyyymmddhhmmss), not an epoch"},
		{name: "date and hour as a number", file: "f.csv", content: "device_id,ts,temp\na,2026010112,1\na,2026010113,1\n", rejected: "2026010112"},
		{name: "date with --ts-format", file: "f.csv", cfg: Config{TSFormat: "20060102"}, content: "device_id,ts,temp\na,20260101,1\n", want: "a/f/0 temp=1 @2026-01-01T00:00:00.000Z"},
		{name: "one date among epochs", file: "f.csv", content: "device_id,ts,temp\na,1767225600,1\na,20260101,9\na,1767225601000,2.5\n",
			want: `a/f/0 temp=1 @2026-01-01T00:00:00.000Z|f.csv:3: column ts: 20260101 is a date (yyyymmdd), not an epoch: use --ts-format 20060102 ~ a,20260101,9|a/f/1 temp=2.5 @2026-01-01T00:00:01.000Z`},
		{name: "year 1", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,1\na,0001-01-01T00:00:00Z,9\na,2026-01-01T00:00:01Z,2.5\n",
			want: `a/f/0 temp=1 @2026-01-01T00:00:00.000Z|f.csv:3: column ts: 0001-01-01T00:00:00Z is in the year 1, outside 1990 to 2100: set the valid years with --ts-years ~ a,0001-01-01T00:00:00Z,9|a/f/1 temp=2.5 @2026-01-01T00:00:01.000Z`},
		{name: "seconds read as milliseconds", file: "f.csv", cfg: Config{TSFormat: "unix-ms"}, content: "device_id,ts,temp\na,1767225600,1\n", rejected: "is in the year 1970, outside 1990 to 2100"},
		{name: "day or month", file: "f.csv", content: "device_id,ts,temp\na,03/04/2026 00:00:00,1\n", rejected: "day or the month"},
		{name: "day first", file: "f.csv", content: "device_id,ts,temp\na,01/02/2026 00:00:00,1\na,31/01/2026 00:00:00,2\n",
			want: "a/f/0 temp=1 @2026-02-01T00:00:00.000Z|a/f/1 temp=2 @2026-01-31T00:00:00.000Z"},
		{name: "exact milliseconds", file: "f.csv", content: "device_id,ts,temp\na,1594512094.386,1\na,1.594512094386E9,2\na,1594512094386000000,3\n",
			want: "a/f/0 temp=1 @2020-07-12T00:01:34.386Z|a/f/1 temp=2 @2020-07-12T00:01:34.386Z|a/f/2 temp=3 @2020-07-12T00:01:34.386Z"},

		{name: "semicolons", file: "f.csv", content: "device_id;ts;temp\na;2026-01-01T00:00:00Z;1\na;2026-01-01 00:00:01;2,5\n", want: rows},
		{name: "tabs", file: "f.tsv", content: "device_id\tts\ttemp\na\t2026-01-01T00:00:00Z\t1\na\t2026-01-01 00:00:01\t2.5\n", want: rows},
		{name: "Excel's separator line", file: "f.csv", content: "sep=;\ndevice_id;ts;temp\na;2026-01-01T00:00:00Z;1\na;2026-01-01 00:00:01;2,5\n", want: rows},
		{name: "quoted decimal commas", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,\"1,0\"\na,2026-01-01 00:00:01,\"2,5\"\n", want: rows},
		{name: "decimal commas that are cells", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,1,0\na,2026-01-01 00:00:01,2,5\n", rejected: "has 4 cells, the header has 3"},
		{name: "thousands or decimals", file: "f.csv", content: "device_id;ts;temp\na;2026-01-01T00:00:00Z;1,000\n", rejected: `"1,000"`},
		{name: "thousands, configured", file: "f.csv", cfg: Config{Decimal: "."}, content: "device_id;ts;temp\na;2026-01-01T00:00:00Z;1,000.5\n", want: "a/f/0 temp=1000.5 @2026-01-01T00:00:00.000Z"},
		{name: "commas and points", file: "f.csv", content: "device_id;ts;temp\na;2026-01-01T00:00:00Z;1,5\na;2026-01-01T00:00:00Z;1.5\n", rejected: "--decimal"},
		{name: "configured delimiter", file: "f.csv", cfg: Config{Delimiter: "|"}, content: "device_id|ts|temp\na|2026-01-01T00:00:00Z|1\na|2026-01-01 00:00:01|2.5\n", want: rows},

		{name: "CR", file: "f.csv", content: "device_id,ts,temp\ra,2026-01-01T00:00:00Z,1\ra,2026-01-01T00:00:01Z,2.5\r", want: rows},
		{name: "CRLF and a BOM", file: "f.csv", content: "\ufeffdevice_id,ts,temp\r\na,2026-01-01T00:00:00Z,1\r\na,2026-01-01T00:00:01Z,2.5\r\n", want: rows},
		{name: "UTF-16 LE", file: "f.csv", content: utf16Text("device_id\tts\ttemp\r\na\t2026-01-01T00:00:00Z\t1\r\na\t2026-01-01T00:00:01Z\t2,5\r\n", false), want: rows},
		{name: "UTF-16 BE", file: "f.csv", content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", true), want: rows},
		{name: "UTF-16 without a mark", file: "f.csv", content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\n", false)[2:], rejected: "NUL"},
		{name: "UTF-16 in gzip", file: "f.csv.gz", content: zipped(t, utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", true)), want: rows},
		{name: "UTF-16 LE without a mark, configured", file: "f.csv", cfg: Config{Encoding: "utf-16le"}, content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", false)[2:], want: rows},
		{name: "UTF-16 BE without a mark, configured", file: "f.csv", cfg: Config{Encoding: "utf-16be"}, content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", true)[2:], want: rows},
		{name: "UTF-16 LE with its mark, configured", file: "f.csv", cfg: Config{Encoding: "utf-16le"}, content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\n", false), want: rows},
		{name: "UTF-16 BE, configured as LE", file: "f.csv", cfg: Config{Encoding: "utf-16le"}, content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\n", true), rejected: "contradicts the encoding utf-16le"},
		{name: "UTF-16, configured as Latin-1", file: "f.csv", cfg: Config{Encoding: "latin1"}, content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\n", true), rejected: "contradicts the encoding latin1"},
		{name: "UTF-8 with a mark, configured as UTF-16", file: "f.csv", cfg: Config{Encoding: "utf-16be"}, content: "\ufeffdevice_id,ts,temp\na,2026-01-01T00:00:00Z,1\n", rejected: "contradicts the encoding utf-16be"},
		{name: "half of a surrogate pair in UTF-16", file: "f.csv", content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\n", false) + "\x00\xd8" + utf16Text(",2026-01-01T00:00:01Z,9\na,2026-01-01T00:00:01Z,2.5\n", false)[2:],
			want: strings.Replace(rows, "|", "|f.csv:3: a character is invalid in the file's encoding ~ \ufffd,2026-01-01T00:00:01Z,9|", 1)},
		{name: "half of a character at the end of UTF-16", file: "f.csv", content: utf16Text("device_id,ts,temp\na,2026-01-01T00:00:00Z,1\na,2026-01-01T00:00:01Z,2.5\na,2026-01-01T00:00:02Z,3", true) + "\x00",
			want: rows + "|f.csv:4: a character is invalid in the file's encoding ~ a,2026-01-01T00:00:02Z,3\ufffd"},
		{name: "an invalid header in UTF-16", file: "f.csv", content: utf16Text("device_id,ts,temp", false) + "\x00\xd8" + utf16Text("\na,2026-01-01T00:00:00Z,1\n", false)[2:], rejected: "the header of column 3: a character is invalid in the file's encoding"},
		{name: "Latin-1", file: "f.csv", cfg: Config{Encoding: "latin1"}, content: "Ger\xe4t,id,ts,temp\nx,\xfcber,2026-01-01T00:00:00Z,1\n", want: "über/f/0 temp=1 @2026-01-01T00:00:00.000Z"},
		{name: "Latin-1 as a sensor", file: "f.csv", cfg: Config{Encoding: "latin1"}, content: "id,ts,F\xfchler\na,2026-01-01T00:00:00Z,1\n", want: "a/f/0 Fühler=1 @2026-01-01T00:00:00.000Z"},
		{name: "Latin-1 in gzip, NDJSON", file: "f.ndjson.gz", cfg: Config{Encoding: "latin1"}, content: zipped(t, `{"id":"`+"\xe4"+`","ts":"2026-01-01T00:00:00Z","temp":1}`+"\n"), want: "ä/f/0 temp=1 @2026-01-01T00:00:00.000Z"},
		{name: "Windows-1252", file: "f.csv", cfg: Config{Encoding: "windows-1252"}, content: "id,ts,temp\n\x80\xb5,2026-01-01T00:00:00Z,1\n", want: "€µ/f/0 temp=1 @2026-01-01T00:00:00.000Z"},
		{name: "Windows-1252, configured as Latin-1", file: "f.csv", cfg: Config{Encoding: "latin1"}, content: "id,ts,temp\na,2026-01-01T00:00:00Z,1\n\x80,2026-01-01T00:00:00Z,9\na,2026-01-01T00:00:01Z,2.5\n",
			want: strings.Replace(rows, "|", "|f.csv:3: invalid device_id: contains the control character U+0080 ~ \u0080,2026-01-01T00:00:00Z,9|", 1)},
		{name: "Latin-1, not configured", file: "f.csv", content: "id,ts,temp\na,2026-01-01T00:00:00Z,1\n\xe4,2026-01-01T00:00:00Z,9\na,2026-01-01T00:00:01Z,2.5\n",
			want: strings.Replace(rows, "|", "|f.csv:3: invalid device_id: is not valid UTF-8 ~ \xe4,2026-01-01T00:00:00Z,9|", 1)},
		{name: "an unknown encoding", file: "f.csv", cfg: Config{Encoding: "ebcdic"}, content: "id,ts,temp\na,2026-01-01T00:00:00Z,1\n", rejected: "choose auto, utf-8, utf-16le"},
		{name: "a workbook", file: "f.csv", content: "PK\x03\x04\x14\x00", rejected: "Excel"},
		{name: "BOM, NDJSON, CRLF", file: "f.ndjson",
			content: "\ufeff" + `{"device_id":"a","ts":"2026-01-01T00:00:00Z","temp":1}` + "\r\n" + `{"device_id":"a","ts":"2026-01-01T00:00:01Z","temp":2.5}` + "\r\n", want: rows},
		{name: "JSON array", file: "f.json",
			content: "[\n" + `{"device_id":"a","ts":"2026-01-01T00:00:00Z","temp":1},` + "\n" + `{"device_id":"a","ts":"2026-01-01T00:00:01Z","temp":2.5}` + "\n]\n", want: rows},
		{name: "JSON array with a bad element", file: "f.json",
			content: `[{"device_id":"a","ts":"2026-01-01T00:00:00Z","temp":1},` + "\n7,\n" + `{"device_id":"a","ts":"2026-01-01T00:00:01Z","temp":2.5}]`,
			want:    strings.Replace(rows, "|", "|f.json:2: is not a JSON object ~ 7|", 1)},
		{name: "truncated JSON array", file: "f.json", content: `[{"device_id":"a","ts":"2026-01-01T00:00:00Z","temp":1},{"device_id":"a","ts":"2026-01-01T00:00:01Z","temp":2.5},` + "\n" + `{"device_id`,
			want: rows + "|stopped: f.json: reading stopped after row 2: line 2: unexpected end of the JSON array"},
		{name: "JSON over several lines", file: "f.json",
			content: "{\n\"device_id\":\"a\",\n\"ts\":\"2026-01-01T00:00:00Z\",\"temp\":1}\n{\"device_id\":\"a\",\n\"ts\":\"2026-01-01T00:00:01Z\",\"temp\":2.5\n}\n", want: rows},
		{name: "a key twice", file: "f.ndjson", content: `{"device_id":"a","ts":"2026-01-01T00:00:00Z","temp":1}` + "\n" + `{"device_id":"a","ts":"2026-01-01T00:00:00Z","temp":1,"temp":2}` + "\n",
			want: `a/f/0 temp=1 @2026-01-01T00:00:00.000Z|f.ndjson:2: has the key "temp" twice ~ {"device_id":"a","ts":"2026-01-01T00:00:00Z","temp":1,"temp":2}`},

		{name: "duplicate headers", file: "f.csv", content: "device_id,ts,temp,temp\na,2026-01-01T00:00:00Z,1,2\n", rejected: "temp is the header of columns 3 and 4"},
		{name: "blank device", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,1\n  ,2026-01-01T00:00:00Z,9\na,2026-01-01T00:00:01Z,2.5\n",
			want: strings.Replace(rows, "|", "|f.csv:3: column device_id: the device id is missing ~   ,2026-01-01T00:00:00Z,9|", 1)},
		{name: "spaces around cells", file: "f.csv", content: "device_id, ts, temp\na, 2026-01-01T00:00:00Z, 1\na , 2026-01-01T00:00:01Z , 2.5\n", want: rows},
		{name: "a quote that is never closed", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,1\n\"a,2026-01-01T00:00:00Z,9\na,2026-01-01T00:00:01Z,2.5\n",
			want: strings.Replace(rows, "|", "|f.csv:3: unclosed quote ~ \"a,2026-01-01T00:00:00Z,9|", 1)},
		{name: "quotes with line ends", file: "f.csv", content: "device_id,ts,temp,note\n\"a\",2026-01-01T00:00:00Z,1,\"x \"\"y\"\"\nz\"\na,2026-01-01T00:00:01Z,2.5,5\" pipe\n", want: rows},
		{name: "trailing commas", file: "f.csv", content: "device_id,ts,temp\na,2026-01-01T00:00:00Z,1,,\na,2026-01-01T00:00:01Z,2.5,\n", want: rows},
		{name: "only a header", file: "f.csv", content: "device_id,ts,temp\n", rejected: "no rows"},
		{name: "a row instead of a header", file: "f.csv", content: "a,2026-01-01T00:00:00Z,1\n", rejected: "no column for the"},
		{name: "a header in another code page", file: "f.csv", content: "Ger\xe4t,ts,temp\na,2026-01-01T00:00:00Z,1\n", rejected: "UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Path = writeFile(t, c.file, c.content)
			if c.rejected != "" {
				f, err := Open(c.cfg)
				if err == nil {
					defer f.Close()
					t.Fatalf("no error, items %s", strings.Join(all(t, c.cfg), "|"))
				}
				if !strings.Contains(err.Error(), c.rejected) {
					t.Errorf("error %v, want %q", err, c.rejected)
				}
				return
			}
			got := all(t, c.cfg)
			for i := range got {
				got[i] = strings.Replace(got[i], " | ", " ~ ", 1)
				got[i] = strings.ReplaceAll(got[i], filepath.Dir(c.cfg.Path)+"/", "")
			}
			if diff := cmp.Diff(strings.Split(c.want, "|"), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
