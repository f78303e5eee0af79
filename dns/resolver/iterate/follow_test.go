package iterate

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/cache"
)

func TestFollow(t *testing.T) {
	entries := map[key][]cache.Entry{}
	put := func(e cache.Entry, k key) { entries[k] = []cache.Entry{e} }
	get := func(name string, qtype uint16) []cache.Entry { return entries[key{name, qtype}] }
	known := Known{get, get}
	put(cache.Entry{Records: []dns.RR{newRR(t, "a. 60 IN A 192.0.2.1")}}, key{"a.", dns.TypeA})
	put(cache.Entry{Kind: cache.NoName}, key{"gone.", dns.TypeTXT})
	put(cache.Entry{Kind: cache.NoType}, key{"plain.", dns.TypeCNAME})
	put(cache.Entry{Kind: cache.Failed, Code: 22, Sentence: "Nobody is there"}, key{"bad.", dns.TypeA})
	for from, to := range map[string]string{"toa.": "A.", "tob.": "b.", "tobad.": "bad.", "l1.": "l2.", "l2.": "l1."} {
		put(cache.Entry{Records: []dns.RR{newRR(t, from+" 60 IN CNAME "+to)}}, key{from, dns.TypeCNAME})
	}
	for from, to := range map[string]string{"old.": "new.", "d1.": "d1.d1.", "root.": ".", "long.": strings.Repeat(strings.Repeat("y", 41)+".", 6)} {
		put(cache.Entry{Records: []dns.RR{newRR(t, from+" 60 IN DNAME "+to)}}, key{from, dns.TypeDNAME})
	}
	put(cache.Entry{Records: []dns.RR{newRR(t, "x.new. 60 IN A 192.0.2.1")}}, key{"x.new.", dns.TypeA})
	for _, tt := range []struct {
		name, asked string
		qtype       uint16
		length      int
		open        string
		fails       string
	}{
		{"what is known is the answer", "a.", dns.TypeA, 1, "", ""},
		{"another type must be asked for", "a.", dns.TypeTXT, 0, "a.", ""},
		{"an alias is followed to its end, whatever its case", "toa.", dns.TypeA, 2, "", ""},
		{"an alias is followed to where knowledge ends", "tob.", dns.TypeA, 1, "b.", ""},
		{"a question for the alias itself is not followed", "toa.", dns.TypeCNAME, 1, "", ""},
		{"nor is one for ANY", "toa.", dns.TypeANY, 0, "toa.", ""},
		{"what does not exist is the end", "gone.", dns.TypeTXT, 1, "", ""},
		{"that there is no alias says nothing of other types", "plain.", dns.TypeA, 0, "plain.", ""},
		{"a failure ends it", "bad.", dns.TypeA, 0, "", "Nobody is there"},
		{"at the end of an alias too", "tobad.", dns.TypeA, 0, "", "Nobody is there"},
		{"a loop ends it", "l1.", dns.TypeA, 0, "", "l1. is an alias in a circle: l1. leads back to itself"},
		{"a DNAME gives itself and the CNAME that it makes", "x.old.", dns.TypeA, 3, "", ""},
		{"a DNAME is followed to where knowledge ends", "y.z.old.", dns.TypeA, 2, "y.z.new.", ""},
		{"the CNAME that it makes can be asked for", "x.old.", dns.TypeCNAME, 2, "", ""},
		{"its own name is not changed by it", "old.", dns.TypeA, 0, "old.", ""},
		{"a DNAME may lead to the root", "a.root.", dns.TypeA, 3, "", ""},
		{"names that grow and grow end", "a.d1.", dns.TypeA, 0, "", "a.d1. leads through more than 11 aliases"},
		{"names that are too long end, with the DNAME that makes them", "www.long.", dns.TypeA, 1, "", "The DNAME of long. makes a name of more than 255 octets"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			chain, open, err := Follow(known, tt.asked, tt.qtype, 11)
			if len(chain) != tt.length || open != tt.open || (err != nil) != (tt.fails != "") || err != nil && !strings.HasPrefix(err.Sentence, tt.fails) {
				t.Errorf("got %d entries, open %q, %v", len(chain), open, err)
			}
		})
	}
	t.Run("what a DNAME makes has its TTL and the asked name", func(t *testing.T) {
		chain, _, _ := Follow(known, "x.old.", dns.TypeCNAME, 11)
		if got := chain[1].Records[0].String(); got != "x.old.\t60\tIN\tCNAME\tx.new." {
			t.Errorf("got %s", got)
		}
	})
}

