package ingressclient

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// This file holds the decisions about DNS messages, without I/O.

// maxAliases bounds a chain of CNAME records.
const maxAliases = 16

// reply reads a message and refuses it unless it answers query: the id and the
// question must be the query's own (RFC 5452, section 9.1).
func reply(raw []byte, query *dns.Msg) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return nil, fmt.Errorf("it is malformed: %w", err)
	}
	switch q := query.Question[0]; {
	case m.Id != query.Id:
		return nil, errors.New("its id is not the question's")
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return nil, errors.New("it is not a response")
	case len(m.Question) != 1 || m.Question[0].Qtype != q.Qtype || m.Question[0].Qclass != q.Qclass ||
		!strings.EqualFold(m.Question[0].Name, q.Name):
		return nil, errors.New("it answers another question")
	}
	return m, nil
}

// An answer is what one question came to.
type answer struct {
	owner   string   // the name at the end of the aliases
	records []dns.RR // of the type asked for, at owner
	extra   []dns.RR // the additional section
	rcode   int      // NOERROR or NXDOMAIN
	open    bool     // it ends with an alias that the resolver did not follow
}

// interpret follows the aliases of a reply (RFC 1034, section 3.6.2).
func interpret(m *dns.Msg) (answer, error) {
	q := m.Question[0]
	a := answer{owner: dns.CanonicalName(q.Name), rcode: m.Rcode, extra: m.Extra}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return a, fmt.Errorf("it answered %s", rcodeName(m.Rcode))
	}
	for range maxAliases {
		next := ""
		for _, rr := range m.Answer {
			h := rr.Header()
			if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != a.owner {
				continue
			}
			if h.Rrtype == q.Qtype {
				a.records = append(a.records, rr)
			} else if cname, ok := rr.(*dns.CNAME); ok && next == "" {
				next = dns.CanonicalName(cname.Target)
			}
		}
		if len(a.records) > 0 || next == "" {
			moved := a.owner != dns.CanonicalName(q.Name)
			isSOA := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA }
			a.open = moved && len(a.records) == 0 && a.rcode == dns.RcodeSuccess && !slices.ContainsFunc(m.Ns, isSOA)
			return a, nil
		}
		a.owner = next
	}
	return a, fmt.Errorf("it answered with a loop of aliases")
}

// addresses returns the addresses that records hold for name, IPv4 first: the
// cloud listens there.
func addresses(records []dns.RR, name string) (v4, v6 []netip.Addr) {
	name = dns.CanonicalName(name)
	for _, rr := range records {
		if dns.CanonicalName(rr.Header().Name) != name {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			if addr, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				v4 = append(v4, addr)
			}
		case *dns.AAAA:
			if addr, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				v6 = append(v6, addr)
			}
		}
	}
	return v4, v6
}

// orderSRV puts targets into the order in which they are tried: by priority,
// and within one by a draw according to weight (RFC 2782). draw returns a
// number from 0 to n, both included.
func orderSRV(records []dns.RR, draw func(n int) int) []*dns.SRV {
	var left []*dns.SRV
	for _, rr := range records {
		if srv, ok := rr.(*dns.SRV); ok {
			left = append(left, srv)
		}
	}
	// Weight 0 stands first, so that it has a small chance of being drawn.
	slices.SortStableFunc(left, func(a, b *dns.SRV) int {
		if a.Priority != b.Priority {
			return int(a.Priority) - int(b.Priority)
		}
		return min(int(a.Weight), 1) - min(int(b.Weight), 1)
	})
	ordered := make([]*dns.SRV, 0, len(left))
	for len(left) > 0 {
		sum, group := 0, 0
		for group < len(left) && left[group].Priority == left[0].Priority {
			sum += int(left[group].Weight)
			group++
		}
		drawn, i := draw(sum), 0
		for running := int(left[0].Weight); running < drawn && i < group-1; running += int(left[i].Weight) {
			i++
		}
		ordered = append(ordered, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return ordered
}

// describe puts an answer into one line for -v.
func describe(m *dns.Msg) string {
	var parts []string
	for _, rr := range m.Answer {
		data := strings.TrimPrefix(rr.String(), rr.Header().String())
		parts = append(parts, fmt.Sprintf("%s %s (TTL %d s)", dns.Type(rr.Header().Rrtype), shortNames(data), rr.Header().Ttl))
	}
	if len(parts) == 0 {
		if m.Rcode == dns.RcodeSuccess {
			return "no such record"
		}
		return rcodeName(m.Rcode)
	}
	return strings.Join(parts, ", ")
}

// shortNames drops the final dot of a name at the end of a record's data.
func shortNames(data string) string {
	if len(data) > 2 {
		return strings.TrimSuffix(data, ".")
	}
	return data
}

func rcodeName(rcode int) string {
	if name, ok := dns.RcodeToString[rcode]; ok && rcode <= math.MaxUint16 {
		return name
	}
	return fmt.Sprintf("RCODE %d", rcode)
}
