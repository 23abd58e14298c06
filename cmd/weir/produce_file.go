package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir.example/weir/internal/expr"
	"weir.example/weir/internal/produce"
	"weir.example/weir/internal/source/file"
	"weir.example/weir/reading"
)

// fileFlags select a file and how it is read.
type fileFlags struct {
	config   file.Config
	units    map[string]string
	location string
	years    string
	dry      bool
}

func (f *fileFlags) add(cmd *cobra.Command) {
	flags, c := cmd.Flags(), &f.config
	flags.StringVar(&c.Path, "file", "", "file to send instead of a simulated fleet: CSV, NDJSON or a JSON array, optionally gzipped")
	flags.StringVar(&c.Format, "file-format", "", "csv, ndjson or json (default: from the file's name and content)")
	flags.StringVar(&c.Encoding, "file-encoding", "auto", "auto (UTF-16 with a byte order mark, or else UTF-8), utf-8, utf-16le, utf-16be, latin1 or windows-1252")
	flags.StringVar(&c.Delimiter, "delimiter", "", "delimiter of CSV: one character, or tab (default: inferred from the first rows)")
	flags.StringVar(&c.Decimal, "decimal", "", "decimal separator of CSV: . or , (default: inferred from the first rows)")
	flags.StringVar(&c.DeviceColumn, "device-column", "", "column of the device id")
	flags.StringVar(&c.DeviceName, "device", "", "device id for a file of one device without a device column")
	flags.StringVar(&c.TSColumn, "ts-column", "", "column of the event time")
	flags.StringVar(&c.TSFormat, "ts-format", "", "auto, unix, unix-ms, unix-us, unix-ns, rfc3339, or a Go time layout")
	flags.StringVar(&f.location, "ts-zone", "UTC", "time zone of event times without one, such as Europe/Berlin")
	flags.StringVar(&f.years, "ts-years", "1990-2100", "first and last year of event times; rows outside go to the dead letters")
	flags.StringSliceVar(&c.ValueColumns, "value-columns", nil, "value columns, each of which becomes a reading (default: all that look like values)")
	flags.StringVar(&c.SensorColumn, "sensor-column", "", "column of the sensor's name, for files with one reading per row")
	flags.StringVar(&c.UnitColumn, "unit-column", "", "column of the unit")
	flags.StringVar(&c.SeqColumn, "seq-column", "", "column of the device's own sequence number")
	flags.StringVar(&c.BootColumn, "boot-column", "", "column of the device's boot id")
	flags.StringToStringVar(&f.units, "unit", nil, "unit of a value column: temp=Cel,humidity=%")
	flags.BoolVar(&f.dry, "dry-run", false, "show how the columns of --file are interpreted, its first readings and what would be rejected, without sending")
}

// open opens the file under a source's name.
func (f *fileFlags) open(flags *pflag.FlagSet, name string) (*file.File, error) {
	c, err := f.read(flags)
	if err != nil {
		return nil, err
	}
	c.Name = name
	return file.Open(c)
}

// read returns how a file is read.
func (f *fileFlags) read(flags *pflag.FlagSet) (c file.Config, err error) {
	c = f.config
	c.Units = f.units
	if c.Location, err = expr.ParseZone(f.location); err != nil {
		return c, usage(fmt.Errorf("--ts-zone: %w", err))
	}
	if c.Years, err = parseYears(f.years); err != nil {
		return c, usage(fmt.Errorf("--ts-years: %w", err))
	}
	for _, named := range []string{"device", "device-column", "ts-column", "sensor-column", "delimiter"} {
		if flags.Changed(named) && flags.Lookup(named).Value.String() == "" {
			return c, usage(fmt.Errorf("--%s is empty", named))
		}
	}
	return c, nil
}

func parseYears(text string) (years [2]int, err error) {
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		to = from
	}
	for i, year := range []string{from, to} {
		if years[i], err = strconv.Atoi(strings.TrimSpace(year)); err != nil || years[i] < 1 || years[i] > 9999 {
			return years, fmt.Errorf("%q is not a range of years such as 1990-2100", text)
		}
	}
	if years[0] > years[1] {
		return years, fmt.Errorf("the range %q ends before it starts", text)
	}
	return years, nil
}

