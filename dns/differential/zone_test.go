package differential

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"minicloud.internal/dns/peers"
)

// A zone grows record by record, and takes only what every server loads: no data
// beside a CNAME, one TTL for each set.
type zone struct {
	origin string
	rng    *rand.Rand
	types  map[string]map[string]bool // by owner
	owners []string                   // in the order of their first record
	lines  []string
}

func (z *zone) has(owner, rtype string) bool { return z.types[owner][rtype] }

// add adds the records of a set, unless they cannot stand where they would.
func (z *zone) add(owner, rtype string, ttl uint32, data ...string) bool {
	there := z.types[owner]
	switch {
	case there["CNAME"], there[rtype], len(there) > 0 && rtype == "CNAME",
		rtype == "DNAME" && (there["NS"] || z.anyBelow(owner)), rtype == "NS" && there["DNAME"],
		z.belowType(owner, "DNAME"):
		return false
	case strings.HasPrefix(owner, "*.") && (rtype == "NS" || rtype == "DNAME" || rtype == "DS"):
		return false // RFC 4592, sections 4.2 to 4.4: nobody knows what they mean
	}
	if there == nil {
		z.types[owner] = map[string]bool{}
		z.owners = append(z.owners, owner)
	}
	z.types[owner][rtype] = true
	for _, d := range data {
		z.lines = append(z.lines, fmt.Sprintf("%s %d IN %s %s", owner, ttl, rtype, d))
	}
	return true
}

// below reports whether a name is below another. No label of a generated owner
// holds an escaped dot before its end.
func below(name, top string) bool {
	return name != top && (top == "." || strings.HasSuffix(name, "."+top))
}

func (z *zone) anyBelow(top string) bool {
	return slices.ContainsFunc(z.owners, func(o string) bool { return below(o, top) })
}

func (z *zone) belowType(owner, rtype string) bool {
	return slices.ContainsFunc(z.owners, func(o string) bool { return z.has(o, rtype) && below(owner, o) })
}

func join(label, name string) string {
	if name == "." {
		return label + "."
	}
	return label + "." + name
}

// under is a name below the zone's own.
func (z *zone) under(labels string) string { return join(labels, z.origin) }

func pick[T any](rng *rand.Rand, from ...T) T { return from[rng.IntN(len(from))] }

// newZone makes a zone of a seed; without a name it gets one of chance.
func newZone(seed uint64, origin string) *zone {
	rng := rand.New(rand.NewPCG(seed, 1))
	if origin == "" {
		origin = pick(rng, "example.test.", "test.", ".", "sub.zone.example.test.")
	}
	z := &zone{origin: origin, rng: rng, types: map[string]map[string]bool{}}
	z.add(z.origin, "SOA", pick[uint32](rng, 3600, 60, 30), fmt.Sprintf("%s %s 7 1800 900 604800 %d", z.under("ns1"), z.under(`host\.master`), pick(rng, 60, 3600)))
	if servers := []string{z.under("ns1"), "ns.elsewhere.invalid."}; origin == "." { // of which nothing is elsewhere
		z.add(z.origin, "NS", 3600, servers[0])
	} else {
		z.add(z.origin, "NS", 3600, servers...)
	}
	z.add(z.under("ns1"), "A", 3600, "192.0.2.53")
	z.add(z.under("ns1"), "AAAA", 3600, "2001:db8::53")
	if rng.IntN(2) == 0 {
		z.add(z.origin, "MX", 300, "10 "+z.under("mail"), "0 .")
		z.add(z.origin, "A", 300, "192.0.2.1")
	}
	z.byDesign()
	for range 70 {
		z.byChance()
	}
	return z
}

// asPeer is the zone as servers load it, its lines in an order of chance but for
// the first.
func (z *zone) asPeer() peers.Zone {
	lines := slices.Clone(z.lines)
	z.rng.Shuffle(len(lines)-1, func(i, j int) { lines[i+1], lines[j+1] = lines[j+1], lines[i+1] })
	return peers.Zone{Origin: z.origin, Text: strings.Join(lines, "\n") + "\n"}
}

// label is one of few, so that names meet each other.
func (z *zone) label() string {
	if z.rng.IntN(30) == 0 {
		return pick(z.rng, oddLabels...)
	}
	return pick(z.rng, "a", "b", "c", "d", "*", "Mixed", "_tcp", "e")
}

