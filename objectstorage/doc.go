// Package objectstorage is the object store's service: two HTTP doors on one
// address, and what runs beside them, on top of a [store.Store].
//
// The path of a request. [kit.HTTPServer] gives it a request id, idle limits
// and an access log; [Server] counts its bytes, and s3api says whether it is one
// of S3. If it is, package s3api answers it, after package sigv4 has looked at its
// signature. Otherwise it is one of the simple door: door.go takes the key from the
// path, whose bytes are never cleaned, asks whether the bucket lets anybody do
// that, and hands it to put.go, get.go, list.go or form.go. /files is the bucket
// files, so that both doors have the same objects. What comes back from package
// store as an error becomes a problem document here, in problemOf, and an XML
// document there. An object that is in memory leaves in one piece with its head
// (package gather).
//
// Invariants.
//   - A success of a write is answered after the store made it durable.
//   - A body that does not arrive whole, or is over the limit, or is not what
//     its checksum or its signature says, is never committed.
//   - Bodies pass in constant memory; a GET of a large one goes by sendfile(2).
//   - A request that asks for something that no door knows is refused, never
//     taken for something else.
//   - Health is 200 only while the buckets of the configuration are there and
//     writes are taken.
//   - A lifecycle rule removes nothing that changed since it was decided about.
//
// Goroutines. [Server.ServeBoth] opens the store and owns all: the HTTP servers,
// which own one per connection; the driver's own work (store/disk: the scrub and
// the collector of what nobody refers to); the look at what is damaged; the sweep of
// the lifecycle rules; and, until it has succeeded, the making of the buckets. It
// joins them, and closes the store last.
//
// What it does not do: accounts (every credential is of the same one, and may do
// everything that no policy denies), replication, encryption at rest.
package objectstorage
