package datastore

import (
	"strconv"
	"strings"
)

// tokenKind says what a token of SQLite's dialect is.
type tokenKind int

const (
	tokWord    tokenKind = iota // an identifier or keyword, unquoted
	tokQuoted                   // an identifier in "", `` or []
	tokString                   // '…'
	tokBlob                     // x'…'
	tokNumber                   // 1, 1.5e3, 0xff
	tokParam                    // $1
	tokForeign                  // ?, ?1, :name, @name, $name: parameters of other interfaces
	tokOp                       // an operator or punctuation
	tokEnd                      // ;
)

// A token is one word of a statement. Blanks and comments are none.
type token struct {
	kind tokenKind
	// text is the name of an identifier without its quotes, upper case for an
	// unquoted word; and otherwise what stands in the source.
	text string
	// at and end are the bytes of the source that the token takes.
	at, end int
	// number is that of a tokParam.
	number int
}

// is reports whether t is this keyword or operator.
func (t token) is(words ...string) bool {
	if t.kind != tokWord && t.kind != tokOp {
		return false
	}
	for _, w := range words {
		if t.text == w {
			return true
		}
	}
	return false
}

// name reports whether t can name a table or a column.
func (t token) name() bool { return t.kind == tokWord || t.kind == tokQuoted }

// tokenize cuts SQL as SQLite's tokenizer does. It accepts every input: what
// SQLite would refuse becomes an operator, and SQLite says so when it prepares.
func tokenize(sql string) []token {
	var out []token
	for at := 0; at < len(sql); {
		end, kind := scan(sql, at)
		if kind >= 0 {
			t := token{kind: kind, text: sql[at:end], at: at, end: end}
			switch kind {
			case tokWord:
				t.text = strings.ToUpper(t.text)
			case tokQuoted:
				t.text = unquote(t.text)
			case tokParam:
				t.number, _ = strconv.Atoi(t.text[1:])
			}
			out = append(out, t)
		}
		at = end
	}
	return out
}

// scan returns the end and the kind of what begins at a byte of sql; the kind
// of blanks and comments is -1.
func scan(sql string, at int) (int, tokenKind) {
	c := sql[at]
	next := byte(0)
	if at+1 < len(sql) {
		next = sql[at+1]
	}
	switch {
	case c == ' ' || c >= '\t' && c <= '\r':
		return at + 1, -1
	case c == '-' && next == '-':
		return until(sql, at+2, "\n"), -1
	case c == '/' && next == '*':
		return until(sql, at+2, "*/"), -1
	case c == '\'':
		return quoted(sql, at, c), tokString
	case (c == 'x' || c == 'X') && next == '\'':
		return quoted(sql, at+1, next), tokBlob
	case c == '"' || c == '`':
		return quoted(sql, at, c), tokQuoted
	case c == '[':
		return until(sql, at+1, "]"), tokQuoted
	case c == ';':
		return at + 1, tokEnd
	case isDigit(c) || c == '.' && isDigit(next):
		return number(sql, at), tokNumber
	case c == '$' || c == '?' || c == '@' || c == ':' && isWord(next):
		end := at + 1
		for end < len(sql) && isWord(sql[end]) {
			end++
		}
		if c == '$' && end > at+1 && end < at+12 && strings.Trim(sql[at+1:end], "0123456789") == "" {
			return end, tokParam
		}
		return end, tokForeign
	case isWord(c):
		end := at + 1
		for end < len(sql) && isWord(sql[end]) {
			end++
		}
		return end, tokWord
	}
	for _, op := range [...]string{"->>", "||", "->", "<=", ">=", "<>", "!=", "==", "<<", ">>", "::"} {
		if strings.HasPrefix(sql[at:], op) {
			return at + len(op), tokOp
		}
	}
	return at + 1, tokOp
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isWord is SQLite's IdChar: letters, digits, _, $ and every byte of a
// multi-byte character.
func isWord(c byte) bool {
	return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c == '$' || c >= 0x80
}

// until returns the byte behind the next mark, or the end of sql.
func until(sql string, from int, mark string) int {
	if from > len(sql) {
		return len(sql)
	}
	if i := strings.Index(sql[from:], mark); i >= 0 {
		return from + i + len(mark)
	}
	return len(sql)
}

// quoted returns the byte behind a literal whose quotes are doubled inside it.
func quoted(sql string, at int, quote byte) int {
	for i := at + 1; i < len(sql); i++ {
		if sql[i] != quote {
			continue
		}
		if i+1 < len(sql) && sql[i+1] == quote {
			i++
			continue
		}
		return i + 1
	}
	return len(sql)
}

func number(sql string, at int) int {
	end := at
	for end < len(sql) && (isWord(sql[end]) || sql[end] == '.' ||
		(sql[end] == '+' || sql[end] == '-') && end > at && sql[end-1]|0x20 == 'e' && !strings.HasPrefix(sql[at:], "0x")) {
		end++
	}
	return end
}

// unquote takes the quotes off an identifier.
func unquote(s string) string {
	if len(s) < 2 {
		return s
	}
	quote, body := s[:1], s[1:]
	if quote == "[" {
		return strings.TrimSuffix(body, "]")
	}
	body = strings.TrimSuffix(body, quote)
	return strings.ReplaceAll(body, quote+quote, quote)
}

// split cuts a simple query into its statements, without their semicolons and
// without empty ones. The semicolons in the body of a CREATE TRIGGER separate
// nothing: it ends at "; END", as sqlite3_complete has it.
func split(sql string) []statement {
	var out []statement
	var current []token
	flush := func() {
		if len(current) > 0 {
			out = append(out, newStatement(sql, current))
		}
		current = nil
	}
	for _, t := range tokenize(sql) {
		if t.kind == tokEnd && !inTrigger(current) {
			flush()
			continue
		}
		current = append(current, t)
	}
	flush()
	return out
}

// inTrigger reports whether tokens begin a CREATE TRIGGER that is not yet
// complete.
func inTrigger(tokens []token) bool {
	if len(tokens) > 0 && tokens[0].is("EXPLAIN") {
		tokens = tokens[1:]
		if len(tokens) > 1 && tokens[0].is("QUERY") {
			tokens = tokens[2:]
		}
	}
	if len(tokens) < 2 || !tokens[0].is("CREATE") {
		return false
	}
	if !tokens[1].is("TRIGGER") && !(len(tokens) > 2 && tokens[1].is("TEMP", "TEMPORARY") && tokens[2].is("TRIGGER")) {
		return false
	}
	n := len(tokens)
	return !(tokens[n-1].is("END") && tokens[n-2].kind == tokEnd)
}