func TestALongNameTakesOneLookUpForEachNameAboveIt(t *testing.T) {
	gets, exacts := 0, 0
	known := Known{
		Get:   func(string, uint16) []cache.Entry { gets++; return nil },
		Exact: func(string, uint16) []cache.Entry { exacts++; return nil },
	}
	if _, open, err := Follow(known, strings.Repeat("a.", 127), dns.TypeA, 11); open == "" || err != nil {
		t.Errorf("open %q, %v", open, err)
	}
	if gets != 1 || exacts != 1+127 { // a CNAME of the name, and a DNAME of each above it
		t.Errorf("looked up %d times with all that is above, and %d times exactly", gets, exacts)
	}
}

// BenchmarkFollow is of names that nothing is known of.
func BenchmarkFollow(b *testing.B) {
	s := newWorld(b).iterator().newResolution(Options{})
	for _, labels := range []int{3, 30, 127} {
		name := strings.Repeat("a.", labels)
		b.Run(fmt.Sprintf("%d labels", labels), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, open, _ := Follow(s.known(), name, dns.TypeA, 11); open != name {
					b.Fatal(open)
				}
			}
		})
	}
}

func TestUpwards(t *testing.T) {
	for name, want := range map[string]string{".": ".", "com.": "com. .", `a\.b.c.`: `a\.b.c. c. .`} {
		if got := strings.Join(slices.Collect(Upwards(name)), " "); got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
	for at := range Upwards("a.b.") {
		if at == "b." {
			break
		}
	}
}

func TestSubstitute(t *testing.T) {
	long := strings.Repeat(strings.Repeat("y", 41)+".", 6) // 253 octets
	for _, tt := range []struct {
		name, asked, owner, target, want string
	}{
		{"the owner is replaced", "a.b.old.example.", "old.example.", "new.", "a.b.new."},
		{"by the root", "a.b.old.", "old.", ".", "a.b."},
		{"the root is replaced", "a.b.", ".", "new.", "a.b.new."},
		{"the root by itself", "a.b.", ".", ".", "a.b."},
		{"escaped dots stay", `a\.b.old.`, "old.", "new.", `a\.b.new.`},
		{"255 octets are a name", "a.old.", "old.", long, "a." + long},
		{"256 are none", "aa.old.", "old.", long, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := substitute(tt.asked, tt.owner, tt.target)
			if ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("got %s, %v", got, ok)
			}
		})
	}
}

func TestMinimised(t *testing.T) {
	known := map[string]bool{"b.c.example.": true}
	exists := func(name string) bool { return known[name] }
	for _, tt := range []struct {
		name, zone, asked string
		sent, limit       int
		want              string
	}{
		{"one label more than the zone", ".", "www.shop.example.com.", 0, 10, "com."},
		{"below a zone likewise", "com.", "www.shop.example.com.", 1, 10, "example.com."},
		{"the last label is the whole name", "shop.example.com.", "www.shop.example.com.", 3, 10, "www.shop.example.com."},
		{"a zone's own name is the whole name", "com.", "com.", 0, 10, "com."},
		{"the root's own too", ".", ".", 0, 10, "."},
		{"what is known to exist is passed over, with all above it", "example.", "x.y.a.b.c.example.", 0, 10, "a.b.c.example."},
		{"up to the whole name", "example.", "x.b.c.example.", 0, 10, "x.b.c.example."},
		{"an underscore ends it", "com.", "_http._tcp.example.com.", 1, 10, "example.com."},
		{"there", "example.com.", "_http._tcp.example.com.", 1, 10, "_http._tcp.example.com."},
		{"after four queries more labels are added at once", ".", "a.b.c.d.e.f.g.h.i.j.k.l.", 4, 10, "k.l."},
		{"as many as get it done in time", ".", "a.b.c.d.e.f.g.h.i.j.k.l.", 8, 10, "g.h.i.j.k.l."},
		{"after ten the whole name is told", ".", "a.b.c.d.e.f.g.h.i.j.k.l.", 10, 10, "a.b.c.d.e.f.g.h.i.j.k.l."},
		{"with a limit of none at once", ".", "www.example.com.", 0, 0, "www.example.com."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := minimised(tt.zone, tt.asked, tt.sent, tt.limit, exists); got != tt.want {
				t.Errorf("got %s, expected %s", got, tt.want)
			}
		})
	}
}