// oddLabels are those that a careless server mistakes. The one with the dot is
// used at the beginning of a name only.
var oddLabels = []string{`\000`, `\255\254`, `\@`, `\092`, `\"`, `\032`, `*x`, `x*`, `**`, `\009tab`, `-`, `\;`, `\(`, `xn--nxasmq6b`, strings.Repeat("l", 63)}

// owner is a name of the zone, up to four labels below its own, mostly below one
// that is there.
func (z *zone) owner() string {
	name := z.origin
	if z.rng.IntN(2) == 0 {
		name = pick(z.rng, z.owners...)
	}
	for range 1 + z.rng.IntN(3) {
		if len(name) > 150 {
			break
		}
		name = join(z.label(), name)
	}
	return name
}

// target is a name for a record's data: in the zone, at the root, elsewhere, or
// nowhere.
func (z *zone) target() string {
	switch z.rng.IntN(8) {
	case 0:
		return z.owner()
	case 1:
		if name := join(pick(z.rng, "x", "nope", "a", "*"), pick(z.rng, z.owners...)); len(name) < 200 {
			return name
		}
	case 2:
		return pick(z.rng, "www.elsewhere.invalid.", ".", "invalid.", z.origin)
	}
	return pick(z.rng, z.owners...)
}

// byChance adds what may be anything.
func (z *zone) byChance() {
	owner := z.owner()
	ttl := pick[uint32](z.rng, 0, 1, 300, 3600, 86400, 1<<31-1)
	switch z.rng.IntN(12) {
	case 0, 1:
		if target := z.target(); target != owner {
			z.add(owner, "CNAME", ttl, target)
		}
	case 2:
		if target := z.target(); target != owner && !below(target, owner) && !below(owner, target) {
			z.add(owner, "DNAME", ttl, target)
		}
	case 3, 4:
		z.delegate(owner, ttl)
	default:
		for range 1 + z.rng.IntN(3) {
			rtype := pick(z.rng, dataTypes...)
			z.add(owner, rtype, ttl, z.data(rtype)...)
		}
	}
}

// delegate makes a delegation, with or without addresses: below it, beside it, in
// another zone, or nowhere.
func (z *zone) delegate(owner string, ttl uint32) {
	if strings.Contains(owner, "*.") || len(z.types[owner]) > 0 {
		return
	}
	inside, sibling := join("ns", owner), z.under(pick(z.rng, "ns1", "nsx", "nsy"))
	servers := [][]string{{inside}, {inside, sibling}, {sibling}, {"ns.elsewhere.invalid."}, {inside, "ns.elsewhere.invalid.", sibling}, {join("gone", owner)}}
	if !z.add(owner, "NS", ttl, pick(z.rng, servers...)...) {
		return
	}
	if z.rng.IntN(4) > 0 {
		z.add(inside, "A", ttl, "192.0.2.54")
		if z.rng.IntN(2) > 0 { // and never AAAA alone, at which a resolver without IPv6 despairs slowly
			z.add(inside, "AAAA", ttl, "2001:db8::54")
		}
	}
	if z.rng.IntN(3) == 0 {
		z.add(owner, "DS", ttl, "12345 8 2 "+strings.Repeat("AB", 32))
	}
	if z.rng.IntN(3) == 0 { // occluded
		z.add(owner, "TXT", ttl, `"behind the cut"`)
		z.add(join("below", owner), "A", ttl, "192.0.2.55")
		z.add(join("*", owner), "A", ttl, "192.0.2.56")
	}
}

