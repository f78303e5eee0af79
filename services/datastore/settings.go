package datastore

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"minicloud.internal/services/datastore/internal/sqlite"
)

// reported are the settings of which a client is told at the start and after
// each change (ParameterStatus).
var reported = []string{"server_version", "server_encoding", "client_encoding", "application_name",
	"default_transaction_read_only", "in_hot_standby", "is_superuser", "session_authorization", "DateStyle",
	"IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings"}

// fixed are the settings that a client can read and not change.
var fixed = []string{"server_version", "server_version_num", "server_encoding", "in_hot_standby", "is_superuser",
	"session_authorization", "integer_datetimes", "max_connections", "block_size"}

// maxSettings bounds what a client can make the server remember.
const maxSettings = 200

func (s *session) resetSettings() {
	s.timeout, s.defaultReadOnly = s.cfg.StatementTimeout, false
	s.settings = map[string]string{
		"server_version": serverVersion, "server_version_num": "150000", "server_encoding": "UTF8",
		"client_encoding": "UTF8", "application_name": "", "in_hot_standby": "off", "is_superuser": "off",
		"session_authorization": s.user, "datestyle": "ISO, MDY", "intervalstyle": "postgres", "timezone": "UTC",
		"integer_datetimes": "on", "standard_conforming_strings": "on", "max_connections": strconv.Itoa(s.cfg.MaxConnections),
		"block_size": "4096", "transaction_isolation": "serializable", "default_transaction_isolation": "serializable",
		"default_transaction_read_only": "off", "transaction_read_only": "off", "search_path": "main",
		"statement_timeout": s.timeout.String(), "extra_float_digits": "1", "bytea_output": "hex", "client_min_messages": "notice",
	}
}

// report queues the ParameterStatus of a setting.
func (s *session) report(name string) {
	s.send(&pgproto3.ParameterStatus{Name: name, Value: s.settings[strings.ToLower(name)]})
}

// set changes one setting. What has an effect here is checked; anything else a
// client may set is remembered, and means nothing.
func (s *session) set(name, value string) error {
	key := strings.ToLower(name)
	bad := func(expected string) error {
		return errorf(codeBadParameterValue, "invalid value for parameter %q: %q", name, value).hint("Expected " + expected + ".")
	}
	upper := strings.ToUpper(strings.Trim(value, `"' `))
	switch key {
	case "client_encoding", "names":
		if key, upper = "client_encoding", strings.ReplaceAll(upper, "-", ""); upper != "UTF8" && upper != "UNICODE" && upper != "SQL_ASCII" && upper != "DEFAULT" {
			return bad("UTF8, which is all that is stored")
		}
		value = "UTF8"
	case "standard_conforming_strings":
		if on, ok := parseBool(value); !ok || !on {
			return bad("on: a backslash in a string is a backslash")
		}
		value = "on"
	case "datestyle":
		if !strings.Contains(upper, "ISO") && upper != "DEFAULT" {
			return bad("ISO")
		}
		value = "ISO, MDY"
	case "default_transaction_read_only", "transaction_read_only":
		on, ok := parseBool(value)
		if !ok {
			return bad("on or off")
		}
		if key == "transaction_read_only" {
			return s.setReadOnly(on)
		}
		s.defaultReadOnly, value = on, map[bool]string{true: "on", false: "off"}[on]
	case "statement_timeout":
		d, ok := parseDuration(value)
		if !ok {
			return bad("milliseconds, or a number with ms, s, min or h")
		}
		// The configuration's limit holds for everybody; 0 asks for none.
		if s.timeout = d; d == 0 || d > s.cfg.StatementTimeout {
			s.timeout = s.cfg.StatementTimeout
		}
		value = s.timeout.String()
	}
	if slices.Contains(fixed, key) {
		return errorf("55P02", "parameter %q cannot be changed", name)
	}
	if _, known := s.settings[key]; !known && len(s.settings) >= maxSettings {
		return errorf(codeLimit, "a session remembers at most %d settings", maxSettings)
	}
	s.settings[key] = value
	return nil
}

// setReadOnly changes the transaction that is open.
func (s *session) setReadOnly(on bool) error {
	switch {
	case s.tx.state != txOpen:
		s.warn(codeNoTransaction, "SET TRANSACTION can only be used in transaction blocks")
	case s.tx.readOnly && !on:
		return errorf(codeActiveTransaction, "cannot set transaction read-write mode inside a read-only transaction")
	default:
		s.tx.readOnly = on
	}
	return nil
}

