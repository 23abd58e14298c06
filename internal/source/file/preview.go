package file

import (
	"errors"
	"io"

	"weir.example/weir/internal/source"
	"weir.example/weir/reading"
)

// Preview is the outcome of sending a whole file.
type Preview struct {
	Columns  string            // see File.Columns
	First    []reading.Reading // at most previewed
	Readings int64
	Rejected int64            // rows and cells that are not valid readings
	Columned map[string]int64 // rejected items by column; "" for whole rows
	Reasons  []string         // of the first rejected items
}

// previewed bounds the readings and reasons of a preview.
const previewed = 5

// Preview reads the file to its end. If the file is truncated, it returns the part that it has read
// with the error.
func (f *File) Preview() (p Preview, err error) {
	p = Preview{Columns: f.Columns(), Columned: make(map[string]int64)}
	items := make([]source.Item, 1024)
	for {
		n, err := f.Next(items)
		for i := range items[:n] {
			p.add(&items[i])
		}
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
	}
}

func (p *Preview) add(it *source.Item) {
	if it.Err == nil {
		if p.Readings++; len(p.First) < previewed {
			p.First = append(p.First, it.Reading)
		}
		return
	}
	if p.Rejected++; len(p.Reasons) < previewed {
		p.Reasons = append(p.Reasons, it.Err.Error())
	}
	var wrong *RowError
	if errors.As(it.Err, &wrong) {
		p.Columned[wrong.Column]++
	}
}
