package server

import (
	"testing"

	"github.com/miekg/dns"
)

// TestDNSCompliance asks a running server what ISC's DNS compliance tests
// (ednscomp.isc.org, "genreport") ask the servers of the Internet, and expects
// what they expect, case by case.
func TestDNSCompliance(t *testing.T) {
	const (
		tc = 1 << iota
		rd
		ra
		cd
		ad
		aa
		z
	)
	option := func(code uint16, data string) dns.EDNS0 { return &dns.EDNS0_LOCAL{Code: code, Data: []byte(data)} }
	var (
		nsid   = option(dns.EDNS0NSID, "")
		subnet = option(dns.EDNS0SUBNET, "\x00\x01\x00\x00")
		expire = option(dns.EDNS0EXPIRE, "")
		cookie = option(dns.EDNS0COOKIE, "\x01\x02\x03\x04\x05\x06\x07\x08")
		opt100 = option(100, "")
	)
	type asks struct {
		flags   int
		opcode  int
		qtype   uint16 // 0: SOA
		size    uint16 // 0: no EDNS
		version uint8
		do      bool
		z       uint16 // flags of EDNS that have no meaning
		options []dns.EDNS0
		tcp     bool
	}
	tests := []struct {
		name string
		asks asks
	}{
		{"dns: a plain query", asks{}},
		{"aa: AA in a query means nothing", asks{flags: aa}},
		{"ad: AD may be asked for", asks{flags: ad}},
		{"cd: CD may be asked for", asks{flags: cd}},
		{"ra: RA in a query means nothing", asks{flags: ra}},
		{"rd: RD comes back", asks{flags: rd}},
		{"tc: TC in a query means nothing", asks{flags: tc}},
		{"zflag: the bit Z does not come back", asks{flags: z}},
		{"opcode: one that is unknown is not implemented", asks{opcode: 15}},
		{"opcodeflg: and no flag of it comes back", asks{opcode: 15, flags: tc | rd | ra | cd | ad | aa | z}},
		{"type666: a type that is unknown is no error", asks{qtype: 666}},
		{"tcp: TCP is served", asks{tcp: true}},
		{"edns: EDNS is answered with EDNS", asks{size: 4096}},
		{"edns1: EDNS version 1 is answered with BADVERS", asks{size: 4096, version: 1}},
		{"edns@512: the client's size is kept", asks{size: 512, do: true, qtype: dns.TypeTXT}},
		{"ednsopt: an unknown option is ignored", asks{size: 4096, options: []dns.EDNS0{opt100}}},
		{"edns1opt: in version 1 too", asks{size: 4096, version: 1, options: []dns.EDNS0{opt100}}},
		{"do: DO comes back", asks{size: 4096, do: true}},
		{"edns1do: in version 1 too", asks{size: 4096, version: 1, do: true}},
		{"ednsflags: a flag of EDNS that is unknown does not come back", asks{size: 4096, z: 0x80}},
		{"optlist: many options at once", asks{size: 4096, options: []dns.EDNS0{nsid, subnet, expire, cookie}}},
		{"ednsnsid", asks{size: 4096, options: []dns.EDNS0{nsid}}},
		{"ednscookie", asks{size: 4096, options: []dns.EDNS0{cookie}}},
		{"ednsexpire", asks{size: 4096, options: []dns.EDNS0{expire}}},
		{"ednssubnet", asks{size: 4096, options: []dns.EDNS0{subnet}}},
		{"edns1nsid", asks{size: 4096, version: 1, options: []dns.EDNS0{nsid}}},
		{"edns1cookie", asks{size: 4096, version: 1, options: []dns.EDNS0{cookie}}},
		{"edns1expire", asks{size: 4096, version: 1, options: []dns.EDNS0{expire}}},
		{"edns1subnet", asks{size: 4096, version: 1, options: []dns.EDNS0{subnet}}},
		{"ednstcp: over TCP an answer is whole", asks{size: 512, do: true, tcp: true, qtype: dns.TypeTXT}},
		{"bind11: what BIND 9.11 asks", asks{size: 4096, do: true, options: []dns.EDNS0{cookie}}},
		{"dig11: what its dig asks", asks{flags: rd | ad, size: 4096, options: []dns.EDNS0{cookie}}},
	}
	// Every type that has a number: none is an error.
	for qtype := range dns.TypeToString {
		if !MetaType(qtype) && qtype < 128 {
			tests = append(tests, struct {
				name string
				asks asks
			}{"type " + dns.Type(qtype).String(), asks{qtype: qtype}})
		}
	}
	both := new(garden)
	inPlace, generally := newServer(t, nil), newServer(t, nil)
	inPlace.Handler, generally.Handler = both, handlerFunc(both.Answer)
	for way, s := range map[string]*Server{"in place": inPlace, "the general way": generally} {
		s.Limits.NSID = "garden-1"
		addr, _ := start(t, s)
		for _, tt := range tests {
			t.Run(way+"/"+tt.name, func(t *testing.T) {
				a := tt.asks
				q := new(dns.Msg)
				if a.qtype == 0 {
					a.qtype = dns.TypeSOA
				}
				if a.opcode == 0 {
					q.SetQuestion("rose.", a.qtype)
				}
				q.Id, q.Opcode, q.Truncated, q.RecursionDesired = dns.Id(), a.opcode, a.flags&tc != 0, a.flags&rd != 0
				q.RecursionAvailable, q.CheckingDisabled, q.AuthenticatedData = a.flags&ra != 0, a.flags&cd != 0, a.flags&ad != 0
				q.Authoritative, q.Zero = a.flags&aa != 0, a.flags&z != 0
				if a.size > 0 {
					q.SetEdns0(a.size, a.do)
					q.IsEdns0().SetVersion(a.version)
					q.IsEdns0().Hdr.Ttl |= uint32(a.z)
					q.IsEdns0().Option = a.options
				}
				network := "udp"
				if a.tcp {
					network = "tcp"
				}
				m, _, err := (&dns.Client{Net: network, UDPSize: dns.MaxMsgSize}).Exchange(q, addr)
				if err != nil {
					t.Fatal(err)
				}
				want := dns.RcodeSuccess
				switch {
				case a.opcode != 0:
					want = dns.RcodeNotImplemented
				case a.version != 0:
					want = dns.RcodeBadVers
				}
				query, opt := a.opcode == 0, m.IsEdns0()
				for what, wrong := range map[string]bool{
					"rcode":                           m.Rcode != want,
					"opcode":                          m.Opcode != a.opcode,
					"AA without an authoritative yes": m.Authoritative != (want == dns.RcodeSuccess),
					"RA":                              m.RecursionAvailable,
					"RD":                              m.RecursionDesired != (query && a.flags&rd != 0),
					"AD, which nobody has checked":    m.AuthenticatedData,
					"CD":                              m.CheckingDisabled && (!query || a.flags&cd == 0),
					"Z":                               m.Zero,
					"TC":                              m.Truncated != (a.qtype == dns.TypeTXT && !a.tcp),
					"records in the answer to another opcode": !query && len(m.Question)+len(m.Answer)+len(m.Ns)+len(m.Extra) > 0,
					"no SOA record":            want == 0 && a.qtype == dns.TypeSOA && len(m.Answer) != 1,
					"an answer beside BADVERS": a.version != 0 && len(m.Answer)+len(m.Ns) > 0,
					"EDNS":                     (opt != nil) != (a.size > 0),
				} {
					if wrong {
						t.Errorf("%s: got\n%v", what, m)
					}
				}
				if opt != nil {
					checkOPT(t, opt, a.do, a.options)
				}
			})
		}
	}
}

// checkOPT holds that an OPT record says what was asked for, and no more.
func checkOPT(t *testing.T, opt *dns.OPT, do bool, asked []dns.EDNS0) {
	t.Helper()
	if opt.Version() != 0 || opt.Do() != do || opt.Z() != 0 {
		t.Errorf("got %v", opt)
	}
	want := map[uint16]bool{}
	for _, o := range asked {
		if o.Option() == dns.EDNS0NSID || o.Option() == dns.EDNS0COOKIE {
			want[o.Option()] = true
		}
	}
	for _, o := range opt.Option {
		if !want[o.Option()] {
			t.Errorf("an option that was not asked for: %v", o)
		}
		delete(want, o.Option())
		if cookie, ok := o.(*dns.EDNS0_COOKIE); ok && len(cookie.Cookie) != 2*(clientCookieSize+serverCookieSize) {
			t.Errorf("a cookie of %d digits", len(cookie.Cookie))
		}
	}
	if len(want) > 0 {
		t.Errorf("options %v are missing", want)
	}
}
