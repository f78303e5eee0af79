package datastore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"minicloud.internal/kit/kittest"
)

// A rawClient speaks the protocol by hand.
type rawClient struct {
	*pgproto3.Frontend
	conn net.Conn
	t    *testing.T
	pid  uint32
	key  []byte
}

// dial connects without a startup message.
func (r *running) dial(t *testing.T) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &rawClient{Frontend: pgproto3.NewFrontend(conn, conn), conn: conn, t: t}
}

// raw connects and begins a session.
func (r *running) raw(t *testing.T) *rawClient {
	t.Helper()
	c := r.dial(t)
	c.startup(map[string]string{"user": "u", "database": "spells"})
	c.until("Z")
	return c
}

func (c *rawClient) startup(parameters map[string]string) {
	c.t.Helper()
	c.say(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: parameters})
}

func (c *rawClient) say(messages ...pgproto3.FrontendMessage) {
	c.t.Helper()
	for _, m := range messages {
		c.Send(m)
	}
	if err := c.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// until reads up to an answer that begins with last, and returns all of them in
// short: "T(id:20)", "D(1)", "C(SELECT 1)", "E(42P01)", "Z(I)", "eof".
func (c *rawClient) until(last string) string {
	c.t.Helper()
	var out []string
	for {
		msg, err := c.Receive()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			out = append(out, "eof")
			return strings.Join(out, " ")
		}
		if err != nil {
			c.t.Fatalf("after %v: %v", out, err)
		}
		if key, ok := msg.(*pgproto3.BackendKeyData); ok {
			c.pid, c.key = key.ProcessID, append([]byte{}, key.SecretKey...)
		}
		if s := short(msg); s != "" {
			out = append(out, s)
			if strings.HasPrefix(s, last) {
				return strings.Join(out, " ")
			}
		}
	}
}

func short(msg pgproto3.BackendMessage) string {
	switch m := msg.(type) {
	case *pgproto3.RowDescription:
		var fields []string
		for _, f := range m.Fields {
			fields = append(fields, fmt.Sprintf("%s:%d", f.Name, f.DataTypeOID))
		}
		return "T(" + strings.Join(fields, ",") + ")"
	case *pgproto3.DataRow:
		var values []string
		for _, v := range m.Values {
			if v == nil {
				v = []byte("NULL")
			}
			values = append(values, string(v))
		}
		return "D(" + strings.Join(values, ",") + ")"
	case *pgproto3.CommandComplete:
		return "C(" + string(m.CommandTag) + ")"
	case *pgproto3.ErrorResponse:
		return "E(" + m.Code + ")"
	case *pgproto3.NoticeResponse:
		return "N(" + m.Code + ")"
	case *pgproto3.ReadyForQuery:
		return fmt.Sprintf("Z(%c)", m.TxStatus)
	case *pgproto3.ParameterDescription:
		return fmt.Sprintf("t%v", m.ParameterOIDs)
	case *pgproto3.ParseComplete:
		return "1"
	case *pgproto3.BindComplete:
		return "2"
	case *pgproto3.CloseComplete:
		return "3"
	case *pgproto3.NoData:
		return "n"
	case *pgproto3.EmptyQueryResponse:
		return "I"
	case *pgproto3.PortalSuspended:
		return "s"
	}
	return ""
}

