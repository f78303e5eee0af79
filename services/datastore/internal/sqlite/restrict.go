package sqlite

import (
	"encoding/binary"
	"strings"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Actions that [Conn.Restrict] refuses, as [Error].Denied names them.
const (
	DeniedAttach   = lib.SQLITE_ATTACH
	DeniedDetach   = lib.SQLITE_DETACH
	DeniedPragma   = lib.SQLITE_PRAGMA
	DeniedFunction = lib.SQLITE_FUNCTION
)

// Restrict refuses, when a statement is prepared, what would reach another file
// of the host or weaken durability: ATTACH and DETACH, VACUUM INTO, extensions,
// and every PRAGMA that is not known to be harmless. It cannot be taken back.
func (c *Conn) Restrict() {
	lib.Xsqlite3_set_authorizer(c.tls, c.db, pointer(authorize), c.denied)
}

// authorize is the C callback; what is the action, one and two its arguments.
func authorize(_ *libc.TLS, denied uintptr, what int32, one, two, _, _ uintptr) int32 {
	allowed := true
	switch what {
	case lib.SQLITE_ATTACH:
		// VACUUM attaches the file "", a temporary one. A file name that is an
		// expression arrives as the null pointer.
		allowed = one != 0 && libc.GoString(one) == ""
	case lib.SQLITE_DETACH:
		allowed = false
	case lib.SQLITE_PRAGMA:
		allowed = pragmaAllowed(libc.GoString(one), two != 0)
	case lib.SQLITE_FUNCTION:
		allowed = !strings.EqualFold(libc.GoString(two), "load_extension")
	}
	if allowed {
		return lib.SQLITE_OK
	}
	binary.NativeEndian.PutUint32(libc.GoBytes(denied, 4), uint32(what))
	return lib.SQLITE_DENY
}

// pragmaAllowed decides over a PRAGMA, with or without an argument. What is not
// named here is refused: a new version of SQLite may bring any.
func pragmaAllowed(name string, argument bool) bool {
	switch strings.ToLower(name) {
	case "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo",
		"foreign_key_list", "foreign_key_check", "database_list", "collation_list", "function_list",
		"module_list", "pragma_list", "compile_options", "data_version", "page_count", "freelist_count",
		"integrity_check", "quick_check", "optimize", "analysis_limit", "incremental_vacuum", "wal_checkpoint",
		"user_version", "application_id", "foreign_keys", "defer_foreign_keys",
		"recursive_triggers", "case_sensitive_like", "reverse_unordered_selects":
		return true
	case "auto_vacuum", "busy_timeout", "cache_size", "encoding", "journal_mode", "journal_size_limit",
		"locking_mode", "max_page_count", "mmap_size", "page_size", "query_only", "schema_version",
		"secure_delete", "synchronous", "temp_store", "trusted_schema", "wal_autocheckpoint", "writable_schema":
		return !argument
	}
	return false
}

// pointer makes a C function pointer of a function declared at package level;
// modernc.org/libc calls it as a pointer to a Go function value, which for such
// a function lies in read-only data and never moves.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }

// freePointer is the destructor of bound values.
func freePointer() uintptr { return pointer(lib.Xsqlite3_free) }
