package differential

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"minicloud.internal/dns/peers"
)

// A tool is a program that people ask name servers with.
type tool struct {
	name string
	// args asks a server for a name and type.
	args func(host, port, name, rtype string) []string
	// resolvers: it is of use for resolvers alone.
	resolvers bool
}

var tools = []tool{
	{name: "dig", args: func(host, port, name, rtype string) []string {
		return []string{"@" + host, "-p", port, "+time=5", "+noall", "+comments", "+question", "+answer", name, rtype}
	}},
	{name: "kdig", args: func(host, port, name, rtype string) []string {
		return []string{"@" + host, "-p", port, "+timeout=5", "+noall", "+header", "+question", "+answer", "+edns=0", name, rtype}
	}},
	{name: "drill", args: func(host, port, name, rtype string) []string {
		return []string{"-a", "-p", port, name, "@" + host, rtype}
	}},
	{name: "host", args: func(host, port, name, rtype string) []string {
		return []string{"-p", port, "-W", "5", "-t", rtype, name, host}
	}},
	{name: "delv", resolvers: true, args: func(host, port, name, rtype string) []string {
		return []string{"@" + host, "-p", port, "-i", "+noroot", name, rtype}
	}},
}

// noise is what differs from run to run or is no part of the answer: ids, times,
// sizes, servers, cookies, what the explanations of errors say, and how many
// records there are beside the answer.
var noise = regexp.MustCompile(`(?i)id: \d+|, AUTHORITY: \d+,? ADDITIONAL: \d+|; AUTHORITY: \d+|; ADDITIONAL: \d+|udp: \d+|UDP size: \d+ B|size: \d+ B|\.? ?;? COOKIE: .*|; EDE: .*|;; Query time.*|;; SERVER:.*|;; WHEN:.*|;; MSG SIZE.*|;; EDNS: .*|;; From.*|;; Received.*|Address: .*|Name: .*|\(\d server found\)|; <<>>.*|reply from \S+|reply, from \S+`)

// timed is the beginning of a record, or of the comment that delv makes of one.
var timed = regexp.MustCompile(`^((?:; )?\S+) \d+ (IN|CLASS1) `)

