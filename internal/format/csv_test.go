package format

import (
	"slices"
	"strings"
	"testing"

	"weir.example/weir/internal/column"
)

var csvFields = []Field{
	{"id", column.Type{Kind: column.Int}}, {"u", column.Type{Kind: column.String}}, {"v", column.Type{Kind: column.Double}},
	{"a", column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.String}}},
}

func csvColumns() (cols []*column.Column) {
	for _, f := range csvFields {
		cols = append(cols, &column.Column{Type: f.Type})
	}
	return cols
}

// What is not a row is an error that says where, and leaves the columns as they were.
func TestCSVErrors(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", "the csv is empty"},
		{"1,x,2", "the csv has 3 values, expected 4"},
		{"1,x,2,y,z", "the csv has more values than the 4 columns"},
		{"1,x,2,y,,", "the csv has more values than the 4 columns"},
		{"1,x,2,y\n2,x,2,y", "the csv has a second line: a record is one row"},
		{"1,x,2,y\n\n", ""},
		{"1,x,2,y\r\n", ""},
		{"1,x,2,y,", ""},
		{"1,x,2,y, ", ""},
		{`1,"x,2,y`, "value 2: there is no closing quote"},
		{`1,"x"z,2,y`, `value 2: 'z' follows a closing quote, expected ',' or the end`},
		{"x,x,2,y", `field id: found "x", expected INT`},
		{"2147483648,x,2,y", `field id: found "2147483648", expected INT`},
		{",x,2,y", `field id: found "", expected INT`},
		{"1,x,0x10,y", `field v: found "0x10", expected DOUBLE`},
		{"1,\xff,2,y", "the csv is not UTF-8"},
		{"\xef\xbb\xbf1,x,2,y", ""},
		{"# 1,x,2,y", `field id: found "# 1", expected INT`},
	} {
		d, err := NewDecoder("csv", csvFields, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		cols := csvColumns()
		got := ""
		if err := d.Decode([]byte(c.line), cols); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
		for i, col := range cols {
			if want := map[bool]int{true: 1}[got == ""]; col.Len() != want {
				t.Errorf("%q: column %d has %d values, want %d", c.line, i, col.Len(), want)
			}
		}
	}
}

// Options and types that csv does not have are refused by name.
func TestCSVCheck(t *testing.T) {
	for _, c := range []struct {
		options Options
		typ     column.Type
		want    string
	}{
		{Options{"field-delimiter": ";;"}, column.Type{Kind: column.Int}, `option 'csv.field-delimiter': ';;' is not one ASCII character, such as ; or \t`},
		{Options{"field-delimiter": `\t`}, column.Type{Kind: column.Int}, ""},
		{Options{"field-delimiter": `\u0001`}, column.Type{Kind: column.Int}, ""},
		{Options{"field-delimiter": "¦"}, column.Type{Kind: column.Int}, `option 'csv.field-delimiter': '¦' is not one ASCII character, such as ; or \t`},
		{Options{"field-delimiter": `"`}, column.Type{Kind: column.Int}, "csv.field-delimiter, csv.quote-character and csv.escape-character must differ"},
		{Options{"quote-character": ""}, column.Type{Kind: column.Int}, "option 'csv.quote-character': '' is not one ASCII character"},
		{Options{"quote-character": "'", "disable-quote-character": "true"}, column.Type{Kind: column.Int}, "csv.quote-character and csv.disable-quote-character can't both be set"},
		{Options{"array-element-delimiter": ""}, column.Type{Kind: column.Int}, "option 'csv.array-element-delimiter': it is empty"},
		{nil, column.Type{Kind: column.Time, Precision: 6}, "csv does not support x TIME(6): it has TIME(0) to TIME(3)"},
		{nil, column.Type{Kind: column.Map, Key: &column.Type{Kind: column.String}, Elem: &column.Type{Kind: column.Int}}, "csv does not support x MAP<STRING, INT>"},
		{nil, column.OfMultiset(column.Type{Kind: column.String}), "csv does not support x MULTISET<STRING>"},
		{nil, column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.Array, Elem: &column.Type{Kind: column.Int}}}, "csv does not support x ARRAY<ARRAY<INT>>"},
	} {
		got := ""
		if err := Check("csv", []Field{{"x", c.typ}}, c.options); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v %s: %q, want %q", c.options, c.typ, got, c.want)
		}
	}
}

// What could not be read again is not written.
func TestCSVAmbiguous(t *testing.T) {
	write := func(o Options, u string, a ...any) error {
		e, err := NewEncoder("csv", csvFields, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		cols := csvColumns()
		cols[0].AddInt(1)
		cols[1].AddText(u)
		cols[2].AddFloat(2)
		cols[3].Add(a)
		_, err = e.Encode(nil, cols, 0)
		return err
	}
	if err := write(Options{"disable-quote-character": "true"}, "a,b"); err == nil || !strings.Contains(err.Error(), "field u") {
		t.Error(err)
	}
	if err := write(nil, "x", "a;b"); err == nil || !strings.Contains(err.Error(), "field a: element 0") {
		t.Error(err)
	}
	if err := write(Options{"array-element-delimiter": "|"}, "x", "a;b"); err != nil {
		t.Error(err)
	}
}

// A row that was written is read again as it was, and no bytes make the decoder panic.
func FuzzCSV(f *testing.F) {
	f.Add([]byte(`1,"a ""b"" c",2.5,x;y`), "text", "element", uint8(0))
	f.Add([]byte("1;'it\\'s';n/a;"), "a;b,c\"d\ne\\", "", uint8(1))
	f.Add([]byte("1\tx\t2"), "tab\there", " ", uint8(2))
	all := []Options{
		nil, {"field-delimiter": ";", "quote-character": "'", "escape-character": `\`, "null-literal": "n/a", "array-element-delimiter": "|", "allow-comments": "true"},
		{"field-delimiter": `\t`, "disable-quote-character": "true", "ignore-parse-errors": "true"},
	}
	f.Fuzz(func(t *testing.T, line []byte, u, element string, which uint8) {
		u, element = strings.ToValidUTF8(u, "?"), strings.ToValidUTF8(element, "?")
		o := all[int(which)%len(all)]
		d, err := NewDecoder("csv", csvFields, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(slices.Clone(line), csvColumns()); err == nil && len(line) == 0 {
			t.Error("a row of nothing")
		}
		e, err := NewEncoder("csv", csvFields, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		cols := csvColumns()
		cols[0].AddInt(7)
		cols[1].AddText(u)
		cols[2].AddFloat(2.5)
		cols[3].Add([]any{"first", element})
		text, err := e.Encode(nil, cols, 0)
		if err != nil || u == o["null-literal"] && u != "" || element == o["null-literal"] && element != "" {
			return
		}
		again := csvColumns()
		if err := d.Decode(text, again); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for i := range cols {
			if got, want := again[i].Value(0), cols[i].Value(0); !equalBoxes(got, want) {
				t.Errorf("%q: column %d is %q, want %q", text, i, got, want)
			}
		}
	})
}

func equalBoxes(a, b any) bool {
	x, ok := a.([]any)
	if !ok {
		return a == b
	}
	y, ok := b.([]any)
	return ok && slices.Equal(x, y)
}
