package datastore

import "strings"

// A schema answers which columns a table or view has: their names in lower
// case, in order, and their types. ok is false where there is no such table.
type schema func(table string) (columns []column, ok bool)

// inference finds types in a statement without running it. PostgreSQL resolves
// the type of every parameter and expression; SQLite has none to resolve, so
// the shapes that say a type are read from the tokens: what stands beside a
// column, in a list of VALUES, behind LIMIT. What is not one of these shapes is
// unspecified, which is always correct and only less comfortable.
type inference struct {
	tokens []token
	// tables are those that the statement names, by name and by alias.
	tables map[string][]column
	target []column // the table of an INSERT
	list   []column // its column list
	values int      // the token behind VALUES, or -1
}

// inferParams returns a type for each of n parameters.
func inferParams(s *statement, n int, db schema) []uint32 {
	types := make([]uint32, n)
	if n == 0 {
		return types
	}
	in := newInference(s, db)
	conflict := make([]bool, n)
	for i, t := range s.tokens {
		if t.kind != tokParam || conflict[t.number-1] {
			continue
		}
		switch found, known := in.param(i), types[t.number-1]; {
		case known == oidUnspecified:
			types[t.number-1] = found
		case found != oidUnspecified && found != known:
			types[t.number-1], conflict[t.number-1] = oidUnspecified, true
		}
	}
	return types
}

func newInference(s *statement, db schema) *inference {
	in := &inference{tokens: s.tokens, tables: map[string][]column{}, values: -1}
	for i, t := range s.tokens {
		if !t.name() || in.at(i-1).is(".") && !in.at(i-2).is("MAIN") {
			continue
		}
		columns, ok := db(strings.ToLower(t.text))
		if !ok {
			continue
		}
		in.tables[strings.ToLower(t.text)] = columns
		alias := in.at(i + 1)
		if alias.is("AS") {
			alias = in.at(i + 2)
		}
		if alias.name() && !alias.is("WHERE", "SET", "ON", "JOIN", "LEFT", "INNER", "CROSS", "NATURAL", "ORDER", "GROUP", "LIMIT", "VALUES") {
			in.tables[strings.ToLower(alias.text)] = columns
		}
		if in.at(i-1).is("INTO") || in.at(i-1).is(".") && in.at(i-3).is("INTO") {
			in.insert(i, columns)
		}
	}
	return in
}

// insert reads the column list behind INSERT INTO table, and finds VALUES.
func (in *inference) insert(table int, columns []column) {
	in.target, in.list = columns, columns
	i := table + 1
	if in.at(i).is("AS") {
		i += 2
	}
	if in.at(i).is("(") {
		in.list = nil
		for i++; i < len(in.tokens) && !in.at(i).is(")"); i++ {
			if in.at(i).name() {
				in.list = append(in.list, column{oid: find(columns, in.at(i).text)})
			}
		}
		i++
	}
	if in.at(i).is("VALUES") {
		in.values = i + 1
	}
}

// at is token i, or an empty one outside of the statement.
func (in *inference) at(i int) token {
	if i < 0 || i >= len(in.tokens) {
		return token{kind: tokEnd}
	}
	return in.tokens[i]
}

// param is the type of the parameter at token i.
func (in *inference) param(i int) uint32 {
	before, after := in.at(i-1), in.at(i+1)
	switch {
	case operator(after):
		return oidUnspecified // a part of an expression, as in day = $1 || '-01'
	case before.is("LIMIT", "OFFSET"):
		return oidInt8
	case before.is("(") && in.at(i-2).is("CAST") && after.is("AS"):
		return castType(in.at(i + 2).text)
	case before.is("LIKE", "GLOB"):
		return oidText
	case compares(before):
		return in.endingAt(i - 2)
	case before.is("NOT") && in.at(i-2).is("IS"):
		return in.endingAt(i - 3)
	case before.is("BETWEEN"):
		return in.endingAt(i - 2)
	case before.is("AND") && in.at(i-3).is("BETWEEN"):
		return in.endingAt(i - 4)
	case compares(after):
		return in.beginningAt(i + 2)
	}
	if oid := in.inList(i); oid != oidUnspecified {
		return oid
	}
	return in.inValues(i)
}

