// Package engine speaks HTTP/1.1 with the load balancer's clients and targets.
//
// # The path of a request
//
//  1. client.go: one goroutine per connection waits for bytes and parses the head
//     in place (package http1). What is ambiguous is refused, and the connection
//     given up. What came with the connection is read before anything waits
//     (accept_linux.go).
//  2. exchange.go: the route is found, its limits are asked, the head for the
//     target is made (head.go), and the request is given to targets, one after the
//     other, for as long as [upstream.Decide] and the budget allow it.
//  3. upstream.go: a kept connection that is sound, or a new one, gets the request
//     in one write, and is waited for.
//  4. relay.go: the answer's head is parsed as strictly, and made anew in front of
//     the first bytes of the body, so that both leave in one write. The rest of
//     the body is passed on as it comes, validated where it is chunked.
//
// Three kinds of requests take more: a body that is still to come is sent by a
// goroutine of its own, so that the answer can begin and end before it (body.go);
// an upgrade becomes a tunnel (tunnel.go); and some are answered here (answer.go).
//
// A request that arrives in one read allocates nothing. Buffers come from pools
// and go back while a connection waits.
//
// # Where TLS and HTTP/2 would enter
//
// A connection that is no plain TCP is read and written through [net.Conn]: where
// a socket has no raw connection, the callback is left out. HTTP/2 would bring its
// own reading and writing of heads, and use give with an exchange per stream.
//
// # Invariants
//
//   - No byte of a head is copied from one side to the other: each is parsed, and
//     written from what was understood.
//   - A connection to a target that is not exactly at the end of an answer is
//     closed.
//   - Every wait has a deadline: at most nine eighths of what was asked for.
//   - No connection is closed within its own callback, which would wait for itself.
//   - A descriptor is used without the poller only within its connection's callback,
//     or before the poller knows it; in both cases nobody else can close it.
//
// # Goroutines
//
// Serve owns one per client connection, one more for each tunnel and each body
// that is under way, and up to 128 that wait for the next connection. It joins
// them all.
package engine
