// Package ingressclient is the command that enters the cloud: a small curl that
// asks the cloud's own resolver, and finds the load balancer on whatever port
// it was published.
//
// The path of a request:
//
//  1. [Main] reads the flags and the URL, and prepares the request's body and
//     the output before anything is sent, so that a file that is not there
//     costs no request.
//  2. locate decides where to connect. It asks the resolver for
//     SRV _http._tcp.<name>, A and AAAA at once; where the URL has no port and
//     the SRV record exists, its port counts (RFC 2782).
//  3. connect tries the addresses in order, and puts a tap into the
//     connection: it sees the bytes of both heads as they pass, which is what
//     -v and -i print.
//  4. exchange sends the request through [net/http.Transport] with the name of
//     the URL in the Host field, whatever address it connected to, and streams
//     the answer's body to the output in constant memory.
//  5. A redirect, with -L, begins again at 2: each request has a connection of
//     its own.
//
// With --explain, only 1 and 2 happen, and files to send or to write are not
// opened. explainRequest keeps the questions of 2, and tells them with what the
// admin listeners of the resolver and of the load balancer say to them.
//
// Invariants: the body goes to standard output and everything else to standard
// error; a file of -o is whole or is not there; the exit codes are curl's;
// nothing of the environment counts but the variables of the README, so no proxy
// and no file of settings; no control character of the network reaches the
// terminal but in a body or a head that was asked for.
//
// Goroutines: the questions to the resolver run side by side and are joined
// before locate returns. The transport's two per connection end with the
// connection, which exchange closes. A read of standard input cannot be
// interrupted: after SIGINT it is left to the end of the process.
//
// What it does not do: HTTP/2 and 3, proxies, cookies, globbing of URLs,
// several URLs at once, decompression, and names outside the cloud that the
// cloud's resolver does not know.
package ingressclient
