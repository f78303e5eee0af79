package datastore

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"minicloud.internal/services/datastore/internal/sqlite"
)

// A prepared is a statement that Parse left behind, or that a simple query is.
// It holds no statement of SQLite: those are in the session's cache, by text.
type prepared struct {
	query   string // for positions of errors
	st      *statement
	params  []uint32
	columns []column
	// writes is unset where SQLite says that the statement only reads.
	writes bool
}

// A portal is a prepared statement with its parameters, which runs or has run.
type portal struct {
	*prepared
	columns []column     // with the formats of this portal
	stmt    *sqlite.Stmt // nil where the session itself answers
	locked  bool         // holds the store's lock for this statement alone
	started bool
	done    bool
	took    time.Duration
}

// prepare makes a prepared of a statement. In an aborted transaction only its
// end is prepared.
func (s *session) prepare(query string, st *statement, oids []uint32) (*prepared, error) {
	p := &prepared{query: query, st: st, params: oids}
	if st == nil {
		return p, nil
	}
	if s.tx.state == txFailed && !st.isTransaction() {
		return p, errFailedTransaction()
	}
	if err := st.refused(); err != nil {
		return p, err
	}
	if st.isTransaction() || st.isSession() {
		p.columns = describeSession(st)
		return p, nil
	}
	n, err := st.params()
	if err != nil {
		return p, err
	}
	stmt, err := s.cache.get(st.sql)
	if err != nil {
		return p, err
	}
	p.columns, p.writes = describe(st, stmt), !stmt.ReadOnly()
	s.cache.put(st.sql, stmt)
	p.params = make([]uint32, max(n, len(oids)))
	copy(p.params, oids)
	for i, oid := range inferParams(st, n, s.schema) {
		if p.params[i] == oidUnspecified || p.params[i] == oidUnknown {
			p.params[i] = oid
		}
	}
	return p, nil
}

// describe returns the columns of a statement's result. What has no declared
// type and shows none in its text stays unspecified: it is sent as text, and
// every client reads it as what it asks for.
func describe(st *statement, stmt *sqlite.Stmt) []column {
	n := stmt.Columns()
	columns := make([]column, n)
	var inferred []uint32
	for i := range columns {
		columns[i] = column{name: stmt.Name(i), oid: declaredType(stmt.DeclaredType(i))}
		if columns[i].oid == oidUnspecified && st.verb == "SELECT" && stmt.DeclaredType(i) == "" {
			if inferred == nil {
				inferred = inferResults(st, n)
			}
			columns[i].oid = inferred[i]
		}
	}
	return columns
}

// schema is the [schema] of this session's database.
func (s *session) schema(table string) ([]column, bool) {
	stmt, err := s.cache.get("SELECT name, type FROM pragma_table_info($1)")
	if err != nil || stmt.BindText(1, table) != nil {
		return nil, false
	}
	var columns []column
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			break
		}
		columns = append(columns, column{name: string(stmt.Bytes(0)), oid: declaredType(string(stmt.Bytes(1)))})
	}
	s.cache.put("SELECT name, type FROM pragma_table_info($1)", stmt)
	return columns, len(columns) > 0
}

// bind makes a portal. formats are those of a Bind: none, one for all, or one
// for each column.
func (s *session) bind(p *prepared, values []any, formats []int16) (*portal, error) {
	o := &portal{prepared: p, columns: make([]column, len(p.columns))}
	copy(o.columns, p.columns)
	if len(formats) > 1 && len(formats) != len(o.columns) {
		return nil, errorf(codeProtocol, "bind message has %d result formats but query has %d columns", len(formats), len(o.columns))
	}
	for i := range o.columns {
		format, err := formatOf(formats, i)
		if err != nil {
			return nil, err
		}
		o.columns[i].binary = format && binaryType(o.columns[i].oid)
	}
	if p.st == nil || p.st.isTransaction() || p.st.isSession() {
		return o, nil
	}
	stmt, err := s.cache.get(p.st.sql)
	if err != nil {
		return nil, err
	}
	if err := bindValues(stmt, values); err != nil {
		s.cache.put(p.st.sql, stmt)
		return nil, err
	}
	o.stmt = stmt
	return o, nil
}

