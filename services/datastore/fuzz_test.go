package datastore

import (
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/services/datastore/internal/sqlite"
)

// FuzzSplit: nothing of a query is lost or invented, no token leaves its
// statement, and inference stands whatever it reads.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{"", "SELECT 1; SELECT 'a;b'", "CREATE TRIGGER a BEGIN b; END; c", "-- x\n/*", "$1 $a ?1 :b @c x'00' 1.5e-3 ->> ::",
		"INSERT INTO spells (id, name) VALUES ($1, $2)", "SELECT * FROM spells s WHERE s.id IN ($1, $2) LIMIT $3", "SET a TO 'b'", "WITH (", ")", "SELECT CAST($1 AS", "'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		end := 0
		for _, st := range split(sql) {
			if st.offset < end || sql[st.offset:st.offset+len(st.sql)] != st.sql || st.sql == "" {
				t.Fatalf("%q: the statement %q at %d, behind %d", sql, st.sql, st.offset, end)
			}
			end = st.offset + len(st.sql)
			at := 0
			for _, tok := range st.tokens {
				if tok.at < at || tok.end <= tok.at || tok.end > len(st.sql) {
					t.Fatalf("%q: the token %+v", st.sql, tok)
				}
				at = tok.end
			}
			if n, err := st.params(); err == nil && n < 1000 {
				inferParams(&st, n, testSchema)
			}
			inferResults(&st, 3)
			st.tag(1)
			_ = st.refused()
			describeSession(&st)
		}
	})
}

// FuzzDecodeParam: every value is decoded or refused, and what is decoded as
// untyped text comes back as the same text from SQLite.
func FuzzDecodeParam(f *testing.F) {
	f.Add([]byte("1"), uint32(20), false)
	f.Add([]byte("2026-01-02 03:04:05+00"), uint32(1184), false)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1}, uint32(1184), true)
	f.Add([]byte("0.0000123"), uint32(0), false)
	f.Add([]byte("1234567.12345678"), uint32(0), false)
	db, err := sqlite.Open(filepath.Join(f.TempDir(), "a.db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	if err := db.Exec("CREATE TABLE t (a TEXT)"); err != nil {
		f.Fatal(err)
	}
	stmt, err := db.Prepare("INSERT INTO t VALUES ($1) RETURNING a")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(stmt.Finalize)
	f.Fuzz(func(t *testing.T, raw []byte, oid uint32, bin bool) {
		value, err := decodeParam(raw, oid, bin, 1)
		if err != nil {
			return
		}
		if err := bindValues(stmt, []any{value}); err != nil {
			t.Fatalf("%q became %T: %v", raw, value, err)
		}
		row, err := stmt.Step()
		if err != nil || !row {
			t.Fatal(row, err)
		}
		if got := string(stmt.Bytes(0)); oid == oidUnspecified && raw != nil && got != string(raw) {
			t.Errorf("%q came back as %q", raw, got)
		}
		stmt.Reset()
	})
}

// FuzzSession feeds bytes to a session: after the startup message, or from the
// first byte on. It must end, and never panic.
func FuzzSession(f *testing.F) {
	cfg := DefaultConfig()
	cfg.DataDir = filepath.Join(f.TempDir(), "data")
	cfg.MaxMessage = 64 << 10
	cfg.StatementTimeout, cfg.LockTimeout = 100*time.Millisecond, 100*time.Millisecond
	s, err := New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		f.Fatal(err)
	}
	if err := s.store.open(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.store.close() })
	encode := func(messages ...pgproto3.FrontendMessage) []byte {
		var out []byte
		for _, m := range messages {
			if out, err = m.Encode(out); err != nil {
				f.Fatal(err)
			}
		}
		return out
	}
	f.Add(encode(&pgproto3.Query{String: "SELECT 1; BEGIN; SAVEPOINT a"}), true)
	f.Add(encode(&pgproto3.Parse{Query: "SELECT $1"}, &pgproto3.Bind{Parameters: [][]byte{[]byte("1")}},
		&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{MaxRows: 1}, &pgproto3.Close{ObjectType: 'S'}, &pgproto3.Sync{}, &pgproto3.Terminate{}), true)
	f.Add(encode(&pgproto3.Query{String: "CREATE TABLE t (a); INSERT INTO t VALUES (1) RETURNING *; SHOW ALL; SET a = b"}), true)
	f.Add(encode(&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "u", "options": "-c a=b"}}), false)
	f.Add(encode(&pgproto3.CancelRequest{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}}), false)
	f.Add([]byte{0, 0, 0, 8, 4, 210, 22, 47}, false)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), false)
	start := encode(&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "u"}})
	f.Fuzz(func(t *testing.T, input []byte, begun bool) {
		if strings.Contains(strings.ToUpper(string(input)), "RECURSIVE") {
			t.Skip("each would run to its timeout")
		}
		client, server := net.Pipe()
		session := s.register(server)
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer s.unregister(session)
			defer session.close()
			session.run()
		}()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		if begun {
			input = append(append([]byte{}, start...), input...)
		}
		_ = client.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = client.Write(input)
		_ = client.Close()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the session does not end")
		}
		if len(s.store.writer) != 0 {
			t.Fatal("the session kept the lock of the writers")
		}
	})
}
