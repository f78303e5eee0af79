package sqlite

import (
	"errors"
	"path/filepath"
	"testing"

	lib "modernc.org/sqlite/lib"
)

func open(t *testing.T) *Conn {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestRestrict(t *testing.T) {
	c := open(t)
	if err := c.Exec("CREATE TABLE t (a)"); err != nil {
		t.Fatal(err)
	}
	c.Restrict()
	for _, test := range []struct {
		name, sql string
		denied    bool
	}{
		{"VACUUM is permitted", "VACUUM", false},
		{"VACUUM INTO is not", "VACUUM INTO 'x.db'", true},
		{"ATTACH is not", "ATTACH 'x.db' AS x", true},
		{"ATTACH of a parameter is not", "ATTACH $1 AS x", true},
		{"ATTACH of an expression is not", "ATTACH 'x' || '.db' AS x", true},
		{"DETACH is not", "DETACH main", true},
		{"an extension is not", "SELECT LOAD_extension('x')", true},
		{"reading how durable it is is permitted", "PRAGMA synchronous", false},
		{"changing it is not", "PRAGMA main.synchronous(off)", true},
		{"an unknown pragma is not", "PRAGMA temp_store_directory = '/'", true},
		{"asking for columns is permitted", "SELECT * FROM pragma_table_info('t')", false},
		{"foreign keys may be switched off for a migration", "PRAGMA foreign_keys = OFF", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := c.Exec(test.sql)
			if test.denied != (err != nil) {
				t.Errorf("%s: %v", test.sql, err)
			}
		})
	}
}

func TestPrepare(t *testing.T) {
	c := open(t)
	for _, sql := range []string{"", "-- nothing", "SELECT 1; SELECT 2", "SELECT 1\x00", "SELECT (", "SELECT 1 /* no end"} {
		s, err := c.Prepare(sql)
		if sql == "SELECT 1 /* no end" {
			if err != nil {
				t.Errorf("%q: %v", sql, err)
			}
			s.Finalize()
			continue
		}
		var failed *Error
		if !errors.As(err, &failed) || !failed.Preparing {
			t.Errorf("%q is one statement: %v", sql, err)
		}
	}
}

func TestValues(t *testing.T) {
	c := open(t)
	s, err := c.Prepare("SELECT $1, $2, $3, $4, $5 AS five, $5 AS five")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Finalize()
	for _, err := range []error{s.BindInt(1, -5), s.BindFloat(2, 1.5), s.BindText(3, "é"), s.BindBlob(4, []byte{}), s.BindNull(5)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if row, err := s.Step(); !row || err != nil {
		t.Fatal(row, err)
	}
	for i, kind := range []Kind{Integer, Float, Text, Blob, Null, Null} {
		if s.Kind(i) != kind {
			t.Errorf("column %d is %s, expected %s", i, s.Kind(i), kind)
		}
	}
	if s.Int(0) != -5 || s.Float(1) != 1.5 || string(s.Bytes(2)) != "é" || len(s.Bytes(3)) != 0 || s.Name(4) != s.Name(5) {
		t.Error(s.Int(0), s.Float(1), s.Bytes(2), s.Bytes(3), s.Name(4), s.Name(5))
	}
	if err := s.BindInt(9, 1); err == nil {
		t.Error("a parameter that is not there was bound")
	}
}

func TestInterrupt(t *testing.T) {
	c := open(t)
	done := make(chan struct{})
	defer close(done)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for { // one alone could come before the statement begins
			select {
			case <-done:
				return
			default:
				c.Interrupt()
			}
		}
	}()
	err := c.Exec("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r")
	done <- struct{}{}
	<-stopped
	var failed *Error
	if !errors.As(err, &failed) || failed.Primary() != lib.SQLITE_INTERRUPT {
		t.Errorf("got %v", err)
	}
}
