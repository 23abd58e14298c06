// Package sql parses and prints the subset of Apache Flink SQL 2.x that pipelines need.
//
//	lexer.go        text -> tokens with positions
//	keywords.go     which words are reserved, so that a file that passes here passes on Flink
//	ast.go          statements and queries
//	expr.go         expressions
//	parser.go       parser helpers, and statements
//	parse_table.go  CREATE TABLE
//	parse_query.go  SELECT, joins, window table functions
//	parse_hint.go   hints of queries and tables
//	parse_expr.go   expressions by precedence, special call syntax
//	parse_type.go   types
//	print.go        syntax tree -> text that parses to the same tree: statements
//	print_query.go  the same for queries
//	print_expr.go   the same for expressions and types
//	error.go        errors with position, what was found, what was expected, and a hint
//
// The package resolves no names and no types: package plan checks whether a column exists.
package sql

// Pos is a position in the text. Line and Column start at 1; columns are characters.
type Pos struct{ Line, Column int }

// Node is a node of the syntax tree.
type Node interface{ At() Pos }

// At implements Node.
func (p Pos) At() Pos { return p }

// Ident is one name. Identifiers are case-sensitive, as in Flink.
type Ident struct {
	Pos
	Name string
}

// Script holds the statements of a file. Texts holds their source text without semicolons.
type Script struct {
	Statements []Statement
	Texts      []string
	Query      *Query // the last statement, if it is a query; only set by ParsePreview
}

// Statement is *Set, *Reset, *CreateTable, *CreateView, *Drop, *Insert or *StatementSet.
type Statement interface {
	Node
	statement()
}

// Set is SET 'key' = 'value'.
type Set struct {
	Pos
	Key, Value string
}

// Option is one 'key' = 'value' of a table.
type Option struct {
	Pos
	Key, Value string
	ValuePos   Pos
}

// CreateTable is CREATE [TEMPORARY] TABLE [IF NOT EXISTS] name (columns…) [COMMENT …] [WITH (…)]
// [LIKE table (…) | AS query].
type CreateTable struct {
	Pos
	Name        []Ident
	Temporary   bool
	IfNotExists bool
	Columns     []Column
	Watermark   *Watermark
	PrimaryKey  *PrimaryKey
	Comment     string
	Partitioned []Ident // PARTITIONED BY (columns)
	Options     []Option
	Like        *TableLike
	As          *Query
	Select      []Ident // with As: the order of its columns, in place of Columns
}

// TableLike is LIKE table [(options)].
type TableLike struct {
	Pos
	Table   []Ident
	Options []LikeOption
}

// LikeOption says how a feature of the other table is merged.
type LikeOption struct {
	Pos
	Merging Merging
	Feature string // one of LikeFeatures
}

// Merging is how a feature of two tables is merged.
type Merging string

// Values of Merging.
const (
	Including   Merging = "INCLUDING"   // that of both; what both have is an error
	Excluding   Merging = "EXCLUDING"   // only that of the new table
	Overwriting Merging = "OVERWRITING" // that of both; the new table's prevails
)

// LikeFeatures are what LIKE can take over from a table, except for its physical columns.
var LikeFeatures = []string{"ALL", "CONSTRAINTS", "DISTRIBUTION", "GENERATED", "METADATA", "OPTIONS", "PARTITIONS", "WATERMARKS"}

// Column is physical (Type only), metadata (Metadata), or computed (Computed).
type Column struct {
	Pos
	Name     Ident
	Type     *TypeName
	Metadata *Metadata
	Computed Expr
	Comment  string
}

// Metadata is METADATA [FROM 'key'] [VIRTUAL].
type Metadata struct {
	Pos
	From    string // "" is the column's name
	Virtual bool
}

// Watermark is WATERMARK FOR column AS expression.
type Watermark struct {
	Pos
	Column []Ident
	Expr   Expr
}

// PrimaryKey is [CONSTRAINT name] PRIMARY KEY (columns) NOT ENFORCED.
type PrimaryKey struct {
	Pos
	Constraint string
	Columns    []Ident
}

// CreateView is CREATE [TEMPORARY] VIEW [IF NOT EXISTS] name [(columns)] AS query.
type CreateView struct {
	Pos
	Name        []Ident
	Temporary   bool
	IfNotExists bool
	Columns     []Ident
	Comment     string
	Query       *Query
}

// Drop is DROP [TEMPORARY] TABLE|VIEW [IF EXISTS] name.
type Drop struct {
	Pos
	View      bool
	Temporary bool
	IfExists  bool
	Name      []Ident
}

