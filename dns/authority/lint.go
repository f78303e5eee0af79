package authority

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"minicloud.internal/dns/internal/wirename"
)

// A Warning is something in a zone that is legal, and yet hardly what somebody
// wants.
type Warning struct {
	File string // or which entry of the configuration
	Line int    // 0 where there is none
	Text string // a sentence without its end
}

// String returns "file:line: text".
func (w Warning) String() string {
	if w.Line == 0 {
		return w.File + ": " + w.Text
	}
	return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text)
}

const (
	week = 7 * 24 * 60 * 60 // in seconds
	day  = 24 * 60 * 60
)

// A linter looks at one zone.
type linter struct {
	*Zone
	glue  map[string]bool // names that a name server has
	found []Warning
}

// Lint finds what is legal but wrong in a zone, in the order of file and line:
//
//   - delegations whose name server lies below them and has no address here, so
//     that nobody gets there (missing glue, RFC 1034, section 4.2.1)
//   - NS, MX or SRV records whose host, in the zone, has no address, or is an
//     alias (RFC 2181, section 10.3); CNAME records that lead to nothing, or in a
//     circle
//   - names below a delegation or a DNAME record that nobody can see
//   - a TTL of more than a week, and times of the SOA record that do not fit
//     together (RFC 1912, section 2.2)
//   - DS records without a delegation, DNAME records at a wildcard or to below
//     themselves
//   - names that end with the zone's own name twice: a final dot was forgotten
func Lint(z *Zone) []Warning {
	l := &linter{Zone: z, glue: map[string]bool{}}
	for _, name := range z.order {
		if set := z.nodes[name].set(dns.TypeNS); set != nil {
			for _, target := range set.all() {
				l.glue[wirename.Lower(target)] = true
			}
		}
	}
	for _, name := range z.order {
		n := z.nodes[name]
		for i := range n.sets {
			l.set(name, n, &n.sets[i])
		}
	}
	l.timers()
	slices.SortStableFunc(l.found, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line)
	})
	return l.found
}

func (l *linter) warn(at position, format string, args ...any) {
	l.found = append(l.found, Warning{l.files[at.file], int(at.line), fmt.Sprintf(format, args...)})
}

// set looks at the records of one name and type.
func (l *linter) set(name string, n *node, set *rrset) {
	at, rrtype := set.position(), dns.Type(set.rrtype)
	if set.ttl > week {
		l.warn(at, "the %s records of %s have a TTL of %d, over a week: a change would take as long", rrtype, wirename.Text(name), set.ttl)
	}
	if l.apex != wirename.Root && within(strings.TrimSuffix(name, l.apex)+wirename.Root, l.apex) {
		l.warn(at, "%s ends with the name of the zone twice: is a dot missing at the end of the name?", wirename.Text(name))
	}
	if l.hidden(name, n, set) {
		return
	}
	switch set.rrtype {
	case dns.TypeDS:
		if n.set(dns.TypeNS) == nil {
			l.warn(at, "%s has DS records but no NS records, and is no delegation", wirename.Text(name))
		}
	case dns.TypeDNAME:
		if within(wirename.Lower(set.first()), name) {
			l.warn(at, "the DNAME record of %s leads back below itself, to %s", wirename.Text(name), wirename.Text(set.first()))
		}
		if strings.HasPrefix(name, star) {
			l.warn(at, "%s is a wildcard with a DNAME record, which is not followed for the names that it stands for (RFC 6672, section 3.2)", wirename.Text(name))
		}
	case dns.TypeCNAME:
		l.alias(name, set)
	}
	for at, rdata := range set.all() {
		if host, _ := hostOf(set.rrtype, rdata); len(host) > 1 {
			l.host(at, name, rrtype, wirename.Lower(host))
		}
	}
}

