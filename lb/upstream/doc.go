// Package upstream is what the load balancer knows of the services behind it:
// the targets, how they are, and which of them the next request goes to. It
// speaks no HTTP but that of its probes, and makes no connection for a request.
//
// # The path of a request
//
//  1. [Pool.Requested] counts it, and [Pool.Walk] begins its way through the
//     targets of a pool.
//  2. [Pool.Enter] takes a place at the next target. The policy (policy.go) chooses
//     among the candidates: those that are up and not draining, and that the
//     request has not been to. Where each of them works on its MaxConnections
//     already, the request waits in the pool's queue (queue.go); where nobody is up
//     but somebody may be, it waits for a probe, FirstVerdict at most.
//  3. [Idle.Pop] gives it a connection, or it makes one. [Idle.Push] takes it back.
//  4. An attempt failed: [Target.Observe] is told what that says about the
//     target, [Decide] says whether the request may be repeated and where,
//     [Pool.MayRetry] whether the pool can afford it. The next target is that of
//     another Enter, of the same walk.
//  5. [Target.Leave] gives the place back, after each attempt.
//
// In the steady state none of this allocates, and none takes a lock but Idle's,
// which is held for a few instructions. A Leave takes a second one while
// requests wait in a queue, and the target has a bound.
//
// # Health
//
// The state machine is state.go; monitor.go feeds it. Every target is probed at
// once, then in intervals, each time on a fresh connection. Requests contribute
// what they learn: a refused connection means down, and a cut one means doubt,
// which an immediate probe resolves. An origin's 5xx never ejects it. Draining is
// no state but an order of the operator's, beside it.
//
// A target that comes back gets a tenth of its weight at first, and all of it
// after SlowStart, in ten steps. The first time that it comes up is no return.
//
// # Names
//
// A target's name is looked up at every probe and at every new connection, by
// Dial. So a move is noticed one interval after the name server tells of it: as
// soon as the record's TTL demands, where the interval is no longer than that.
// Then the idle connections to the old address are closed, and those in use are
// not kept after it. A name with several addresses that take turns is one target:
// it costs a few connections until each address was seen twice; give each a
// target of its own to have them probed and balanced.
//
// # Invariants
//
//   - A target gets requests only while it is up and not draining, unless its
//     pool fails open; never more at once than MaxConnections.
//   - Whoever waits in a queue has waited longer than all behind. A free place
//     is handed to the one who waited longest for it, in all pools of the target.
//   - A request visits no target twice.
//   - In any ten seconds a pool repeats at most its RetryBudget of its requests,
//     and 100.
//   - "Healthy targets: N" in the log counts every target that is up, drained or
//     not, and the lines are in the order of the changes.
//
// # Goroutines
//
// [Set.Run] is one, and owns one for each target, which probes it. It joins them.
// Nothing else starts any.
//
// # Locks
//
// A Set has two, taken in this order: mu, for the configuration and all that is
// thought of the targets; and queues, for who waits. A third, of each [Idle], is
// taken last. Requests see the result of what happens under mu as a snapshot of
// their pool, which never changes and is replaced as a whole.
package upstream