// parseDuration reads a time as PostgreSQL's settings have it.
func parseDuration(value string) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	digits := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyz ")
	n, err := strconv.ParseInt(digits, 10, 32)
	unit, known := map[string]time.Duration{"": time.Millisecond, "us": time.Microsecond, "ms": time.Millisecond,
		"s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[strings.TrimSpace(value[len(digits):])]
	return time.Duration(n) * unit, err == nil && n >= 0 && known
}

// isSession reports whether the statement is answered by the session itself and
// never reaches SQLite.
func (s *statement) isSession() bool { return s.class() == "session" || s.info() != nil }

// describeSession returns the columns of such a statement.
func describeSession(st *statement) []column {
	if items := st.info(); items != nil {
		columns := make([]column, len(items))
		for i, item := range items {
			columns[i] = column{name: item.name, oid: oidText}
		}
		return columns
	}
	if st.verb != "SHOW" {
		return nil
	}
	if st.word(1) == "ALL" {
		return []column{{name: "name", oid: oidText}, {name: "setting", oid: oidText}, {name: "description", oid: oidText}}
	}
	return []column{{name: showName(st), oid: oidText}}
}

// showName is the setting that SHOW names, whose spelled-out forms have short
// ones too.
func showName(st *statement) string {
	switch {
	case st.has("TRANSACTION", "ISOLATION", "LEVEL"):
		return "transaction_isolation"
	case st.has("TIME", "ZONE"):
		return "timezone"
	case st.has("SESSION", "AUTHORIZATION"):
		return "session_authorization"
	case len(st.tokens) < 2:
		return ""
	}
	return strings.ToLower(st.sql[st.tokens[1].at:])
}

// answer runs a statement of the session: its rows and its tag.
func (s *session) answer(st *statement) (rows [][]string, tag string, err error) {
	if items := st.info(); items != nil {
		row := make([]string, len(items))
		for i, item := range items {
			row[i] = s.infoValue(item.what)
		}
		return [][]string{row}, "SELECT 1", nil
	}
	switch st.verb {
	case "SHOW":
		rows, err = s.show(showName(st))
		return rows, "SHOW", err
	case "SET":
		return nil, "SET", s.runSet(st)
	case "RESET":
		return nil, "RESET", s.reset(st)
	case "DEALLOCATE":
		return nil, st.verb, s.deallocate(st)
	case "DISCARD":
		if s.tx.state == txOpen && st.word(1) == "ALL" {
			return nil, "", errorf(codeActiveTransaction, "DISCARD ALL cannot run inside a transaction block")
		}
		s.closePortals()
		clear(s.statements)
		s.resetSettings()
		return nil, "DISCARD " + st.word(1), nil
	}
	return nil, st.verb, nil // UNLISTEN: nothing was listened to
}

func (s *session) show(name string) ([][]string, error) {
	if name == "all" {
		var rows [][]string
		for _, key := range slices.Sorted(maps.Keys(s.settings)) {
			rows = append(rows, []string{key, s.settings[key], ""})
		}
		return rows, nil
	}
	if name == "transaction_read_only" && s.tx.readOnly {
		return [][]string{{"on"}}, nil
	}
	value, ok := s.settings[name]
	if !ok {
		return nil, errorf(codeNoObject, "unrecognized configuration parameter %q", name)
	}
	return [][]string{{value}}, nil
}

// runSet is SET in all its forms: [SESSION|LOCAL] name {=|TO} value, TIME ZONE,
// TRANSACTION, SESSION CHARACTERISTICS.
func (s *session) runSet(st *statement) error {
	switch {
	case st.has("SESSION", "CHARACTERISTICS"):
		s.defaultReadOnly = st.accessMode(s.defaultReadOnly)
		return nil
	case st.word(1) == "TRANSACTION":
		if st.accessMode(false) || st.has("READ", "WRITE") {
			return s.setReadOnly(st.accessMode(false))
		}
		return nil
	}
	i := 1
	if st.word(i) == "SESSION" || st.word(i) == "LOCAL" {
		i++
	}
	if st.word(i) == "TIME" && st.word(i+1) == "ZONE" || st.word(i) == "NAMES" {
		name := map[string]string{"TIME": "timezone", "NAMES": "client_encoding"}[st.word(i)]
		if i += 1 + boolIndex(st.word(i) == "TIME"); i < len(st.tokens) {
			return s.setAndReport(name, st.value(i))
		}
	}
	from := i
	for i < len(st.tokens) && !st.tokens[i].is("=", "TO") {
		i++
	}
	if i == from || i+1 >= len(st.tokens) {
		return errorAt(codeSyntax, st.offset+len(st.sql), "expected SET name = value")
	}
	return s.setAndReport(st.sql[st.tokens[from].at:st.tokens[i-1].end], st.value(i+1))
}

