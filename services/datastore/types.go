package datastore

import "strings"

// OIDs of the types that this server describes or decodes (pg_type.dat).
const (
	oidUnspecified uint32 = 0
	oidBool        uint32 = 16
	oidBytea       uint32 = 17
	oidInt8        uint32 = 20
	oidInt2        uint32 = 21
	oidInt4        uint32 = 23
	oidText        uint32 = 25
	oidOID         uint32 = 26
	oidJSON        uint32 = 114
	oidFloat4      uint32 = 700
	oidFloat8      uint32 = 701
	oidUnknown     uint32 = 705
	oidBPChar      uint32 = 1042
	oidVarchar     uint32 = 1043
	oidDate        uint32 = 1082
	oidTimestamp   uint32 = 1114
	oidTimestampTZ uint32 = 1184
	oidNumeric     uint32 = 1700
	oidUUID        uint32 = 2950
	oidJSONB       uint32 = 3802
)

// typeSize is the pg_type.typlen that RowDescription carries; -1 is variable.
func typeSize(oid uint32) int16 {
	switch oid {
	case oidBool:
		return 1
	case oidInt8, oidFloat8, oidTimestampTZ:
		return 8
	case oidDate:
		return 4
	case oidUnspecified:
		return -2
	}
	return -1
}

// declaredType maps the type in a table's definition to the type that a client
// is told. SQLite reads such a type by the words in it (section 3.1 of
// https://sqlite.org/datatype3.html), and so does this; dates and booleans,
// which SQLite only knows as conventions, come first.
func declaredType(decl string) uint32 {
	decl = strings.ToUpper(decl)
	switch {
	case decl == "":
		return oidUnspecified
	case strings.HasPrefix(decl, "TIMESTAMP"), strings.HasPrefix(decl, "DATETIME"):
		return oidTimestampTZ
	case decl == "DATE":
		return oidDate
	case strings.HasPrefix(decl, "BOOL"):
		return oidBool
	case decl == "BYTEA":
		return oidBytea
	case strings.Contains(decl, "INT"), decl == "SERIAL", decl == "BIGSERIAL":
		return oidInt8
	case strings.Contains(decl, "CHAR"), strings.Contains(decl, "CLOB"), strings.Contains(decl, "TEXT"),
		strings.HasPrefix(decl, "JSON"), decl == "UUID", decl == "TIME":
		return oidText
	case strings.Contains(decl, "BLOB"):
		return oidBytea
	case strings.Contains(decl, "REAL"), strings.Contains(decl, "FLOA"), strings.Contains(decl, "DOUB"),
		strings.HasPrefix(decl, "NUMERIC"), strings.HasPrefix(decl, "DECIMAL"):
		return oidFloat8
	}
	return oidUnspecified // ANY, and what nobody can know
}

// functionType is the type of a function's result where it is always the same.
func functionType(name string) uint32 {
	switch strings.ToUpper(name) {
	case "COUNT", "LENGTH", "OCTET_LENGTH", "INSTR", "UNICODE", "CHANGES", "TOTAL_CHANGES",
		"LAST_INSERT_ROWID", "RANDOM", "ROW_NUMBER", "RANK", "DENSE_RANK", "NTILE", "UNIXEPOCH",
		"JSON_ARRAY_LENGTH":
		return oidInt8
	case "AVG", "TOTAL", "JULIANDAY", "PERCENT_RANK", "CUME_DIST":
		return oidFloat8
	case "UPPER", "LOWER", "REPLACE", "HEX", "QUOTE", "PRINTF", "FORMAT", "TYPEOF",
		"CHAR", "DATE", "TIME", "DATETIME", "STRFTIME", "GROUP_CONCAT", "STRING_AGG", "SQLITE_VERSION",
		"SQLITE_SOURCE_ID", "JSON", "JSON_ARRAY", "JSON_OBJECT", "JSON_GROUP_ARRAY", "JSON_GROUP_OBJECT",
		"JSON_TYPE", "CONCAT", "CONCAT_WS", "TRIM", "LTRIM", "RTRIM":
		return oidText
	case "RANDOMBLOB", "ZEROBLOB":
		return oidBytea
	case "EXISTS":
		return oidBool
	}
	return oidUnspecified
}

// binary reports whether values of a type go in binary where the client asks
// for it. An unspecified type is described as text whatever is asked.
func binaryType(oid uint32) bool { return oid != oidUnspecified }
