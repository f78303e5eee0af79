package authority

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A Zone is the data of one zone, ready to be asked. It is never changed, and
// may be read by many goroutines at once.
type Zone struct {
	origin  string // canonical
	soa     *dns.SOA
	nodes   map[string]*node // by canonical name
	skipped []string         // entries of Records without a value
}

// A node is one name of the zone. A name that only has names below it is a node
// without sets (an "empty non-terminal", RFC 4592, section 2.2.2): it exists.
type node struct {
	sets map[uint16][]dns.RR // by type
}

// Origin returns the zone's name in canonical form.
func (z *Zone) Origin() string { return z.origin }

// Serial returns the serial number of the zone's SOA record.
func (z *Zone) Serial() uint32 { return z.soa.Serial }

// A loadError is what is wrong with a zone, and which key of its configuration
// says so.
type loadError struct {
	key string
	err error
}

// loadZone reads a zone's file and adds its further records.
func loadZone(origin, path string, records []string) (*Zone, *loadError) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &loadError{".file", fmt.Errorf("cannot be read: %w", err)}
	}
	defer f.Close()
	z := &Zone{origin: origin, nodes: map[string]*node{}}
	if err := z.read(f, path); err != nil {
		return nil, &loadError{".file", fmt.Errorf("is not a valid zone: %w", err)}
	}
	for i, entry := range records {
		if err := z.addEntry(entry); err != nil {
			return nil, &loadError{fmt.Sprintf(".records[%d]", i), fmt.Errorf("is %q, expected a record as in a zone file: %w", entry, err)}
		}
	}
	if err := z.check(); err != nil {
		return nil, &loadError{".file", fmt.Errorf("is not a valid zone: %s: %w", path, err)}
	}
	return z, nil
}

// ReadZone reads a zone from the text of a zone file. The name stands in errors,
// with the line.
func ReadZone(origin string, text io.Reader, name string) (*Zone, error) {
	origin, err := canonical(origin)
	if err != nil {
		return nil, err
	}
	z := &Zone{origin: origin, nodes: map[string]*node{}}
	if err := z.read(text, name); err != nil {
		return nil, err
	}
	if err := z.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return z, nil
}

// A lineCounter hands the parser its bytes one by one, and so knows the line of
// the record that the parser returns last; the parser tells the lines of syntax
// errors only.
type lineCounter struct {
	*bufio.Reader
	lines int
}

func (l *lineCounter) ReadByte() (byte, error) {
	b, err := l.Reader.ReadByte()
	if b == '\n' {
		l.lines++
	}
	return b, err
}

// noTTL is what the parser gives a record that has no TTL, where it would give 0;
// no record may have so much.
const noTTL = 1<<32 - 1

func (z *Zone) read(text io.Reader, name string) error {
	counter := &lineCounter{Reader: bufio.NewReader(text)}
	parser := dns.NewZoneParser(counter, z.origin, name)
	parser.SetDefaultTTL(noTTL)
	for {
		rr, ok := parser.Next()
		if !ok {
			break
		}
		if err := z.add(rr); err != nil {
			return fmt.Errorf("%s:%d: %w", name, max(counter.lines, 1), err)
		}
	}
	if err := parser.Err(); err != nil {
		return fmt.Errorf("%s", strings.Replace(err.Error(), ": dns: ", ": ", 1))
	}
	return nil
}

// addEntry adds one entry of [ZoneConfig.Records].
func (z *Zone) addEntry(entry string) error {
	parser := dns.NewZoneParser(strings.NewReader(entry+"\n"), z.origin, "")
	parser.SetDefaultTTL(noTTL)
	rr, ok := parser.Next()
	if !ok && hasEmptyField(entry) {
		z.skipped = append(z.skipped, entry)
		return nil
	}
	if err := parser.Err(); err != nil {
		return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "dns: "))
	}
	if _, more := parser.Next(); !ok || more || parser.Err() != nil {
		return fmt.Errorf("it does not hold one record")
	}
	return z.add(rr)
}

// hasEmptyField reports whether a variable in the entry may have been empty.
func hasEmptyField(entry string) bool {
	return strings.TrimSpace(entry) != entry || entry == "" || strings.Contains(entry, "  ")
}

