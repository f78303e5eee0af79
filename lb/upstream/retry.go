package upstream

// An Outcome is what is known of an attempt that failed.
type Outcome struct {
	Connected bool // there was a connection to send on
	Reused    bool // it had carried another request before
	Sent      bool // at least one byte of the request went out on it
	TimedOut  bool // nothing failed but the clock
	Answered  bool // what came is no answer that could be passed on
	Started   bool // the client has got a part of the answer
	Replay    bool // the request's body is absent, kept, or still unread
}

// A Verdict says where a failed request goes.
type Verdict int

// The verdicts.
const (
	GiveUp     Verdict = iota
	SameTarget         // once more to the same target, on a fresh connection
	NextTarget
)

// Decide says whether a request may be repeated after a failed attempt, and
// where. The order of the decisions:
//
//  1. Never after a part of the answer has reached the client, and never
//     without the whole body.
//  2. What was sent is repeated only where the method is idempotent (RFC 9110,
//     section 9.2.2), and not after silence: a slow answer asked for twice is
//     twice the load.
//  3. A reused connection that broke says only that its target closed it, as
//     every server does after a while: the same target gets a fresh one. One that
//     answered, but wrongly, says more.
//  4. Anything else is the next target's.
//
// How often is not decided here: the caller counts, and asks [Pool.MayRetry].
func Decide(idempotent bool, o Outcome) Verdict {
	switch {
	case o.Started || !o.Replay:
		return GiveUp
	case o.Sent && (o.TimedOut || !idempotent):
		return GiveUp
	case o.Connected && o.Reused && !o.Answered:
		return SameTarget
	}
	return NextTarget
}
