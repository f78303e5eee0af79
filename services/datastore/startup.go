package datastore

import (
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"minicloud.internal/services/datastore/internal/sqlite"
)

// serverVersion is what clients parse. A psql that is older than the server it
// reads of warns of it, so this is not the newest; 15 has all that is here.
const serverVersion = "15.0 (minicloud, SQLite " + sqlite.Version + ")"

// startup answers the client's first messages (section 55.2.1 of PostgreSQL's
// protocol): encryption is declined, a cancel request is carried out, and a
// startup message begins the session. It returns nil when the session is ready.
func (s *session) startup() error {
	if err := s.wait(true, time.Now().Add(s.cfg.StartupTimeout)); err != nil {
		return err
	}
	for range 3 { // SSLRequest, GSSENCRequest, then the startup message
		msg, err := s.wire.ReceiveStartupMessage()
		if err != nil {
			s.resume()
			if errors.Is(err, io.EOF) || isGone(err) {
				return errGone
			}
			return fatalf(codeProtocol, "%v", err).hint("This port speaks the PostgreSQL protocol, version 3.0.")
		}
		switch msg := msg.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := s.conn.Write([]byte{'N'}); err != nil {
				return errGone
			}
		case *pgproto3.CancelRequest:
			s.server.cancel(msg.ProcessID, msg.SecretKey)
			return errGone
		case *pgproto3.StartupMessage:
			if s.resume() {
				return errShutdown()
			}
			return s.begun(msg)
		}
	}
	return fatalf(codeProtocol, "expected a startup message")
}

// begun opens the session that a startup message asks for.
func (s *session) begun(msg *pgproto3.StartupMessage) error {
	s.negotiate(msg)
	s.user = msg.Parameters["user"]
	if s.user == "" {
		return fatalf("28000", "no PostgreSQL user name specified in startup packet")
	}
	// libpq sends the user's name where it was given no database.
	if name := msg.Parameters["database"]; name != "" && name != s.user && name != s.cfg.Database {
		return fatalf(codeNoDatabase, "database %q does not exist", name).
			hint("This data store holds one database: " + s.cfg.Database)
	}
	if v := msg.Parameters["replication"]; v != "" && v != "false" && v != "off" && v != "0" {
		return fatalf(codeUnsupported, "replication is not supported")
	}
	if err := s.server.admit(s); err != nil {
		s.metrics.refused.WithLabelValues(codeTooManyClients).Inc()
		return err
	}
	db, err := s.store.connect()
	if err != nil {
		s.store.report(err)
		s.logger.Error("the database could not be opened for a client", "error", err)
		e := toPgError(err, nil)
		e.fatal = true
		return e
	}
	s.db, s.cache = db, newStatementCache(db)
	s.resetSettings()
	for _, name := range slices.Sorted(maps.Keys(msg.Parameters)) {
		if name == "user" || name == "database" || name == "replication" || strings.HasPrefix(name, "_pq_.") {
			continue
		}
		if err := s.startupSetting(name, msg.Parameters[name]); err != nil {
			e := toPgError(err, nil)
			e.fatal = true
			return e
		}
	}
	s.send(&pgproto3.AuthenticationOk{})
	for _, name := range reported {
		s.report(name)
	}
	s.send(&pgproto3.BackendKeyData{ProcessID: s.id, SecretKey: s.key})
	s.logger.Debug("connection opened", "user", s.user)
	return s.ready()
}

// negotiate tells a client of a newer protocol that this one is 3.0.
func (s *session) negotiate(msg *pgproto3.StartupMessage) {
	var unknown []string
	for name := range msg.Parameters {
		if strings.HasPrefix(name, "_pq_.") {
			unknown = append(unknown, name)
		}
	}
	if msg.ProtocolVersion != pgproto3.ProtocolVersion30 || len(unknown) > 0 {
		slices.Sort(unknown)
		s.send(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 0, UnrecognizedOptions: unknown})
	}
}

// startupSetting applies one parameter of the startup message; "options" holds
// settings as the server's command line has them.
func (s *session) startupSetting(name, value string) error {
	if name != "options" {
		return s.set(name, value)
	}
	words := strings.Fields(value)
	for i, word := range words {
		setting, ok := strings.CutPrefix(word, "-c")
		if !ok {
			setting, ok = strings.CutPrefix(word, "--")
		}
		if setting == "" && i+1 < len(words) {
			setting = words[i+1]
		}
		name, v, isSetting := strings.Cut(setting, "=")
		if !ok || !isSetting {
			continue
		}
		if err := s.set(name, v); err != nil {
			return err
		}
	}
	return nil
}
