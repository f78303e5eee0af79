package sqlite

import (
	"fmt"
	"sync"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// countMemory makes SQLite count what it allocates, which this build of it does
// not by itself, and without which no limit holds. SQLite takes that before its
// first connection and never again, so it is done once in a process.
var countMemory = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	args := libc.NewVaList(int32(1))
	defer libc.Xfree(tls, args)
	if rc := lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MEMSTATUS, args); rc != lib.SQLITE_OK {
		return fmt.Errorf("count SQLite's memory: result code %d", rc)
	}
	return nil
})

// LimitMemory bounds what SQLite allocates in this process, for all connections
// together, in bytes: a statement that asks for more gets SQLITE_NOMEM. The limit
// is SQLite's own and there is one in a process, the last that was set.
func LimitMemory(n int64) error {
	if err := countMemory(); err != nil {
		return err
	}
	tls := libc.NewTLS()
	defer tls.Close()
	if lib.Xsqlite3_hard_heap_limit64(tls, n) < 0 {
		return fmt.Errorf("limit SQLite's memory: it cannot be initialized")
	}
	return nil
}
