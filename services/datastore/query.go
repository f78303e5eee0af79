package datastore

import (
	"context"

	"github.com/jackc/pgx/v5/pgproto3"
)

// handle answers one message. It returns an error where the connection ends.
func (s *session) handle(msg pgproto3.FrontendMessage) error {
	if s.skipping {
		switch msg.(type) {
		case *pgproto3.Sync, *pgproto3.Terminate:
		default:
			return nil
		}
	}
	switch msg := msg.(type) {
	case *pgproto3.Query:
		return s.simpleQuery(msg.String)
	case *pgproto3.Terminate:
		return errGone
	case *pgproto3.Sync:
		return s.sync()
	case *pgproto3.Flush:
		return s.flush()
	case *pgproto3.CopyData, *pgproto3.CopyDone, *pgproto3.CopyFail:
		return nil // what follows a COPY that was refused
	case *pgproto3.FunctionCall:
		err := errorf(codeUnsupported, "function calls are not supported").hint("SELECT calls functions.")
		if err := s.fail(err, nil, ""); err != nil {
			return err
		}
		return s.ready()
	case *pgproto3.Parse, *pgproto3.Bind, *pgproto3.Describe, *pgproto3.Execute, *pgproto3.Close:
		return s.extended(msg)
	}
	return fatalf(codeProtocol, "unexpected message %T", msg)
}

// simpleQuery runs the statements of a Query. Several of them are one
// transaction, unless they say otherwise; the first error ends them all.
func (s *session) simpleQuery(query string) error {
	s.closePortal("")
	delete(s.statements, "")
	statements := split(query)
	if len(statements) == 0 {
		s.send(&pgproto3.EmptyQueryResponse{})
	}
	for i := range statements {
		st := &statements[i]
		err := s.guarded(func(ctx context.Context) error {
			return s.simpleStatement(ctx, query, st, i == len(statements)-1)
		})
		if err != nil {
			if err := s.fail(err, st, query); err != nil {
				return err
			}
			break
		}
	}
	s.pipeline = false
	return s.ready()
}

// simpleStatement runs one of them. The last one ends the implicit transaction
// before its success is told, so that a CommandComplete is never taken back.
func (s *session) simpleStatement(ctx context.Context, query string, st *statement, last bool) error {
	p, err := s.prepare(query, st, nil)
	if err != nil {
		return err
	}
	if len(p.params) > 0 {
		return errorf(codeUndefinedParameter, "there is no parameter $1").hint("A simple query has no parameters.")
	}
	o, err := s.bind(p, nil, nil)
	if err != nil {
		return err
	}
	defer s.release(o)
	if len(o.columns) > 0 {
		s.describeColumns(o.columns)
	}
	tag, err := s.runPortal(ctx, o, 0)
	if err == nil && last && s.tx.state == txImplicit {
		s.release(o)
		err = s.commit()
	}
	if err != nil {
		return err
	}
	s.send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
	return nil
}

// extended answers a message of the extended protocol, where an error makes the
// session skip to the next Sync.
func (s *session) extended(msg pgproto3.FrontendMessage) error {
	s.pipeline = true
	var p *prepared
	var err error
	switch msg := msg.(type) {
	case *pgproto3.Parse:
		p, err = s.parse(msg)
	case *pgproto3.Bind:
		p, err = s.bindMessage(msg)
	case *pgproto3.Describe:
		err = s.describeMessage(msg)
	case *pgproto3.Execute:
		p, err = s.execute(msg)
	case *pgproto3.Close:
		switch msg.ObjectType {
		case 'S':
			delete(s.statements, msg.Name)
		case 'P':
			s.closePortal(msg.Name)
		default:
			return fatalf(codeProtocol, "invalid CLOSE message subtype %d", msg.ObjectType)
		}
		s.send(&pgproto3.CloseComplete{})
	}
	if err == nil {
		return nil
	}
	s.skipping = true
	var st *statement
	query := ""
	if p != nil {
		st, query = p.st, p.query
	}
	return s.fail(err, st, query)
}

// sync ends a pipeline: it commits the implicit transaction.
func (s *session) sync() error {
	s.skipping = false
	if s.tx.state == txImplicit {
		if err := s.guarded(func(context.Context) error { return s.commit() }); err != nil {
			if err := s.fail(err, nil, ""); err != nil {
				return err
			}
		}
	}
	if s.tx.state == txNone {
		s.closePortals()
	}
	s.pipeline = false
	return s.ready()
}

// maxNamed bounds the prepared statements, and the portals, of a session.
const maxNamed = 1000

