package files

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/sink"
)

// writer writes files of a table.
type writer struct {
	partitioned []int // columns of a batch that are in the directory's name
	stored      []int // columns of a batch that are in files
	fields      []format.Field
	open        func(w io.Writer, meta metadata) (encoder, error)
}

// encoder writes rows to a file.
type encoder interface {
	// add writes a row. An error of the row, which is then not written, is a *rowError.
	add(cols []*column.Column, row int) error
	close() error
}

// metadata says which rows of which topic a file has.
type metadata struct {
	sink, topic, topicID string
	partition            int32
	from, next           int64 // of the delivery; its rows may be in files of several directories
}

// rowError is the error of a row that a format can't represent.
type rowError struct{ error }

func newWriter(t *plan.Table, f *plan.Files) (*writer, error) {
	w := &writer{}
	for _, c := range t.Partitioned {
		w.partitioned = append(w.partitioned, slices.Index(t.Kafka.Value.Columns, c))
	}
	for i, field := range t.Kafka.Value.Fields {
		if !slices.Contains(w.partitioned, i) {
			w.stored, w.fields = append(w.stored, i), append(w.fields, field)
		}
	}
	var err error
	switch f.Format {
	case "parquet":
		w.open, err = parquetFiles(t.Name, w.fields, f.Compression)
	case "csv":
		w.open, err = csvFiles(w.fields)
	default:
		w.open, err = jsonFiles(w.fields, f.Options)
	}
	return w, err
}

// write writes the rows of a file, and makes it last. There is no file if every row is refused.
func (s *session) write(ctx context.Context, b *sink.Batch, g group) (_ *pending, refusals []sink.Refusal, err error) {
	meta := metadata{s.name, s.from.Name, s.from.ID, g.partition, b.From[g.partition], b.Next[g.partition]}
	file, err := s.at.create(ctx, g.dir+s.fileName(g.partition, b.Origins[g.rows[0]].Offset), meta)
	if err != nil {
		return nil, nil, err
	}
	n := 0
	defer func() {
		if closing := file.close(); err == nil {
			err = closing
		}
		if err != nil || n == 0 {
			s.at.discard(file.pending())
		}
	}()
	buffered := bufio.NewWriterSize(file, 1<<16)
	cols := make([]*column.Column, len(s.writer.stored))
	for i, c := range s.writer.stored {
		cols[i] = b.Rows.Cols[c]
	}
	enc, err := s.writer.open(buffered, meta)
	if err != nil {
		return nil, nil, err
	}
	for _, row := range g.rows {
		err := enc.add(cols, row)
		var bad *rowError
		switch {
		case errors.As(err, &bad):
			refusals = append(refusals, refusal(b.Origins[row], bad.error))
		case err != nil:
			return nil, nil, err
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		default:
			n++
		}
	}
	if err := errors.Join(enc.close(), buffered.Flush()); err != nil || n == 0 {
		return nil, refusals, err
	}
	if err := file.sync(ctx); err != nil {
		return nil, nil, err
	}
	f := file.pending()
	return &f, refusals, nil
}

// lines writes a line for each row.
type lines struct {
	w      io.Writer
	buf    []byte
	encode func(dst []byte, cols []*column.Column, row int) ([]byte, error)
}

func (l *lines) add(cols []*column.Column, row int) (err error) {
	if l.buf, err = l.encode(l.buf[:0], cols, row); err != nil {
		return &rowError{err}
	}
	_, err = l.w.Write(append(l.buf, '\n'))
	return err
}

func (l *lines) close() error { return nil }

func jsonFiles(fields []format.Field, o format.Options) (func(io.Writer, metadata) (encoder, error), error) {
	e, err := format.NewEncoder("json", fields, o, nil)
	if err != nil {
		return nil, err
	}
	return func(w io.Writer, _ metadata) (encoder, error) { return &lines{w: w, encode: e.Encode}, nil }, nil
}
