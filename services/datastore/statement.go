package datastore

import "strings"

// A statement is one SQL statement of a query, cut out but not yet prepared.
type statement struct {
	// sql is its text, from its first token to its last.
	sql string
	// offset is where sql begins in the query that it came in.
	offset int
	tokens []token
	// verb is the keyword that decides what it does, in upper case: that behind
	// the WITH clause where it has one.
	verb string
}

func newStatement(source string, tokens []token) statement {
	first, last := tokens[0], tokens[len(tokens)-1]
	s := statement{sql: source[first.at:last.end], offset: first.at, tokens: make([]token, len(tokens))}
	copy(s.tokens, tokens)
	for i := range s.tokens {
		s.tokens[i].at -= first.at
		s.tokens[i].end -= first.at
	}
	s.verb = first.text
	if first.kind != tokWord {
		s.verb = ""
	}
	if s.verb == "WITH" {
		s.verb = mainVerb(tokens)
	}
	return s
}

// mainVerb finds what follows the common table expressions of a WITH.
func mainVerb(tokens []token) string {
	depth := 0
	for _, t := range tokens {
		switch {
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		case depth == 0 && t.is("SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"):
			return t.text
		}
	}
	return "WITH"
}

// word returns the i-th token's text where it is a keyword, or "".
func (s *statement) word(i int) string {
	if i < len(s.tokens) && s.tokens[i].kind == tokWord {
		return s.tokens[i].text
	}
	return ""
}

// has reports whether these keywords follow each other somewhere.
func (s *statement) has(words ...string) bool {
	for i := range s.tokens {
		n := 0
		for n < len(words) && s.word(i+n) == words[n] {
			n++
		}
		if n == len(words) {
			return true
		}
	}
	return false
}

// params is the highest number of a $n parameter. A parameter written in
// another interface's way is an error: its number would be a guess.
func (s *statement) params() (int, error) {
	n := 0
	for _, t := range s.tokens {
		switch t.kind {
		case tokForeign:
			return 0, errorAt(codeSyntax, s.offset+t.at, "the parameter %q is not known here", t.text).
				hint("Parameters are written $1, $2 and so on.")
		case tokParam:
			if t.number < 1 || t.number > maxParams {
				return 0, errorAt(codeUndefinedParameter, s.offset+t.at, "there is no parameter %s; they go from $1 to $%d", t.text, maxParams)
			}
			n = max(n, t.number)
		}
	}
	return n, nil
}

// maxParams is SQLite's SQLITE_MAX_VARIABLE_NUMBER.
const maxParams = 32766

// class is the label of the statement in metrics: read, write, ddl,
// transaction, session or other.
func (s *statement) class() string {
	switch s.verb {
	case "SELECT", "VALUES", "EXPLAIN":
		return "read"
	case "INSERT", "REPLACE", "UPDATE", "DELETE":
		return "write"
	case "CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE", "VACUUM":
		return "ddl"
	case "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE":
		return "transaction"
	case "SET", "SHOW", "RESET", "DISCARD", "DEALLOCATE", "UNLISTEN":
		return "session"
	}
	return "other"
}

// loneOnly reports whether the statement cannot run inside a transaction, so
// that none is opened around it.
func (s *statement) loneOnly() bool { return s.verb == "VACUUM" || s.verb == "PRAGMA" }

// tag is the command tag that PostgreSQL answers (protocol section 55.7,
// CommandComplete), with the rows returned or changed.
func (s *statement) tag(rows int64) string {
	count := " " + itoa(rows)
	switch s.verb {
	case "SELECT", "VALUES":
		return "SELECT" + count
	case "INSERT", "REPLACE":
		return "INSERT 0" + count
	case "UPDATE", "DELETE":
		return s.verb + count
	case "CREATE", "DROP", "ALTER":
		for i := 1; i < len(s.tokens); i++ {
			if s.tokens[i].is("TABLE", "INDEX", "VIEW", "TRIGGER") {
				return s.verb + " " + s.word(i)
			}
		}
	}
	return s.verb
}

// refused returns the error of a statement that is refused by its first words,
// before SQLite sees it, or nil.
func (s *statement) refused() error {
	switch s.verb {
	case "ATTACH", "DETACH":
		return errorf(codeForbidden, "%s is not permitted", s.verb).
			hint("A data store holds one database; a second one is a second data store.")
	case "COPY":
		return errorf(codeUnsupported, "COPY is not supported").
			hint("Use INSERT with several rows, in one transaction; psql's \\copy needs COPY too.")
	case "LISTEN", "NOTIFY":
		return errorf(codeUnsupported, "%s is not supported", s.verb).hint("The message queue carries events.")
	case "PREPARE", "EXECUTE", "DECLARE", "FETCH", "MOVE", "CLOSE", "LOCK", "CALL", "DO", "GRANT", "REVOKE":
		return errorf(codeUnsupported, "%s is not supported", s.verb).
			hint("The dialect is SQLite's; prepared statements and cursors come through the extended protocol.")
	case "TRUNCATE":
		return errorf(codeUnsupported, "TRUNCATE is not supported").hint("DELETE FROM without WHERE is as fast.")
	case "VACUUM":
		for _, t := range s.tokens {
			if t.is("INTO") {
				return errorf(codeForbidden, "VACUUM INTO is not permitted").hint("It would write a file of the host.")
			}
		}
	}
	return nil
}

// asksCatalog reports whether the statement reads PostgreSQL's own catalog, as
// psql's \d does.
func (s *statement) asksCatalog() bool {
	for _, t := range s.tokens {
		if t.name() && (strings.HasPrefix(t.text, "PG_") || strings.HasPrefix(t.text, "pg_") || strings.EqualFold(t.text, "information_schema")) {
			return true
		}
	}
	return false
}
