package server

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/miekg/dns"
)

// scraped returns the values of a metric by their labels, joined with blanks.
func scraped(t *testing.T, s *Server, name string) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(s.Metrics); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				if key != "" {
					key += " "
				}
				key += l.GetValue()
			}
			got[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return got
}

func TestMetrics(t *testing.T) {
	s := newServer(t, nil)
	s.Handler = new(garden)
	addr, _ := start(t, s)
	for _, q := range []*dns.Msg{question("rose.", dns.TypeA), question("slow.", dns.TypeA), question("nope.", dns.TypeA),
		question("rose.", dns.TypeA, withEDNS(1232), func(m *dns.Msg) { m.IsEdns0().SetVersion(1) })} {
		for _, network := range []string{"udp", "tcp"} {
			if _, _, err := (&dns.Client{Net: network}).Exchange(q, addr); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := scraped(t, s, "minicloud_test_queries_total")
	for key, want := range map[string]float64{"NOERROR udp": 2, "NOERROR tcp": 2, "NXDOMAIN udp": 1, "NXDOMAIN tcp": 1, "BADVERS udp": 1} {
		if got[key] != want {
			t.Errorf("%s: %v of %v", key, got[key], got)
		}
	}
	if _, err := NewMetrics("test", mustRegister(t, s.Metrics)); err == nil {
		t.Error("a second registration was accepted")
	}
	if rcodeLabel(rcodeOther) != "other" || rcodeLabel(12) != "other" {
		t.Error("an unknown code has a name")
	}
}

func mustRegister(t *testing.T, c prometheus.Collector) prometheus.Registerer {
	reg := prometheus.NewRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestRcodeName(t *testing.T) {
	for code, want := range map[int]string{dns.RcodeNameError: "NXDOMAIN", dns.RcodeBadVers: "BADVERS", dns.RcodeBadCookie: "BADCOOKIE", 12: "RCODE 12"} {
		if got := RcodeName(code); got != want {
			t.Errorf("%d: got %s, want %s", code, got, want)
		}
	}
}
