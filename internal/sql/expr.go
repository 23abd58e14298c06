package sql

// Expr is an expression.
type Expr interface {
	Node
	expr()
}

// LiteralKind is the kind of a Literal.
type LiteralKind int

// Kinds of literals.
const (
	NullLiteral      LiteralKind = iota // NULL
	BoolLiteral                         // TRUE, FALSE
	NumberLiteral                       // 1, 1.5, 1e3: text as written
	StringLiteral                       // 'text': unquoted
	BytesLiteral                        // x'00ff': hex digits
	DateLiteral                         // DATE '2026-01-01'
	TimeLiteral                         // TIME '12:00:00'
	TimestampLiteral                    // TIMESTAMP '2026-01-01 12:00:00'
)

// Literal is a constant.
type Literal struct {
	Pos
	Kind LiteralKind
	Text string
}

// Interval is INTERVAL 'value' unit [TO unit].
type Interval struct {
	Pos
	Negative  bool
	Value     string
	From, To  string // SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, QUARTER, YEAR; To may be ""
	Precision int    // of From; -1 if not given
}

// ColumnRef is a name, or names joined by dots.
type ColumnRef struct {
	Pos
	Parts []Ident
}

// Star is * or t.*.
type Star struct {
	Pos
	Table []Ident
}

// Unary is -x, +x or NOT x.
type Unary struct {
	Pos
	Op string
	X  Expr
}

// Binary is arithmetic (+ - * / %), || , comparison (= <> < <= > >=), AND, OR.
type Binary struct {
	Pos
	Op   string
	L, R Expr
}

// Is is x IS [NOT] NULL|TRUE|FALSE|UNKNOWN|JSON, or DISTINCT FROM y.
type Is struct {
	Pos
	X    Expr
	Not  bool
	What string // NULL, TRUE, FALSE, UNKNOWN, DISTINCT FROM, JSON, JSON OBJECT, JSON ARRAY, JSON SCALAR
	Y    Expr   // of DISTINCT FROM
}

// Between is x [NOT] BETWEEN [SYMMETRIC] low AND high.
type Between struct {
	Pos
	X, Low, High   Expr
	Not, Symmetric bool
}

// In is x [NOT] IN (list) or (query).
type In struct {
	Pos
	X     Expr
	List  []Expr
	Query *Query
	Not   bool
}

// Like is x [NOT] LIKE|SIMILAR TO pattern [ESCAPE e].
type Like struct {
	Pos
	X, Pattern, Escape Expr
	Not, Similar       bool
}

// Case is CASE [operand] WHEN … THEN … [ELSE …] END.
type Case struct {
	Pos
	Operand Expr
	Whens   []When
	Else    Expr
}

// When is one branch of a Case.
type When struct{ Cond, Then Expr }

// Cast is CAST(x AS type) or TRY_CAST.
type Cast struct {
	Pos
	X    Expr
	Type *TypeName
	Try  bool
}

// Call is a function call. Calls with special syntax are normalised to this form: EXTRACT(unit
// FROM x) has a *Symbol as its first argument, POSITION(a IN b) has the arguments a, b, TRIM(BOTH a
// FROM b) a *Symbol, a, b.
type Call struct {
	Pos
	Name     string // as written; built-in functions are upper case
	Args     []Expr
	Star     bool // COUNT(*)
	Distinct bool
	NoParens bool // CURRENT_TIMESTAMP
	Filter   Expr
	// IgnoreNulls is IGNORE NULLS of a window function; RESPECT NULLS is the default.
	IgnoreNulls bool
	OrderBy     []OrderItem // WITHIN GROUP (ORDER BY …)
	Over        *WindowSpec
	OverName    *Ident
	JSON        *JSONClauses
}

// JSONClauses holds the clauses of JSON_VALUE, JSON_QUERY and JSON_EXISTS after the path.
type JSONClauses struct {
	Returning *TypeName
	Wrapper   string // "", WITHOUT, CONDITIONAL, UNCONDITIONAL
	OnEmpty   string // "", NULL, ERROR, DEFAULT, EMPTY ARRAY, EMPTY OBJECT
	OnError   string // the same, and TRUE, FALSE, UNKNOWN of JSON_EXISTS
	Empty     Expr   // of DEFAULT … ON EMPTY
	Error     Expr   // of DEFAULT … ON ERROR
	OnNull    string // of JSON_OBJECT, JSON_ARRAY and their aggregates: "", NULL, ABSENT
}

// WindowSpec is (PARTITION BY … ORDER BY … ROWS|RANGE …) after OVER.
type WindowSpec struct {
	Pos
	PartitionBy []Expr
	OrderBy     []OrderItem
	Frame       *Frame
}

// Frame is ROWS|RANGE BETWEEN start AND end.
type Frame struct {
	Pos
	Rows       bool
	Start, End Bound
}

// Bound is UNBOUNDED PRECEDING|FOLLOWING, CURRENT ROW (both false, Offset nil), or n
// PRECEDING|FOLLOWING.
type Bound struct {
	Unbounded bool
	Following bool
	Offset    Expr
}

// Grouping is GROUPING SETS ((a, b), ()), ROLLUP (a, b) or CUBE (a, b), an element of GROUP BY.
type Grouping struct {
	Pos
	Kind string
	Sets [][]Expr // the elements as written: (a) is one expression, (a, b) two, () none
}

// Symbol is a keyword as an argument: the unit of EXTRACT, BOTH of TRIM.
type Symbol struct {
	Pos
	Name string
}

// RowValue is ROW(…) or (a, b).
type RowValue struct {
	Pos
	Items []Expr
}

// ArrayValue is ARRAY[…].
type ArrayValue struct {
	Pos
	Items []Expr
}

// MapValue is MAP[k, v, …].
type MapValue struct {
	Pos
	Items []Expr
}

// Index is x[i].
type Index struct {
	Pos
	X, Index Expr
}

// Field is x.name where x is not a name itself.
type Field struct {
	Pos
	X    Expr
	Name Ident
}

// Subquery is (SELECT …) as a value, or EXISTS (…).
type Subquery struct {
	Pos
	Query  *Query
	Exists bool
}

func (*Literal) expr()    {}
func (*Interval) expr()   {}
func (*ColumnRef) expr()  {}
func (*Star) expr()       {}
func (*Unary) expr()      {}
func (*Binary) expr()     {}
func (*Is) expr()         {}
func (*Between) expr()    {}
func (*In) expr()         {}
func (*Like) expr()       {}
func (*Case) expr()       {}
func (*Cast) expr()       {}
func (*Call) expr()       {}
func (*Grouping) expr()   {}
func (*Symbol) expr()     {}
func (*RowValue) expr()   {}
func (*ArrayValue) expr() {}
func (*MapValue) expr()   {}
func (*Index) expr()      {}
func (*Field) expr()      {}
func (*Subquery) expr()   {}

// TypeName is a type as written.
type TypeName struct {
	Pos
	Name    string // upper case: INT, VARCHAR, TIMESTAMP, TIMESTAMP_LTZ, ARRAY, MAP, ROW, …
	Params  []int  // precision and scale, or length
	Elem    *TypeName
	Key     *TypeName // of MAP
	Fields  []RowField
	NotNull bool
}

// RowField is one field of a ROW type.
type RowField struct {
	Name    Ident
	Type    *TypeName
	Comment string
}