func (s *session) parse(msg *pgproto3.Parse) (*prepared, error) {
	p := &prepared{query: msg.Query}
	if _, taken := s.statements[msg.Name]; taken && msg.Name != "" {
		return p, errorf(codeDuplicateStatement, "prepared statement %q already exists", msg.Name)
	}
	if len(s.statements) >= maxNamed {
		return p, errorf(codeLimit, "a session has at most %d prepared statements", maxNamed).hint("DEALLOCATE frees them.")
	}
	delete(s.statements, msg.Name)
	if len(msg.ParameterOIDs) > maxParams {
		return p, errorf(codeProtocol, "a statement has at most %d parameters", maxParams)
	}
	statements := split(msg.Query)
	if len(statements) > 1 {
		return p, errorf(codeSyntax, "cannot insert multiple commands into a prepared statement")
	}
	var st *statement
	if len(statements) == 1 {
		st = &statements[0]
	}
	p, err := s.prepare(msg.Query, st, msg.ParameterOIDs)
	if err != nil {
		return p, err
	}
	s.statements[msg.Name] = p
	s.send(&pgproto3.ParseComplete{})
	return p, nil
}

func (s *session) bindMessage(msg *pgproto3.Bind) (*prepared, error) {
	p, ok := s.statements[msg.PreparedStatement]
	if !ok {
		return nil, errorf(codeNoStatement, "prepared statement %q does not exist", msg.PreparedStatement)
	}
	if _, taken := s.portals[msg.DestinationPortal]; taken && msg.DestinationPortal != "" {
		return p, errorf(codeDuplicatePortal, "portal %q already exists", msg.DestinationPortal)
	}
	if len(s.portals) >= maxNamed {
		return p, errorf(codeLimit, "a session has at most %d portals", maxNamed)
	}
	s.closePortal(msg.DestinationPortal)
	if s.tx.state == txFailed && p.st != nil && !p.st.isTransaction() {
		return p, errFailedTransaction()
	}
	if len(msg.Parameters) != len(p.params) {
		return p, errorf(codeProtocol, "bind message supplies %d parameters, but prepared statement %q requires %d",
			len(msg.Parameters), msg.PreparedStatement, len(p.params))
	}
	if n := len(msg.ParameterFormatCodes); n > 1 && n != len(msg.Parameters) {
		return p, errorf(codeProtocol, "bind message has %d parameter formats but %d parameters", n, len(msg.Parameters))
	}
	values := make([]any, len(msg.Parameters))
	for i, raw := range msg.Parameters {
		format, err := formatOf(msg.ParameterFormatCodes, i)
		if err != nil {
			return p, err
		}
		if values[i], err = decodeParam(raw, p.params[i], format, i+1); err != nil {
			return p, err
		}
	}
	o, err := s.bind(p, values, msg.ResultFormatCodes)
	if err != nil {
		return p, err
	}
	s.portals[msg.DestinationPortal] = o
	s.send(&pgproto3.BindComplete{})
	return p, nil
}

func (s *session) describeMessage(msg *pgproto3.Describe) error {
	switch msg.ObjectType {
	case 'S':
		p, ok := s.statements[msg.Name]
		if !ok {
			return errorf(codeNoStatement, "prepared statement %q does not exist", msg.Name)
		}
		s.send(&pgproto3.ParameterDescription{ParameterOIDs: p.params})
		s.describeColumns(p.columns)
	case 'P':
		o, ok := s.portals[msg.Name]
		if !ok {
			return errorf(codeNoPortal, "portal %q does not exist", msg.Name)
		}
		s.describeColumns(o.columns)
	default:
		return fatalf(codeProtocol, "invalid DESCRIBE message subtype %d", msg.ObjectType)
	}
	return nil
}

func (s *session) execute(msg *pgproto3.Execute) (*prepared, error) {
	o, ok := s.portals[msg.Portal]
	if !ok {
		return nil, errorf(codeNoPortal, "portal %q does not exist", msg.Portal)
	}
	if o.st == nil {
		s.send(&pgproto3.EmptyQueryResponse{})
		return o.prepared, nil
	}
	tag := ""
	err := s.guarded(func(ctx context.Context) (err error) {
		tag, err = s.runPortal(ctx, o, int64(int32(msg.MaxRows)))
		return err
	})
	if err != nil {
		return o.prepared, err
	}
	if tag == "" {
		s.send(&pgproto3.PortalSuspended{})
		return o.prepared, nil
	}
	s.send(&pgproto3.CommandComplete{CommandTag: []byte(tag)})
	return o.prepared, nil
}

// closePortal ends one portal, if there is one.
func (s *session) closePortal(name string) {
	if o, ok := s.portals[name]; ok {
		s.release(o)
		delete(s.portals, name)
	}
}
