package differential

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A query is one question in one wording.
type query struct {
	name          string // as asked
	qtype, qclass uint16
	opcode        int
	rd, ad, cd, z bool
	transport     string // "udp" or "tcp"

	edns    bool
	size    uint16
	do      bool
	version uint8
	flags   uint16 // those of the OPT record that have no meaning yet
	options []dns.EDNS0
}

// String is the query as a person would repeat it.
func (q query) String() string {
	s := fmt.Sprintf("%s %s %s %s", q.name, class(q.qclass), rtype(q.qtype), q.transport)
	if q.opcode != dns.OpcodeQuery {
		s += fmt.Sprintf(" opcode %d", q.opcode)
	}
	s += strings.ReplaceAll(flags(bit{"rd", q.rd}, bit{"ad", q.ad}, bit{"cd", q.cd}, bit{"z", q.z}), " ", " +")
	if q.edns {
		s += fmt.Sprintf(" EDNS version %d size %d", q.version, q.size)
		if q.do {
			s += " DO"
		}
		if q.flags != 0 {
			s += fmt.Sprintf(" flags %#x", q.flags)
		}
		for _, o := range q.options {
			s += fmt.Sprintf(" option %d", o.Option())
		}
	}
	return s
}

func rtype(t uint16) string {
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return fmt.Sprintf("TYPE%d", t)
}

func class(c uint16) string {
	if s, ok := dns.ClassToString[c]; ok {
		return s
	}
	return fmt.Sprintf("CLASS%d", c)
}

// wire is the message.
func (q query) wire(id uint16) ([]byte, error) {
	m := new(dns.Msg)
	m.Id, m.Opcode = id, q.opcode
	m.RecursionDesired, m.AuthenticatedData, m.CheckingDisabled, m.Zero = q.rd, q.ad, q.cd, q.z
	m.Question = []dns.Question{{Name: q.name, Qtype: q.qtype, Qclass: q.qclass}}
	if q.edns {
		opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: q.options}
		opt.SetUDPSize(q.size)
		opt.SetVersion(q.version)
		opt.Hdr.Ttl |= uint32(q.flags)
		opt.SetDo(q.do)
		m.Extra = []dns.RR{opt}
	}
	return m.Pack()
}

// queries are questions about a zone: about every name that has records, those
// above, below and beside it, and some that are in no zone; each for the types
// that it has, and for others.
func queries(z *zone) []query {
	var all []query
	for _, name := range z.asked() {
		types := map[uint16]bool{}
		for _, t := range slices.Sorted(maps.Keys(z.types[name])) {
			if len(z.types[name]) < 5 || z.rng.IntN(3) == 0 {
				types[number(t)] = true
			}
		}
		for range 3 {
			types[pick(z.rng, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX, dns.TypeNS, dns.TypeSOA, dns.TypeDS, dns.TypeCNAME,
				dns.TypeDNAME, dns.TypeANY, dns.TypeHTTPS, dns.TypeNSEC, dns.TypeRRSIG, dns.TypeDNSKEY, 65280, 65535, 731)] = true
		}
		for _, t := range slices.Sorted(maps.Keys(types)) {
			all = append(all, wording(z.rng, name, t))
		}
	}
	for range 100 { // questions that no ordinary client asks
		q := wording(z.rng, pick(z.rng, z.owners...), dns.TypeA)
		switch z.rng.IntN(4) {
		case 0:
			q.qclass = pick[uint16](z.rng, dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassANY, dns.ClassNONE, 2, 65280)
		case 1:
			q.opcode = pick(z.rng, 1, 2, 3, 6, 7, 15)
		case 2:
			q.qtype = pick[uint16](z.rng, dns.TypeMAILA, dns.TypeMAILB, dns.TypeNone, dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeIXFR, 128, 200, dns.TypeNXNAME)
		case 3:
			q.edns, q.size, q.version = true, 1232, pick[uint8](z.rng, 1, 2, 255)
		}
		all = append(all, q)
	}
	return all
}

func number(rtype string) uint16 {
	if n, ok := dns.StringToType[rtype]; ok {
		return n
	}
	var n uint16
	_, _ = fmt.Sscanf(rtype, "TYPE%d", &n)
	return n
}

// asked are the names to ask for.
func (z *zone) asked() []string {
	seen := map[string]bool{}
	var all []string
	add := func(name string) {
		if _, ok := dns.IsDomainName(name); ok && !seen[name] && len(name) < 240 {
			seen[name] = true
			all = append(all, name)
		}
	}
	for _, owner := range z.owners {
		add(owner)
		add(join(pick(z.rng, "x", "*", "a", `\000`), owner))
		add(join("y", join(pick(z.rng, "b", "*", "x"), owner)))
		if i, end := dns.NextLabel(owner, 0); !end {
			add(join(pick(z.rng, "zz", "*", `\001`, "~"), owner[i:]))
			for ; !end && below(owner[i:], z.origin); i, end = dns.NextLabel(owner, i) {
				add(owner[i:])
			}
		}
	}
	all = append(all, z.longest(), strings.Repeat("toolong.", 24)+z.under("dname-long"), strings.Repeat("fits.", 7)+z.under("dname-long"))
	add("elsewhere.invalid.")
	add(".")
	for i, end := dns.NextLabel(z.origin, 0); !end; i, end = dns.NextLabel(z.origin, i) {
		add(z.origin[i:])
	}
	return all
}

// wording asks for a name and type in a way of chance.
func wording(rng *rand.Rand, name string, qtype uint16) query {
	q := query{name: mixCase(rng, name), qtype: qtype, qclass: dns.ClassINET, transport: pick(rng, "udp", "udp", "udp", "tcp")}
	q.rd, q.cd, q.ad, q.z = rng.IntN(2) == 0, rng.IntN(8) == 0, rng.IntN(8) == 0, rng.IntN(30) == 0
	if q.edns = rng.IntN(3) > 0; q.edns {
		q.size = pick[uint16](rng, 0, 511, 512, 800, 1220, 1232, 1232, 1232, 4096, 65535)
		q.do = rng.IntN(4) == 0
		if rng.IntN(10) == 0 {
			q.flags = 1 << rng.IntN(15)
		}
		if rng.IntN(6) == 0 {
			q.options = append(q.options, &dns.EDNS0_LOCAL{Code: uint16(65001 + rng.IntN(5)), Data: make([]byte, rng.IntN(9))})
		}
		if rng.IntN(10) == 0 {
			q.options = append(q.options, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
		}
		if rng.IntN(10) == 0 {
			q.options = append(q.options, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: fmt.Sprintf("%016x", rng.Uint64())})
		}
		if rng.IntN(20) == 0 {
			q.options = append(q.options, &dns.EDNS0_PADDING{Padding: make([]byte, rng.IntN(20))})
		}
	}
	return q
}

// mixCase changes the case of letters, which are not part of an escape.
func mixCase(rng *rand.Rand, name string) string {
	b := []byte(name)
	for i, c := range b {
		if ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') && rng.IntN(4) == 0 {
			b[i] ^= 0x20
		}
	}
	return string(b)
}
