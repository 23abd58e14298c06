package expr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"weir.example/weir/internal/column"
	"weir.example/weir/internal/moment"
)

// Transaction is what volatile functions read besides their arguments. Its values are fixed when
// the transaction begins, so that a step is a function of its records and of the transaction: an
// aborted one leaves nothing, and the next one has values of its own.
type Transaction struct {
	now    int64 // microseconds, of whole milliseconds
	random *rand.Rand
	// Watermark is the watermark before the row being computed, of the row's own partition, in the
	// unit of the rowtime; noWatermark before the first row with a time.
	Watermark int64
}

const noWatermark = math.MinInt64

// Begin sets the time of a transaction and the seed of its random values.
func (tx *Transaction) Begin(now time.Time, seed [32]byte) {
	tx.now = now.UnixMilli() * moment.Millisecond
	tx.random = rand.New(rand.NewChaCha8(seed)) //nolint:gosec // seeded by the transaction, not for secrets
}

// In returns an expression whose volatile functions read a transaction. An expression that has some
// can't be compiled without one.
func In(n Node, tx *Transaction) Node {
	if n == nil || !Volatile(n) {
		return n
	}
	return Replace(n, func(n Node) Node {
		if c, ok := n.(*Call); ok && c.F.Volatile {
			copied := *c
			copied.Data = tx
			return &copied
		}
		return n
	})
}

// Volatile reports whether the value of an expression depends on more than the columns that it
// reads.
func Volatile(n Node) bool { return FindVolatile(n) != nil }

// FindVolatile returns the first volatile call of an expression; nil without one.
func FindVolatile(n Node) *Call {
	var found *Call
	if n == nil {
		return nil
	}
	Walk(n, func(n Node) {
		if c, ok := n.(*Call); ok && c.F.Volatile && found == nil {
			found = c
		}
	})
	return found
}

// Watermarked reports whether an expression reads the watermark of each row.
func Watermarked(n Node) bool {
	found := false
	if n == nil {
		return false
	}
	Walk(n, func(n Node) {
		if c, ok := n.(*Call); ok && c.F.Name == "CURRENT_WATERMARK" {
			found = true
		}
	})
	return found
}

// SQLName returns the name by which a function is called in SQL.
func (f *Function) SQLName() string {
	if f.Name == unixNow {
		return "UNIX_TIMESTAMP"
	}
	return f.Name
}

// unixNow is UNIX_TIMESTAMP without arguments.
const unixNow = "UNIX_TIMESTAMP NOW"

var errNoTransaction = errors.New("its value is known only within a transaction")

func init() {
	instant := column.Type{Kind: column.TimestampLTZ, Precision: 3, NotNull: true}
	for _, name := range []string{"NOW", "CURRENT_TIMESTAMP", "CURRENT_ROW_TIMESTAMP", "PROCTIME"} {
		register(readsClock(name, instant, func(us int64, _ Zone) int64 { return us }))
	}
	for _, name := range []string{"LOCALTIME", "CURRENT_TIME"} {
		register(readsClock(name, column.Type{Kind: column.Time, NotNull: true}, func(us int64, zone Zone) int64 {
			return moment.FloorDiv(moment.FloorMod(ToLocal(us, zone), moment.Day), moment.Second) * (moment.Second / moment.Millisecond)
		}))
	}
	register(
		readsClock("LOCALTIMESTAMP", column.Type{Kind: column.Timestamp, Precision: 3, NotNull: true}, ToLocal),
		readsClock("CURRENT_DATE", column.Type{Kind: column.Date, NotNull: true}, func(us int64, zone Zone) int64 {
			return moment.FloorDiv(ToLocal(us, zone), moment.Day)
		}),
		readsClock(unixNow, column.Type{Kind: column.BigInt, NotNull: true}, func(us int64, _ Zone) int64 {
			return moment.FloorDiv(us, moment.Second)
		}),
		volatileOf("UUID", column.Type{Kind: column.String, NotNull: true, Length: 36, Fixed: true}, compileUUID),
		volatileOf("RAND", column.Type{Kind: column.Double, NotNull: true}, compileRand),
		&Function{Name: "RAND_INTEGER", Min: 1, Max: 1, Volatile: true, bind: bindRandInteger, compile: compileRandInteger},
		&Function{Name: "CURRENT_WATERMARK", Min: 1, Max: 1, Volatile: true, bind: bindCurrentWatermark, compile: compileCurrentWatermark},
	)
}