// formatOf is the format of item i: true is binary.
func formatOf(formats []int16, i int) (bool, error) {
	code := int16(0)
	switch {
	case len(formats) == 1:
		code = formats[0]
	case i < len(formats):
		code = formats[i]
	}
	if code != 0 && code != 1 {
		return false, errorf(codeProtocol, "unsupported format code: %d", code)
	}
	return code == 1, nil
}

// bindValues gives each parameter its value by the number in its name: SQLite
// numbers $2 before $1 where it comes first.
func bindValues(stmt *sqlite.Stmt, values []any) error {
	for i := 1; i <= stmt.Params(); i++ {
		n, err := strconv.Atoi(strings.TrimPrefix(stmt.ParamName(i), "$"))
		if err != nil || n < 1 || n > len(values) {
			return errorf(codeUndefinedParameter, "there is no parameter %s", stmt.ParamName(i))
		}
		switch v := values[n-1].(type) {
		case nil:
			err = stmt.BindNull(i)
		case int64:
			err = stmt.BindInt(i, v)
		case float64:
			err = stmt.BindFloat(i, v)
		case string:
			err = stmt.BindText(i, v)
		case []byte:
			err = stmt.BindBlob(i, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// describePortal sends the columns of a result.
func (s *session) describeColumns(columns []column) {
	if len(columns) == 0 {
		s.send(&pgproto3.NoData{})
		return
	}
	fields := make([]pgproto3.FieldDescription, len(columns))
	for i, c := range columns {
		fields[i] = pgproto3.FieldDescription{Name: []byte(c.name), DataTypeOID: c.oid, DataTypeSize: typeSize(c.oid), TypeModifier: -1}
		if c.binary {
			fields[i].Format = 1
		}
	}
	s.send(&pgproto3.RowDescription{Fields: fields})
}

// runPortal runs a portal for at most limit rows (0: all), and sends them. It
// returns the tag, which is empty where there may be more rows.
func (s *session) runPortal(ctx context.Context, o *portal, limit int64) (tag string, err error) {
	start := time.Now()
	defer func() {
		o.took += time.Since(start)
		if tag != "" || err != nil {
			class := o.st.class()
			s.metrics.statements.WithLabelValues(class).Inc()
			s.metrics.duration.WithLabelValues(class).Observe(o.took.Seconds())
		}
	}()
	switch {
	case o.st.isTransaction():
		return s.control(ctx, o.st)
	case s.tx.state == txFailed:
		return "", errFailedTransaction()
	case o.done && len(o.columns) == 0:
		return "", errorf("55000", "portal cannot be run anymore")
	case o.done:
		return o.st.tag(0), nil
	case o.st.isSession():
		o.done = true
		return s.runSession(o)
	}
	if !o.started {
		if err := s.enter(ctx, o); err != nil {
			return "", err
		}
	}
	rows, done, err := s.rows(ctx, o, limit)
	if err != nil || !done {
		return "", err
	}
	o.done = true
	s.leave(o)
	if o.writes {
		if v := o.st.verb; v == "INSERT" || v == "REPLACE" || v == "UPDATE" || v == "DELETE" {
			rows = s.db.Changes()
		}
	}
	return o.st.tag(rows), nil
}

// runSession answers a statement of the session itself.
func (s *session) runSession(o *portal) (string, error) {
	rows, tag, err := s.answer(o.st)
	for _, row := range rows {
		values := make([][]byte, len(row))
		for i := range row {
			values[i] = []byte(row[i])
		}
		if err := s.sendRow(&pgproto3.DataRow{Values: values}); err != nil {
			return "", err
		}
	}
	return tag, err
}

// enter gives a statement the transaction or the lock that it needs.
func (s *session) enter(ctx context.Context, o *portal) error {
	if o.writes {
		readOnly := s.tx.readOnly || s.tx.state == txNone && s.defaultReadOnly
		switch {
		case readOnly && o.st.verb != "PRAGMA":
			return errorf(codeReadOnly, "cannot execute %s in a read-only transaction", o.st.verb)
		case s.tx.state == txNone && o.st.loneOnly():
			if err := s.lock(ctx); err != nil {
				return err
			}
			o.locked = true
		case s.tx.state == txNone:
			if err := s.begin(ctx, txImplicit, false); err != nil {
				return err
			}
		}
	}
	o.started = true
	return nil
}

// leave gives back the lock of a statement that ran outside of a transaction.
func (s *session) leave(o *portal) {
	if o.locked && s.tx.state == txNone {
		s.unlock()
	}
	o.locked = false
}

// rows sends at most limit rows, and returns how many, and whether the end was
// reached.
func (s *session) rows(ctx context.Context, o *portal, limit int64) (n int64, done bool, err error) {
	values := make([][]byte, len(o.columns))
	ends := make([]int, len(o.columns))
	var buf []byte
	for limit <= 0 || n < limit {
		if ctx.Err() != nil {
			return n, false, context.Cause(ctx)
		}
		row, err := o.stmt.Step()
		if err != nil {
			return n, false, err
		}
		// SQLite prepares anew where the schema has changed.
		if o.stmt.Columns() != len(o.columns) {
			return n, false, errorf(codeUnsupported, "cached plan must not change result type")
		}
		if !row {
			return n, true, nil
		}
		buf = buf[:0]
		for i, c := range o.columns {
			if o.stmt.Kind(i) == sqlite.Null {
				ends[i] = -1
				continue
			}
			if buf, err = appendValue(buf, o.stmt, i, c); err != nil {
				return n, false, err
			}
			ends[i] = len(buf)
		}
		from := 0
		for i, end := range ends {
			if values[i] = nil; end >= 0 {
				values[i], from = buf[from:end:end], end
			}
		}
		n++
		if err := s.sendRow(&pgproto3.DataRow{Values: values}); err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// release ends a portal and gives its statement back.
func (s *session) release(o *portal) {
	if o.stmt != nil {
		s.cache.put(o.st.sql, o.stmt)
		o.stmt = nil
	}
	s.leave(o)
}

// closePortals ends every portal, as the end of a transaction does.
func (s *session) closePortals() {
	for name, o := range s.portals {
		s.release(o)
		delete(s.portals, name)
	}
}

// exec runs a statement without parameters and rows from the cache.
func (s *session) exec(sql string) error {
	stmt, err := s.cache.get(sql)
	if err != nil {
		return err
	}
	_, err = stmt.Step()
	s.cache.put(sql, stmt)
	return err
}

// cacheSize is how many statements a session keeps prepared in SQLite.
const cacheSize = 32

// A statementCache keeps the statements of SQLite that nobody uses now, by
// their text, the one used last at the end.
type statementCache struct {
	db   *sqlite.Conn
	free []cached
}

type cached struct {
	sql  string
	stmt *sqlite.Stmt
}

func newStatementCache(db *sqlite.Conn) statementCache { return statementCache{db: db} }

// get hands out a statement, which is the caller's until put.
func (c *statementCache) get(sql string) (*sqlite.Stmt, error) {
	for i := len(c.free) - 1; i >= 0; i-- {
		if c.free[i].sql == sql {
			stmt := c.free[i].stmt
			c.free = append(c.free[:i], c.free[i+1:]...)
			return stmt, nil
		}
	}
	return c.db.Prepare(sql)
}

// put takes a statement back, and ends it where it runs.
func (c *statementCache) put(sql string, stmt *sqlite.Stmt) {
	stmt.Reset()
	stmt.ClearBindings()
	if len(c.free) == cacheSize {
		c.free[0].stmt.Finalize()
		c.free = append(c.free[:0], c.free[1:]...)
	}
	c.free = append(c.free, cached{sql, stmt})
}

func (c *statementCache) close() {
	for _, f := range c.free {
		f.stmt.Finalize()
	}
	c.free = nil
}
