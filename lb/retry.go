package lb

import "net/http"

// An outcome is what is known of an attempt that failed.
type outcome struct {
	connected bool // there was a connection to send on
	reused    bool // it had carried another request before
	sent      bool // at least one byte of the request went out on it
	broke     bool // the other side ended it, or the network did
	timedOut  bool // nothing failed but the clock
	started   bool // the client has got a part of the answer
	replay    bool // the request's body is absent, kept, or still unread
}

// A verdict says where a failed request goes.
type verdict int

const (
	giveUp     verdict = iota
	sameTarget         // once more to the same target, on a fresh connection
	nextTarget
)

// decide says whether a request may be repeated after a failed attempt, and
// where. The order of the decisions:
//
//  1. Never after a part of the answer has reached the client, and never
//     without the whole body.
//  2. What was sent is repeated only where the method is idempotent (RFC 9110,
//     section 9.2.2), and not after silence: a slow answer asked for twice is
//     twice the load.
//  3. A reused connection that broke says only that its target closed it, as
//     every server does after a while: the same target gets a fresh one.
//  4. Anything else is the next target's.
func decide(method string, o outcome) verdict {
	switch {
	case o.started || !o.replay:
		return giveUp
	case o.sent && (o.timedOut || !idempotent(method)):
		return giveUp
	case o.connected && o.reused:
		return sameTarget
	}
	return nextTarget
}

// idempotent follows RFC 9110, section 9.2.2. A method that nobody registered
// is not.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