// volatileOf defines a volatile function without arguments.
func volatileOf(name string, t column.Type, compile func(n *Call, tx *Transaction) *Compiled) *Function {
	return &Function{
		Name: name, Volatile: true,
		bind: func(args []Node) ([]Node, column.Type, error) { return args, t, nil },
		compile: func(n *Call, _ []*Compiled) (*Compiled, error) {
			tx, ok := n.Data.(*Transaction)
			if !ok {
				return nil, fmt.Errorf("%s: %w", name, errNoTransaction)
			}
			return compile(n, tx), nil
		},
	}
}

// readsClock defines a function without arguments that reads the transaction's time.
func readsClock(name string, t column.Type, of func(us int64, zone Zone) int64) *Function {
	return volatileOf(name, t, func(n *Call, tx *Transaction) *Compiled {
		zone := n.Zone
		return &Compiled{Type: t, I: func(*column.Batch, int) (int64, bool) { return of(tx.now, zone), true }}
	})
}

func compileRand(n *Call, tx *Transaction) *Compiled {
	return &Compiled{Type: n.T, F: func(*column.Batch, int) (float64, bool) { return tx.random.Float64(), true }}
}

func bindRandInteger(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	if t.Kind != column.Int && t.Kind != column.SmallInt && t.Kind != column.TinyInt {
		return nil, t, fmt.Errorf("argument 1 of RAND_INTEGER must be an INT, not %s", t.Nullable(true))
	}
	to := column.Of(column.Int).Nullable(!t.NotNull)
	return []Node{castTo(args[0], to)}, to, nil
}

func compileRandInteger(n *Call, args []*Compiled) (*Compiled, error) {
	tx, ok := n.Data.(*Transaction)
	if !ok {
		return nil, fmt.Errorf("RAND_INTEGER: %w", errNoTransaction)
	}
	return &Compiled{Type: n.T, I: func(b *column.Batch, row int) (int64, bool) {
		bound, ok := args[0].I(b, row)
		if !ok {
			return 0, false
		}
		if bound <= 0 {
			b.Fail("RAND_INTEGER: the bound must be positive, got %d", bound)
			return 0, false
		}
		return tx.random.Int64N(bound), true
	}}, nil
}

// compileUUID returns random UUIDs of version 4.
func compileUUID(n *Call, tx *Transaction) *Compiled {
	return &Compiled{Type: n.T, S: func(*column.Batch, int) (string, bool) {
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], tx.random.Uint64())
		binary.BigEndian.PutUint64(b[8:], tx.random.Uint64())
		b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
		return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), true
	}}
}

func bindCurrentWatermark(args []Node) ([]Node, column.Type, error) {
	t := args[0].Type()
	if !t.Instant() {
		return nil, t, fmt.Errorf("CURRENT_WATERMARK expects the column with the watermark, got %s", t.Nullable(true))
	}
	return args, column.OfTime(t.Kind, 3), nil
}

func compileCurrentWatermark(n *Call, _ []*Compiled) (*Compiled, error) {
	tx, ok := n.Data.(*Transaction)
	if !ok {
		return nil, fmt.Errorf("CURRENT_WATERMARK: %w", errNoTransaction)
	}
	return &Compiled{Type: n.T, I: func(*column.Batch, int) (int64, bool) {
		return moment.FloorDiv(tx.Watermark, moment.Millisecond) * moment.Millisecond, tx.Watermark != noWatermark
	}}, nil
}