func TestSimpleQueries(t *testing.T) {
	server := start(t)
	setup := server.raw(t)
	for _, test := range []struct{ name, query, answer string }{
		{"a table is made", "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)", "C(CREATE TABLE) Z(I)"},
		{"an index has its own tag", "CREATE UNIQUE INDEX i ON t (b)", "C(CREATE INDEX) Z(I)"},
		{"rows are counted", "INSERT INTO t VALUES (1, 'x'), (2, NULL)", "C(INSERT 0 2) Z(I)"},
		{"rows come with their types", "SELECT * FROM t", "T(a:20,b:25) D(1,x) D(2,NULL) C(SELECT 2) Z(I)"},
		{"one column may come twice", "SELECT a, a FROM t WHERE a = 1", "T(a:20,a:20) D(1,1) C(SELECT 1) Z(I)"},
		{"VALUES counts as SELECT", "VALUES (1)", "T(column1:0) D(1) C(SELECT 1) Z(I)"},
		{"WITH is what it leads to", "WITH x AS (SELECT 2 AS n) UPDATE t SET b = 'y' FROM x WHERE a = n", "C(UPDATE 1) Z(I)"},
		{"RETURNING returns", "UPDATE t SET b = 'z' WHERE a = 2 RETURNING a, b", "T(a:20,b:25) D(2,z) C(UPDATE 1) Z(I)"},
		{"what nobody changed counts nothing", "DELETE FROM t WHERE a = 99", "C(DELETE 0) Z(I)"},
		{"nothing is an empty query", "", "I Z(I)"},
		{"a comment is an empty query", "-- ping", "I Z(I)"},
		{"semicolons are an empty query", " ; ; ", "I Z(I)"},
		{"several statements are one transaction", "INSERT INTO t VALUES (3, 'q'); INSERT INTO t VALUES (1, 'r'); SELECT 1", "C(INSERT 0 1) E(23505) Z(I)"},
		{"so the first of them is undone", "SELECT count(*) FROM t", "T(count(*):20) D(2) C(SELECT 1) Z(I)"},
		{"a deferred violation shows before success is told", "CREATE TABLE c (a REFERENCES t (a) DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (77)", "C(CREATE TABLE) E(23503) Z(I)"},
		{"BEGIN opens", "BEGIN", "C(BEGIN) Z(T)"},
		{"BEGIN twice warns", "BEGIN", "N(25001) C(BEGIN) Z(T)"},
		{"an error aborts", "SELECT nope", "E(42703) Z(E)"},
		{"nothing runs then", "SELECT 1", "E(25P02) Z(E)"},
		{"nor BEGIN", "BEGIN", "E(25P02) Z(E)"},
		{"COMMIT is ROLLBACK then", "COMMIT", "C(ROLLBACK) Z(I)"},
		{"COMMIT without BEGIN warns", "COMMIT", "N(25P01) C(COMMIT) Z(I)"},
		{"a savepoint survives an error", "BEGIN; INSERT INTO t VALUES (4, 'four'); SAVEPOINT s; SELECT nope", "C(BEGIN) C(INSERT 0 1) C(SAVEPOINT) E(42703) Z(E)"},
		{"and can be returned to", "ROLLBACK TO SAVEPOINT s", "C(ROLLBACK) Z(T)"},
		{"with what was before it", "COMMIT; SELECT b FROM t WHERE a = 4", "C(COMMIT) T(b:25) D(four) C(SELECT 1) Z(I)"},
		{"a read-only transaction reads", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT 1", "C(BEGIN) T(1:20) D(1) C(SELECT 1) Z(T)"},
		{"and does not write", "DELETE FROM t", "E(25006) Z(E)"},
		{"ABORT ends it", "ABORT", "C(ROLLBACK) Z(I)"},
		{"a transaction may begin inside a query", "INSERT INTO t VALUES (5, 'five'); BEGIN; SELECT nope", "C(INSERT 0 1) C(BEGIN) E(42703) Z(E)"},
		{"and takes what was before with it", "ROLLBACK; SELECT count(*) FROM t WHERE a = 5", "C(ROLLBACK) T(count(*):20) D(0) C(SELECT 1) Z(I)"},
		{"a trigger is one statement", "CREATE TRIGGER r AFTER INSERT ON t BEGIN UPDATE t SET b = 'w'; DELETE FROM t WHERE a = 0; END; SELECT 1", "C(CREATE TRIGGER) T(1:20) D(1) C(SELECT 1) Z(I)"},
		{"a setting is shown", "SET application_name TO 'me'; SHOW application_name", "C(SET) T(application_name:25) D(me) C(SHOW) Z(I)"},
		{"the isolation level is the strictest", "SHOW TRANSACTION ISOLATION LEVEL", "T(transaction_isolation:25) D(serializable) C(SHOW) Z(I)"},
		{"the session answers for itself", "SELECT current_database() AS db, current_user, pg_catalog.current_schema()", "T(db:25,current_user:25,current_schema:25) D(spells,u,main) C(SELECT 1) Z(I)"},
		{"DISCARD ALL forgets", "DISCARD ALL; SHOW application_name", "C(DISCARD ALL) T(application_name:25) D() C(SHOW) Z(I)"},
		{"VACUUM runs alone", "VACUUM", "C(VACUUM) Z(I)"},
		{"a parameter has no value here", "SELECT $1", "E(42P02) Z(I)"},
		{"COPY is refused", "COPY t FROM STDIN", "E(0A000) Z(I)"},
		{"booleans and blobs have their own text", "CREATE TABLE v (b BOOLEAN, y BLOB, f REAL); INSERT INTO v VALUES (TRUE, x'00ff', 0.5); SELECT * FROM v",
			`C(CREATE TABLE) C(INSERT 0 1) T(b:16,y:17,f:701) D(t,\x00ff,0.5) C(SELECT 1) Z(I)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			setup.t = t
			setup.say(&pgproto3.Query{String: test.query})
			if got := setup.until("Z"); got != test.answer {
				t.Errorf("%s\n     got %s\nexpected %s", test.query, got, test.answer)
			}
		})
	}
}

func TestTheExtendedProtocol(t *testing.T) {
	type m = pgproto3.FrontendMessage
	parse := func(name, sql string, oids ...uint32) m {
		return &pgproto3.Parse{Name: name, Query: sql, ParameterOIDs: oids}
	}
	bind := func(portal, name string, values ...string) m {
		b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name}
		for _, v := range values {
			b.Parameters = append(b.Parameters, []byte(v))
		}
		return b
	}
	statement := func(name string) m { return &pgproto3.Describe{ObjectType: 'S', Name: name} }
	portal := func(name string) m { return &pgproto3.Describe{ObjectType: 'P', Name: name} }
	execute := func(name string, rows uint32) m { return &pgproto3.Execute{Portal: name, MaxRows: rows} }
	query := func(sql string) m { return &pgproto3.Query{String: sql} }
	sync, flush := &pgproto3.Sync{}, &pgproto3.Flush{}
	for _, test := range []struct {
		name   string
		say    []m
		answer string
	}{
		{"a statement is parsed, described, bound and run",
			[]m{parse("", "SELECT b FROM t WHERE a = $1"), statement(""), bind("", "", "2"), portal(""), execute("", 0), sync},
			"1 t[20] T(b:25) 2 T(b:25) D(two) C(SELECT 1) Z(I)"},
		{"a type that the client gives holds", []m{parse("", "SELECT $1, $2", oidText, 0), statement(""), sync}, "1 t[25 0] T($1:0,$2:0) Z(I)"},
		{"a row limit suspends, and the rest follows",
			[]m{parse("", "SELECT a FROM t ORDER BY a"), bind("", ""), execute("", 2), execute("", 1), execute("", 5), sync},
			"1 2 D(1) D(2) s D(3) s C(SELECT 0) Z(I)"},
		{"a portal ends with its transaction", []m{parse("", "SELECT a FROM t"), bind("p", ""), execute("p", 1), sync, execute("p", 1), sync}, "1 2 D(1) s Z(I) E(34000) Z(I)"},
		{"inside BEGIN it lives on",
			[]m{query("BEGIN"), parse("q", "SELECT a FROM t"), bind("p", "q"), execute("p", 1), sync, execute("p", 1), sync, query("COMMIT")},
			"C(BEGIN) Z(T) 1 2 D(1) s Z(T) D(2) s Z(T) C(COMMIT) Z(I)"},
		{"after an error everything is skipped until Sync",
			[]m{parse("", "SELECT nope"), bind("", ""), execute("", 0), query("SELECT 1"), sync, query("SELECT 1")}, "E(42703) Z(I) T(1:20) D(1) C(SELECT 1) Z(I)"},
		{"what a pipeline wrote before its error is undone",
			[]m{parse("", "INSERT INTO t VALUES (9, 'nine')"), bind("", ""), execute("", 0), parse("", "SELECT nope"), sync, query("SELECT count(*) FROM t WHERE a = 9")},
			"1 2 C(INSERT 0 1) E(42703) Z(I) T(count(*):20) D(0) C(SELECT 1) Z(I)"},
		{"Flush shows the answers so far", []m{parse("", "SELECT 1"), flush, sync}, "1 Z(I)"},
		{"an empty statement is empty", []m{parse("", "-- ping"), statement(""), bind("", ""), portal(""), execute("", 0), sync}, "1 t[] n 2 n I Z(I)"},
		{"two statements are one too many", []m{parse("", "SELECT 1; SELECT 2"), sync}, "E(42601) Z(I)"},
		{"a name is taken once", []m{parse("n", "SELECT 1"), parse("n", "SELECT 2"), sync}, "1 E(42P05) Z(I)"},
		{"until it is closed", []m{&pgproto3.Close{ObjectType: 'S', Name: "n"}, parse("n", "SELECT 3"), bind("", "n"), execute("", 0), sync}, "3 1 2 D(3) C(SELECT 1) Z(I)"},
		{"or deallocated", []m{query("DEALLOCATE n"), bind("", "n"), sync}, "C(DEALLOCATE) Z(I) E(26000) Z(I)"},
		{"closing what is not there is no error", []m{&pgproto3.Close{ObjectType: 'P', Name: "x"}, sync}, "3 Z(I)"},
		{"a portal's name is taken once", []m{parse("", "SELECT 1"), bind("x", ""), bind("x", ""), sync}, "1 2 E(42P03) Z(I)"},
		{"parameters are counted", []m{parse("", "SELECT $1"), bind("", ""), sync}, "1 E(08P01) Z(I)"},
		{"a parameter is checked", []m{parse("", "SELECT b FROM t WHERE a = $1"), bind("", "", "two"), sync}, "1 E(22P02) Z(I)"},
		{"a parameter that is no text is refused", []m{parse("", "SELECT b FROM t WHERE b = $1"), bind("", "", "\xff"), sync}, "1 E(22021) Z(I)"},
		{"BEGIN and COMMIT may be prepared",
			[]m{parse("", "BEGIN"), bind("", ""), execute("", 0), parse("", "DELETE FROM t WHERE a = 1"), bind("", ""), execute("", 0), sync,
				parse("", "ROLLBACK"), bind("", ""), portal(""), execute("", 0), sync},
			"1 2 C(BEGIN) 1 2 C(DELETE 1) Z(T) 1 2 n C(ROLLBACK) Z(I)"},
		{"an aborted transaction parses only its end", []m{query("BEGIN; SELECT nope"), parse("", "SELECT 1"), sync, parse("", "ROLLBACK"), bind("", ""), execute("", 0), sync},
			"C(BEGIN) E(42703) Z(E) E(25P02) Z(E) 1 2 C(ROLLBACK) Z(I)"},
		{"RETURNING may be limited, and everything is kept",
			[]m{parse("", "INSERT INTO t (b) VALUES ('r'), ('s') RETURNING b"), bind("", ""), execute("", 1), sync, query("DELETE FROM t WHERE b IN ('r', 's')")},
			"1 2 D(r) s Z(I) C(DELETE 2) Z(I)"},
		{"a table that changed its shape is told",
			[]m{parse("w", "SELECT * FROM wide"), sync, query("ALTER TABLE wide ADD COLUMN b"), bind("", "w"), execute("", 0), sync},
			"1 Z(I) C(ALTER TABLE) Z(I) 2 E(0A000) Z(I)"},
		{"a function call is refused", []m{&pgproto3.FunctionCall{}}, "E(0A000) Z(I)"},
		{"copy data without a COPY is dropped", []m{&pgproto3.CopyData{}, &pgproto3.CopyFail{}, sync}, "Z(I)"},
		{"a SHOW may be prepared", []m{parse("", "SHOW server_encoding"), statement(""), bind("", ""), execute("", 0), sync}, "1 t[] T(server_encoding:25) 2 D(UTF8) C(SHOW) Z(I)"},
		{"a VACUUM runs outside of the pipeline's transaction", []m{parse("", "VACUUM"), bind("", ""), execute("", 0), sync}, "1 2 C(VACUUM) Z(I)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t).raw(t)
			c.say(query("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three'); CREATE TABLE wide (a)"))
			c.until("Z")
			if strings.HasPrefix(test.name, "until") || strings.HasPrefix(test.name, "or ") {
				c.say(parse("n", "SELECT 1"), sync)
				c.until("Z")
			}
			syncs := 0
			for _, msg := range test.say {
				switch msg.(type) {
				case *pgproto3.Sync, *pgproto3.FunctionCall:
					syncs++
				case *pgproto3.Query:
					syncs++
				}
			}
			if strings.HasPrefix(test.name, "after an error") {
				syncs-- // its Query is skipped
			}
			c.say(test.say...)
			var got []string
			for range syncs {
				got = append(got, c.until("Z"))
			}
			if got := strings.Join(got, " "); got != test.answer {
				t.Errorf("\n     got %s\nexpected %s", got, test.answer)
			}
		})
	}
}

func TestBinaryFormats(t *testing.T) {
	c := start(t).raw(t)
	c.say(&pgproto3.Query{String: "CREATE TABLE t (i INTEGER, f REAL, s TEXT, y BLOB, b BOOLEAN)"})
	c.until("Z")
	eight := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	values := [][]byte{eight(1 << 40), eight(0x3ff8000000000000), []byte("é"), {0, 1}, {1}}
	c.say(&pgproto3.Parse{Query: "INSERT INTO t VALUES ($1, $2, $3, $4, $5) RETURNING i, f, s, y, b, i + 1"},
		&pgproto3.Bind{ParameterFormatCodes: []int16{1}, Parameters: values, ResultFormatCodes: []int16{1}},
		&pgproto3.Execute{}, &pgproto3.Sync{})
	want := "1 2 D(" + string(values[0]) + "," + string(values[1]) + ",é,\x00\x01,\x01,1099511627777) C(INSERT 0 1) Z(I)"
	if got := c.until("Z"); got != want {
		t.Errorf("\n     got %q\nexpected %q", got, want)
	}
	c.say(&pgproto3.Parse{Query: "INSERT INTO t (i) VALUES ($1)", ParameterOIDs: []uint32{oidInt4}},
		&pgproto3.Bind{ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{0xff, 0xff, 0xff, 0xfe}}}, &pgproto3.Execute{}, &pgproto3.Sync{},
		&pgproto3.Query{String: "SELECT min(i) FROM t"})
	if got := c.until("Z") + " " + c.until("Z"); got != "1 2 C(INSERT 0 1) Z(I) T(min(i):0) D(-2) C(SELECT 1) Z(I)" {
		t.Error(got)
	}
	c.say(&pgproto3.Parse{Query: "SELECT i FROM t WHERE i = $1"},
		&pgproto3.Bind{ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{1, 2}}}, &pgproto3.Sync{})
	if got := c.until("Z"); got != "1 E(22P03) Z(I)" {
		t.Errorf("two bytes for eight: %s", got)
	}
}

func TestStartup(t *testing.T) {
	server := start(t, func(c *Config) { c.MaxConnections = 2; c.StartupTimeout = 2 * time.Second })
	t.Run("encryption is declined, and the session goes on", func(t *testing.T) {
		c := server.dial(t)
		for _, msg := range []pgproto3.FrontendMessage{&pgproto3.GSSEncRequest{}, &pgproto3.SSLRequest{}} {
			c.say(msg)
			no := make([]byte, 1)
			if _, err := io.ReadFull(c.conn, no); err != nil || no[0] != 'N' {
				t.Fatalf("got %q, %v", no, err)
			}
		}
		c.startup(map[string]string{"user": "u"})
		if got := c.until("Z"); got != "Z(I)" {
			t.Error(got)
		}
	})
	for _, test := range []struct {
		name, answer string
		parameters   map[string]string
	}{
		{"another database is named in the error", "E(3D000) eof", map[string]string{"user": "u", "database": "nope"}},
		{"a user is needed", "E(28000) eof", map[string]string{"database": "spells"}},
		{"the user's own name is the database of who names none", "Z(I)", map[string]string{"user": "root", "database": "root"}},
		{"an encoding that is not stored is refused", "E(22023) eof", map[string]string{"user": "u", "client_encoding": "LATIN1"}},
		{"settings may come as options", "E(22023) eof", map[string]string{"user": "u", "options": "-c statement_timeout=soon"}},
		{"replication is refused", "E(0A000) eof", map[string]string{"user": "u", "replication": "true"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := server.dial(t)
			c.startup(test.parameters)
			if got := c.until("Z"); got != test.answer {
				t.Errorf("got %s, expected %s", got, test.answer)
			}
			_ = c.conn.Close()
			kittest.Eventually(t, "the connection is given back", func() bool { return server.count() == 0 })
		})
	}
	t.Run("a newer protocol is negotiated down", func(t *testing.T) {
		c := server.dial(t)
		c.say(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion32, Parameters: map[string]string{"user": "u", "_pq_.x": "1"}})
		msg, err := c.Receive()
		if n, ok := msg.(*pgproto3.NegotiateProtocolVersion); !ok || n.NewestMinorProtocol != 0 || len(n.UnrecognizedOptions) != 1 {
			t.Fatalf("got %#v, %v", msg, err)
		}
		if got := c.until("Z"); got != "Z(I)" || len(c.key) != 4 {
			t.Error(got, c.key)
		}
	})
	t.Run("one client too many is told so", func(t *testing.T) {
		kittest.Eventually(t, "the others are gone", func() bool { return server.count() == 0 })
		a, b := server.raw(t), server.raw(t)
		c := server.dial(t)
		c.startup(map[string]string{"user": "u"})
		if got := c.until("Z"); got != "E(53300) eof" {
			t.Error(got)
		}
		_, _ = a.conn.Close(), b.conn.Close()
	})
	t.Run("silence ends", func(t *testing.T) {
		c := server.dial(t)
		if got := c.until("E"); got != "eof" && got != "E(08P01)" {
			t.Error(got)
		}
	})
	t.Run("another protocol is told what this is", func(t *testing.T) {
		c := server.dial(t)
		if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if got := c.until("E"); got != "E(08P01)" {
			t.Error(got)
		}
	})
	t.Run("an unknown message ends the session", func(t *testing.T) {
		kittest.Eventually(t, "the others are gone", func() bool { return server.count() == 0 })
		c := server.raw(t)
		if _, err := c.conn.Write([]byte{'?', 0, 0, 0, 4}); err != nil {
			t.Fatal(err)
		}
		if got := c.until("Z"); got != "E(08P01) eof" {
			t.Error(got)
		}
	})
	t.Run("a message over the limit ends the session", func(t *testing.T) {
		kittest.Eventually(t, "the others are gone", func() bool { return server.count() == 0 })
		c := server.raw(t)
		if _, err := c.conn.Write([]byte{'Q', 0x7f, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if got := c.until("Z"); got != "E(54000) eof" {
			t.Error(got)
		}
	})
}

// count is the number of sessions, of clients or not.
func (r *running) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}
