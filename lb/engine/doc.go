// Package engine speaks HTTP/1.1 with the load balancer's clients and targets.
//
// # The path of a request
//
//  1. accept_linux.go: an event loop, of which there is one per core (loop_linux.go),
//     accepts the connection, reads what came with it, and parses the head in place
//     (package http1).
//  2. exchange.go: the route is found, its limits are asked, the head for the
//     target is made (head.go), and the request is given to targets, one after the
//     other, for as long as [upstream.Decide] and the budget allow it.
//  3. upstream.go: a kept connection that is sound, or a new one, gets the request
//     in one write, and is waited for.
//  4. relay.go: the answer's head is parsed as strictly, and made anew in front of
//     the first bytes of the body, so that both leave in one write. The rest of
//     the body is passed on as it comes, validated where it is chunked.
//
// A loop goes all this way itself where it has nothing to wait for but an answer in
// one piece (loop_serve_linux.go). Otherwise it hands the connection to a goroutine at
// the stage that was reached (client.go), which gives it back (loop_stay_linux.go)
// unless that had to wait for the client. What is ambiguous is refused, and the
// connection given up. Outside Linux every connection has a goroutine from its
// beginning.
//
// Three kinds of requests take more: a body that is still to come is sent by a
// goroutine of its own, so that the answer can begin and end before it (body.go);
// an upgrade becomes a tunnel (tunnel.go); and some are answered here (answer.go).
//
// A request that arrives in one read allocates nothing. Buffers are a loop's, or come
// from pools and go back while a connection waits.
//
// # Where TLS and HTTP/2 would enter
//
// A connection that is no plain TCP has a goroutine, and is read and written through
// [net.Conn]: where a socket has no raw connection, the callback is left out. HTTP/2 would bring its
// own reading and writing of heads, and use give with an exchange per stream.
//
// # Invariants
//
//   - No byte of a head is copied from one side to the other: each is parsed, and
//     written from what was understood.
//   - A connection to a target that is not exactly at the end of an answer is
//     closed.
//   - Every wait has a deadline: at most nine eighths of what was asked for, or a
//     tenth of a second more.
//   - No connection is closed within its own callback, which would wait for itself.
//   - A descriptor is used without Go's poller only within its connection's callback,
//     or before that poller knows it; in both cases nobody else can close it.
//   - A client is served by its loop or by one goroutine, never both: loopClient.away
//     says which. Nothing that a loop does waits.
//
// # Goroutines
//
// Serve owns one per loop, one for each connection that a loop cannot serve now, one
// more for each tunnel and each body that is under way, and up to 128 that wait for
// the next connection. It joins them all. While it serves, Go's scheduler has as many
// more places as there are loops (GOMAXPROCS).
package engine
