// Package lb is the load balancer: the one door of the cloud. It puts together
// what its subpackages do, and is what its operator sees of it: configuration,
// reload, metrics, access log, admin listener.
//
// # The path of a request
//
// Package engine speaks HTTP/1.1 with the client, and asks on the way:
//
//  1. Is it a request that everybody reads the same way? Package http1.
//  2. Where does it go? Package route: the most specific route for its host and
//     its path, and what that says of limits, redirects and fields.
//  3. Which target gets it, and may it be repeated when an attempt fails?
//     Package upstream, which knows how the targets are.
//
// Each counts what it does (package meter), and tells the access log.
//
// # One snapshot
//
// A configuration (config.go, checked in validate.go) becomes pools, a table of
// routes and settings of the engine (build.go). They are made as a whole and
// replaced as a whole, at a start as at a reload (reload.go), so that no request
// sees a half of two. What did not change is handed on: upstream keeps targets and
// pools by their names, route its counters and limiters.
//
// # What is seen of it
//
//   - metrics.go: a scrape reads what the others count anyway.
//   - accesslog.go: requests leave their lines in a ring (ring.go), one goroutine
//     writes them.
//   - admin.go and explain.go: states, draining, and why a request goes where it
//     goes.
//   - handover.go: how another process takes over the address.
//
// # Invariants
//
//   - New starts nothing; Serve joins all that it starts.
//   - An invalid configuration changes nothing.
//   - A request waits for nobody who watches: a scrape, a reload, the log.
//   - Every label of a metric is bounded by the configuration.
//
// # Goroutines
//
// Serve owns the engine's, those that probe (upstream), the writer of the access
// log, and one that watches the configuration file and then begins the end. The
// probes and the access log go on until the engine has drained.
//
// # What it does not do
//
// It terminates no TLS, and caches and compresses nothing.
package lb