func compares(t token) bool {
	return t.is("=", "==", "<>", "!=", "<", ">", "<=", ">=", "IS")
}

// endingAt is the type of the column, or of the function call, that ends at
// token i. Where an operator stands before it, it is part of an expression.
func (in *inference) endingAt(i int) uint32 {
	if in.at(i).is("NOT") {
		i--
	}
	if in.at(i - 1).is("COLLATE") {
		i -= 2
	}
	if in.at(i).is(")") {
		depth := 0
		for ; i >= 0; i-- {
			if in.at(i).is(")") {
				depth++
			} else if in.at(i).is("(") {
				if depth--; depth == 0 {
					break
				}
			}
		}
		if !in.at(i-1).name() || operator(in.at(i-2)) {
			return oidUnspecified
		}
		return functionType(in.at(i - 1).text)
	}
	if !in.at(i).name() {
		return oidUnspecified
	}
	qualifier := ""
	start := i
	if in.at(i - 1).is(".") {
		qualifier, start = in.at(i-2).text, i-2
	}
	if operator(in.at(start - 1)) {
		return oidUnspecified
	}
	return in.resolve(qualifier, in.at(i).text)
}

// beginningAt is the type of the column that begins at token i.
func (in *inference) beginningAt(i int) uint32 {
	if !in.at(i).name() {
		return oidUnspecified
	}
	qualifier, name, next := "", in.at(i).text, in.at(i+1)
	if next.is(".") {
		qualifier, name, next = name, in.at(i+2).text, in.at(i+3)
	}
	if operator(next) || next.is("(") {
		return oidUnspecified
	}
	return in.resolve(qualifier, name)
}

// operator reports whether t joins its neighbours into an expression.
func operator(t token) bool {
	return t.is("+", "-", "*", "/", "%", "||", "<<", ">>", "&", "|", "~", "->", "->>", ".")
}

// resolve is the type of a column in the tables of the statement; two tables
// with the same column and different types give none.
func (in *inference) resolve(qualifier, name string) uint32 {
	if qualifier != "" {
		if strings.EqualFold(qualifier, "excluded") {
			return find(in.target, name)
		}
		return find(in.tables[strings.ToLower(qualifier)], name)
	}
	found := oidUnspecified
	for _, columns := range in.tables {
		oid := find(columns, name)
		if oid != oidUnspecified && found != oidUnspecified && oid != found {
			return oidUnspecified
		}
		found = max(found, oid)
	}
	return found
}

func find(columns []column, name string) uint32 {
	for _, c := range columns {
		if strings.EqualFold(c.name, name) {
			return c.oid
		}
	}
	return oidUnspecified
}

// inList is the type of a parameter in "column IN ($1, $2, …)".
func (in *inference) inList(i int) uint32 {
	for i--; i >= 0; i-- {
		switch t := in.at(i); {
		case t.is("(") && in.at(i-1).is("IN"):
			return in.endingAt(i - 2)
		case t.is(","), t.kind == tokParam, t.kind == tokNumber, t.kind == tokString:
		default:
			return oidUnspecified
		}
	}
	return oidUnspecified
}

// inValues is the type of a parameter that is a whole item of an INSERT's
// VALUES: that of the column in its place.
func (in *inference) inValues(i int) uint32 {
	if in.values < 0 || i < in.values || !in.at(i-1).is("(", ",") || !in.at(i+1).is(")", ",") {
		return oidUnspecified
	}
	depth, place := 0, 0
	for j := in.values; j < i; j++ {
		switch t := in.at(j); {
		case t.is("("):
			if depth++; depth == 1 {
				place = 0
			}
		case t.is(")"):
			depth--
		case t.is(",") && depth == 1:
			place++
		case depth == 0 && !t.is(","):
			return oidUnspecified // behind the rows: ON CONFLICT, RETURNING
		}
	}
	if depth != 1 || place >= len(in.list) {
		return oidUnspecified
	}
	return in.list[place].oid
}

