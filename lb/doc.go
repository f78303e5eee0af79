// Package lb is the load balancer: the one door of the cloud.
//
// # The path of a request
//
// [kit.HTTPServer] reads it, names it (X-Request-Id, traceparent), and hands it
// to the engine. The engine asks the core three questions, each answered by a
// pure function in a file of its own:
//
//  1. Where does the path lead? route.go: the longest route that matches whole
//     segments of the normal path, otherwise the round robin over the targets
//     that no route names.
//  2. Which targets, in which order? balance.go: round robin over a snapshot of
//     the healthy, at most 1 + retries of them. None: 503.
//  3. An attempt failed: may it be repeated, and where? retry.go. A connection
//     that could not be made is always the next target's turn. Once a byte was
//     sent, only GET, HEAD, PUT, DELETE, OPTIONS and TRACE are repeated, only
//     with a body that is still whole (bodies up to 64 KiB are kept for it), and
//     never after a part of the answer has gone out.
//
// What is forwarded is the path and the query as the client wrote them; the
// normal form is for matching only. So an object key with "%2F" or "//" arrives
// as it was sent, and a path with "." or ".." segments, encoded or not, is
// refused with 400: two readers may disagree on where such a path leads. Host
// is the client's. X-Forwarded-For, -Host and -Proto are ours alone; hop-by-hop
// fields end here.
//
// GET /healthz is answered by the load balancer itself, for itself.
//
// # Health
//
// The state machine is health.go; monitor.go feeds it. Every target is probed
// at once, then in intervals, each time on a fresh connection. Requests
// contribute what they learn: a refused connection means down, and a cut one
// means doubt, which an immediate probe resolves. An origin's 5xx never ejects
// it. While everybody in a pool is unknown, requests wait for the first verdict,
// at most one second.
//
// # Invariants
//
//   - A request without an idempotent method is never sent twice.
//   - A target gets requests only while it is up.
//   - Memory for a request is bounded: a head of 64 KiB, a kept body of 64 KiB,
//     a copy buffer for each direction. Larger bodies stream.
//   - "Healthy targets: N" in the log counts every distinct target, and the
//     lines are in the order of the changes.
//
// # Goroutines
//
// Serve owns one per target, which probes, and the server's. It joins them all,
// tunnels included. New starts none.
//
// # What it does not do
//
// It terminates no TLS, caches and compresses nothing, and limits no rates. The
// engine stands on [net/http/httputil.ReverseProxy], behind the interface
// engine; routing, balancing, health and retries know nothing of it.
package lb
