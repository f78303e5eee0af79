// Package sqlite is a thin binding of SQLite's C API, as modernc.org/sqlite
// translates it to Go: one connection, prepared statements, values by number.
//
// It stands below database/sql on purpose. A wire protocol needs what that
// interface hides: declared column types, column names that may repeat, whether
// a statement writes, the byte at which an error lies, and an interrupt.
//
// All unsafe work of the data store is here. A Conn and its statements belong to
// one goroutine at a time; only [Conn.Interrupt] may be called from another,
// until Close is called.
package sqlite

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Version is SQLite's own, such as "3.51.0".
const Version = lib.SQLITE_VERSION

// An Error is what SQLite answered instead of a result.
type Error struct {
	// Code is the extended result code, as in https://sqlite.org/rescode.html.
	Code int
	// Message is SQLite's sentence, in English.
	Message string
	// Offset is the byte of the statement at which the error lies, or -1.
	Offset int
	// Denied is the authorizer action that [Conn.Restrict] refused, or 0.
	Denied int
	// Preparing tells an error in the statement from one in its execution.
	Preparing bool
}

func (e *Error) Error() string { return e.Message }

// Primary is the primary result code, the low byte of Code.
func (e *Error) Primary() int { return e.Code & 0xff }

// A Conn is one connection to a database file.
type Conn struct {
	tls *libc.TLS
	db  uintptr
	// denied is four bytes of C memory that the authorizer, which has no other
	// way to reach Go values, leaves the refused action in.
	denied uintptr
}

