package differential

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// An aspect is a part of an answer that is compared by itself.
type aspect string

const (
	content  aspect = "content" // response code, AA, TC, and the records
	glue     aspect = "glue"    // the addresses with a referral
	bits     aspect = "bits"    // the rest of the header but for
	ad       aspect = "AD"
	cd       aspect = "CD"
	question aspect = "question"
	edns     aspect = "EDNS"
	ttls     aspect = "TTL" // of resolvers
)

var aspects = []aspect{content, glue, bits, ad, cd, question, edns, ttls}

// A form is an answer without what does not count: the order of records,
// compression, the case of names, the options of EDNS, the apex's NS records in
// the authority section, additional records but for the addresses without which
// nobody reaches a delegation (RFC 9471). Of an answer that is truncated no record
// counts.
type form map[aspect]string

func (z *zone) form(a answer) form {
	if a.msg == nil {
		return form{content: a.err.Error()}
	}
	m := a.msg
	f := form{content: dns.RcodeToString[m.Rcode] + flags(bit{"aa", m.Authoritative}, bit{"tc", m.Truncated})}
	f[bits] = fmt.Sprintf("opcode %d", m.Opcode) + flags(bit{"qr", m.Response}, bit{"rd", m.RecursionDesired},
		bit{"ra", m.RecursionAvailable}, bit{"z", m.Zero})
	f[ad], f[cd] = flags(bit{"ad", m.AuthenticatedData}), flags(bit{"cd", m.CheckingDisabled})
	for _, q := range m.Question {
		f[question] += fmt.Sprintf("%s %s %s\n", q.Name, class(q.Qclass), rtype(q.Qtype))
	}
	for _, rr := range m.Extra {
		if opt, ok := rr.(*dns.OPT); ok {
			f[edns] += fmt.Sprintf("version %d flags %#x", opt.Version(), opt.Z()) + flags(bit{"do", opt.Do()})
		}
	}
	if m.Truncated {
		return f
	}
	cut := z.cut(m)
	f[content] += section("answer", m.Answer, nil)
	f[content] += section("authority", m.Ns, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeNS && lower(rr.Header().Name) == z.origin
	})
	f[glue] = section("glue", m.Extra, func(rr dns.RR) bool {
		owner := lower(rr.Header().Name)
		return cut == "" || len(m.Answer) > 0 || owner != cut && !below(owner, cut)
	})
	return f
}

// cut is the delegation that a message refers to, or empty.
func (z *zone) cut(m *dns.Msg) string {
	for _, rr := range m.Ns {
		if owner := lower(rr.Header().Name); rr.Header().Rrtype == dns.TypeNS && owner != z.origin {
			return owner
		}
	}
	return ""
}

// section is the records of a section but for those that are left out, a line each.
func section(title string, rrs []dns.RR, without func(dns.RR) bool) string {
	var lines []string
	for _, rr := range rrs {
		if without == nil || !without(rr) {
			lines = append(lines, "\n"+title+" "+canonical(rr))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

type bit struct {
	name string
	set  bool
}

func flags(all ...bit) (s string) {
	for _, f := range all {
		if f.set {
			s += " " + f.name
		}
	}
	return s
}

// canonical is the text of a record, with its names in lower case.
func canonical(rr dns.RR) string {
	rr = dns.Copy(rr)
	rr.Header().Name = lower(rr.Header().Name)
	text := rr.String()
	switch rr.Header().Rrtype {
	// Those with names that may be compressed (RFC 3597, section 4), so that
	// the case may be that of another occurrence.
	case dns.TypeNS, dns.TypeCNAME, dns.TypeSOA, dns.TypePTR, dns.TypeMX, dns.TypeRP, dns.TypeAFSDB, dns.TypeSRV, dns.TypeDNAME, dns.TypeKX:
		text = lower(text)
	}
	return strings.ReplaceAll(text, "\t", " ")
}

// lower changes ASCII letters alone; an escape holds none.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
