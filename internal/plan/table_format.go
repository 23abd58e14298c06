package plan

import (
	"slices"
	"strings"

	"weir.example/weir/internal/format"
	"weir.example/weir/internal/sql"
	"weir.example/weir/internal/suggest"
)

// Format is how the key or the value of a record encodes columns. Name is "" for a key that is not
// decoded.
type Format struct {
	Name    string
	Options format.Options
	Columns []int          // of the table
	Fields  []format.Field // as the format names them, parallel to Columns
}

// hash identifies the key's encoding to Kafka's default partitioner, which hashes its bytes.
func (f *Format) hash() string {
	s := f.Name
	for _, field := range f.Fields {
		s += " " + field.Type.Nullable(true).String()
		if f.Name != "raw" {
			s += " " + field.Name
		}
	}
	return s + format.Encoding(f.Name, f.Options)
}

// setFormat reads the options of one format. part is "key." or "value.", option is the key that
// names the format, and prefix is stripped from the columns' names to get the field names.
func (t *Table) setFormat(f *Format, part, option string, o *options, prefix string) error {
	if !o.has(option) {
		return nil
	}
	f.Name = o.get(option)
	if !slices.Contains(format.Names(), f.Name) {
		return o.bad(option, orElse(suggest.DidYouMean(f.Name, format.Names()), "use one of "+strings.Join(format.Names(), ", ")))
	}
	for _, i := range f.Columns {
		name, cut := strings.CutPrefix(t.Columns[i].Name, prefix)
		if !cut {
			return sql.Errorf(t, "column %s is in 'key.fields', but its name does not start with the 'key.fields-prefix' %s", t.Columns[i].Name, prefix)
		}
		f.Fields = append(f.Fields, format.Field{Name: name, Type: t.Columns[i].Type})
	}
	f.Options = make(format.Options)
	leads := []string{part + f.Name + "."}
	if part == "value." {
		leads = append(leads, f.Name+".")
	}
	for _, lead := range leads {
		for key, option := range o.all {
			if name, ok := strings.CutPrefix(key, lead); ok {
				o.read[key] = true
				f.Options[name] = option.Value
			}
		}
	}
	if format.HasRegistry(f.Name) {
		f.Options.SetRegistryDefaults(t.Kafka.Topic, part == "key.")
	}
	if err := format.Check(f.Name, f.Fields, f.Options); err != nil {
		return sql.Errorf(t, "table %s, %sformat %s: %s", t.Name, part, f.Name, err)
	}
	return nil
}