// byDesign adds the corners that chance would leave out.
func (z *zone) byDesign() {
	u := z.under
	z.add(u("nsx"), "A", 60, "192.0.2.61")
	z.add(u("ns"), "A", 60, "192.0.2.60") // at a delegation's own name, as its own zone has it
	z.add(u("nsy"), "TXT", 60, `"a name server without an address, which no wildcard gives it either"`)
	z.add(u("mail"), "A", 60, "192.0.2.62", "192.0.2.63")
	for _, rtype := range dataTypes { // every type, once, and under a wildcard
		z.add(u("type-"+strings.ToLower(rtype)), rtype, 300, z.data(rtype)...)
		z.add(u("*.wild"), rtype, 300, z.data(rtype)...)
	}
	// RFC 4592, section 2.2.1.
	z.add(u("sub.*.w"), "TXT", 60, `"this is not a wildcard"`)
	z.add(u("*.w"), "MX", 60, "10 "+u("mail"))
	z.add(u("host1.w"), "A", 60, "192.0.2.1")
	z.add(u("_ssh._tcp.host1.w"), "SRV", 60, "0 0 22 "+u("mail"))
	z.add(u("*.deep.w"), "A", 60, "192.0.2.2")
	z.add(u("here.x.*.w"), "A", 60, "192.0.2.3")
	z.add(u("*.alias"), "CNAME", 60, u("mail"))
	z.add(u("*.loop"), "CNAME", 60, u("x.loop"))
	z.add(u("*.out"), "CNAME", 60, "www.elsewhere.invalid.")
	z.add(u("*.nowhere"), "CNAME", 60, u("not-there"))
	z.add(u(`\042.escaped`), "A", 60, "192.0.2.4")
	// Chains.
	for i := range 12 {
		z.add(u(fmt.Sprintf("chain%d", i)), "CNAME", 60, u(fmt.Sprintf("chain%d", i+1)))
	}
	z.add(u("chain12"), "A", 60, "192.0.2.5")
	for _, alias := range [][2]string{{"to-nothing", "not-there"}, {"to-nodata", "host1.w"}, {"to-wild", "q.wild"}, {"to-wildnot", "q.w"},
		{"to-ent", "x.*.w"}, {"to-cut", "cut"}, {"to-below-cut", "x.cut"}, {"to-loop", "loop1"}, {"loop1", "loop2"}, {"loop2", "loop1"},
		{"self", "self"}, {"to-dname", "mail.dname"}, {"to-chain", "to-nothing"}} {
		z.add(u(alias[0]), "CNAME", 60, u(alias[1]))
	}
	z.add(u("to-out"), "CNAME", 60, "www.elsewhere.invalid.")
	z.add(u("to-root"), "CNAME", 60, ".")
	// DNAME (RFC 6672).
	z.add(u("dname"), "DNAME", 60, z.origin)
	z.add(u("dname"), "TXT", 60, `"beside a DNAME"`)
	z.add(u("dname-out"), "DNAME", 60, "elsewhere.invalid.")
	z.add(u("dname-nothing"), "DNAME", 60, u("not-there"))
	z.add(u("dname-cut"), "DNAME", 60, u("cut"))
	z.add(u("dname-dname"), "DNAME", 60, u("dname"))
	z.add(u("dname-long"), "DNAME", 60, strings.Repeat(strings.Repeat("n", 49)+".", 4))
	z.add(u("dname-root"), "DNAME", 60, ".")
	// Delegations.
	z.add(u("cut"), "NS", 60, u("ns.cut"), u("nsx"), "ns.elsewhere.invalid.")
	z.add(u("ns.cut"), "A", 60, "192.0.2.6")
	z.add(u("cut"), "DS", 60, "1 8 2 "+strings.Repeat("0", 64))
	z.add(u("bare"), "NS", 60, "ns.elsewhere.invalid.")
	z.add(u("sibling"), "NS", 60, u("ns.cut"))
	z.add(u("cut.in.cut"), "NS", 60, u("ns.cut"))
	z.add(u("deep.cut.in.cut"), "NS", 60, u("nsx"))
	z.add(u("no-address"), "NS", 60, u("ns.no-address"))
	// Names and sizes.
	z.add(u(`dot\.in\.label`), "A", 60, "192.0.2.7")
	for _, odd := range oddLabels {
		z.add(u(odd), "TXT", 60, `"odd"`)
		z.add(join(odd, u("odd")), "A", 60, "192.0.2.8")
	}
	z.add(z.longest(), "A", 60, "192.0.2.9")
	z.add(u("to-longest"), "CNAME", 60, z.longest())
	var many, texts []string
	for i := range 100 { // as many as BIND takes by default
		many = append(many, fmt.Sprintf("192.0.%d.%d", 2+i/50, i%50))
		texts = append(texts, fmt.Sprintf(`"%d" "%s"`, i, strings.Repeat("t", 200)))
	}
	z.add(u("big-a"), "A", 60, many...)
	z.add(u("middle-a"), "A", 60, many[:28]...)
	z.add(u("big-txt"), "TXT", 60, texts...)
	z.add(u("long-txt"), "TXT", 60, `"" "`+strings.Repeat("x", 255)+`" "\000\255\"\\" ""`)
	var servers []string
	for i := range 14 {
		name := u(fmt.Sprintf("server-with-a-long-name-%d.big-cut", i))
		servers = append(servers, name)
		z.add(name, "A", 60, fmt.Sprintf("192.0.2.%d", 100+i))
		z.add(name, "AAAA", 60, fmt.Sprintf("2001:db8::%d", 100+i))
	}
	z.add(u("big-cut"), "NS", 60, servers...)
	for i, ttl := range []uint32{0, 1, 1<<31 - 1} {
		z.add(u(fmt.Sprintf("ttl%d", i)), "A", ttl, "192.0.2.10")
	}
}

