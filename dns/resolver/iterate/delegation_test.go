package iterate

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/kit"
)

func TestDelegationsAreRemembered(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := newDelegations(2)
	a := &Delegation{Zone: "a.", ends: now.Add(time.Second)}
	b := &Delegation{Zone: "b.", ends: now.Add(2 * time.Second)}
	other := &Delegation{Zone: "c.", ends: now.Add(time.Second)}
	newer := &Delegation{Zone: "a.", ends: now.Add(time.Second)}
	expect := func(at time.Time, want map[string]*Delegation) {
		t.Helper()
		got := map[string]*Delegation{}
		for _, zone := range []string{"a.", "b.", "c."} {
			if d := c.get(zone, at); d != nil {
				got[zone] = d
			}
		}
		if !maps.Equal(got, want) || c.len() != len(want) || c.order.Len() != len(want) {
			t.Errorf("got %v, expected %v", got, want)
		}
	}
	c.put(a, now)
	c.put(b, now)
	expect(now, map[string]*Delegation{"a.": a, "b.": b})
	c.put(newer, now) // instead of the old one
	expect(now, map[string]*Delegation{"a.": newer, "b.": b})
	c.get("a.", now)
	c.put(other, now) // b. was used longest ago
	expect(now, map[string]*Delegation{"a.": newer, "c.": other})
	c.replace(a, &Delegation{Zone: "a."}) // a was replaced itself
	better := &Delegation{Zone: "a.", ends: now.Add(time.Hour)}
	c.replace(newer, better)
	expect(now, map[string]*Delegation{"a.": better, "c.": other})
	c.put(&Delegation{Zone: "c.", ends: now}, now) // over at once: even the old one is gone
	expect(now, map[string]*Delegation{"a.": better})
	expect(now.Add(time.Second), map[string]*Delegation{}) // as when newer would have ended
	c.put(a, now)
	c.discard(newer) // which is not there any more
	expect(now, map[string]*Delegation{"a.": a})
	c.discard(a)
	expect(now, map[string]*Delegation{})
	c.put(a, now)
	c.forget("a.")
	c.forget("a.")
	expect(now, map[string]*Delegation{})
}

func TestDelegationsAreBoundedInMemory(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := newDelegations(100)
	for i := range 1000 { // each with as much as there may be of everything
		d := &Delegation{Zone: fmt.Sprintf("z%d.", i), ends: now.Add(time.Second)}
		for j := range 16 {
			d.Servers = append(d.Servers, NameServer{Name: strings.Repeat("a", 240) + fmt.Sprint(j), Addrs: make([]netip.Addr, 8)})
		}
		c.put(d, now)
	}
	if c.len() < 10 || c.len() > 14 || c.weight > 100 { // of some 7.5 KB
		t.Errorf("%d delegations of weight %d", c.len(), c.weight)
	}
	for i := range 1000 {
		c.put(&Delegation{Zone: fmt.Sprintf("small%d.", i), ends: now.Add(time.Second)}, now)
	}
	if c.len() != 100 || c.weight != 100 || c.order.Len() != 100 {
		t.Errorf("%d delegations of weight %d", c.len(), c.weight)
	}
}

