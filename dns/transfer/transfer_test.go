package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

var _ server.Transferrer = (*Transfers)(nil)

func TestTheWholeZone(t *testing.T) {
	for _, c := range []struct {
		name     string
		zone     fixture
		messages int
	}{
		{"a small zone takes one message", zone(t, 7, "www A 192.0.2.1"), 1},
		{"a large zone takes many", zone(t, 7, many(5000, 1)...), 7},
		{"a record of 60,000 octets takes one of its own", zone(t, 7, "a A 192.0.2.1", "long TXT "+strings.Repeat(strings.Repeat("x", 255)+" ", 234), "z A 192.0.2.1"), 3},
		{"names that do not compress fit too", zone(t, 7, spellings(3000)...), 17},
	} {
		t.Run(c.name, func(t *testing.T) {
			transfers, _ := newTransfers(t, nil, nil)
			publish(t, transfers, c.zone, loopback)
			messages := collect(t, transfers, query(dns.TypeAXFR, 0, "tcp"))
			got := answers(messages)
			if diff := cmp.Diff(texts(append(slices.Clone(c.zone), c.zone[0])), texts(got)); diff != "" {
				t.Error(diff)
			}
			if len(messages) != c.messages {
				t.Errorf("%d messages, expected %d", len(messages), c.messages)
			}
			for i, m := range messages {
				m.Compress = true
				if size := m.Len(); size > messageSize && len(m.Answer) > 1 {
					t.Errorf("message %d has %d octets", i, size)
				} else if i > 0 && i+1 < len(messages) && size < messageSize*2/3 && len(messages) > 5 && len(c.zone) > 4000 {
					t.Errorf("message %d has only %d octets", i, size)
				}
				if !m.Authoritative || !m.Response || m.Truncated || m.Rcode != dns.RcodeSuccess {
					t.Errorf("message %d has the header %v", i, m.MsgHdr)
				}
				if i == 0 && (len(m.Question) != 1 || m.Question[0].Name != "Example.com.") || i > 0 && len(m.Question) > 0 {
					t.Errorf("message %d has the question %v", i, m.Question)
				}
			}
			if counted(transfers, "axfr", "whole") != 1 {
				t.Error("it was not counted")
			}
		})
	}
}

// spellings returns records whose owner is spelt otherwise each time, which no
// compression pointer can use.
func spellings(count int) (records []string) {
	long := strings.Repeat("abcdefghijklmno", 4)
	for i := range count {
		name := []byte(long)
		for bit := range 20 {
			if i>>bit&1 == 1 {
				name[bit] -= 'a' - 'A'
			}
		}
		records = append(records, fmt.Sprintf("%s.EXAMPLE.com. A 10.0.%d.%d", name, i/256, i%256))
	}
	return records
}

func TestRefusals(t *testing.T) {
	elsewhere := func(q *server.Query) { q.Source = netip.MustParseAddrPort("192.0.2.1:4711") }
	for _, c := range []struct {
		name    string
		change  func(*server.Query)
		rcode   int
		outcome string
	}{
		{"a stranger is refused", elsewhere, dns.RcodeRefused, "refused"},
		{"a stranger with another key is refused", func(q *server.Query) { elsewhere(q); q.Key = "other." }, dns.RcodeRefused, "refused"},
		{"a zone that is not served is not ours", func(q *server.Query) { q.Name = "example.org." }, dns.RcodeNotAuth, "unknown"},
		{"a name in a zone is no zone", func(q *server.Query) { q.Name = "www.example.com." }, dns.RcodeNotAuth, "unknown"},
		{"a zone without a policy is given to nobody", func(q *server.Query) { q.Name = "closed." }, dns.RcodeRefused, "refused"},
	} {
		for kind, qtype := range map[string]uint16{"axfr": dns.TypeAXFR, "ixfr": dns.TypeIXFR} {
			t.Run(c.name+", "+kind, func(t *testing.T) {
				transfers, _ := newTransfers(t, nil, nil)
				publish(t, transfers, zone(t, 1), Policy{AllowTransfer: []string{"127.0.0.1", "key:transfer."}})
				publish(t, transfers, fixture{soaOf("closed.")}, Policy{})
				q := query(qtype, 0, "tcp")
				c.change(q)
				messages := collect(t, transfers, q)
				if len(messages) != 1 || messages[0].Rcode != c.rcode || messages[0].Authoritative || len(messages[0].Answer) > 0 || len(messages[0].Question) != 1 {
					t.Errorf("got %v", messages)
				}
				if counted(transfers, kind, c.outcome) != 1 {
					t.Error("it was not counted")
				}
			})
		}
	}
}

