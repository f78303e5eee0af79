package upstream

import (
	"context"
	"errors"
	"net"
	"os"
)

// A State is what the load balancer thinks of a target.
type State int32

const (
	// Unknown: not probed yet, or in doubt because a connection broke; it
	// gets no requests, but those that have no other target wait for its probe.
	Unknown State = iota
	// Up: it gets requests.
	Up
	// Down: it gets none.
	Down
)

// String is the state's name in lower case.
func (s State) String() string { return [...]string{"unknown", "up", "down"}[s] }

// Evidence is one thing that was learned about a target.
type Evidence int

const (
	// Good: a probe was answered as expected.
	Good Evidence = iota
	// Refused: a refused connection, an unknown name, or a probe that was
	// answered otherwise: counts at once.
	Refused
	// Silent: no answer in time: counts when it repeats.
	Silent
	// Broken: a connection that had been made was cut: ask again.
	Broken
)

// EvidenceOf classifies the error of a connection that could not be made, or of
// a probe: [Silent] or [Refused].
func EvidenceOf(err error) Evidence {
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &lookup) && !lookup.IsNotFound:
		return Silent // the name server's trouble, not the target's
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return Silent
	}
	return Refused
}

// A condition is a target's state, and how far it is on the way to another.
type condition struct {
	state  State
	streak int // probes in a row against a state of up or down
}

// next is the state machine:
//
//	         good              refused    silent                broken
//	unknown  up                down       down                  unknown
//	up       up                down       down after fall       unknown
//	down     up after rise     down       down                  down
//
// Out of unknown one piece of evidence decides. A cut connection alone never
// ejects for longer than one probe takes: a client who knows a request that
// crashes its own connection must not be able to take the targets away from
// everybody.
func (c condition) next(e Evidence, rise, fall int) condition {
	switch {
	case e == Refused:
		return condition{state: Down}
	case e == Broken && c.state != Down:
		return condition{state: Unknown}
	case e == Silent && c.state == Up && c.streak+1 < fall:
		return condition{state: Up, streak: c.streak + 1}
	case e == Good && c.state == Down && c.streak+1 < rise:
		return condition{state: Down, streak: c.streak + 1}
	case e == Good:
		return condition{state: Up}
	}
	return condition{state: Down}
}

// settled reports whether the next probe can wait for the interval.
func (c condition) settled() bool { return c.state != Unknown && c.streak == 0 }