// Insert is INSERT INTO name [(columns)] query.
type Insert struct {
	Pos
	Table   []Ident
	Hints   []Hint
	Columns []Ident
	Query   *Query
}

// StatementSet is EXECUTE STATEMENT SET BEGIN inserts END.
type StatementSet struct {
	Pos
	Inserts []*Insert
}

func (*Set) statement()          {}
func (*CreateTable) statement()  {}
func (*CreateView) statement()   {}
func (*Drop) statement()         {}
func (*Insert) statement()       {}
func (*StatementSet) statement() {}

// Query is [WITH tables] body [ORDER BY …] [LIMIT n] [OFFSET n].
type Query struct {
	Pos
	With    []CommonTable
	Body    QueryBody
	OrderBy []OrderItem
	Limit   Expr
	Offset  Expr
}

// CommonTable is name [(columns)] AS (query) of WITH.
type CommonTable struct {
	Name    Ident
	Columns []Ident
	Query   *Query
}

// QueryBody is *Select, *SetOp, *Values or *Query (in parentheses).
type QueryBody interface {
	Node
	queryBody()
}

// SetOp is UNION, INTERSECT or EXCEPT of two queries.
type SetOp struct {
	Pos
	Op          string // UNION, INTERSECT, EXCEPT
	All         bool
	Left, Right QueryBody
}

// Values is VALUES (…), (…).
type Values struct {
	Pos
	Rows [][]Expr
}

// Select is one SELECT without ORDER BY.
type Select struct {
	Pos
	Hints    []Hint
	Distinct bool
	Items    []SelectItem
	From     []TableRef // joined by commas
	Where    Expr
	GroupBy  []Expr
	Having   Expr
	Windows  []NamedWindow
	Qualify  Expr
}

// SelectItem is an expression with an optional alias, or *, or t.*.
type SelectItem struct {
	Expr  Expr // *Star for * and t.*
	Alias *Ident
}

// NamedWindow is name AS (…) of a WINDOW clause.
type NamedWindow struct {
	Name Ident
	Spec *WindowSpec
}

// OrderItem is expr [ASC|DESC] [NULLS FIRST|LAST].
type OrderItem struct {
	Expr       Expr
	Desc       bool
	NullsFirst *bool
}

func (*Query) queryBody()  {}
func (*SetOp) queryBody()  {}
func (*Values) queryBody() {}
func (*Select) queryBody() {}

// Hint is one of the hints between /*+ and */, after SELECT or after a table's name. It has either
// options, as in OPTIONS('a' = 'b'), or arguments, as in BROADCAST(t1, 't2'), or neither.
type Hint struct {
	Pos
	Name    string // as written
	Options []Option
	Args    []Ident
}

// TableRef is *TableName, *Derived, *Join, *WindowTable or *Unnest.
type TableRef interface {
	Node
	tableRef()
}

// Alias is [AS] name [(columns)].
type Alias struct {
	Name    Ident // "" without one
	Columns []Ident
}

// TableName is a table or view [FOR SYSTEM_TIME AS OF expr] [alias].
type TableName struct {
	Pos
	Name  []Ident
	AsOf  Expr
	Hints []Hint
	Alias Alias
}

// Derived is a subquery in FROM.
type Derived struct {
	Pos
	Lateral bool
	Query   *Query
	Alias   Alias
}

// Join of two tables. Kind is INNER, LEFT, RIGHT, FULL or CROSS.
type Join struct {
	Pos
	Kind        string
	Left, Right TableRef
	On          Expr
	Using       []Ident
	Natural     bool // all columns that both tables have must be equal
}

// WindowTable is TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL …, …)).
type WindowTable struct {
	Pos
	Function string // TUMBLE, HOP, CUMULATE, SESSION
	Table    TableRef
	// PartitionBy is the key of a SESSION: TABLE t PARTITION BY (…).
	PartitionBy []Expr
	Time        Ident
	Args        []Expr // intervals as written: size; slide, size; step, max size; gap; then the offset
	Alias       Alias
}

// Unnest is UNNEST(expr) [WITH ORDINALITY] [alias].
type Unnest struct {
	Pos
	Expr       Expr
	Ordinality bool
	Alias      Alias
}

func (*TableName) tableRef()   {}
func (*Derived) tableRef()     {}
func (*Join) tableRef()        {}
func (*WindowTable) tableRef() {}
func (*Unnest) tableRef()      {}
