// Package exchange puts one question to one name server, so that a lost packet,
// an old server and a forged answer are its problem and not the caller's.
//
// The path of a question through [Exchanger.Exchange] (exchange.go): an address
// that must not be asked is refused (target.go); a place is taken, one of those
// of this server and one of those in all (servers.go); then the question goes out
// in the way that is known to suit this server, and what comes back is judged
// without I/O (query.go). The judgement is the answer, or another way:
//
//  1. over UDP (udp.go) on a new socket, with a random id, random capitals in the
//     name ("0x20") and a cookie (RFC 7873), sent again when the measured
//     round-trip time says that it should have been answered;
//  2. what belongs to another question is passed over, and the right answer still
//     waited for; too much of it, and the question goes over TCP;
//  3. a server that does not keep the capitals is asked once more with others,
//     then over TCP, and is remembered; one that does not understand EDNS, as RFC
//     6891 has it, is asked without, and is remembered;
//  4. an answer that did not fit is asked for over TCP (stream.go);
//  5. TLS (RFC 7858) is TCP to a server that proves its name.
//
// What was measured decides in which order servers are asked ([Exchanger.Order],
// order.go). [Forwarder] is the same for servers that resolve by themselves.
//
// # Whom an answer is believed
//
// Who is not on the path must guess everything that he cannot see (RFC 5452): the
// id, 16 bits; the port, which Linux gives a UDP socket that does not ask for one
// from its own cryptographic generator (get_random_u32), out of
// ip_local_port_range, 14.8 bits by default; and a bit for each letter of the
// name. The socket is connected, so that only datagrams from the server's address
// and port arrive, which must be forged too. Since a query sent again keeps its
// socket, id and capitals, there is never more than one right guess. One socket
// lets [maxIgnored] guesses pass before the question goes over TCP.
//
// The id, the capitals and the cookies are read from crypto/rand. The functions of
// math/rand/v2 use ChaCha8 too, but promise nothing to whom safety depends on it,
// and the difference is lost beside the cost of a socket.
//
// # What it does not do
//
// It does not look at the records of an answer: whether the server may speak of
// them is the walk's to judge. It does not validate signatures. It asks over one
// stream one question at a time: a second one takes another connection.
package exchange
