package resolver

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// recursive makes a server's answers those of a resolver.
func recursive(f reply) reply {
	return func(q *dns.Msg, network string) []*dns.Msg {
		answers := f(q, network)
		for i, m := range answers {
			m = m.Copy()
			m.Authoritative, m.RecursionAvailable = false, true
			if !q.RecursionDesired {
				m.Rcode, m.Answer, m.Ns = dns.RcodeRefused, nil, nil
			}
			answers[i] = m
		}
		return answers
	}
}

func TestForward(t *testing.T) {
	w := newWorld(t)
	walked := w.zone("192.0.2.1", ".", "www IN A 192.0.2.80\ncorp IN NS ns.corp.\nns.corp IN A 192.0.2.9\n")
	w.silent("192.0.2.9")
	corp := w.serve("192.0.2.5", recursive(zoneReply(t, "corp.", "www IN A 10.0.0.1\nout IN CNAME www.\n_x IN TXT \"a\"\ntest IN A 10.0.0.2\n")))
	special := w.serve("192.0.2.6", recursive(zoneReply(t, "dev.test.", "www IN A 10.0.0.3\n")))
	at := func(addr string) string { return w.real[addr] }
	r := w.resolver(func(c *Config) {
		c.Forward = []ForwardConfig{
			{Zone: "corp.", Addresses: []string{at("192.0.2.5")}},
			{Zone: "dev.test.", Addresses: []string{at("192.0.2.6")}},
		}
	})
	for _, tt := range []struct{ name, question, want string }{
		{"a name in the zone is asked for there", "www.corp. A", "NOERROR | www.corp. 300 A 10.0.0.1"},
		{"so is what does not exist", "nope.corp. A", "NXDOMAIN |  | corp. 60 SOA"},
		{"and what has no records of the type", "www.corp. AAAA", "NOERROR |  | corp. 60 SOA"},
		{"an alias that leads out of it is walked to", "out.corp. A", "NOERROR | out.corp. 300 CNAME www.; www. 300 A 192.0.2.80"},
		{"a special-use name is forwarded, if its zone is", "www.dev.test. A", "NOERROR | www.dev.test. 300 A 10.0.0.3"},
		{"its neighbour is not", "www.other.test. A", "NXDOMAIN |  | test. 3600 SOA"},
		{"everything else is walked to", "www. A", "NOERROR | www. 300 A 192.0.2.80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the second from the cache
				if got := brief(query(t, r, tt.question)); got != tt.want {
					t.Errorf("got %s, expected %s", got, tt.want)
				}
			}
		})
	}
	status, body := admin(t, r, http.MethodGet, "/cache?name=www.corp")
	var known struct {
		Zone closest `json:"closest_zone"`
	}
	if err := json.Unmarshal([]byte(body), &known); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if diff := cmp.Diff(closest{"corp.", []string{at("192.0.2.5")}, "forwarded"}, known.Zone); diff != "" {
		t.Error(diff)
	}
	if walked.Load() != 1 || corp.Load() != 4 || special.Load() != 1 {
		t.Errorf("%d queries to the root, %d and %d to the forwarders", walked.Load(), corp.Load(), special.Load())
	}
}

func TestForwardEverything(t *testing.T) {
	w := newWorld(t)
	w.silent("192.0.2.1")
	answer := recursive(zoneReply(t, ".", "www IN A 192.0.2.80\nalias IN CNAME www\n"))
	w.serve("192.0.2.5", answer)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	r := w.resolver(func(c *Config) {
		c.Forward = []ForwardConfig{{Zone: ".", Addresses: []string{dead.LocalAddr().String(), w.real["192.0.2.5"]}}}
	})
	if got, want := brief(query(t, r, "alias. A")), "NOERROR | alias. 300 CNAME www.; www. 300 A 192.0.2.80"; got != want {
		t.Errorf("got %s, expected %s", got, want)
	}
	if got := brief(query(t, r, "x.localhost. A")); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("localhost left the machine: %s", got)
	}
}

func TestAForwarderThatFailsIsExplained(t *testing.T) {
	w := newWorld(t)
	w.serve("192.0.2.5", rcodeReply(dns.RcodeRefused))
	r := w.resolver(func(c *Config) {
		c.Forward = []ForwardConfig{{Zone: "corp.", Addresses: []string{w.real["192.0.2.5"]}}}
	})
	m := query(t, r, "www.corp. A")
	code, sentence := explained(m)
	if m.Rcode != dns.RcodeServerFailure || code != dns.ExtendedErrorCodeNoReachableAuthority || !strings.Contains(sentence, "REFUSED") {
		t.Errorf("got %d %q in %v", code, sentence, m)
	}
}

func TestTheWorldDoesNotDenyAForwardedZone(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", "")
	w.serve("192.0.2.5", recursive(zoneReply(t, "corp.internal.", "www IN A 10.0.0.1\n")))
	r := w.resolver(func(c *Config) {
		c.Forward = []ForwardConfig{{Zone: "corp.internal.", Addresses: []string{w.real["192.0.2.5"]}}}
	})
	for _, step := range []struct{ question, want string }{
		{"internal. A", "NXDOMAIN |  | . 60 SOA"},
		{"other.internal. A", "NXDOMAIN |  | . 60 SOA"},
		{"corp.internal. DS", "NXDOMAIN |  | . 60 SOA"},
		{"www.corp.internal. A", "NOERROR | www.corp.internal. 300 A 10.0.0.1"},
		{"internal. A", "NXDOMAIN |  | . 60 SOA"},
	} {
		if got := brief(query(t, r, step.question)); got != step.want {
			t.Errorf("%s: got %s, expected %s", step.question, got, step.want)
		}
	}
}

func TestRareAnswers(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat(strings.Repeat("y", 40)+".", 6)
	w.zone("192.0.2.1", ".", "x IN DNAME "+long+"\nempty IN TYPE65280 \\# 0\n")
	r := w.resolver(nil)
	for range 2 { // the second from the cache
		name := strings.Repeat("a", 40) + ".x."
		if got, want := brief(query(t, r, name+" A")), "YXDOMAIN | x. 300 DNAME "+long; got != want {
			t.Errorf("a DNAME that makes too long a name: got %s, expected %s", got, want)
		}
		m := queryType(t, r, "empty.", 65280)
		if len(m.Answer) != 1 || m.Rcode != dns.RcodeSuccess {
			t.Errorf("a record without data: got %v", m)
		}
	}
}