// Open opens or creates the database in file. Double quotes name identifiers
// only (as in standard SQL), and the defensive flag is on, so that no SQL can
// damage the file.
func Open(file string) (*Conn, error) {
	if err := countMemory(); err != nil {
		return nil, err
	}
	tls := libc.NewTLS()
	c := &Conn{tls: tls, denied: lib.Xsqlite3_malloc64(tls, 8)}
	name, err := libc.CString(file)
	if err != nil {
		tls.Close()
		return nil, err
	}
	defer libc.Xfree(tls, name)
	out := lib.Xsqlite3_malloc64(tls, 8)
	defer lib.Xsqlite3_free(tls, out)
	flags := int32(lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_CREATE | lib.SQLITE_OPEN_NOMUTEX)
	rc := lib.Xsqlite3_open_v2(tls, name, out, flags, 0)
	c.db = uintptr(binary.NativeEndian.Uint64(libc.GoBytes(out, 8)))
	if rc != lib.SQLITE_OK {
		err := &Error{Code: int(rc), Message: libc.GoString(lib.Xsqlite3_errstr(tls, rc)), Offset: -1}
		if c.db != 0 {
			err = c.fail(rc)
		}
		_ = c.Close()
		return nil, err
	}
	lib.Xsqlite3_extended_result_codes(tls, c.db, 1)
	for option, value := range map[int32]int32{
		lib.SQLITE_DBCONFIG_DQS_DDL: 0, lib.SQLITE_DBCONFIG_DQS_DML: 0,
		lib.SQLITE_DBCONFIG_DEFENSIVE: 1,
	} {
		args := libc.NewVaList(value, uintptr(0))
		rc := lib.Xsqlite3_db_config(tls, c.db, option, args)
		libc.Xfree(tls, args)
		if rc != lib.SQLITE_OK {
			err := c.fail(rc)
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Close closes the connection. Every statement must be finalized before.
func (c *Conn) Close() error {
	if c.tls == nil {
		return nil
	}
	rc := int32(lib.SQLITE_OK)
	if c.db != 0 {
		rc = lib.Xsqlite3_close_v2(c.tls, c.db)
	}
	lib.Xsqlite3_free(c.tls, c.denied)
	c.tls.Close()
	c.tls = nil
	if rc != lib.SQLITE_OK {
		return fmt.Errorf("close the database: result code %d", rc)
	}
	return nil
}

// fail makes an Error of a result code and of what the connection remembers.
func (c *Conn) fail(rc int32) *Error {
	e := &Error{
		Code:    int(rc),
		Message: libc.GoString(lib.Xsqlite3_errmsg(c.tls, c.db)),
		Offset:  int(lib.Xsqlite3_error_offset(c.tls, c.db)),
	}
	if e.Primary() == lib.SQLITE_AUTH {
		e.Denied = int(binary.NativeEndian.Uint32(libc.GoBytes(c.denied, 4)))
	}
	return e
}

// Interrupt makes the statement that runs now return SQLITE_INTERRUPT soon. It
// does nothing where none runs, so a caller that must not miss one that is
// about to begin calls again.
func (c *Conn) Interrupt() { lib.Xsqlite3_interrupt(c.tls, c.db) }

// Autocommit reports whether no transaction is open.
func (c *Conn) Autocommit() bool { return lib.Xsqlite3_get_autocommit(c.tls, c.db) != 0 }

// Changes is the number of rows that the last INSERT, UPDATE or DELETE changed.
func (c *Conn) Changes() int64 { return lib.Xsqlite3_changes64(c.tls, c.db) }

// BusyTimeout is how long a lock of another process is waited for.
func (c *Conn) BusyTimeout(d time.Duration) {
	lib.Xsqlite3_busy_timeout(c.tls, c.db, int32(d/time.Millisecond))
}

// LimitLength bounds a statement, a value and a row, in bytes.
func (c *Conn) LimitLength(n int) {
	lib.Xsqlite3_limit(c.tls, c.db, lib.SQLITE_LIMIT_LENGTH, int32(n))
	lib.Xsqlite3_limit(c.tls, c.db, lib.SQLITE_LIMIT_SQL_LENGTH, int32(n))
}

// Exec runs one statement without parameters, and drops its rows.
func (c *Conn) Exec(sql string) error {
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	for {
		row, err := s.Step()
		if err != nil || !row {
			s.Finalize()
			return err
		}
	}
}

// Int runs one statement, and returns the first value of its first row.
func (c *Conn) Int(sql string) (int64, error) {
	s, err := c.Prepare(sql)
	if err != nil {
		return 0, err
	}
	defer s.Finalize()
	if row, err := s.Step(); err != nil || !row {
		return 0, err
	}
	return s.Int(0), nil
}

// Prepare compiles exactly one statement. Text behind it is an error, so that
// nothing is dropped in silence.
func (c *Conn) Prepare(sql string) (*Stmt, error) {
	if strings.IndexByte(sql, 0) >= 0 {
		return nil, &Error{Code: lib.SQLITE_ERROR, Message: "a statement holds a zero byte", Offset: strings.IndexByte(sql, 0), Preparing: true}
	}
	text, err := libc.CString(sql)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, text)
	out := lib.Xsqlite3_malloc64(c.tls, 16)
	defer lib.Xsqlite3_free(c.tls, out)
	rc := lib.Xsqlite3_prepare_v3(c.tls, c.db, text, int32(len(sql)+1), 0, out, out+8)
	words := libc.GoBytes(out, 16)
	if rc != lib.SQLITE_OK {
		err := c.fail(rc)
		err.Preparing = true
		return nil, err
	}
	s := &Stmt{c: c, p: uintptr(binary.NativeEndian.Uint64(words))}
	tail := int(uintptr(binary.NativeEndian.Uint64(words[8:])) - text)
	if s.p == 0 || strings.Trim(sql[tail:], " \t\r\n\f;") != "" {
		s.Finalize()
		return nil, &Error{Code: lib.SQLITE_ERROR, Message: "expected exactly one statement", Offset: min(tail, len(sql)), Preparing: true}
	}
	return s, nil
}

// A Stmt is one prepared statement. Columns count from 0, parameters from 1.
type Stmt struct {
	c *Conn
	p uintptr
}

// Finalize frees the statement, and ends it where it runs.
func (s *Stmt) Finalize() { lib.Xsqlite3_finalize(s.c.tls, s.p) }

// Step runs to the next row, or to the end (false). After an error the
// statement is reset.
func (s *Stmt) Step() (row bool, err error) {
	switch rc := lib.Xsqlite3_step(s.c.tls, s.p); rc {
	case lib.SQLITE_ROW:
		return true, nil
	case lib.SQLITE_DONE:
		return false, nil
	default:
		err := s.c.fail(rc)
		s.Reset()
		return false, err
	}
}

// Reset ends the statement, and makes it ready to run again.
func (s *Stmt) Reset() { lib.Xsqlite3_reset(s.c.tls, s.p) }

// ClearBindings sets every parameter to NULL.
func (s *Stmt) ClearBindings() { lib.Xsqlite3_clear_bindings(s.c.tls, s.p) }

// ReadOnly reports whether the statement makes no direct change to the database.
func (s *Stmt) ReadOnly() bool { return lib.Xsqlite3_stmt_readonly(s.c.tls, s.p) != 0 }

// Params is the number of parameters.
func (s *Stmt) Params() int { return int(lib.Xsqlite3_bind_parameter_count(s.c.tls, s.p)) }

// ParamName is the name of parameter i as it is written, "$1", or empty.
func (s *Stmt) ParamName(i int) string {
	return libc.GoString(lib.Xsqlite3_bind_parameter_name(s.c.tls, s.p, int32(i)))
}

// bound makes an error of a bind's result code.
func (s *Stmt) bound(rc int32) error {
	if rc != lib.SQLITE_OK {
		return s.c.fail(rc)
	}
	return nil
}

// BindNull sets parameter i to NULL.
func (s *Stmt) BindNull(i int) error {
	return s.bound(lib.Xsqlite3_bind_null(s.c.tls, s.p, int32(i)))
}

// BindInt sets parameter i to an integer.
func (s *Stmt) BindInt(i int, v int64) error {
	return s.bound(lib.Xsqlite3_bind_int64(s.c.tls, s.p, int32(i), v))
}

// BindFloat sets parameter i to a floating point number.
func (s *Stmt) BindFloat(i int, v float64) error {
	return s.bound(lib.Xsqlite3_bind_double(s.c.tls, s.p, int32(i), v))
}

// BindText sets parameter i to a copy of v, which must be UTF-8.
func (s *Stmt) BindText(i int, v string) error {
	p := lib.Xsqlite3_malloc64(s.c.tls, uint64(len(v)+1))
	if p == 0 {
		return s.c.fail(lib.SQLITE_NOMEM)
	}
	copy(libc.GoBytes(p, len(v)), v)
	return s.bound(lib.Xsqlite3_bind_text(s.c.tls, s.p, int32(i), p, int32(len(v)), freePointer()))
}

// BindBlob sets parameter i to a copy of v; an empty v is an empty BLOB.
func (s *Stmt) BindBlob(i int, v []byte) error {
	p := lib.Xsqlite3_malloc64(s.c.tls, uint64(len(v)+1))
	if p == 0 {
		return s.c.fail(lib.SQLITE_NOMEM)
	}
	copy(libc.GoBytes(p, len(v)), v)
	return s.bound(lib.Xsqlite3_bind_blob(s.c.tls, s.p, int32(i), p, int32(len(v)), freePointer()))
}

// Columns is the number of columns of the result; 0 where there is none.
func (s *Stmt) Columns() int { return int(lib.Xsqlite3_column_count(s.c.tls, s.p)) }

// Name is the name of column i.
func (s *Stmt) Name(i int) string {
	return libc.GoString(lib.Xsqlite3_column_name(s.c.tls, s.p, int32(i)))
}

// DeclaredType is the type that the table's definition gives column i, or empty
// for an expression.
func (s *Stmt) DeclaredType(i int) string {
	return libc.GoString(lib.Xsqlite3_column_decltype(s.c.tls, s.p, int32(i)))
}

// A Kind is the storage class of a value, which SQLite holds per value.
type Kind int32

// The storage classes.
const (
	Integer Kind = lib.SQLITE_INTEGER
	Float   Kind = lib.SQLITE_FLOAT
	Text    Kind = lib.SQLITE_TEXT
	Blob    Kind = lib.SQLITE_BLOB
	Null    Kind = lib.SQLITE_NULL
)

func (k Kind) String() string {
	return [...]string{Integer: "integer", Float: "real", Text: "text", Blob: "blob", Null: "null"}[k]
}

// Kind is the storage class of the value in column i of the current row.
func (s *Stmt) Kind(i int) Kind { return Kind(lib.Xsqlite3_column_type(s.c.tls, s.p, int32(i))) }

// Int is the integer in column i.
func (s *Stmt) Int(i int) int64 { return lib.Xsqlite3_column_int64(s.c.tls, s.p, int32(i)) }

// Float is the floating point number in column i.
func (s *Stmt) Float(i int) float64 { return lib.Xsqlite3_column_double(s.c.tls, s.p, int32(i)) }

// Bytes is a copy of the BLOB or text in column i, or of a number's text.
func (s *Stmt) Bytes(i int) []byte {
	var p uintptr
	if s.Kind(i) == Blob {
		p = lib.Xsqlite3_column_blob(s.c.tls, s.p, int32(i))
	} else {
		p = lib.Xsqlite3_column_text(s.c.tls, s.p, int32(i))
	}
	n := int(lib.Xsqlite3_column_bytes(s.c.tls, s.p, int32(i)))
	if p == 0 || n == 0 {
		return []byte{}
	}
	return append(make([]byte, 0, n), libc.GoBytes(p, n)...)
}
