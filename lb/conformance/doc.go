// Package conformance holds the behaviours of a gateway under HTTP/1.1 as
// tables: RFC 9112, and of RFC 9110 sections 6.5 (trailers), 7 (routing), 8.6
// (Content-Length), 9.3 (methods), 10.1.1 (Expect) and 15.2 (interim answers).
// It holds tests alone.
//
// A behaviour is a sentence of what holds, where the standard says so, and a
// script. The script drives both ends of the proxy under test over raw TCP, in
// one sequence of steps: what the client sends, what arrives at the upstream
// byte for byte, what the upstream answers, what the client gets, and who closes
// what. A step waits for the proxy and for nothing else, so the order of events
// is the script's, and no step sleeps. The few behaviours that are about time
// configure a short timeout and wait for what it brings.
//
// The proxy is [minicloud.internal/lb], configured by a file as its users do.
// With the flag -compare the same scripts run against HAProxy and nginx, where
// installed, and the differences are printed (make compare-lb). Their
// configurations are those of a careful operator: connections to the upstream
// kept, nothing buffered on disk, what clients say of themselves replaced.
package conformance
