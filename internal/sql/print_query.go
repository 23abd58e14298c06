package sql

func (p *printer) query(q *Query) {
	for i, c := range q.With {
		if i == 0 {
			p.put("WITH ")
		} else {
			p.put(",")
			p.line()
		}
		p.put(Quote(c.Name.Name))
		if c.Columns != nil {
			p.put(" ", nameList(c.Columns))
		}
		p.put(" AS ")
		p.nested(c.Query)
	}
	if q.With != nil {
		p.line()
	}
	p.body(q.Body)
	if q.OrderBy != nil {
		p.line()
		p.put("ORDER BY ")
		p.orderItems(q.OrderBy)
	}
	if q.Limit != nil {
		p.line()
		p.put("LIMIT ")
		p.expr(q.Limit, 0)
	}
	if q.Offset != nil {
		p.line()
		p.put("OFFSET ")
		p.expr(q.Offset, 0)
	}
}

func (p *printer) nested(q *Query) {
	p.put("(")
	p.indent++
	p.line()
	p.query(q)
	p.indent--
	p.line()
	p.put(")")
}

func (p *printer) body(b QueryBody) {
	switch b := b.(type) {
	case *Query:
		p.nested(b)
	case *SetOp:
		p.body(b.Left)
		p.line()
		p.put(b.Op, word(b.All, " ALL"))
		p.line()
		p.body(b.Right)
	case *Values:
		p.put("VALUES ")
		for i, row := range b.Rows {
			if i > 0 {
				p.put(", ")
			}
			p.put("(")
			p.exprs(row)
			p.put(")")
		}
	case *Select:
		p.selectCore(b)
	}
}

func (p *printer) selectCore(s *Select) {
	p.put("SELECT ")
	if s.Hints != nil {
		p.hints(s.Hints)
		p.put(" ")
	}
	p.put(word(s.Distinct, "DISTINCT "))
	for i, item := range s.Items {
		if i > 0 {
			p.put(", ")
		}
		p.expr(item.Expr, 0)
		if item.Alias != nil {
			p.put(" AS ", Quote(item.Alias.Name))
		}
	}
	for i, t := range s.From {
		if i == 0 {
			p.line()
			p.put("FROM ")
		} else {
			p.put(", ")
		}
		p.table(t)
	}
	clause := func(name string, e Expr) {
		if e != nil {
			p.line()
			p.put(name, " ")
			p.expr(e, 0)
		}
	}
	clause("WHERE", s.Where)
	if s.GroupBy != nil {
		p.line()
		p.put("GROUP BY ")
		if len(s.GroupBy) == 0 {
			p.put("()")
		}
		p.exprs(s.GroupBy)
	}
	clause("HAVING", s.Having)
	for i, w := range s.Windows {
		if i == 0 {
			p.line()
			p.put("WINDOW ")
		} else {
			p.put(", ")
		}
		p.put(Quote(w.Name.Name), " AS ")
		p.windowSpec(w.Spec)
	}
	clause("QUALIFY", s.Qualify)
}

func (p *printer) alias(a Alias) {
	if a.Name.Name == "" {
		return
	}
	p.put(" AS ", Quote(a.Name.Name))
	if a.Columns != nil {
		p.put(" ", nameList(a.Columns))
	}
}

func (p *printer) table(t TableRef) {
	switch t := t.(type) {
	case *TableName:
		p.put(path(t.Name))
		p.tableHints(t.Hints)
		if t.AsOf != nil {
			p.put(" FOR SYSTEM_TIME AS OF ")
			p.expr(t.AsOf, 0)
		}
		p.alias(t.Alias)
	case *Derived:
		p.put(word(t.Lateral, "LATERAL "))
		p.nested(t.Query)
		p.alias(t.Alias)
	case *Join:
		p.table(t.Left)
		p.line()
		p.put(word(t.Natural, "NATURAL "))
		if t.Kind != "INNER" {
			p.put(t.Kind, " ")
		}
		p.put("JOIN ")
		if _, nested := t.Right.(*Join); nested {
			p.put("(")
			p.table(t.Right)
			p.put(")")
		} else {
			p.table(t.Right)
		}
		if t.On != nil {
			p.put(" ON ")
			p.expr(t.On, 0)
		}
		if t.Using != nil {
			p.put(" USING ", nameList(t.Using))
		}
	case *WindowTable:
		p.windowTable(t)
	case *Unnest:
		p.put("UNNEST(")
		p.expr(t.Expr, 0)
		p.put(")", word(t.Ordinality, " WITH ORDINALITY"))
		p.alias(t.Alias)
	}
}

func (p *printer) windowTable(t *WindowTable) {
	p.put("TABLE(", t.Function, "(")
	switch in := t.Table.(type) {
	case *TableName:
		p.put("TABLE ", path(in.Name))
		if t.PartitionBy != nil {
			p.put(" PARTITION BY (")
			p.exprs(t.PartitionBy)
			p.put(")")
		}
	case *Derived:
		p.nested(in.Query)
	}
	p.put(", DESCRIPTOR(", Quote(t.Time.Name), ")")
	for _, a := range t.Args {
		p.put(", ")
		p.expr(a, 0)
	}
	p.put("))")
	p.alias(t.Alias)
}

func (p *printer) orderItems(items []OrderItem) {
	for i, o := range items {
		if i > 0 {
			p.put(", ")
		}
		p.expr(o.Expr, 0)
		p.put(word(o.Desc, " DESC"))
		if o.NullsFirst != nil {
			if *o.NullsFirst {
				p.put(" NULLS FIRST")
			} else {
				p.put(" NULLS LAST")
			}
		}
	}
}

func (p *printer) windowSpec(w *WindowSpec) {
	p.put("(")
	space := ""
	if w.PartitionBy != nil {
		p.put("PARTITION BY ")
		p.exprs(w.PartitionBy)
		space = " "
	}
	if w.OrderBy != nil {
		p.put(space, "ORDER BY ")
		p.orderItems(w.OrderBy)
		space = " "
	}
	if f := w.Frame; f != nil {
		kind := "RANGE"
		if f.Rows {
			kind = "ROWS"
		}
		p.put(space, kind, " BETWEEN ")
		p.bound(f.Start)
		p.put(" AND ")
		p.bound(f.End)
	}
	p.put(")")
}

func (p *printer) bound(b Bound) {
	side := " PRECEDING"
	if b.Following {
		side = " FOLLOWING"
	}
	switch {
	case b.Unbounded:
		p.put("UNBOUNDED", side)
	case b.Offset == nil:
		p.put("CURRENT ROW")
	default:
		p.expr(b.Offset, bindAdd)
		p.put(side)
	}
}
