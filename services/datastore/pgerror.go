package datastore

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"
	lib "modernc.org/sqlite/lib"

	"minicloud.internal/services/datastore/internal/sqlite"
)

// SQLSTATE codes (PostgreSQL's appendix A).
const (
	codeProtocol           = "08P01"
	codeUnsupported        = "0A000"
	codeOutOfRange         = "22003"
	codeBadParameterValue  = "22023"
	codeBadText            = "22P02"
	codeBadBinary          = "22P03"
	codeNotUTF8            = "22021"
	codeNotNull            = "23502"
	codeForeignKey         = "23503"
	codeUnique             = "23505"
	codeCheck              = "23514"
	codeConstraint         = "23000"
	codeActiveTransaction  = "25001"
	codeReadOnly           = "25006"
	codeNoTransaction      = "25P01"
	codeFailedTransaction  = "25P02"
	codeIdleInTransaction  = "25P03"
	codeNoSavepoint        = "3B001"
	codeNoDatabase         = "3D000"
	codeSerialization      = "40001"
	codeForbidden          = "42501"
	codeSyntax             = "42601"
	codeSyntaxOrAccess     = "42000"
	codeNoColumn           = "42703"
	codeDuplicateColumn    = "42701"
	codeAmbiguousColumn    = "42702"
	codeNoFunction         = "42883"
	codeNoTable            = "42P01"
	codeUndefinedParameter = "42P02"
	codeDuplicatePortal    = "42P03"
	codeDuplicateStatement = "42P05"
	codeDuplicateTable     = "42P07"
	codeNoStatement        = "26000"
	codeNoPortal           = "34000"
	codeMismatch           = "42804"
	codeNoObject           = "42704"
	codeDiskFull           = "53100"
	codeOutOfMemory        = "53200"
	codeTooManyClients     = "53300"
	codeLimit              = "53400"
	codeTooLarge           = "54000"
	codeInUse              = "55006"
	codeLockNotAvailable   = "55P03"
	codeCancelled          = "57014"
	codeShutdown           = "57P01"
	codeIO                 = "58030"
	codeRaised             = "P0001"
	codeInternal           = "XX000"
	codeCorrupt            = "XX001"
)

// A pgError is an error as the protocol carries it.
type pgError struct {
	fatal      bool // the connection ends with it
	code       string
	message    string
	hintText   string
	position   int // byte in the query, or -1
	table, col string
}

func (e *pgError) Error() string { return e.message + " (SQLSTATE " + e.code + ")" }

func errorf(code, format string, args ...any) *pgError {
	return errorAt(code, -1, format, args...)
}

// errorAt is an error at a byte of the query.
func errorAt(code string, at int, format string, args ...any) *pgError {
	return &pgError{code: code, message: fmt.Sprintf(format, args...), position: at}
}

// fatalf is an error that ends the connection.
func fatalf(code, format string, args ...any) *pgError {
	e := errorf(code, format, args...)
	e.fatal = true
	return e
}

func (e *pgError) hint(text string) *pgError {
	e.hintText = text
	return e
}

// response is the message that goes to the client. query is what the position
// counts in: the protocol wants characters from 1.
func (e *pgError) response(query string) *pgproto3.ErrorResponse {
	r := &pgproto3.ErrorResponse{
		Severity: "ERROR", Code: e.code, Message: e.message, Hint: e.hintText,
		TableName: e.table, ColumnName: e.col,
	}
	if e.fatal {
		r.Severity = "FATAL"
	}
	r.SeverityUnlocalized = r.Severity
	if e.position >= 0 && e.position <= len(query) && query != "" {
		r.Position = int32(utf8.RuneCountInString(query[:e.position]) + 1)
	}
	return r
}

// toPgError is the one place where an error becomes a SQLSTATE. st is the
// statement that met it, or nil.
func toPgError(err error, st *statement) *pgError {
	var known *pgError
	if errors.As(err, &known) {
		return known
	}
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return errorf(codeInternal, "%v", err)
	}
	e := errorf(codeOf(failed), "%s", failed.Message)
	if st != nil && failed.Offset >= 0 {
		e.position = st.offset + failed.Offset
	}
	if m := constraintColumn.FindStringSubmatch(failed.Message); m != nil {
		e.table, e.col = m[1], m[2]
	}
	explain(e, failed, st)
	return e
}

// constraintColumn finds the table and the column of a constraint that is on
// one column.
var constraintColumn = regexp.MustCompile(`^(?:UNIQUE|NOT NULL) constraint failed: ([^.,]+)\.([^.,]+)$`)

