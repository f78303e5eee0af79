package differential

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/dns/peers"
)

// A tree is the names that the resolvers walk: the root, com with elsewhere.com on
// the same server, example.com, and cut.example.com, each on a server of its own at
// port 53. There is nobody else to ask: every address in it is of one of them, or of
// nobody on the loopback network.
type tree struct {
	hints   string
	routes  string // for our resolver, which asks nobody on the loopback network but by a route
	zone    *zone  // example.com
	child   *zone  // cut.example.com
	servers []*peers.Server
}

// grow starts the servers, one of each kind in turn.
func grow(t *testing.T, seed uint64, kinds []peers.Kind, ours string) *tree {
	t.Helper()
	var at []string
	for range 4 {
		a, err := peers.FreeAddress(53)
		if errors.Is(err, syscall.EACCES) {
			t.Skip("port 53 is not ours to listen at: resolvers know no other; run it as root")
		}
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, a.Addr().String())
	}
	tr := &tree{
		hints: fmt.Sprintf(". 3600 IN NS a.root-servers.net.\na.root-servers.net. 3600 IN A %s\n", at[0]),
		zone:  newZone(seed, "example.com."),
		child: newZone(seed+1<<32, "cut.example.com."),
	}
	for _, a := range at {
		tr.routes += fmt.Sprintf("%q = %q, ", a, a+":53")
	}
	tr.routes = "routes = { " + strings.TrimSuffix(tr.routes, ", ") + " }"
	root := soa(".", "a.root-servers.net.") + ". 3600 IN NS a.root-servers.net.\n" +
		"a.root-servers.net. 3600 IN A " + at[0] + "\ncom. 3600 IN NS ns.com.\nns.com. 3600 IN A " + at[1] + "\n"
	com := soa("com.", "ns.com.") + "com. 3600 IN NS ns.com.\nns.com. 3600 IN A " + at[1] + "\n" +
		"elsewhere.com. 3600 IN NS ns.com.\nexample.com. 3600 IN NS ns1.example.com.\nns1.example.com. 3600 IN A " + at[2] + "\n"
	elsewhere := soa("elsewhere.com.", "ns.com.") + "elsewhere.com. 3600 IN NS ns.com.\nwww.elsewhere.com. 300 IN A 127.77.0.1\n" +
		"*.elsewhere.com. 300 IN A " + at[3] + "\nback.elsewhere.com. 300 IN CNAME mail.example.com.\n"
	for i, zones := range [][]peers.Zone{{{Origin: ".", Text: root}}, {{Origin: "com.", Text: com}, {Origin: "elsewhere.com.", Text: elsewhere}},
		{tr.zone.onLoopback(at[2], at[3])}, {tr.child.onLoopback(at[3], at[3])}} {
		k := kinds[i%len(kinds)]
		c := peers.Config{Address: netip.MustParseAddrPort(at[i] + ":53"), Zones: zones}
		if k.Ours() {
			c.Program = ours
		}
		s, err := peers.Start(t.Context(), k, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		tr.servers = append(tr.servers, s)
	}
	return tr
}

func soa(origin, server string) string {
	return fmt.Sprintf("%s 3600 IN SOA %s hostmaster.%s 1 1800 900 604800 60\n", origin, server, strings.TrimPrefix(origin, "."))
}

var (
	servers4 = regexp.MustCompile(`(\sns1\S*) (\d+) IN A \S+|(\s(?:ns|nsx|gone|server)\S*) (\d+) IN A \S+`)
	anyIPv6  = regexp.MustCompile(`2001:db8::[0-9a-f]+`)
)

// onLoopback is the zone with addresses of the loopback network: those of the
// name servers are own for the zone itself, child for all others (which answer, so
// that nobody waits, but mostly know nothing of the zone).
func (z *zone) onLoopback(own, child string) peers.Zone {
	p := z.asPeer()
	text := "\n" + strings.ReplaceAll(p.Text, "elsewhere.invalid.", "elsewhere.com.")
	text = servers4.ReplaceAllStringFunc(text, func(line string) string {
		fields := strings.Fields(line)
		address := child
		if lower(fields[0]) == z.under("ns1") {
			address = own
		}
		return fmt.Sprintf("\n%s %s IN A %s", fields[0], fields[1], address)
	})
	// An occluded wildcard: some servers take it for the address of a name server.
	text = strings.ReplaceAll(text, "192.0.2.56", child)
	text = strings.ReplaceAll(strings.ReplaceAll(text, "192.0.", "127.77."), `\# 4 C000`, `\# 4 7F4D`)
	return peers.Zone{Origin: p.Origin, Text: strings.TrimPrefix(anyIPv6.ReplaceAllString(text, "::1"), "\n")}
}

// resolved is what counts of a resolver's answer: the response code, the records
// without their TTL, and whether a negative one says how long it may be remembered.
func resolved(a answer) form {
	if a.msg == nil {
		return form{content: a.err.Error()}
	}
	m := a.msg
	f := form{content: dns.RcodeToString[m.Rcode] + flags(bit{"tc", m.Truncated})}
	f[bits] = fmt.Sprintf("opcode %d", m.Opcode) + flags(bit{"qr", m.Response}, bit{"aa", m.Authoritative}, bit{"rd", m.RecursionDesired},
		bit{"ra", m.RecursionAvailable}, bit{"z", m.Zero})
	f[ad], f[cd] = flags(bit{"ad", m.AuthenticatedData}), flags(bit{"cd", m.CheckingDisabled})
	for _, q := range m.Question {
		f[question] += fmt.Sprintf("%s %s %s\n", q.Name, class(q.Qclass), rtype(q.Qtype))
	}
	if opt := m.IsEdns0(); opt != nil {
		f[edns] = fmt.Sprintf("version %d flags %#x", opt.Version(), opt.Z()) + flags(bit{"do", opt.Do()})
	}
	if m.Truncated {
		return f
	}
	var bare []dns.RR
	for _, rr := range m.Answer {
		rr = dns.Copy(rr)
		rr.Header().Ttl = 0
		bare = append(bare, rr)
	}
	f[content] += section("answer", bare, nil)
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeSOA {
			f[content] += "\nauthority SOA of " + lower(rr.Header().Name)
		}
	}
	return f
}