func soaOf(zone string) dns.RR {
	return &dns.SOA{Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.", Mbox: "m.", Serial: 1}
}

func TestPublishRefuses(t *testing.T) {
	transfers, _ := newTransfers(t, nil, nil)
	publish(t, transfers, zone(t, 1), loopback)
	expectKey(t, transfers.Publish(zone(t, 2), Policy{AllowTransfer: []string{"key:none."}}), "example.com..allow_transfer[0]")
	if err := transfers.Publish(append(fixture{}, zone(t, 2)[1]), loopback); err == nil {
		t.Error("a zone without its SOA record was published")
	}
	broken := append(zone(t, 2), &dns.A{Hdr: dns.RR_Header{Name: "no end", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: []byte{1}})
	if err := transfers.Publish(broken, loopback); err == nil {
		t.Error("a record that cannot be sent was published")
	}
	if got := answers(collect(t, transfers, query(dns.TypeAXFR, 0, "tcp"))); got[0].(*dns.SOA).Serial != 1 {
		t.Errorf("got %v", got[0])
	}
}

func TestATransferEndsWithTheVersionThatItBeganWith(t *testing.T) {
	transfers, _ := newTransfers(t, nil, nil)
	old := zone(t, 1, many(3000, 1)...)
	publish(t, transfers, old, loopback)
	var got []dns.RR
	err := transfers.Transfer(t.Context(), query(dns.TypeAXFR, 0, "tcp"), func(m *dns.Msg) error {
		if len(got) == 0 {
			publish(t, transfers, zone(t, 2, many(3000, 2)...), loopback)
		}
		got = append(got, m.Answer...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(texts(append(slices.Clone(old), old[0])), texts(got)); diff != "" {
		t.Error(diff)
	}
	if got := answers(collect(t, transfers, query(dns.TypeAXFR, 0, "tcp"))); got[0].(*dns.SOA).Serial != 2 {
		t.Errorf("the next transfer begins with %v", got[0])
	}
}

func TestTransfersAtOnceAreBounded(t *testing.T) {
	transfers, _ := newTransfers(t, nil, func(c *Config) { c.MaxTransfers = 1 })
	publish(t, transfers, zone(t, 1), loopback)
	err := transfers.Transfer(t.Context(), query(dns.TypeAXFR, 0, "tcp"), func(*dns.Msg) error {
		if got := collect(t, transfers, query(dns.TypeAXFR, 0, "tcp")); len(got) != 1 || got[0].Rcode != dns.RcodeServerFailure {
			t.Errorf("got %v", got)
		}
		return nil
	})
	if err != nil || counted(transfers, "axfr", "busy") != 1 {
		t.Error(err)
	}
	if got := collect(t, transfers, query(dns.TypeAXFR, 0, "tcp")); got[0].Rcode != dns.RcodeSuccess {
		t.Errorf("the place was not given back: %v", got)
	}
}

func TestATransferThatBreaksOff(t *testing.T) {
	transfers, _ := newTransfers(t, nil, nil)
	publish(t, transfers, zone(t, 1, many(3000, 1)...), loopback)
	t.Run("an error of the connection ends it", func(t *testing.T) {
		broken, sent := errors.New("broken"), 0
		err := transfers.Transfer(t.Context(), query(dns.TypeAXFR, 0, "tcp"), func(*dns.Msg) error { sent++; return broken })
		if !errors.Is(err, broken) || sent != 1 {
			t.Errorf("got %v after %d messages", err, sent)
		}
	})
	t.Run("the end of the server ends it", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		sent := 0
		err := transfers.Transfer(ctx, query(dns.TypeAXFR, 0, "tcp"), func(*dns.Msg) error { sent++; cancel(); return nil })
		if !errors.Is(err, context.Canceled) || sent != 1 {
			t.Errorf("got %v after %d messages", err, sent)
		}
	})
	if got := counted(transfers, "axfr", "broken"); got != 2 {
		t.Errorf("%v counted", got)
	}
}

func TestIXFROverUDP(t *testing.T) {
	transfers, _ := newTransfers(t, nil, nil)
	publish(t, transfers, zone(t, 1, many(1000, 1)...), loopback)
	publish(t, transfers, zone(t, 2, append(many(990, 1), many(10, 2)...)...), loopback)
	publish(t, transfers, zone(t, 3, append(many(990, 1), many(11, 2)...)...), loopback)
	for _, c := range []struct {
		name    string
		serial  uint32
		records int
		outcome string
	}{
		{"a change that fits is sent", 2, 5, "differences"},
		{"of one that does not only the SOA record is sent", 1, 1, "over_tcp"},
		{"of an unknown one only the SOA record is sent", 77, 1, "current"},
		{"of one that is no longer known only the SOA record is sent", 0, 1, "over_tcp"},
		{"of the newest only the SOA record is sent", 3, 1, "current"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := counted(transfers, "ixfr", c.outcome)
			got := collect(t, transfers, query(dns.TypeIXFR, c.serial, "udp"))
			if len(got) != 1 || len(got[0].Answer) != c.records || got[0].Answer[0].(*dns.SOA).Serial != 3 {
				t.Errorf("got %v", got)
			}
			if counted(transfers, "ixfr", c.outcome) != before+1 {
				t.Error("it was counted as something else")
			}
		})
	}
}

func TestOverLoopback(t *testing.T) {
	transfers, logged := newTransfers(t, nil, nil)
	primary, address := startPrimary(t, transfers)
	// Whoever signs is allowed, whoever does not is not.
	policy := Policy{AllowTransfer: []string{"key:transfer."}}
	old, recent := zone(t, 1, many(3000, 1)...), zone(t, 2, append(many(2999, 1), "b A 192.0.2.1")...)
	primary.serve(t, old, policy)
	primary.serve(t, recent, policy)
	ask := func(change func(*dns.Msg), secret string) ([]dns.RR, error) {
		m := new(dns.Msg)
		m.SetAxfr("EXAMPLE.com.")
		change(m)
		client := &dns.Transfer{}
		if secret != "" {
			m.SetTsig("transfer.", dns.HmacSHA256, 300, 0)
			client.TsigSecret = map[string]string{"transfer.": secret}
		}
		envelopes, err := client.In(m, address)
		if err != nil {
			return nil, err
		}
		var records []dns.RR
		for e := range envelopes {
			records = append(records, e.RR...)
			err = errors.Join(err, e.Error)
		}
		return records, err
	}
	ixfr := func(serial uint32) func(*dns.Msg) {
		return func(m *dns.Msg) { m.SetIxfr("example.com.", serial, "ns.", "m.") }
	}
	t.Run("AXFR, every message signed", func(t *testing.T) {
		got, err := ask(func(*dns.Msg) {}, testSecret)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(texts(append(slices.Clone(recent), recent[0])), texts(got)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("IXFR, signed", func(t *testing.T) {
		answer, err := ask(ixfr(1), testSecret)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer) != 6 {
			t.Errorf("got %v", answer)
		}
		got, err := apply(old, answer)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sorted(recent), got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("IXFR from the newest version", func(t *testing.T) {
		if got, err := ask(ixfr(2), testSecret); err != nil || len(got) != 1 {
			t.Errorf("got %v %v", got, err)
		}
	})
	t.Run("IXFR from an unknown version is the whole zone", func(t *testing.T) {
		if got, err := ask(ixfr(0), testSecret); err != nil || len(got) != len(recent)+1 {
			t.Errorf("got %d records, %v", len(got), err)
		}
	})
	t.Run("without a signature it is refused", func(t *testing.T) {
		if _, err := ask(func(*dns.Msg) {}, ""); err == nil || !strings.Contains(err.Error(), "rcode: 5") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("with a wrong signature it is not answered", func(t *testing.T) {
		if got, err := ask(func(*dns.Msg) {}, "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmc="); err == nil || len(got) > 0 {
			t.Errorf("got %v %v", got, err)
		}
	})
	t.Run("the reason of a refusal is said", func(t *testing.T) {
		m := new(dns.Msg)
		m.SetAxfr("example.com.")
		m.Extra = []dns.RR{&dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT, Class: 1232}}}
		reply, _, err := (&dns.Client{Net: "tcp"}).Exchange(m, address)
		if err != nil || reply.IsEdns0() == nil || len(reply.IsEdns0().Option) != 1 {
			t.Fatalf("got %v %v", reply, err)
		}
		if ede, ok := reply.IsEdns0().Option[0].(*dns.EDNS0_EDE); !ok || ede.InfoCode != dns.ExtendedErrorCodeProhibited {
			t.Errorf("got %v", reply)
		}
	})
	t.Run("the log says who got what, and no secret", func(t *testing.T) {
		kittest.Eventually(t, "the transfers are logged", func() bool {
			return strings.Contains(logged.String(), "outcome=differences") && strings.Contains(logged.String(), "key=transfer.")
		})
		if strings.Contains(logged.String(), testSecret) || strings.Contains(logged.String(), "secret-secret") {
			t.Error("the secret is in it")
		}
	})
}

// TestReloadsDuringTransfers is for the race detector: readers of the zone's
// records, transfers and publishing at once.
func TestReloadsDuringTransfers(t *testing.T) {
	transfers, _ := newTransfers(t, nil, nil)
	primary, address := startPrimary(t, transfers)
	primary.serve(t, zone(t, 1, many(500, 1)...), loopback)
	var askers sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		askers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m := new(dns.Msg)
				m.SetAxfr("example.com.")
				envelopes, err := new(dns.Transfer).In(m, address)
				if err != nil {
					t.Error(err)
					return
				}
				var got []dns.RR
				for e := range envelopes {
					if e.Error != nil {
						t.Error(e.Error)
					}
					got = append(got, e.RR...)
				}
				if len(got) != 504 || got[0].String() != got[503].String() {
					t.Errorf("got %d records", len(got))
				}
			}
		})
	}
	for serial := range uint32(20) {
		primary.serve(t, zone(t, serial+2, many(500, int(serial))...), loopback)
	}
	close(stop)
	askers.Wait()
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	transfers, err := New(DefaultConfig(), nil, nil, registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(DefaultConfig(), nil, nil, registry); err == nil {
		t.Error("a second registration is no error")
	}
	if _, err := New(Config{}, nil, nil, registry); !errors.As(err, new(*kit.KeyError)) {
		t.Errorf("got %v", err)
	}
	if err := transfers.Publish(zone(t, 1), loopback); err != nil {
		t.Fatal(err)
	}
	if err := transfers.Publish(zone(t, 2, "a A 192.0.2.1"), loopback); err != nil {
		t.Fatal(err)
	}
	if size := transfers.journalBytes(); size < 100 || size > 300 {
		t.Errorf("the journal has %v bytes", size)
	}
	if n, err := testutil.GatherAndCount(registry, "minicloud_authority_journal_bytes"); n != 1 || err != nil {
		t.Error(n, err)
	}
}