// hidden reports whether nobody sees a set, and warns unless it is needed as it is.
func (l *linter) hidden(name string, n *node, set *rrset) bool {
	c := n.cover
	if c == nil || c.owner == n && (!c.delegation || set.rrtype == dns.TypeDS || set.rrtype == dns.TypeNS) {
		return false
	}
	glue := c.delegation && l.glue[name] && (set.rrtype == dns.TypeA || set.rrtype == dns.TypeAAAA)
	if !glue {
		kind := map[bool]string{true: "the delegation", false: "the DNAME record"}[c.delegation]
		l.warn(set.position(), "the %s records of %s are hidden by %s of %s", dns.Type(set.rrtype), wirename.Text(name), kind, wirename.Text(c.name))
	}
	return true
}

// host looks at the host that a record names, if it is the zone's own to know.
func (l *linter) host(at position, name string, rrtype dns.Type, host string) {
	if !within(host, l.apex) {
		return
	}
	n, c := l.find([]byte(host), dns.TypeA)
	describe := fmt.Sprintf("%s, which the %s record of %s names,", wirename.Text(host), rrtype, wirename.Text(name))
	switch {
	case c != nil && c.delegation:
		if rrtype == dns.Type(dns.TypeNS) && within(host, name) && !l.hasAddress(host) {
			l.warn(at, "%s lies below the delegation, so that its address is needed here (glue)", describe)
		} // of other hosts there the delegated zone knows the addresses
	case c != nil || n != nil && n.set(dns.TypeCNAME) != nil:
		l.warn(at, "%s is an alias, expected a name with addresses of its own (RFC 2181, section 10.3)", describe)
	case n == nil:
		l.warn(at, "%s does not exist", describe)
	case n.set(dns.TypeA) == nil && n.set(dns.TypeAAAA) == nil && !isService(rrtype, n):
		l.warn(at, "%s has no address", describe)
	}
}

// hasAddress reports whether the zone has an address of a host, glue or not.
func (l *linter) hasAddress(host string) bool {
	n := l.nodes[host]
	return n != nil && (n.set(dns.TypeA) != nil || n.set(dns.TypeAAAA) != nil)
}

// isService reports whether a service binding goes on at the node.
func isService(rrtype dns.Type, n *node) bool {
	return (rrtype == dns.Type(dns.TypeSVCB) || rrtype == dns.Type(dns.TypeHTTPS)) && n.set(uint16(rrtype)) != nil
}

// alias looks at where a CNAME record leads.
func (l *linter) alias(name string, set *rrset) {
	seen := map[string]bool{name: true}
	for target := wirename.Lower(set.first()); within(target, l.apex); {
		n, c := l.find([]byte(target), dns.TypeA)
		switch {
		case seen[target]:
			l.warn(set.position(), "the CNAME record of %s leads in a circle, back to %s", wirename.Text(name), wirename.Text(target))
			return
		case c != nil:
			return
		case n == nil:
			l.warn(set.position(), "the CNAME record of %s leads to %s, which does not exist", wirename.Text(name), wirename.Text(target))
			return
		}
		seen[target] = true
		next := n.set(dns.TypeCNAME)
		if next == nil {
			return
		}
		target = wirename.Lower(next.first())
	}
}

// timers looks at the times in the SOA record.
func (l *linter) timers() {
	soa, at := l.soa, l.nodes[l.apex].set(dns.TypeSOA).position()
	switch {
	case soa.Retry >= soa.Refresh:
		l.warn(at, "the SOA record's retry (%d s) is not shorter than its refresh (%d s)", soa.Retry, soa.Refresh)
	case soa.Expire <= soa.Refresh+soa.Retry:
		l.warn(at, "the SOA record's expire (%d s) is not longer than its refresh and retry (%d s): secondary servers give up after one failure", soa.Expire, soa.Refresh+soa.Retry)
	}
	if soa.Minttl > day {
		l.warn(at, "the SOA record's minimum (%d s) is over a day: names that are added would stay unknown as long (RFC 2308, section 5)", soa.Minttl)
	}
	if soa.Refresh > week || soa.Expire > 1<<31-1 {
		l.warn(at, "the SOA record's refresh (%d s) or expire (%d s) is unusually long", soa.Refresh, soa.Expire)
	}
}