// lateness is how far the TTLs of two resolvers may be apart: each has learned a
// record when it was first asked for something that led there.
const lateness = 60

// compareTTLs marks the TTLs of ours that no peer has, within the lateness.
func compareTTLs(v *verdict) {
	theirs := map[string][]uint32{}
	for _, a := range v.answers[1:] {
		if a.msg != nil {
			for _, rr := range a.msg.Answer {
				theirs[withoutTTL(rr)] = append(theirs[withoutTTL(rr)], rr.Header().Ttl)
			}
		}
	}
	if v.answers[0].msg == nil {
		return
	}
	for _, rr := range v.answers[0].msg.Answer {
		of, mine := theirs[withoutTTL(rr)], rr.Header().Ttl
		if len(of) > 0 && (mine > slices.Max(of)+lateness || mine+lateness < slices.Min(of)) {
			v.forms[0][ttls] += fmt.Sprintf("%s: %d, with the peers %v\n", withoutTTL(rr), mine, of)
		}
	}
}

func withoutTTL(rr dns.RR) string {
	rr = dns.Copy(rr)
	rr.Header().Ttl = 0
	return canonical(rr)
}

// walks are the questions for the resolvers: those that ask them to resolve
// something. (A question for RRSIG BIND ponders for seconds.)
func (tr *tree) walks(rng *rand.Rand) (all []query) {
	for _, z := range []*zone{tr.zone, tr.child} {
		for _, q := range queries(z) {
			if q.opcode == dns.OpcodeQuery && q.qclass == dns.ClassINET && q.qtype != dns.TypeANY && q.qtype != dns.TypeRRSIG && q.version == 0 && q.flags == 0 && rng.IntN(3) == 0 {
				q.rd, q.cd, q.ad, q.z = true, false, false, false
				all = append(all, q)
			}
		}
	}
	for _, name := range []string{"www.elsewhere.com.", "any.elsewhere.com.", "back.elsewhere.com.", "elsewhere.com.", "nothing.com.", "com.", ".", "ns.com.", "no-such-tld."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeNS, dns.TypeSOA, dns.TypeTXT} {
			all = append(all, query{name: name, qtype: qtype, qclass: dns.ClassINET, rd: true, edns: true, size: 1232, transport: "udp"})
		}
	}
	return all
}

// resolvers starts those of the tree, for the length of the test.
func (tr *tree) resolvers(t *testing.T, kinds []peers.Kind, ours string) (all []*peers.Server) {
	t.Helper()
	for _, k := range kinds {
		c := peers.Config{Hints: tr.hints}
		if k.Ours() {
			c.Program, c.Extra = ours, tr.routes
		}
		s, err := peers.Start(t.Context(), k, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		})
		all = append(all, s)
	}
	return all
}

func TestResolver(t *testing.T) {
	t.Parallel()
	authoritative := installed(t, peers.NSD, peers.Knot)
	kinds := append([]peers.Kind{peers.Resolver}, installed(t, peers.Unbound, peers.BIND)...)
	ours, name := program(t, peers.Resolver), program(t, peers.DNSServer)
	counts := tally{rules: resolverRules, hits: map[string]int{}}
	first := seed()
	for i := range *seeds {
		seed := first + uint64(i)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			tr := grow(t, seed, append(slices.Clone(authoritative), peers.DNSServer), name)
			compareResolvers(t, tr, kinds, tr.resolvers(t, kinds, ours), &counts)
		})
	}
	counts.print(first, *seeds)
}

// compareResolvers asks several questions at once, each twice: the second time the
// answer comes out of the cache.
func compareResolvers(t *testing.T, tr *tree, kinds []peers.Kind, servers []*peers.Server, counts *tally) {
	const workers = 8
	work := make(chan query)
	var all sync.WaitGroup
	var mu sync.Mutex // guards counts and shown
	shown := 0
	for range workers {
		var clients []*client
		for _, s := range servers {
			c, err := newClient(s)
			if err != nil {
				t.Fatal(err)
			}
			c.patience = 9 * time.Second // an answer takes as long as its name servers
			t.Cleanup(c.close)
			clients = append(clients, c)
		}
		all.Go(func() {
			for q := range work {
				for range 2 {
					wire, err := q.wire(uint16(rand.Uint32()))
					if err != nil {
						t.Error(err)
						break
					}
					v := verdict{zone: tr.zone, query: q, kinds: kinds, answers: askAll(clients, q.transport, wire)}
					for _, a := range v.answers {
						v.forms = append(v.forms, resolved(a))
					}
					compareTTLs(&v)
					mu.Lock()
					for _, text := range counts.judge(v) {
						if shown++; shown <= *show {
							t.Error(text)
						}
					}
					mu.Unlock()
				}
			}
		})
	}
	for _, q := range tr.walks(tr.zone.rng) {
		work <- q
	}
	close(work)
	all.Wait()
}
