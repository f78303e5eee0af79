package resolver

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"minicloud.internal/kit/kittest"
)

// A moody server answers for a zone, fails, or says nothing, as it is told.
type moody struct {
	answer  atomic.Pointer[reply]
	failing atomic.Bool
	silent  atomic.Bool
}

func (m *moody) set(f reply) *moody {
	m.answer.Store(&f)
	return m
}

func (m *moody) reply(q *dns.Msg, network string) []*dns.Msg {
	switch {
	case m.silent.Load():
		return nil
	case m.failing.Load():
		return rcodeReply(dns.RcodeServerFailure)(q, network)
	}
	return (*m.answer.Load())(q, network)
}

func TestStaleAnswers(t *testing.T) {
	const zone = "www 10 IN A 192.0.2.80\nalias 10 IN CNAME www\n"
	setup := func(t *testing.T, change func(*Config)) (*built, *clock, *moody, *atomic.Int64) {
		w, c := newWorld(t), stoppedClock()
		server := new(moody).set(zoneReply(t, ".", zone))
		queries := w.serve("192.0.2.1", server.reply)
		r := w.resolverAt(c.now, func(cfg *Config) {
			cfg.StaleAfter = time.Minute
			if change != nil {
				change(cfg)
			}
		})
		return r, c, server, queries
	}
	expect := func(t *testing.T, r *built, question, want string, code uint16) {
		t.Helper()
		m := query(t, r, question)
		if got := brief(m); got != want {
			t.Errorf("%s: got %s, expected %s", question, got, want)
		}
		if got, sentence := explained(m); got != code || code != 0 && sentence == "" {
			t.Errorf("%s: explained with %d %q, expected %d", question, got, sentence, code)
		}
	}
	const fresh, stale = "NOERROR | www. 10 A 192.0.2.80", "NOERROR | www. 30 A 192.0.2.80"

	t.Run("what is past its time is the answer where nobody has another", func(t *testing.T) {
		r, c, server, _ := setup(t, nil)
		expect(t, r, "www. A", fresh, 0)
		c.forward(11 * time.Second)
		server.failing.Store(true)
		expect(t, r, "www. A", stale, dns.ExtendedErrorCodeStaleAnswer)
		if n := r.metrics.stale.Load(); n != 1 {
			t.Errorf("%d counted", n)
		}
	})
	t.Run("through aliases too", func(t *testing.T) {
		r, c, server, _ := setup(t, nil)
		query(t, r, "alias. A")
		c.forward(11 * time.Second)
		server.failing.Store(true)
		expect(t, r, "alias. A", "NOERROR | alias. 30 CNAME www.; www. 30 A 192.0.2.80", dns.ExtendedErrorCodeStaleAnswer)
	})
	t.Run("that a name does not exist has a code of its own", func(t *testing.T) {
		r, c, server, _ := setup(t, nil)
		query(t, r, "nope. A")
		c.forward(61 * time.Second)
		server.failing.Store(true)
		expect(t, r, "nope. A", "NXDOMAIN |  | . 30 SOA", dns.ExtendedErrorCodeStaleNXDOMAINAnswer)
	})
	t.Run("for a while nobody is asked again, and then somebody is", func(t *testing.T) {
		r, c, server, queries := setup(t, nil)
		query(t, r, "www. A")
		c.forward(11 * time.Second)
		server.failing.Store(true)
		query(t, r, "www. A")
		asked := queries.Load()
		server.failing.Store(false)
		c.forward(time.Second - 1)
		expect(t, r, "www. A", stale, dns.ExtendedErrorCodeStaleAnswer)
		if n := queries.Load(); n != asked {
			t.Errorf("%d queries within failure_ttl", n-asked)
		}
		c.forward(1)
		expect(t, r, "www. A", fresh, 0)
	})
	t.Run("a client waits no longer than it would, and the next gets what came", func(t *testing.T) {
		r, c, server, _ := setup(t, func(cfg *Config) { cfg.StaleAfter = 0 })
		query(t, r, "www. A")
		c.forward(11 * time.Second)
		expect(t, r, "www. A", stale, dns.ExtendedErrorCodeStaleAnswer)
		kittest.Eventually(t, "the fresh answer is there", func() bool { return brief(query(t, r, "www. A")) == fresh })
		server.silent.Store(true)
		c.forward(11 * time.Second)
		expect(t, r, "www. A", stale, dns.ExtendedErrorCodeStaleAnswer)
	})
	t.Run("a new answer of the server goes before an old one", func(t *testing.T) {
		r, c, server, _ := setup(t, nil)
		query(t, r, "www. A")
		c.forward(11 * time.Second)
		server.set(zoneReply(t, ".", "other IN A 192.0.2.81\n"))
		expect(t, r, "www. A", "NXDOMAIN |  | . 60 SOA", 0)
	})
	t.Run("after stale_for nothing is left", func(t *testing.T) {
		r, c, server, _ := setup(t, func(cfg *Config) { cfg.StaleFor = time.Hour })
		query(t, r, "www. A")
		c.forward(time.Hour + 11*time.Second)
		server.failing.Store(true)
		if m := query(t, r, "www. A"); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("got %v", m)
		}
	})
	t.Run("what was never known is a failure, and is remembered as one", func(t *testing.T) {
		r, c, server, queries := setup(t, nil)
		server.failing.Store(true)
		if m := query(t, r, "www. A"); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("got %v", m)
		}
		asked := queries.Load()
		if m := query(t, r, "www. A"); m.Rcode != dns.RcodeServerFailure || queries.Load() != asked {
			t.Errorf("%d more queries, got %v", queries.Load()-asked, m)
		}
		server.failing.Store(false)
		c.forward(10 * time.Second)
		expect(t, r, "www. A", fresh, 0)
	})
}

func TestPrefetch(t *testing.T) {
	w, c := newWorld(t), stoppedClock()
	queries := w.zone("192.0.2.1", ".", "www 100 IN A 192.0.2.80\n")
	r := w.resolverAt(c.now, nil)
	for range 4 {
		query(t, r, "www. A")
	}
	c.forward(95 * time.Second)
	asked := queries.Load()
	if got := brief(query(t, r, "www. A")); got != "NOERROR | www. 5 A 192.0.2.80" {
		t.Errorf("nobody waits for it: got %s", got)
	}
	kittest.Eventually(t, "it is renewed", func() bool { return brief(query(t, r, "www. A")) == "NOERROR | www. 100 A 192.0.2.80" })
	if n := queries.Load() - asked; n != 1 {
		t.Errorf("%d queries", n)
	}
}
