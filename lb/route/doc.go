// Package route says where a request goes, and what is done to it on the way.
//
// # From a request to its route
//
//  1. [NormalPath] makes the form of the path that routes are compared with, or
//     refuses a path that two readers could take for two.
//  2. [Table.Match] finds the route: those for the very host before those for
//     the longest wildcard that the host is below, before those for any host;
//     among them, the longest path, in whole segments. Where a host's routes do
//     not match the path, the next more general ones have their turn. What
//     nothing matches is the default's.
//  3. The [Route] says the rest: how often the client may come ([Limiter]), how
//     large a body may be, where else to go ([Route.AppendLocation]) or which
//     pool is asked ([Route.Pick]), which path it is asked for
//     ([Route.AppendPath]), and which fields are removed and set ([Headers]).
//
// The order in which routes are configured has no say in any of this.
//
// # Concurrency
//
// A [Table] does not change once it is built; a reload builds another, which
// takes over the counters and limiters of the routes that stay. Everything here
// may be used concurrently, and what a request calls allocates nothing.
//
// # What it does not do
//
// It parses no HTTP, knows no state of a target, and chooses none.
package route
