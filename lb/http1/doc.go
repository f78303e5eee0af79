// Package http1 reads heads and chunked bodies of HTTP/1.0 and 1.1 (RFC 9110,
// RFC 9112) on bytes in memory. It does no I/O and, once the fields of a
// [Request] or [Response] have found room, no allocation.
//
// # How a message runs through it
//
// Whoever owns the connection collects bytes in a buffer and calls
// [Request.Parse] on it, again with more bytes while it answers 0 and no error
// ([Limits.Due] says when that is worth its cost). One pass checks every byte,
// recognises the names ([Kind]), and takes in what they mean for the framing, the
// connection and the forwarding. Framing then says what body follows; a
// [Decoder] takes the chunked coding off it. [Response] is the same for the other
// side.
//
// What was parsed aliases the buffer. It is good as long as the buffer holds
// those bytes, and keeps the buffer alive until the next Parse.
//
// # Strict
//
// What two readers could understand differently is refused, not repaired. Where
// the RFCs leave a choice:
//
//   - A line ends with CRLF only. obs-fold, and control characters other than
//     HTAB in a value, are refused in both directions.
//   - Content-Length may be there once, with one number; the same number twice is
//     refused. Transfer-Encoding may name chunked and nothing else.
//   - Host is limited to the unreserved characters; see splitAuthority.
//   - A path whose percent-encoding is malformed is refused; a query is not
//     looked at.
//   - One empty line before a request line is tolerated, none before a status line.
//   - HTTP/1.2 to 1.9 are read as 1.1.
//   - The kinds of leniency towards upstreams are on [Response.Parse].
//
// # What it does not do
//
// It writes no heads. It does not say which body is too large, whether a method
// is known, or whether an upgrade may have a body. A path is not normalised.
package http1
