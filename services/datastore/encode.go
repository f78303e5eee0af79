package datastore

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"minicloud.internal/services/datastore/internal/sqlite"
)

// A column is one column of a result as the client is told of it.
type column struct {
	name   string
	oid    uint32
	binary bool // the format of its values
}

// appendValue appends the value in column i of the current row, in the type and
// format of c, to buf. A value that does not fit the type, which SQLite allows
// in most tables, is an error and never a wrong value. NULL must be handled
// before.
func appendValue(buf []byte, s *sqlite.Stmt, i int, c column) ([]byte, error) {
	kind := s.Kind(i)
	switch c.oid {
	case oidInt8:
		if n, ok := asInt(s, i, kind); ok {
			return appendInt(buf, n, c.binary), nil
		}
	case oidFloat8:
		if f, ok := asFloat(s, i, kind); ok {
			return appendFloat(buf, f, c.binary), nil
		}
	case oidBool:
		if b, ok := asBool(s, i, kind); ok {
			return appendBool(buf, b, c.binary), nil
		}
	case oidBytea:
		if kind == sqlite.Blob || kind == sqlite.Text {
			return appendBytes(buf, s.Bytes(i), c.binary), nil
		}
	case oidTimestampTZ, oidDate:
		if t, ok := asTime(s, i, kind); ok {
			return appendTime(buf, t, c)
		}
	default: // text and unspecified
		value := s.Bytes(i)
		if kind == sqlite.Blob && c.oid == oidUnspecified {
			return appendBytes(buf, value, false), nil
		}
		if !utf8.Valid(value) {
			return buf, errorf(codeNotUTF8, "column %q holds text that is not UTF-8", c.name).
				hint("CAST(… AS BLOB) returns its bytes.")
		}
		return append(buf, value...), nil
	}
	return buf, errorf(codeMismatch, "column %q is declared as %s, and this row holds a value of the type %s that does not fit",
		c.name, typeName(c.oid), kind).hint("CAST(… AS TEXT) returns it as it is.")
}

func asInt(s *sqlite.Stmt, i int, kind sqlite.Kind) (int64, bool) {
	switch kind {
	case sqlite.Integer:
		return s.Int(i), true
	case sqlite.Float:
		f := s.Float(i)
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<63
	}
	return 0, false
}

func asFloat(s *sqlite.Stmt, i int, kind sqlite.Kind) (float64, bool) {
	switch kind {
	case sqlite.Float:
		return s.Float(i), true
	case sqlite.Integer:
		n := s.Int(i)
		const exact = 1 << 53
		return float64(n), n >= -exact && n <= exact
	}
	return 0, false
}

func asBool(s *sqlite.Stmt, i int, kind sqlite.Kind) (value, ok bool) {
	switch kind {
	case sqlite.Integer:
		n := s.Int(i)
		return n == 1, n == 0 || n == 1
	case sqlite.Text:
		return parseBool(string(s.Bytes(i)))
	}
	return false, false
}

// asTime reads a time as SQLite's functions do: text, or seconds since 1970.
func asTime(s *sqlite.Stmt, i int, kind sqlite.Kind) (time.Time, bool) {
	switch kind {
	case sqlite.Integer:
		return time.Unix(s.Int(i), 0).UTC(), true
	case sqlite.Text:
		return parseTime(string(s.Bytes(i)))
	}
	return time.Time{}, false
}

func appendInt(buf []byte, n int64, bin bool) []byte {
	if bin {
		return binary.BigEndian.AppendUint64(buf, uint64(n))
	}
	return strconv.AppendInt(buf, n, 10)
}

func appendFloat(buf []byte, f float64, bin bool) []byte {
	switch {
	case bin:
		return binary.BigEndian.AppendUint64(buf, math.Float64bits(f))
	case math.IsInf(f, 1):
		return append(buf, "Infinity"...)
	case math.IsInf(f, -1):
		return append(buf, "-Infinity"...)
	case math.Abs(f) < 1e15 && math.Abs(f) >= 1e-4 || f == 0:
		return strconv.AppendFloat(buf, f, 'f', -1, 64)
	}
	return strconv.AppendFloat(buf, f, 'e', -1, 64)
}

func appendBool(buf []byte, b, bin bool) []byte {
	switch {
	case bin && b:
		return append(buf, 1)
	case bin:
		return append(buf, 0)
	case b:
		return append(buf, 't')
	}
	return append(buf, 'f')
}

func appendBytes(buf, value []byte, bin bool) []byte {
	if bin {
		return append(buf, value...)
	}
	return hex.AppendEncode(append(buf, `\x`...), value)
}

// epoch is where the protocol's binary times begin.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const day = 24 * 60 * 60

func appendTime(buf []byte, t time.Time, c column) ([]byte, error) {
	if t.Year() < 1 || t.Year() > 9999 {
		return buf, errorf(codeOutOfRange, "column %q holds a time outside of the years 1 to 9999", c.name)
	}
	seconds := t.Unix() - epoch.Unix()
	switch {
	case c.oid == oidDate && c.binary:
		days := seconds / day
		if seconds%day < 0 {
			days--
		}
		return binary.BigEndian.AppendUint32(buf, uint32(int32(days))), nil
	case c.oid == oidDate:
		return t.AppendFormat(buf, time.DateOnly), nil
	case c.binary:
		return binary.BigEndian.AppendUint64(buf, uint64(seconds*1e6+int64(t.Nanosecond())/1e3)), nil
	}
	return t.AppendFormat(buf, "2006-01-02 15:04:05.999999+00"), nil
}

func typeName(oid uint32) string {
	switch oid {
	case oidBool:
		return "boolean"
	case oidBytea:
		return "bytea"
	case oidInt8:
		return "bigint"
	case oidInt4:
		return "integer"
	case oidInt2:
		return "smallint"
	case oidFloat4:
		return "real"
	case oidFloat8:
		return "double precision"
	case oidNumeric:
		return "numeric"
	case oidDate:
		return "date"
	case oidTimestamp, oidTimestampTZ:
		return "timestamp with time zone"
	case oidUUID:
		return "uuid"
	}
	return "text"
}
