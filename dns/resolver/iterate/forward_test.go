package iterate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"minicloud.internal/dns/resolver/exchange"
)

// A fakeForwarder answers like a resolver, without the AA bit.
type fakeForwarder struct {
	reply reply
	err   error
	asked []string
}

func (f *fakeForwarder) Exchange(_ context.Context, name string, qtype uint16) (*exchange.Result, error) {
	f.asked = append(f.asked, name+" "+dns.Type(qtype).String())
	res := &exchange.Result{Server: "192.0.2.99:53", Transport: "udp", Queries: 1}
	if f.err != nil {
		return res, f.err
	}
	m := f.reply(new(dns.Msg).SetQuestion(name, qtype), "udp")[0]
	m.Authoritative, m.RecursionAvailable = false, true
	wire, err := m.Pack()
	if err != nil {
		return res, err
	}
	res.Msg = new(dns.Msg)
	return res, res.Msg.Unpack(wire)
}

func TestAForwardedZone(t *testing.T) {
	corp := zoneReply(t, ".", "www.corp IN A 192.0.2.81\nout.corp IN CNAME www.com.\nwww.com IN A 192.0.2.66\nsub.corp IN NS ns.sub.corp\nns.sub.corp IN A 192.0.2.7\n")
	for _, tt := range []struct {
		name, asked, want, forwarded string
		err                          error
	}{
		{"is asked for with the whole name", "www.corp. A", "NOERROR | www.corp. 300 A 192.0.2.81", "www.corp. A", nil},
		{"may say that a name does not exist", "none.corp. A", "NXDOMAIN", "none.corp. A", nil},
		{"is not believed about other zones", "out.corp. A", "NOERROR | out.corp. 300 CNAME www.com.; www.com. 300 A 192.0.2.80", "out.corp. A", nil},
		{"does not change others", "www.com. A", "NOERROR | www.com. 300 A 192.0.2.80", "", nil},
		{"has its DS records in the zone above", "corp. DS", "NXDOMAIN", "", nil},
		{"fails with what its servers did", "www.corp. A",
			"SERVFAIL: No server that corp. is forwarded to gave an answer: 192.0.2.99 did not answer in time", "www.corp. A",
			&exchange.ForwardError{Troubles: []string{"192.0.2.99 did not answer in time"}}},
		{"is not walked to from its servers", "www.sub.corp. A",
			"SERVFAIL: The server 192.0.2.99:53, which corp. is forwarded to, referred to the name servers of sub.corp., instead of asking them", "www.sub.corp. A", nil},
		{"fails whatever the error", "www.corp. A",
			"SERVFAIL: The server 192.0.2.99:53, which corp. is forwarded to, broke", "www.corp. A", errors.New("broke")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, f := shop(t), &fakeForwarder{reply: corp, err: tt.err}
			it, trace := w.iterator(), new(Trace)
			it.forwarder = func(name string) (string, Forwarder) {
				if dns.IsSubDomain("corp.", name) {
					return "corp.", f
				}
				return "", nil
			}
			if got := ask(it, tt.asked, Options{Trace: trace}); got != tt.want {
				t.Errorf("got %s\n%s", got, explain(trace))
			}
			if got := strings.Join(f.asked, ", "); got != tt.forwarded {
				t.Errorf("forwarded %s", got)
			}
			for _, q := range w.queries() {
				if strings.Contains(q, ".corp.") {
					t.Errorf("leaked %s", q)
				}
			}
		})
	}
}
