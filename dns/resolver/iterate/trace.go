package iterate

import (
	"strings"
	"sync"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/exchange"
	"minicloud.internal/dns/server"
)

// The bounds of a trace. A question takes some hundred steps at most by default.
const (
	maxSteps   = 500
	maxShown   = 50  // records of a step
	maxRecord  = 300 // octets of a record's text
	maxRefused = 50
)

// A Trace records how a question was answered. The zero Trace is ready to use; a
// nil one records nothing and costs nothing. It is safe for concurrent use.
type Trace struct {
	mu    sync.Mutex
	steps []Step
	more  int
}

// A StepKind is what a step of a trace is.
type StepKind string

const (
	// StepKnown is something that was known already: "the cache knows …".
	StepKnown StepKind = "known"
	// StepQuery is a query to a name server, and what came of it.
	StepQuery StepKind = "query"
	// StepNote is a decision: a name server passed over, a limit reached.
	StepNote StepKind = "note"
)

// A Step is one step of a trace.
type Step struct {
	Kind StepKind `json:"kind"`
	// Depth counts how many look-ups of name servers' names this one is inside of.
	Depth int `json:"depth"`
	// Name and Type are the question of the step: that which was sent.
	Name string `json:"name,omitempty"`
	Type string `json:"type,omitempty"`
	// Why says for what, in words: "minimised: asking only for com.".
	Why string `json:"why,omitempty"`
	// Zone is the zone that the server was asked as one of.
	Zone string `json:"zone,omitempty"`
	// Server is the name server's name, Address its address, Reached where that
	// is really reached.
	Server  string `json:"server,omitempty"`
	Address string `json:"address,omitempty"`
	Reached string `json:"reached,omitempty"`
	// Transport is "udp", "tcp" or "tls"; Queries how many messages were sent,
	// and Notes why there were more than one.
	Transport string   `json:"transport,omitempty"`
	Queries   int      `json:"queries,omitempty"`
	Notes     []string `json:"notes,omitempty"`
	// Response is what came back; none where nothing did.
	Response *StepResponse `json:"response,omitempty"`
	// Outcome is one of package exchange's; Reason what the server did, where it
	// was no use.
	Outcome exchange.Outcome `json:"outcome,omitempty"`
	Reason  string           `json:"reason,omitempty"`
	// Accepted are the records that were believed, Refused the others.
	Accepted []string        `json:"accepted,omitempty"`
	Refused  []RefusedRecord `json:"refused,omitempty"`
	// Milliseconds is how long the query took.
	Milliseconds float64 `json:"milliseconds,omitempty"`
}

// A StepResponse is a message that came back.
type StepResponse struct {
	Rcode string   `json:"rcode"`
	Flags []string `json:"flags,omitempty"`
	// Answer, Authority and Additional count the records of each section.
	Answer     int `json:"answer"`
	Authority  int `json:"authority"`
	Additional int `json:"additional"`
	// Records are the first of them, in the form of a zone file, each after
	// the name of its section.
	Records []string `json:"records,omitempty"`
}

// A RefusedRecord was sent, and not believed.
type RefusedRecord struct {
	Record string `json:"record"`
	Reason string `json:"reason"`
}

// Steps returns what was recorded so far, and how many steps more there were
// than are kept.
func (t *Trace) Steps() (steps []Step, more int) {
	if t == nil {
		return nil, 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Step(nil), t.steps...), t.more
}

func (t *Trace) add(s Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.steps) == maxSteps {
		t.more++
		return
	}
	t.steps = append(t.steps, s)
}

// describe writes a message for people.
func describe(m *dns.Msg) *StepResponse {
	r := &StepResponse{
		Rcode:  server.RcodeName(m.Rcode),
		Answer: len(m.Answer), Authority: len(m.Ns), Additional: len(m.Extra),
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}, {m.AuthenticatedData, "ad"}, {m.CheckingDisabled, "cd"}} {
		if f.set {
			r.Flags = append(r.Flags, f.name)
		}
	}
	eachRecord(m, func(section string, rr dns.RR) {
		if len(r.Records) < maxShown {
			r.Records = append(r.Records, section+": "+recordText(rr))
		}
	})
	return r
}

// eachRecord goes through a message's records but for OPT, which is none.
func eachRecord(m *dns.Msg, do func(section string, rr dns.RR)) {
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT {
				do([]string{"answer", "authority", "additional"}[i], rr)
			}
		}
	}
}

func recordText(rr dns.RR) string {
	text := strings.ReplaceAll(rr.String(), "\t", " ")
	if len(text) > maxRecord {
		text = server.CutText(text, maxRecord) + "…"
	}
	return text
}

// judge says of each record of a message whether a response took it, and why not.
// It explains what interpret decided.
func judge(m *dns.Msg, q question, resp response) (accepted []string, out []RefusedRecord) {
	taken := map[dns.RR]bool{}
	for _, f := range resp.found {
		for _, rr := range f.entry.Records {
			taken[rr] = true
		}
		if f.entry.SOA != nil {
			taken[f.entry.SOA] = true
		}
	}
	eachRecord(m, func(section string, rr dns.RR) {
		why := ""
		if !taken[rr] {
			why = refusal(section, rr, q, resp)
		}
		switch {
		case why == "" && len(accepted) < maxShown:
			accepted = append(accepted, recordText(rr))
		case why != "" && len(out) < maxRefused:
			out = append(out, RefusedRecord{recordText(rr), why})
		}
	})
	return accepted, out
}

// refusal returns why a record that is no part of an answer was not believed, or
// "" where it is part of the referral.
func refusal(section string, rr dns.RR, q question, resp response) string {
	h := rr.Header()
	owner := dns.CanonicalName(h.Name)
	addr, isAddr := addressOf(rr)
	switch {
	case h.Class != dns.ClassINET:
		return "of another class than IN"
	case resp.outcome != exchange.Answer && resp.outcome != exchange.Referral:
		return "the server " + resp.reason
	case !dns.IsSubDomain(q.zone, owner):
		return "out of bailiwick: a server of " + q.zone + " may not speak of " + owner
	case resp.outcome == exchange.Answer:
		if section == "answer" {
			return "no part of the answer"
		}
		return "not asked for"
	}
	d := resp.delegation
	if ns, ok := rr.(*dns.NS); ok && section == "authority" {
		if owner != d.Zone {
			return "not the delegation on the way to the name"
		}
		if d.find(dns.CanonicalName(ns.Ns)) == nil {
			return "more name servers than are taken note of"
		}
		return ""
	}
	if !isAddr || section != "additional" {
		return "not asked for"
	}
	ns := d.find(owner)
	if ns == nil {
		return "the address of no name server of " + d.Zone
	}
	for _, a := range ns.Addrs {
		if a == addr {
			return ""
		}
	}
	return "more addresses than are taken note of"
}

func (d *Delegation) find(name string) *NameServer {
	for i := range d.Servers {
		if d.Servers[i].Name == name {
			return &d.Servers[i]
		}
	}
	return nil
}
