package iterate

import (
	"fmt"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// internetHints are the root servers of the Internet, as IANA lists them
// (https://www.internic.net/domain/named.root).
const internetHints = `
. 3600000 NS a.root-servers.net.
. 3600000 NS b.root-servers.net.
. 3600000 NS c.root-servers.net.
. 3600000 NS d.root-servers.net.
. 3600000 NS e.root-servers.net.
. 3600000 NS f.root-servers.net.
. 3600000 NS g.root-servers.net.
. 3600000 NS h.root-servers.net.
. 3600000 NS i.root-servers.net.
. 3600000 NS j.root-servers.net.
. 3600000 NS k.root-servers.net.
. 3600000 NS l.root-servers.net.
. 3600000 NS m.root-servers.net.
a.root-servers.net. 3600000 A 198.41.0.4
b.root-servers.net. 3600000 A 170.247.170.2
c.root-servers.net. 3600000 A 192.33.4.12
d.root-servers.net. 3600000 A 199.7.91.13
e.root-servers.net. 3600000 A 192.203.230.10
f.root-servers.net. 3600000 A 192.5.5.241
g.root-servers.net. 3600000 A 192.112.36.4
h.root-servers.net. 3600000 A 198.97.190.53
i.root-servers.net. 3600000 A 192.36.148.17
j.root-servers.net. 3600000 A 192.58.128.30
k.root-servers.net. 3600000 A 193.0.14.129
l.root-servers.net. 3600000 A 199.7.83.42
m.root-servers.net. 3600000 A 202.12.27.33
`

// InternetHints returns the root servers of the Internet.
func InternetHints() *Delegation {
	d, err := ReadHints(internetHints, "built-in hints")
	if err != nil {
		panic(err) // a constant, read by a test
	}
	return d
}

// ReadHintsFile reads the root's name servers and their addresses from a file in
// the form of a zone file.
func ReadHintsFile(path string) (*Delegation, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ReadHints(string(text), path)
}

// ReadHints reads the root's NS records and the addresses of their targets. The
// file's name is for errors.
func ReadHints(text, file string) (*Delegation, error) {
	parser := dns.NewZoneParser(strings.NewReader(text), ".", file)
	var rrs []dns.RR
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		// As from the wire, where a record without data is none.
		rr.Header().Rdlength = uint16(dns.Len(rr) - len(rr.Header().Name) - 10)
		rrs = append(rrs, rr)
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("%s", strings.Replace(err.Error(), ": dns: ", ": ", 1))
	}
	all := DefaultLimits()
	all.MaxServers, all.MaxAddresses = len(rrs), len(rrs)
	d, _ := delegationOf(".", ".", rrs, rrs, &all)
	hints := &Delegation{Zone: ".", Source: "hints"}
	for _, ns := range d.Servers {
		if len(ns.Addrs) > 0 { // another could only be found with the hints themselves
			hints.Servers = append(hints.Servers, ns)
		}
	}
	if len(hints.Servers) == 0 {
		return nil, fmt.Errorf("%s: no name server of the root with an address, expected lines such as \". 86400 IN NS a.root.\" and \"a.root. 86400 IN A 192.0.2.53\"", file)
	}
	return hints, nil
}
