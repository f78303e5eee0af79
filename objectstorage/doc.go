// Package objectstorage is the object store's service: its HTTP door /files on
// top of a [store.Store].
//
// The path of a request. [kit.HTTPServer] gives it a request id, idle limits
// and an access log; door.go counts it, takes the key from the path, whose
// bytes are never cleaned, and hands it to put.go, get.go, list.go or form.go.
// These speak with package store; what comes back as an error becomes a problem
// document in one function, problemOf.
//
// Invariants.
//   - A success of a write is answered after the store made it durable.
//   - A body that does not arrive whole, or is over the limit, or is not what
//     its Content-MD5 says, is never committed.
//   - Bodies pass in constant memory; a GET goes by sendfile(2).
//   - A request that asks for something this door does not know (a query
//     parameter on a write, a chunk-signed body) is refused, never taken for
//     something else.
//
// Goroutines. [Server.Serve] opens the store, runs the HTTP server, which owns
// a goroutine per connection and joins them, and closes the store. Nothing
// else runs.
//
// What it does not do yet: S3, versions, multipart uploads, checks of who asks.
package objectstorage
