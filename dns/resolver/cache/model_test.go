package cache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A model is the cache as a map, by the letter of the comments on Put and Get. It
// has no bound.
type model struct {
	now      time.Time
	cfg      Config
	data     map[string]modelled // by "name type"; NoName by "name 0"
	failures map[string]modelled
}

type modelled struct {
	Entry
	ends time.Time
	row  int
}

func modelKey(name string, qtype uint16) string { return fmt.Sprint(name, " ", qtype) }

func (m *model) put(name string, qtype uint16, e Entry) {
	k := modelKey(name, qtype)
	if e.Kind == Failed {
		row := 1
		if old, ok := m.failures[k]; ok && m.now.Before(old.ends.Add(m.cfg.MaxFailureTTL)) {
			row = old.row + 1
		}
		ttl := m.cfg.FailureTTL
		for range row - 1 {
			ttl = min(2*ttl, m.cfg.MaxFailureTTL)
		}
		m.failures[k] = modelled{e, m.now.Add(ttl), row}
		return
	}
	failure := k
	if e.Kind == NoName {
		k = modelKey(name, 0)
	}
	ttl := min(time.Duration(e.TTL)*time.Second, m.cfg.MaxTTL)
	if e.Kind != Records {
		ttl = min(ttl, m.cfg.MaxNegativeTTL)
	}
	if old, ok := m.data[k]; ok && m.now.Before(old.ends) && old.Rank > e.Rank {
		return
	}
	delete(m.data, k)
	delete(m.failures, failure)
	if no := modelKey(name, 0); e.Kind != NoName && m.data[no].Rank <= e.Rank {
		delete(m.data, no)
	}
	if ttl > 0 {
		e.Stored = m.now
		m.data[k] = modelled{e, m.now.Add(ttl), 0}
	}
}

func (m *model) state(e modelled, ok bool) State {
	switch {
	case ok && m.now.Before(e.ends):
		return Fresh
	case ok && e.Kind != Failed && m.now.Before(e.ends.Add(m.cfg.StaleFor)):
		return Stale
	}
	return Missing
}

func (m *model) get(name string, qtype uint16) (modelled, State) {
	exact, ok := m.data[modelKey(name, qtype)]
	state := m.state(exact, ok)
	if state == Fresh {
		return exact, Fresh
	}
	for above := name; above != "."; {
		if e, ok := m.data[modelKey(above, 0)]; m.state(e, ok) == Fresh {
			return e, Fresh
		}
		i, end := dns.NextLabel(above, 0)
		if end {
			break
		}
		above = above[i:]
	}
	if e, ok := m.failures[modelKey(name, qtype)]; m.state(e, ok) == Fresh {
		return e, Fresh
	}
	if no, ok := m.data[modelKey(name, 0)]; m.state(no, ok) == Stale && (state != Stale || no.Stored.After(exact.Stored)) {
		return no, Stale
	}
	return exact, state
}

// compose answers a question from the model: what AnswerFast must say, or "" for
// what it must leave.
func (m *model) compose(name string, qtype uint16) string {
	var answer []string
	first := name
	for range maxFastAliases + 1 {
		e, s := m.get(name, qtype)
		alias, as := m.get(name, dns.TypeCNAME)
		exact := m.data[modelKey(name, qtype)]
		exactFresh := m.state(exact, exact.ends != time.Time{}) == Fresh
		switch {
		case exactFresh && exact.Kind == Records:
			return strings.Join(append(answer, sorted(exact.Entry.Records)...), "; ")
		case exactFresh:
			return strings.Join(append(answer, "NODATA"), "; ")
		case qtype != dns.TypeCNAME && as == Fresh && alias.Kind == Records:
			answer = append(answer, sorted(alias.Entry.Records)...)
			name = dns.CanonicalName(alias.Entry.Records[0].(*dns.CNAME).Target)
			continue
		}
		switch {
		case s == Fresh && e.Kind == NoName:
			return strings.Join(append(answer, "NXDOMAIN"), "; ")
		case s == Fresh && e.Kind == Failed && name == first && !m.anything(name, qtype):
			return "FAILED"
		}
		return ""
	}
	return ""
}

func (m *model) anything(name string, qtype uint16) bool {
	for _, k := range []uint16{qtype, 0} {
		e, ok := m.data[modelKey(name, k)]
		if m.state(e, ok && !e.ends.IsZero()) != Missing {
			return true
		}
	}
	e, ok := m.data[modelKey(name, dns.TypeCNAME)]
	return e.Kind == Records && m.state(e, ok && !e.ends.IsZero()) != Missing
}