// inferResults returns a type for each of n result columns where the text of
// the select list shows one: count(*), EXISTS (…), CAST(… AS …), a literal.
func inferResults(s *statement, n int) []uint32 {
	types := make([]uint32, n)
	items := selectList(s)
	if len(items) != n {
		return types // a star, or a compound that is not one list
	}
	for i, item := range items {
		types[i] = itemType(item)
	}
	return types
}

// selectList cuts the first top-level select list into its items. A statement
// with UNION and the like has none: each part has its own types.
func selectList(s *statement) [][]token {
	depth, from := 0, -1
	var items [][]token
	end := len(s.tokens)
	for i, t := range s.tokens {
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth > 0:
		case t.is("UNION", "INTERSECT", "EXCEPT"):
			return nil
		case t.is("SELECT") && from < 0:
			if from = i + 1; from < len(s.tokens) && s.tokens[from].is("DISTINCT", "ALL") {
				from++
			}
		case from < 0 || end < len(s.tokens):
		case t.is(","):
			items, from = append(items, s.tokens[from:i]), i+1
		case t.is("FROM", "WHERE", "GROUP", "ORDER", "LIMIT", "HAVING"):
			end = i
		}
	}
	if from < 0 || from > end {
		return nil
	}
	return append(items, s.tokens[from:end])
}

// itemType is the type of one item of a select list.
func itemType(item []token) uint32 {
	if n := len(item); n > 2 && item[n-2].is("AS") {
		item = item[:n-2]
	} else if n > 1 && item[n-1].name() && (item[n-2].is(")") || item[n-2].kind == tokNumber || item[n-2].kind == tokString) {
		item = item[:n-1]
	}
	if len(item) > 1 && item[0].is("-", "+") {
		item = item[1:]
	}
	if len(item) == 1 {
		switch t := item[0]; {
		case t.kind == tokString:
			return oidText
		case t.kind == tokBlob:
			return oidBytea
		case t.kind == tokNumber && strings.ContainsAny(t.text, ".eE") && !strings.HasPrefix(strings.ToLower(t.text), "0x"):
			return oidFloat8
		case t.kind == tokNumber && len(t.text) < 19:
			return oidInt8
		}
		return oidUnspecified
	}
	if len(item) > 2 && item[0].is("NOT") && item[1].is("EXISTS") {
		item = item[1:]
	}
	if len(item) < 3 || !item[0].name() || !item[1].is("(") {
		return oidUnspecified
	}
	depth := 0
	for i, t := range item {
		if t.is("(") {
			depth++
		} else if t.is(")") {
			depth--
		}
		if i > 0 && depth == 0 && i < len(item)-1 {
			if !item[i+1].is("OVER", "FILTER") {
				return oidUnspecified // the call is only a part of the item
			}
			break
		}
	}
	if item[0].is("CAST") && item[len(item)-3].is("AS") {
		return castType(item[len(item)-2].text)
	}
	return functionType(item[0].text)
}

// castType is the type of CAST(… AS name). Of a name that SQLite has no storage
// class for it makes any number: CAST('2026-01-01' AS DATE) is 2026.
func castType(name string) uint32 {
	switch oid := declaredType(name); oid {
	case oidInt8, oidText, oidBytea:
		return oid
	case oidFloat8:
		if strings.HasPrefix(strings.ToUpper(name), "NUMERIC") || strings.HasPrefix(strings.ToUpper(name), "DECIMAL") {
			return oidUnspecified
		}
		return oid
	}
	return oidUnspecified
}