// codeOf maps a result code to a SQLSTATE.
func codeOf(e *sqlite.Error) string {
	switch e.Code {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_ROWID:
		return codeUnique
	case lib.SQLITE_CONSTRAINT_NOTNULL:
		return codeNotNull
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return codeForeignKey
	case lib.SQLITE_CONSTRAINT_CHECK:
		return codeCheck
	case lib.SQLITE_CONSTRAINT_TRIGGER:
		return codeRaised
	case lib.SQLITE_CONSTRAINT_DATATYPE:
		return codeMismatch
	case lib.SQLITE_BUSY_SNAPSHOT:
		return codeSerialization
	}
	switch e.Primary() {
	case lib.SQLITE_ERROR:
		return codeOfMessage(e)
	case lib.SQLITE_CONSTRAINT:
		return codeConstraint
	case lib.SQLITE_BUSY:
		return codeLockNotAvailable
	case lib.SQLITE_LOCKED:
		return codeInUse
	case lib.SQLITE_INTERRUPT:
		return codeCancelled
	case lib.SQLITE_FULL:
		return codeDiskFull
	case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN:
		return codeIO
	case lib.SQLITE_NOMEM:
		return codeOutOfMemory
	case lib.SQLITE_TOOBIG:
		return codeTooLarge
	case lib.SQLITE_READONLY:
		return codeReadOnly
	case lib.SQLITE_AUTH, lib.SQLITE_PERM:
		return codeForbidden
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return codeCorrupt
	case lib.SQLITE_MISMATCH:
		return codeMismatch
	case lib.SQLITE_SCHEMA:
		return codeUnsupported // "cached plan must not change result type"
	case lib.SQLITE_RANGE:
		return codeUndefinedParameter
	}
	return codeInternal
}

// sentences tells apart what SQLite reports as one code, SQLITE_ERROR, with
// different sentences. They are stable: tests of applications rest on them.
var sentences = []struct{ part, code string }{
	{"syntax error", codeSyntax},
	{"incomplete input", codeSyntax},
	{"unrecognized token", codeSyntax},
	{"expected exactly one statement", codeSyntax},
	{"values for", codeSyntax},
	{"columns but", codeSyntax},
	{"no such table", codeNoTable},
	{"no such view", codeNoTable},
	{"unknown database", codeNoTable},
	{"no such column", codeNoColumn},
	{"has no column named", codeNoColumn},
	{"ambiguous column name", codeAmbiguousColumn},
	{"duplicate column name", codeDuplicateColumn},
	{"no such function", codeNoFunction},
	{"wrong number of arguments", codeNoFunction},
	{"already exists", codeDuplicateTable},
	{"there is already", codeDuplicateTable},
	{"no such savepoint", codeNoSavepoint},
	{"no such", codeNoObject},
	{"from within a transaction", codeActiveTransaction},
	{"integer overflow", codeOutOfRange},
	{"authorization denied", codeForbidden},
	{"not authorized", codeForbidden},
	{"malformed JSON", codeBadText},
}

func codeOfMessage(e *sqlite.Error) string {
	for _, s := range sentences {
		if strings.Contains(e.Message, s.part) {
			return s.code
		}
	}
	if e.Preparing {
		return codeSyntaxOrAccess
	}
	return codeInternal
}

// explain adds what the client can do about it.
func explain(e *pgError, failed *sqlite.Error, st *statement) {
	switch {
	case e.code == codeForbidden && failed.Denied == sqlite.DeniedPragma:
		e.message = "this PRAGMA is not permitted"
		e.hintText = "Settings of durability and of the file are the data store's own; reading them is permitted."
	case e.code == codeForbidden && (failed.Denied == sqlite.DeniedAttach || failed.Denied == sqlite.DeniedDetach):
		e.message = "another database file is not permitted"
	case st != nil && st.asksCatalog() && (e.code == codeNoTable || e.code == codeSyntax || e.code == codeNoFunction || e.code == codeNoColumn):
		e.hintText = "PostgreSQL's catalog is not here, the dialect is SQLite's: SELECT name, sql FROM sqlite_schema"
	case e.code == codeSyntax && st != nil && st.casts():
		e.hintText = "The dialect is SQLite's: write CAST(value AS type) instead of value::type."
	case e.code == codeNoColumn && strings.Contains(e.message, "string literal"):
		e.message, _, _ = strings.Cut(e.message, " - should")
		e.hintText = "Strings stand in single quotes, double quotes name a column."
	case e.code == codeSerialization:
		e.hintText = "Another program wrote to the file; try the transaction again."
	case e.code == codeDiskFull:
		e.message, e.hintText = "the disk of the data store is full", "Nothing of this transaction was kept. Free some space and try again."
	case e.code == codeIO || e.code == codeCorrupt:
		e.message = fmt.Sprintf("the data store could not read or write its file (SQLite result code %d)", failed.Code)
		e.hintText = "The transaction was not acknowledged. The log of the data store has the reason."
	case e.code == codeOutOfMemory:
		e.message = "the statement needs more memory than the data store has left"
		e.hintText = "Sorting, temporary tables and VACUUM stay in memory, at most max_memory for all clients together."
	case e.code == codeTooLarge:
		e.hintText = "A value, a row and a statement are at most max_message long."
	}
}

// casts reports whether the statement has a PostgreSQL cast, ::type.
func (s *statement) casts() bool {
	for _, t := range s.tokens {
		if t.kind == tokOp && t.text == "::" {
			return true
		}
	}
	return false
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