// add takes one record in, in the form that it has when it comes from the wire:
// only then are two spellings of one name equal.
func (z *Zone) add(rr dns.RR) error {
	owner := rr.Header().Name
	buf := make([]byte, dns.MaxMsgSize)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return fmt.Errorf("the record of %s cannot be sent: %w", owner, err)
	}
	if rr, _, err = dns.UnpackRR(buf[:n], 0); err != nil {
		return fmt.Errorf("the record of %s cannot be sent: %w", owner, err)
	}
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	switch {
	case !dns.IsSubDomain(z.origin, name):
		return fmt.Errorf("%s lies outside of the zone %s", owner, z.origin)
	case h.Class != dns.ClassINET:
		return fmt.Errorf("the class of %s is %s, expected IN", owner, dns.Class(h.Class))
	case h.Ttl == noTTL:
		return fmt.Errorf("the record of %s has no TTL, and there is no $TTL before it", owner)
	case h.Ttl > 1<<31-1:
		return fmt.Errorf("the TTL of %s is %d, expected at most %d (RFC 2181, section 8)", owner, h.Ttl, 1<<31-1)
	case h.Rdlength == 0 || h.Rrtype == dns.TypeNone || h.Rrtype == dns.TypeOPT || h.Rrtype >= 128 && h.Rrtype <= 255:
		return fmt.Errorf("the record of %s with the type %s has no data, or none that a zone can hold", owner, dns.Type(h.Rrtype))
	case h.Rrtype == dns.TypeDNAME:
		return fmt.Errorf("%s has a DNAME record, which this server does not follow", owner)
	}
	if soa, ok := rr.(*dns.SOA); ok {
		if name != z.origin || z.soa != nil {
			return fmt.Errorf("there is a SOA record at %s, expected exactly one, at %s", owner, z.origin)
		}
		z.soa = soa
	}
	return z.node(name).add(rr)
}

// node returns the node of a name, which it makes, with all above it, if needed.
func (z *Zone) node(name string) *node {
	if n := z.nodes[name]; n != nil {
		return n
	}
	n := &node{sets: map[uint16][]dns.RR{}}
	z.nodes[name] = n
	if name != z.origin {
		z.node(parent(name))
	}
	return n
}

// add keeps the rules of a name: no CNAME beside other data (RFC 1034, section
// 3.6.2), one TTL per set (RFC 2181, section 5.2), no record twice.
func (n *node) add(rr dns.RR) error {
	h := rr.Header()
	set := n.sets[h.Rrtype]
	_, isAlias := n.sets[dns.TypeCNAME]
	_, same := n.sets[h.Rrtype]
	if len(n.sets) > 0 && (isAlias || h.Rrtype == dns.TypeCNAME && !same) {
		if !slices.ContainsFunc(set, func(other dns.RR) bool { return dns.IsDuplicate(rr, other) }) {
			return fmt.Errorf("%s has a CNAME record beside other records", h.Name)
		}
	}
	for _, other := range set {
		if other.Header().Ttl != h.Ttl {
			return fmt.Errorf("the %s records of %s have the TTLs %d and %d, expected one", dns.Type(h.Rrtype), h.Name, other.Header().Ttl, h.Ttl)
		}
		if dns.IsDuplicate(rr, other) {
			return nil
		}
	}
	n.sets[h.Rrtype] = append(set, rr)
	return nil
}

// check finds what only the whole zone shows.
func (z *Zone) check() error {
	if z.soa == nil {
		return fmt.Errorf("the SOA record of %s is missing", z.origin)
	}
	if len(z.nodes[z.origin].sets[dns.TypeNS]) == 0 {
		return fmt.Errorf("the NS records of %s are missing", z.origin)
	}
	for _, name := range slices.Sorted(maps.Keys(z.nodes)) {
		for _, rr := range z.nodes[name].sets[dns.TypeNS] {
			target := dns.CanonicalName(rr.(*dns.NS).Ns)
			if dns.IsSubDomain(name, target) && len(z.addresses(target)) == 0 {
				return fmt.Errorf("the name server %s of %s lies below %s, so that its address is needed here (glue)", target, name, name)
			}
		}
	}
	return nil
}

// addresses returns the A and AAAA records at a name, glue or not.
func (z *Zone) addresses(name string) []dns.RR {
	n := z.nodes[name]
	if n == nil {
		return nil
	}
	return slices.Concat(n.sets[dns.TypeA], n.sets[dns.TypeAAAA])
}

// canonical returns a name as it would come from the wire, in lower case.
func canonical(name string) (string, error) {
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil {
		return "", fmt.Errorf("%q is no domain name: %w", name, err)
	}
	wire, _, err := dns.UnpackDomainName(buf[:n], 0)
	return dns.CanonicalName(wire), err
}

// parent cuts the first label off; the parent of the root is the root.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}