func sorted(list []dns.RR) []string {
	var out []string
	for _, rr := range list {
		out = append(out, dns.CanonicalName(rr.Header().Name)+strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out)
	return out
}

func TestTheCacheIsAsItsModel(t *testing.T) {
	labels := []string{"a", "b", "c"}
	random := func() string {
		name := "example."
		for range rand.IntN(3) {
			name = labels[rand.IntN(len(labels))] + "." + name
		}
		return name
	}
	types := []uint16{dns.TypeA, dns.TypeCNAME, dns.TypeTXT}
	for range 40 {
		var m *model
		c, now := newCache(t, nil)
		m = &model{now: *now, cfg: c.cfg, data: map[string]modelled{}, failures: map[string]modelled{}}
		for step := range 1000 {
			name, qtype := random(), types[rand.IntN(len(types))]
			e := Entry{Rank: Rank(1 + rand.IntN(2)), Source: "ns", TTL: uint32(rand.IntN(40))}
			h := dns.RR_Header{Name: name, Rrtype: qtype, Class: dns.ClassINET, Ttl: e.TTL}
			switch e.Kind = Kind(rand.IntN(6)); e.Kind {
			case NoType, NoName:
				e.SOA = rrs(t, "example. 40 IN SOA a. b. 1 1 1 1 40")[0].(*dns.SOA)
			case Failed:
				e.Sentence = "x"
			default:
				e.Kind = Records
				switch qtype {
				case dns.TypeA:
					for i := range 1 + rand.IntN(3) {
						e.Records = append(e.Records, &dns.A{Hdr: h, A: []byte{192, 0, 2, byte(i)}})
					}
				case dns.TypeCNAME:
					e.Records = []dns.RR{&dns.CNAME{Hdr: h, Target: strings.ToUpper(random())}}
				case dns.TypeTXT:
					e.Records = []dns.RR{&dns.TXT{Hdr: h, Txt: []string{strings.Repeat("x", rand.IntN(200))}}}
				}
			}
			c.Put(name, qtype, e)
			m.put(name, qtype, e)
			*now = now.Add(time.Duration(rand.IntN(int(5 * time.Second))))
			m.now = *now

			name, qtype = random(), types[rand.IntN(len(types))]
			got, gotState := c.Get(name, qtype)
			want, wantState := m.get(name, qtype)
			if gotState != wantState || gotState != Missing && (got.Kind != want.Kind || got.Rank != want.Rank || fmt.Sprint(sorted(got.Records)) != fmt.Sprint(sorted(want.Records))) {
				t.Fatalf("step %d: Get %s %s: got %s, expected %s", step, name, dns.Type(qtype), brief(got, gotState), brief(want.Entry, wantState))
			}
			if left := uint32((want.ends.Sub(*now) + time.Second - 1) / time.Second); gotState == Fresh && got.TTL != left {
				t.Fatalf("step %d: %s has a TTL of %d, expected %d", step, brief(got, gotState), got.TTL, left)
			}
			fast, reply, ok := ask(t, c, *now, name, qtype, nil)
			said := ""
			if ok {
				lines := []string{}
				byOwner := map[string][]dns.RR{}
				var order []string
				for _, rr := range fast.Answer {
					owner := dns.CanonicalName(rr.Header().Name) + rr.Header().String()
					if byOwner[owner] == nil {
						order = append(order, owner)
					}
					byOwner[owner] = append(byOwner[owner], rr)
				}
				for _, owner := range order {
					lines = append(lines, sorted(byOwner[owner])...)
				}
				switch {
				case reply.Rcode == dns.RcodeNameError:
					lines = append(lines, "NXDOMAIN")
				case reply.Rcode == dns.RcodeServerFailure:
					lines = append(lines, "FAILED")
				case len(fast.Ns) > 0:
					lines = append(lines, "NODATA")
				}
				said = strings.Join(lines, "; ")
			}
			if want := m.compose(name, qtype); said != want {
				t.Fatalf("step %d: AnswerFast %s %s: got %q, expected %q", step, name, dns.Type(qtype), said, want)
			}
		}
		check(t, c)
	}
}

// FuzzRecord holds that whatever a message holds comes out of the cache as it went
// in, and that what AnswerFast makes of it can be read.
func FuzzRecord(f *testing.F) {
	for _, line := range []string{
		"a. 60 IN A 192.0.2.1", "a. 60 IN MX 1 m.", "a. 60 IN TXT x", "a. 60 IN SOA a. b. 1 1 1 1 1", "a. 60 IN CNAME A.b.",
		"a. 60 IN SVCB 1 . alpn=h2", "a. 60 IN NAPTR 1 1 \"s\" \"x\" \"\" b.", "a. 60 IN TYPE65000 \\# 2 0102",
	} {
		m := new(dns.Msg)
		m.Answer = rrs(f, line)
		wire, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	c, now := newCache(f, nil)
	f.Fuzz(func(t *testing.T, wire []byte) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil || len(m.Answer) == 0 {
			return
		}
		rr := m.Answer[0]
		name, qtype := dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype
		if rr.Header().Class != dns.ClassINET || qtype == dns.TypeOPT || rr.Header().Rdlength == 0 {
			return
		}
		rr.Header().Ttl = 60
		c.Put(name, qtype, Entry{Rank: RankAnswer, Records: []dns.RR{rr}, TTL: 60})
		defer c.Remove(name)
		e, s := c.Get(name, qtype)
		if s != Fresh {
			buf := make([]byte, 1<<16)
			n, err := dns.PackRR(rr, buf, 0, nil, false)
			if err != nil || qtype == dns.TypeNone || n > maxRecord/2 {
				return
			}
			if _, _, err := dns.UnpackRR(buf[:n], 0); err == nil {
				t.Fatalf("%v is %s", rr, s)
			}
			return
		}
		if e.Kind == Records && !dns.IsDuplicate(rr, e.Records[0]) {
			t.Fatalf("got %v, expected %v", e.Records[0], rr)
		}
		ask(t, c, *now, name, qtype, nil)
	})
}
