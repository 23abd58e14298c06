package generate

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strconv"
	"sync/atomic"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/format"
	"weir.example/weir/internal/plan"
	"weir.example/weir/internal/source"
)

// rows is the source of a table's rows. It implements produce.Source.
type rows struct {
	Config
	generator *plan.Generator
	encoder   format.Encoder
	cols      []*column.Column
	seed      uint64
	next      atomic.Int64 // row
}

func newSource(c Config) (*rows, error) {
	value := c.Table.Kafka.Value
	encoder, err := format.NewEncoder(value.Name, value.Fields, nil, nil)
	if err != nil {
		return nil, err
	}
	r := &rows{Config: c, generator: c.Table.Generator, encoder: encoder}
	for _, f := range value.Fields {
		r.cols = append(r.cols, &column.Column{Type: f.Type})
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.name()))
	r.seed = h.Sum64()
	return r, nil
}

// Name implements produce.Source.
func (r *rows) Name() string { return r.name() }

// Next implements produce.Source.
func (r *rows) Next(dst []source.Item) (int, error) {
	now := r.Now()
	for i := range dst {
		n := r.next.Load()
		if r.generator.Rows > 0 && n >= r.generator.Rows {
			return i, io.EOF
		}
		value, err := r.row(n, now.UnixMicro())
		if err != nil {
			return i, fmt.Errorf("row %d: %w", n, err)
		}
		m := &source.Message{Topic: r.Table.Kafka.Topic, Value: value, TS: now.UnixMilli()}
		if r.generator.Partitions > 1 {
			m.Key = strconv.FormatInt(n, 10)
		}
		dst[i] = source.Item{Message: m}
		r.next.Add(1)
	}
	return len(dst), nil
}

// row returns a row as the value of a record.
func (r *rows) row(n, now int64) ([]byte, error) {
	if constant := r.generator.Constant; constant != nil {
		return constant[n], nil
	}
	random := rand.New(rand.NewPCG(r.seed, uint64(n))) //nolint:gosec // not for secrets
	for i := range r.cols {
		r.cols[i].Truncate(0)
		r.cols[i].Add(value(&r.generator.Values[i], r.generator.Zone, n, now, random))
	}
	return r.encoder.Encode(nil, r.cols, 0)
}

// position is the position of the source.
type position struct {
	Rows int64 `json:"rows"` // generated
}

// Position implements produce.Source.
func (r *rows) Position() []byte {
	b, _ := json.Marshal(position{r.next.Load()}) //nolint:errchkjson // a number
	return b
}

var positionForm = source.PositionForm{
	Of: "a generated table", Members: []string{"rows"}, Otherwise: "give the pipeline another name (SET 'pipeline.name') to generate the rows from the beginning",
}

const maxRows = 1 << 53 // of positions

// Seek implements produce.Source.
func (r *rows) Seek(b []byte) error {
	var at position
	if err := positionForm.Decode(b, &at, func() bool { return at.Rows >= 0 && at.Rows <= maxRows }); err != nil {
		return err
	}
	r.next.Store(at.Rows)
	return nil
}

// Progress implements produce.Source.
func (r *rows) Progress() (done, total int64) {
	if r.generator.Rows == 0 {
		return r.next.Load(), -1
	}
	return r.next.Load(), r.generator.Rows
}
