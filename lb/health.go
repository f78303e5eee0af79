package lb

import (
	"context"
	"errors"
	"net"
	"os"
)

// A state is what the load balancer thinks of a target.
type state int

const (
	// unknown: not probed yet, or in doubt because a connection broke; it
	// gets no requests, but those that have no other target wait for its probe.
	unknown state = iota
	up
	down
)

func (s state) String() string { return [...]string{"unknown", "up", "down"}[s] }

// evidence is one thing that was learned about a target.
type evidence int

const (
	good   evidence = iota // a probe was answered with 2xx
	bad                    // refused, an unknown name, or a probe answered otherwise: counts at once
	silent                 // no answer in time: counts when it repeats
	broken                 // a connection that had been made was cut: ask again
)

// A condition is a target's state, and how far it is on the way to another.
type condition struct {
	state  state
	streak int // probes in a row against a state of up or down
}

// thresholds are the lengths of a streak that change the state.
type thresholds struct{ fall, rise int }

// next is the state machine:
//
//	         good              bad    silent                broken
//	unknown  up                down   down                  unknown
//	up       up                down   down after fall       unknown
//	down     up after rise     down   down                  down
//
// Out of unknown one piece of evidence decides. A cut connection alone never
// ejects for longer than one probe takes: a client who knows a request that
// crashes its own connection must not be able to take the targets away from
// everybody.
func (c condition) next(e evidence, t thresholds) condition {
	switch {
	case e == bad:
		return condition{state: down}
	case e == broken && c.state != down:
		return condition{state: unknown}
	case e == silent && c.state == up && c.streak+1 < t.fall:
		return condition{state: up, streak: c.streak + 1}
	case e == good && c.state == down && c.streak+1 < t.rise:
		return condition{state: down, streak: c.streak + 1}
	case e == good:
		return condition{state: up}
	}
	return condition{state: down}
}

// settled reports whether the next probe can wait for the interval.
func (c condition) settled() bool { return c.state != unknown && c.streak == 0 }

// evidenceOf classifies the error of a connection that could not be made, or of
// a probe.
func evidenceOf(err error) evidence {
	var lookup *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &lookup) && !lookup.IsNotFound:
		return silent // the name server's trouble, not the target's
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return silent
	}
	return bad
}
