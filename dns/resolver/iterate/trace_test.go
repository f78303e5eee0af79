package iterate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/exchange"
)

func TestTrace(t *testing.T) {
	w := newWorld(t)
	w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
	answer := zoneReply(t, "com.", comZone)
	w.serve("192.0.2.2", func(q *dns.Msg, network string) []*dns.Msg {
		m := answer(q, network)[0]
		m.Extra = append([]dns.RR{newRR(t, "bank.org. 60 IN A 192.0.2.66")}, m.Extra...)
		return []*dns.Msg{m}
	})
	it, trace := w.iterator(), new(Trace)
	ask(it, "www.com. A", Options{Trace: trace})
	ask(it, "www.com. A", Options{Trace: trace})
	steps, more := trace.Steps()
	if more != 0 {
		t.Errorf("%d more", more)
	}
	want := []Step{
		{
			Kind: StepQuery, Name: "com.", Type: "A", Why: "the closest known servers are those of .; minimised: asking only for com.",
			Zone: ".", Server: "a.root.", Address: "192.0.2.1", Reached: "host-192.0.2.1:53", Transport: "udp", Queries: 1,
			Response: &StepResponse{Rcode: "NOERROR", Authority: 1, Additional: 2, Records: []string{
				"authority: com. 300 IN NS ns0.com.", "additional: ns0.com. 300 IN A 192.0.2.2",
			}},
			Outcome:  exchange.Referral,
			Accepted: []string{"com. 300 IN NS ns0.com.", "ns0.com. 300 IN A 192.0.2.2"},
		},
		{
			Kind: StepQuery, Name: "www.com.", Type: "A", Why: "the closest known servers are those of com.",
			Zone: "com.", Server: "ns0.com.", Address: "192.0.2.2", Reached: "host-192.0.2.2:53", Transport: "udp", Queries: 1,
			Response: &StepResponse{Rcode: "NOERROR", Flags: []string{"aa"}, Answer: 1, Additional: 2, Records: []string{
				"answer: www.com. 300 IN A 192.0.2.80", "additional: bank.org. 60 IN A 192.0.2.66",
			}},
			Outcome:  exchange.Answer,
			Accepted: []string{"www.com. 300 IN A 192.0.2.80"},
			Refused:  []RefusedRecord{{"bank.org. 60 IN A 192.0.2.66", "out of bailiwick: a server of com. may not speak of bank.org."}},
		},
		{Kind: StepKnown, Name: "www.com.", Type: "A", Why: "the answer is known", Accepted: []string{"www.com. 300 IN A 192.0.2.80"}},
	}
	if diff := cmp.Diff(want, steps, cmpopts.IgnoreFields(Step{}, "Milliseconds")); diff != "" {
		t.Error(diff)
	}
	if steps[0].Milliseconds <= 0 {
		t.Error("no time was taken")
	}
	text, err := json.Marshal(steps[1])
	if err != nil || !strings.Contains(string(text), `"refused":[{"record":"bank.org. 60 IN A 192.0.2.66","reason":"out of bailiwick`) {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestATraceIsBounded(t *testing.T) {
	trace := new(Trace)
	for range maxSteps + 7 {
		trace.add(Step{})
	}
	if steps, more := trace.Steps(); len(steps) != maxSteps || more != 7 {
		t.Errorf("%d steps and %d more", len(steps), more)
	}
	m := new(dns.Msg)
	for i := range 300 {
		m.Answer = append(m.Answer, newRR(t, fmt.Sprintf("www.com. 60 IN TXT %d%s", i, strings.Repeat(" xxxxxxxxxxxxxxxxxxxx", 40))))
	}
	r := describe(m)
	if len(r.Records) != maxShown || r.Answer != 300 || len(r.Records[0]) > maxRecord+20 {
		t.Errorf("%d records of %d, the first of %d octets", len(r.Records), r.Answer, len(r.Records[0]))
	}
	if got := recordText(newRR(t, "www.com. 60 IN TXT "+strings.Repeat("x", 200)+" "+strings.Repeat("ä", 50))); !utf8.ValidString(got) {
		t.Errorf("a character is cut: %s", got)
	}
	if _, no := judge(m, question{"com.", "a.com.", dns.TypeA}, response{outcome: exchange.Answer}); len(no) != maxRefused {
		t.Errorf("%d refused", len(no))
	}
	if steps, more := (*Trace)(nil).Steps(); steps != nil || more != 0 {
		t.Error("no trace has steps")
	}
}

func TestWhyRecordsAreRefused(t *testing.T) {
	l := DefaultLimits()
	l.MaxServers, l.MaxAddresses = 2, 1
	q := question{"com.", "www.example.com.", dns.TypeA}
	for _, tt := range []struct {
		name    string
		message *dns.Msg
		want    []RefusedRecord
	}{
		{"a delegation", message(t, "", "",
			"example.com. 60 IN NS ns1.example.com.; example.com. 60 IN NS ns2.com.; example.com. 60 IN NS ns3.com.; other.com. 60 IN NS ns1.example.com.; org. 60 IN NS ns1.example.com.",
			"ns1.example.com. 60 IN A 192.0.2.1; ns1.example.com. 60 IN A 192.0.2.2; www.com. 60 IN A 192.0.2.3; ns1.org. 60 IN A 192.0.2.4; www.com. 60 IN TXT x; www.com. 60 CH TXT x"),
			[]RefusedRecord{
				{"example.com. 60 IN NS ns3.com.", "more name servers than are taken note of"},
				{"other.com. 60 IN NS ns1.example.com.", "not the delegation on the way to the name"},
				{"org. 60 IN NS ns1.example.com.", "out of bailiwick: a server of com. may not speak of org."},
				{"ns1.example.com. 60 IN A 192.0.2.2", "more addresses than are taken note of"},
				{"www.com. 60 IN A 192.0.2.3", "the address of no name server of example.com."},
				{"ns1.org. 60 IN A 192.0.2.4", "out of bailiwick: a server of com. may not speak of ns1.org."},
				{`www.com. 60 IN TXT "x"`, "not asked for"},
				{`www.com. 60 CH TXT "x"`, "of another class than IN"},
			}},
		{"an answer", message(t, "aa", "www.example.com. 60 IN A 192.0.2.1; www.com. 60 IN A 192.0.2.1", "com. 60 IN NS ns.com."),
			[]RefusedRecord{{"www.com. 60 IN A 192.0.2.1", "no part of the answer"}, {"com. 60 IN NS ns.com.", "not asked for"}}},
		{"what a lame server says", message(t, "", "www.example.com. 60 IN A 192.0.2.1"),
			[]RefusedRecord{{"www.example.com. 60 IN A 192.0.2.1", "the server does not answer for the zone"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, got := judge(tt.message, q, interpret(tt.message, q, &l))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// BenchmarkCold asks for a name from the root down, three servers on loopback,
// and reports the median.
func BenchmarkCold(b *testing.B) {
	w := newWorld(b)
	w.zone("192.0.2.1", ".", rootOf("com 192.0.2.2"))
	w.zone("192.0.2.2", "com.", rootOf("example.com 192.0.2.3"))
	w.zone("192.0.2.3", "example.com.", "www IN A 192.0.2.80\n")
	it := w.iterator()
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		chain, err := it.Resolve(context.Background(), "www.example.com.", dns.TypeA, Options{FromRoot: true})
		if err != nil || len(chain) != 1 {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
}

// BenchmarkInterpret is of the largest message that a server may send.
func BenchmarkInterpret(b *testing.B) {
	l := DefaultLimits()
	var text []string
	for i := range 250 {
		text = append(text, fmt.Sprintf("www.example.com. 60 IN A 192.0.2.%d", i))
	}
	m := message(b, "aa", strings.Join(text, ";"))
	b.ReportAllocs()
	for b.Loop() {
		interpret(m, question{"com.", "www.example.com.", dns.TypeA}, &l)
	}
}