func boolIndex(b bool) int { return int(boolInt(b)) }

// value is what stands from token i to the end, a single string without quotes.
func (s *statement) value(i int) string {
	text := s.sql[s.tokens[i].at:]
	if i == len(s.tokens)-1 && s.tokens[i].kind == tokString && len(text) >= 2 {
		return strings.ReplaceAll(strings.Trim(text, "'"), "''", "'")
	}
	return text
}

func (s *session) setAndReport(name, value string) error {
	if err := s.set(name, value); err != nil {
		return err
	}
	for _, r := range reported {
		if strings.EqualFold(r, name) {
			s.report(r)
		}
	}
	return nil
}

// reset sets one setting, or all of them, to what they were at the start.
func (s *session) reset(st *statement) error {
	if len(st.tokens) < 2 {
		return errorAt(codeSyntax, st.offset, "expected RESET name or RESET ALL")
	}
	old, timeout, readOnly := s.settings, s.timeout, s.defaultReadOnly
	s.resetSettings()
	if st.word(1) == "ALL" {
		return nil
	}
	name := strings.ToLower(st.sql[st.tokens[1].at:])
	initial, known := s.settings[name]
	s.settings = old
	if name != "statement_timeout" {
		s.timeout = timeout
	}
	if name != "default_transaction_read_only" {
		s.defaultReadOnly = readOnly
	}
	if known {
		s.settings[name] = initial
	} else {
		delete(s.settings, name)
	}
	return nil
}

func (s *session) deallocate(st *statement) error {
	i := 1
	if st.word(i) == "PREPARE" {
		i++
	}
	switch {
	case i >= len(st.tokens):
		return errorAt(codeSyntax, st.offset, "expected DEALLOCATE name or DEALLOCATE ALL")
	case st.word(i) == "ALL":
		clear(s.statements)
		return nil
	}
	name := st.tokens[i].text
	if st.tokens[i].kind == tokWord {
		name = strings.ToLower(name)
	}
	if _, ok := s.statements[name]; !ok {
		return errorf(codeNoStatement, "prepared statement %q does not exist", name)
	}
	delete(s.statements, name)
	return nil
}

// An infoItem is a question about the session, as SELECT version() asks it.
type infoItem struct{ what, name string }

// info reads a SELECT that asks nothing but such questions, or returns nil: any
// other SELECT is SQLite's.
func (s *statement) info() []infoItem {
	if s.verb != "SELECT" || len(s.tokens) < 2 || len(s.tokens) > 64 || s.word(0) != "SELECT" {
		return nil
	}
	var items []infoItem
	for i := 1; ; i++ {
		if s.word(i) == "PG_CATALOG" && i+1 < len(s.tokens) && s.tokens[i+1].is(".") {
			i += 2
		}
		item := infoItem{what: strings.ToLower(s.word(i))}
		call := i+2 < len(s.tokens) && s.tokens[i+1].is("(") && s.tokens[i+2].is(")")
		switch item.what {
		case "version", "current_database", "pg_backend_pid", "pg_is_in_recovery":
			if !call {
				return nil
			}
		case "current_schema", "current_user", "session_user", "current_catalog", "user":
		default:
			return nil
		}
		i++
		if call {
			i += 2
		}
		item.name = item.what
		if s.word(i) == "AS" {
			i++
		}
		if i < len(s.tokens) && s.tokens[i].name() {
			item.name = s.tokens[i].text
			if s.tokens[i].kind == tokWord {
				item.name = strings.ToLower(item.name)
			}
			i++
		}
		items = append(items, item)
		if i >= len(s.tokens) {
			return items
		}
		if !s.tokens[i].is(",") {
			return nil
		}
	}
}

func (s *session) infoValue(what string) string {
	switch what {
	case "version":
		return "PostgreSQL " + serverVersion + ": the protocol is PostgreSQL's, the engine and the dialect are SQLite " + sqlite.Version
	case "current_database", "current_catalog":
		return s.cfg.Database
	case "current_schema":
		return "main"
	case "pg_backend_pid":
		return strconv.FormatUint(uint64(s.id), 10)
	case "pg_is_in_recovery":
		return "f"
	}
	return s.user
}
