// Package peers starts DNS servers, each as a program of its own on the loopback
// network, for the tests that compare ours with them and for the benchmark: Knot,
// NSD, BIND, Unbound and CoreDNS where they are installed, and ours in the same
// shape.
//
// [Start] makes a temporary directory, writes the zones and the smallest
// configuration that serves them, starts the program, and returns when every zone
// is answered. Nothing is written outside of that directory. Every server has a
// loopback address of its own, taken at random from 127.0.0.0/8, so that the port
// may be the same for all, as it has to be for resolvers that know no other than
// 53. That all of 127.0.0.0/8 is there is so on Linux alone.
//
// [Server.Stop] ends the process, and everything that it started. One goroutine
// for each server waits for its process to end.
//
// What it does not do: answer whether what a server says is right.
package peers