func TestHints(t *testing.T) {
	t.Run("those of the Internet are thirteen servers", func(t *testing.T) {
		d := InternetHints()
		if len(d.Servers) != 13 || d.Servers[12].Addrs[0].String() != "202.12.27.33" {
			t.Errorf("got %+v", d)
		}
	})
	t.Run("a file is read, and servers without address are left out", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "hints")
		text := ". 60 NS A.root.\n. 60 NS b.root.\na.root. 60 A 192.0.2.1\nA.ROOT. 60 AAAA 2001:db8::1\nother. 60 A 192.0.2.2\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := ReadHintsFile(path)
		if err != nil || len(d.Servers) != 1 || d.Servers[0].Name != "a.root." || len(d.Servers[0].Addrs) != 2 {
			t.Errorf("got %+v, %v", d, err)
		}
	})
	for _, tt := range [][3]string{
		{"a file without servers is refused", "", "file: no name server of the root with an address"},
		{"one without addresses too", ". 60 NS a.root.\n", "file: no name server of the root with an address"},
		{"what is wrong is told with its line", ". 60 NS a.root.\na.root. 60 A 192.0.2\n", "line: 2"},
	} {
		t.Run(tt[0], func(t *testing.T) {
			if _, err := ReadHints(tt[1], "file"); err == nil || !strings.Contains(err.Error(), tt[2]) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := ReadHintsFile(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was read")
	}
}

func TestLimitsAreValidated(t *testing.T) {
	for key, change := range map[string]func(l *Limits){
		"":                   func(*Limits) {},
		"resolve_timeout":    func(l *Limits) { l.ResolveTimeout = 0 },
		"max_queries":        func(l *Limits) { l.MaxQueries = 0 },
		"max_referrals":      func(l *Limits) { l.MaxReferrals = 1001 },
		"max_aliases":        func(l *Limits) { l.MaxAliases = 101 },
		"max_glueless":       func(l *Limits) { l.MaxGlueless = -1 },
		"max_depth":          func(l *Limits) { l.MaxDepth = 21 },
		"max_servers":        func(l *Limits) { l.MaxServers = 0 },
		"max_addresses":      func(l *Limits) { l.MaxAddresses = 0 },
		"max_records":        func(l *Limits) { l.MaxRecords = 5000 },
		"max_minimise":       func(l *Limits) { l.MaxMinimise = -1 },
		"attempts":           func(l *Limits) { l.Attempts = 0 },
		"max_delegations":    func(l *Limits) { l.MaxDelegations = 0 },
		"max_delegation_ttl": func(l *Limits) { l.MaxDelegationTTL = 8 * 24 * time.Hour },
	} {
		l := DefaultLimits()
		change(&l)
		err := l.ValidateLimits()
		var bad *kit.KeyError
		if key == "" && err != nil || key != "" && (!errors.As(err, &bad) || bad.Key != key || !strings.Contains(err.Error(), "expected")) {
			t.Errorf("%s: got %v", key, err)
		}
	}
	if _, err := New(Config{Limits: DefaultLimits()}); err == nil {
		t.Error("an iterator without an exchanger was made")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("an iterator without limits was made")
	}
}

func TestAZoneThatWasTakenAwayDoesNotLiveOnBelowItself(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", "evil. 60 IN NS ns.evil.\nns.evil. 60 IN A 192.0.2.2\n")
	own := ownZone(t, "evil.", "evil. 86400 IN NS ns.evil.\nns.evil. 86400 IN A 192.0.2.2")
	w.serve("192.0.2.2", func(q *dns.Msg, network string) []*dns.Msg {
		if !dns.IsSubDomain("deep.evil.", dns.CanonicalName(q.Question[0].Name)) {
			return own(q, network)
		}
		m := new(dns.Msg).SetReply(q)
		m.Ns = []dns.RR{newRR(t, "deep.evil. 86400 IN NS ns.deep.evil.")}
		m.Extra = []dns.RR{newRR(t, "ns.deep.evil. 86400 IN A 192.0.2.3")}
		return []*dns.Msg{m}
	})
	w.serve("192.0.2.3", func(q *dns.Msg, _ string) []*dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		m.Answer = []dns.RR{newRR(t, q.Question[0].Name+" 1 IN A 192.0.2.80")}
		return []*dns.Msg{m}
	})
	it := w.iterator()
	ask(it, "www.evil. A", Options{})
	settle(it) // what the zone says of itself must not prolong what is below it
	if got := ask(it, "www.deep.evil. A", Options{}); !strings.HasPrefix(got, "NOERROR") {
		t.Fatal(got)
	}
	settle(it)
	if d := it.Closest("www.deep.evil."); d.Zone != "deep.evil." {
		t.Fatalf("the delegation is not remembered, but %s", d.Zone)
	}
	w.clock.forward(time.Minute) // and evil. has no delegation any more
	if d := it.Closest("www.deep.evil."); d.Zone != "." {
		t.Errorf("%s lives on", d.Zone)
	}
}