// said is the output of a tool in a form that can be compared. Drill prints all
// sections; what a server adds to the answer counts in TestAuthoritative.
func said(output string, ttl bool) string {
	var lines []string
	skipping := false
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, ";; AUTHORITY SECTION") || strings.HasPrefix(line, ";; ADDITIONAL SECTION") {
			skipping = true
		} else if strings.HasPrefix(line, ";;") {
			skipping = false
		}
		line = strings.Join(strings.Fields(noise.ReplaceAllString(line, "")), " ")
		if skipping || line == "" || line == ";" {
			continue
		}
		if !ttl {
			line = timed.ReplaceAllString(line, "$1 $2 ")
		}
		lines = append(lines, lower(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// asks are what the tools ask for, below example.com.
var asks = []struct{ name, rtype string }{
	{"", "SOA"}, {"", "NS"}, {"ns1.", "A"}, {"ns1.", "MX"}, {"mail.", "A"}, {"q.wild.", "TXT"}, {"q.wild.", "SVCB"}, {"q.wild.", "NAPTR"},
	{"type-caa.", "CAA"}, {"type-https.", "HTTPS"}, {"type-tlsa.", "TLSA"}, {"type-sshfp.", "SSHFP"}, {"type-srv.", "SRV"}, {"type-loc.", "LOC"},
	{"type-uri.", "URI"}, {"type-hinfo.", "HINFO"}, {"type-type731.", "TYPE731"}, {"chain3.", "A"}, {"to-nothing.", "A"}, {"to-nodata.", "AAAA"},
	{"not-there.", "A"}, {"x.*.w.", "A"}, {"mail.dname.", "A"}, {"dname.", "DNAME"}, {"big-a.", "A"}, {"big-txt.", "TXT"}, {"long-txt.", "TXT"},
	{"cut.", "DS"}, {"MiXeD.wild.", "A"}, {`dot\.in\.label.`, "A"},
}

// run is what a tool says.
func (tl tool) run(t *testing.T, s *peers.Server, name, rtype string, ttl bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	host, port, err := net.SplitHostPort(s.Address.String())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(ctx, tl.name, tl.args(host, port, name, rtype)...).CombinedOutput()
	text := said(string(out), ttl)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		text += fmt.Sprintf("\nexit status %d", exit.ExitCode())
	}
	return text
}

// What is at mail.example.com, as the name servers have it and as the resolvers find
// it: an answer that has to come, since servers of which none answers agree, too.
const (
	known         = "192.0.2.62"
	knownResolved = "127.77.2.62"
)

// compareTools has every tool ask all servers, of which the first is ours: it has to
// say of ours what it says of one of the peers.
func compareTools(t *testing.T, servers []*peers.Server, resolvers bool) {
	want := known
	if resolvers {
		want = knownResolved
	}
	for _, tl := range tools {
		if tl.resolvers && !resolvers {
			continue
		}
		t.Run(tl.name, func(t *testing.T) {
			if _, err := exec.LookPath(tl.name); err != nil {
				t.Skipf("%s is not installed", tl.name)
			}
			for i, ask := range asks {
				if *seeds == 1 && i%4 != 0 {
					continue // the short form
				}
				name := ask.name + "example.com."
				mine := tl.run(t, servers[0], name, ask.rtype, !resolvers)
				if ask.name == "mail." && !strings.Contains(mine, want) {
					t.Errorf("%s %s without %s:\n%s", name, ask.rtype, want, mine)
				}
				var theirs string
				agreed := slices.ContainsFunc(servers[1:], func(s *peers.Server) bool {
					theirs = tl.run(t, s, name, ask.rtype, !resolvers)
					return theirs == mine
				})
				if !agreed {
					t.Errorf("%s %s: as with %s, but (-theirs +ours):\n%s", name, ask.rtype, servers[len(servers)-1].Kind.Title(), cmp.Diff(theirs, mine))
				}
			}
		})
	}
}

// TestClients asks the authoritative servers as people do.
func TestClients(t *testing.T) {
	t.Parallel()
	kinds := append([]peers.Kind{peers.DNSServer}, installed(t, peers.Knot, peers.NSD, peers.BIND)...)
	z := newZone(1, "example.com.")
	var servers []*peers.Server
	for _, c := range start(t, kinds, program(t, peers.DNSServer), z.asPeer()) {
		servers = append(servers, c.Server)
	}
	compareTools(t, servers, false)
	compareGo(t, servers, known)
}

// TestClientsOfResolvers asks the resolvers as people do.
func TestClientsOfResolvers(t *testing.T) {
	t.Parallel()
	authoritative := installed(t, peers.NSD, peers.Knot)
	kinds := append([]peers.Kind{peers.Resolver}, installed(t, peers.Unbound, peers.BIND)...)
	tr := grow(t, 1, append(slices.Clone(authoritative), peers.DNSServer), program(t, peers.DNSServer))
	servers := tr.resolvers(t, kinds, program(t, peers.Resolver))
	compareTools(t, servers, true)
	compareGo(t, servers, knownResolved)
}

// compareGo asks with Go's own resolver; not for the canonical name, of which it says
// one thing or another, by which of its two questions is answered first. want is what
// it has to find at mail.example.com.
func compareGo(t *testing.T, servers []*peers.Server, want string) {
	type lookup func(r *net.Resolver, ctx context.Context, name string) (any, error)
	lookups := map[string]lookup{
		"host": func(r *net.Resolver, ctx context.Context, name string) (any, error) { return r.LookupHost(ctx, name) },
		"mx":   func(r *net.Resolver, ctx context.Context, name string) (any, error) { return r.LookupMX(ctx, name) },
		"ns":   func(r *net.Resolver, ctx context.Context, name string) (any, error) { return r.LookupNS(ctx, name) },
		"txt":  func(r *net.Resolver, ctx context.Context, name string) (any, error) { return r.LookupTXT(ctx, name) },
	}
	ask := func(s *peers.Server, l lookup, name string) string {
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Address.String())
		}}
		got, err := l(r, t.Context(), name)
		if dnsErr := (*net.DNSError)(nil); errors.As(err, &dnsErr) {
			return fmt.Sprintf("not found %v, temporary %v, timeout %v", dnsErr.IsNotFound, dnsErr.IsTemporary, dnsErr.IsTimeout)
		}
		var lines []string
		switch got := got.(type) {
		case []string:
			lines = got
		case []*net.MX:
			for _, mx := range got {
				lines = append(lines, fmt.Sprint(mx.Pref, mx.Host))
			}
		case []*net.NS:
			for _, ns := range got {
				lines = append(lines, ns.Host)
			}
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n") + fmt.Sprint(" ", err)
	}
	t.Run("Go", func(t *testing.T) {
		if got := ask(servers[0], lookups["host"], "mail.example.com."); !strings.Contains(got, want) {
			t.Errorf("mail.example.com. without %s: %s", want, got)
		}
		for kind, l := range lookups {
			for _, name := range []string{"", "ns1.", "mail.", "chain3.", "to-nothing.", "to-nodata.", "not-there.", "mail.dname.", "big-a.", "long-txt.", "type-mx.", "q.wild.", "cut."} {
				name += "example.com."
				mine, theirs := ask(servers[0], l, name), ""
				if !slices.ContainsFunc(servers[1:], func(s *peers.Server) bool {
					theirs = ask(s, l, name)
					return theirs == mine
				}) {
					t.Errorf("%s %s (-theirs +ours):\n%s", kind, name, cmp.Diff(theirs, mine))
				}
			}
		}
	})
}