// longest is a name of 255 octets below the origin.
func (z *zone) longest() string {
	name := z.origin
	for {
		room := 255 - 1 - len(name) // a name of n characters takes n+1 octets
		switch {
		case room >= 65:
			name = join(strings.Repeat("m", 63), name)
		case room >= 2:
			return join(strings.Repeat("m", room-1), name)
		default:
			return name
		}
	}
}

// dataTypes are the types of plain data.
var dataTypes = []string{"A", "AAAA", "TXT", "MX", "SRV", "PTR", "CAA", "SVCB", "HTTPS", "NAPTR", "TLSA", "SSHFP",
	"HINFO", "RP", "AFSDB", "LOC", "URI", "OPENPGPKEY", "SMIMEA", "EUI48", "KX", "CERT", "SPF", "TYPE65280", "TYPE731"}

// data returns the data of one to three records of a type.
func (z *zone) data(rtype string) []string {
	n := z.rng.IntN(200)
	switch rtype {
	case "A":
		return []string{fmt.Sprintf("192.0.2.%d", n), fmt.Sprintf(`\# 4 C0000%d%02X`, 3, n)}
	case "AAAA":
		return []string{fmt.Sprintf("2001:db8::%x", n)}
	case "TXT", "SPF":
		return []string{fmt.Sprintf(`"text %d" "" "two\"\\\010"`, n), "unquoted"}
	case "MX", "KX", "AFSDB":
		return []string{"10 " + z.target(), "20 " + pick(z.rng, "mail.Elsewhere.invalid.", z.under("nsx"))}
	case "SRV":
		return []string{fmt.Sprintf("0 %d 80 %s", n, z.target()), "1 0 0 ."}
	case "PTR":
		return []string{z.target()}
	case "CAA":
		return []string{`0 issue "ca.example.net; policy=x"`, `128 tbs "Unknown"`}
	case "SVCB":
		return []string{"0 " + z.target()}
	case "HTTPS":
		return []string{`1 . alpn=h2,h3 ipv4hint=192.0.2.1,192.0.2.2 port=8443`, `2 ` + z.target() + ` key65333=ab no-default-alpn alpn=h2`}
	case "NAPTR":
		return []string{fmt.Sprintf(`100 %d "u" "E2U+sip" "!^.*$!sip:info@example.com!" .`, n), `10 1 "s" "SIP+D2U" "" ` + z.target()}
	case "TLSA", "SMIMEA":
		return []string{"3 1 1 " + strings.Repeat("cd", 32)}
	case "SSHFP":
		return []string{"4 2 " + strings.Repeat("ef", 32)}
	case "HINFO":
		return []string{`"CPU" "O S"`}
	case "RP":
		return []string{z.under("mbox") + " " + z.target()}
	case "LOC":
		return []string{"52 22 23.000 N 4 53 32.000 E -2.00m 1m 10000m 10m"}
	case "URI":
		return []string{`10 1 "https://example.com/path"`}
	case "OPENPGPKEY":
		return []string{"AwEAAcMnWBKLuvG/LwnPVykcmpvnntwxfshHlHRhlY0F3oz8AMcuF8gw9McCw+BoC2YxWaiTpNPuxjSNhUlBtcJmcdkz3/r7PIn0oDf14ept1Y9pdPh8SbIBIWx50ZPfVRlj"}
	case "EUI48":
		return []string{"00-00-5e-00-53-2a"}
	case "CERT":
		return []string{"1 12345 8 TUlJ"}
	default: // RFC 3597
		return []string{fmt.Sprintf(`\# 3 0102%02X`, n), `\# 0`}
	}
}