// leftOut lists the contents of a file that were not sent.
type leftOut struct {
	Unused    []file.Unused `json:"unused"`                   // columns, with the number of their fields
	EmptyRows int64         `json:"rows_without_a_value"`     // rows of the file
	Absent    []string      `json:"columns_absent,omitempty"` // named value columns that were not found
}

func leftOutOf(f *file.File) leftOut {
	l := leftOut{Unused: f.Unused(), EmptyRows: f.EmptyRows(), Absent: f.Absent()}
	if l.Unused == nil {
		l.Unused = []file.Unused{} // [] in JSON, not null
	}
	return l
}

// lines lists what was not sent.
func (l *leftOut) lines() (lines []string) {
	for i, u := range l.Unused {
		const most = 20
		if i == most {
			lines = append(lines, fmt.Sprintf("and %s more columns (-o json lists them)", count(int64(len(l.Unused)-most))))
			break
		}
		line := fmt.Sprintf("%s: %s", u.Column, fields(u.Fields))
		switch {
		case u.Numbers == u.Fields:
			line += ", all numeric (--value-columns sends them)"
		case u.Numbers > 0:
			line += fmt.Sprintf(", %s of them numeric (--value-columns sends them)", count(u.Numbers))
		}
		lines = append(lines, line)
	}
	if l.EmptyRows > 0 {
		lines = append(lines, fmt.Sprintf("rows without a value: %s", count(l.EmptyRows)))
	}
	if len(l.Absent) > 0 {
		lines = append(lines, "value columns not found in any row: "+strings.Join(l.Absent, ", "))
	}
	return lines
}

// write reports what was not sent, if anything.
func (l *leftOut) write(w io.Writer) error {
	lines := l.lines()
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "not sent, from the whole file:\n  %s\n", strings.Join(lines, "\n  "))
	return err
}

func fields(n int64) string {
	if n == 1 {
		return "1 field"
	}
	return count(n) + " fields"
}

// producedFile is the JSON output of sending a file.
type producedFile struct {
	produce.Result
	leftOut
}

// preview is the JSON output of a dry run.
type preview struct {
	Columns  string            `json:"columns"`
	Readings int64             `json:"readings"`
	Rejected int64             `json:"rejected"`
	Columned map[string]int64  `json:"rejected_by_column,omitempty"`
	Reasons  []string          `json:"first_reasons,omitempty"`
	First    []previewedRecord `json:"first_readings"`
	leftOut
}

// previewedRecord is a reading in the format in which it would be sent.
type previewedRecord struct{ reading.Reading }

// MarshalJSON encodes the reading like a record's value.
func (r previewedRecord) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil } //nolint:unparam // json.Marshaler

// dryRun reports what would be sent.
func (f *fileFlags) dryRun(cmd *cobra.Command, input *file.File, asJSON bool) error {
	p, err := input.Preview()
	if err != nil {
		return err
	}
	shown := preview{Columns: p.Columns, Readings: p.Readings, Rejected: p.Rejected, Columned: p.Columned, Reasons: p.Reasons, leftOut: leftOutOf(input)}
	for _, r := range p.First {
		shown.First = append(shown.First, previewedRecord{r})
	}
	w := cmd.OutOrStdout()
	if asJSON {
		return writeJSON(w, shown)
	}
	var text strings.Builder
	fmt.Fprintln(&text, p.Columns)
	for _, r := range p.First {
		fmt.Fprintf(&text, "  %s\n", r.AppendJSON(nil))
	}
	fmt.Fprintf(&text, "would send %s and %s\n", plural(p.Readings, "reading"), plural(p.Rejected, "dead letter"))
	for _, column := range slices.Sorted(maps.Keys(p.Columned)) {
		what := "column " + column
		if column == "" {
			what = "rows"
		}
		fmt.Fprintf(&text, "  rejected in %s: %s\n", what, count(p.Columned[column]))
	}
	for _, reason := range p.Reasons {
		fmt.Fprintf(&text, "  %s\n", reason)
	}
	if err := shown.write(&text); err != nil {
		return err
	}
	_, err = io.WriteString(w, text.String())
	return err
}
