package exchange

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// A line is a network in which time is only what the test says: every question
// that arrives is written down with its time, and answered after a delay or lost.
type line struct {
	delay func(n int) time.Duration // of the n-th question; negative: lost

	mu    sync.Mutex
	start time.Time
	sent  []string
	count int
}

// begin sets the time that is 0 s, and messages returns what was sent since.
func (l *line) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start, l.sent = time.Now(), nil
}

func (l *line) messages() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.sent...)
}

// arrived takes a question down, and says how many came before.
func (l *line) arrived(q question) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := time.Since(l.start).String()
	if q.IsEdns0() == nil {
		s += " without EDNS"
	}
	l.sent = append(l.sent, s)
	l.count++
	return l.count - 1
}

func (l *line) serve(_, _ string, conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		q := question{Msg: new(dns.Msg)}
		if q.Unpack(buf[:n]) != nil {
			return
		}
		wire, _ := good(q).Pack()
		if d := l.delay(l.arrived(q)); d >= 0 {
			go func() {
				time.Sleep(d)
				_, _ = conn.Write(wire)
			}()
		}
	}
}

// TestTime asks a server twice or more, and says when each message was sent and
// when the answer or the failure came. The timeout is 800 ms.
func TestTime(t *testing.T) {
	const ms = time.Millisecond
	type asked struct {
		hurry bool
		want  string
	}
	lost := func(answers map[int]time.Duration) func(int) time.Duration {
		return func(n int) time.Duration {
			if d, ok := answers[n]; ok {
				return d
			}
			return -1
		}
	}
	tests := []struct {
		name  string
		delay func(int) time.Duration
		asked []asked
	}{
		{
			"a lost packet costs what was measured, not the timeout",
			lost(map[int]time.Duration{0: 10 * ms, 2: 10 * ms}),
			[]asked{{false, "0s → answer at 10ms"}, {false, "0s, 50ms → answer at 60ms"}},
		},
		{
			"three lost packets cost less than the timeout",
			lost(map[int]time.Duration{0: ms, 4: ms}),
			[]asked{{false, "0s → answer at 1ms"}, {false, "0s, 50ms, 150ms, 350ms → answer at 351ms"}},
		},
		{
			"a silent server costs the timeout",
			lost(map[int]time.Duration{0: ms}),
			[]asked{{false, "0s → answer at 1ms"}, {false, "0s, 50ms, 150ms, 350ms → did not answer in time at 800ms"}},
		},
		{
			"in a hurry it costs less",
			lost(map[int]time.Duration{0: ms}),
			[]asked{{false, "0s → answer at 1ms"}, {true, "0s, 50ms → did not answer in time at 150ms"}},
		},
		{
			"an unknown server that is silent is at last asked without EDNS",
			lost(nil),
			[]asked{{false, "0s, 200ms, 600ms without EDNS → did not answer in time at 800ms"}},
		},
		{
			"and if that helps, is asked so for a while",
			lost(map[int]time.Duration{2: ms, 3: ms}),
			[]asked{{false, "0s, 200ms, 600ms without EDNS → answer at 601ms"}, {false, "0s without EDNS → answer at 1ms"}},
		},
		{
			"one that is known to take EDNS is never asked without",
			lost(map[int]time.Duration{0: ms, 4: ms}),
			[]asked{{false, "0s → answer at 1ms"}, {false, "0s, 50ms, 150ms, 350ms → answer at 351ms"}},
		},
		{
			"an answer counts that comes after the question was sent again",
			lost(map[int]time.Duration{0: 300 * ms, 1: 300 * ms, 2: 300 * ms}),
			[]asked{{false, "0s, 200ms → answer at 300ms"}, {false, "0s → answer at 300ms"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &line{delay: tt.delay}
				x := exchanger(t, func(c *Config) {
					c.QueryTimeout = 800 * ms
					c.Dial = dialer(l.serve)
					c.Routes[nsAddr] = "ns:53"
				})
				for i, a := range tt.asked {
					l.begin()
					start := time.Now()
					res, err := x.Exchange(t.Context(), At(nsAddr), "www.example.com.", dns.TypeA, Options{Hurry: a.hurry})
					what := "answer"
					if err != nil {
						what = err.Error()
					}
					took := time.Since(start)
					synctest.Wait()
					got := fmt.Sprintf("%s → %s at %v", strings.Join(l.messages(), ", "), what, took)
					if got != a.want {
						t.Errorf("question %d:\ngot  %s\nwant %s", i+1, got, a.want)
					}
					if res.Queries != len(l.messages()) || res.Took != took {
						t.Errorf("the result says %d messages and %v", res.Queries, res.Took)
					}
				}
			})
		})
	}
}

func TestWhatWasRememberedOfAWayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{delay: func(n int) time.Duration {
			if n < 2 {
				return -1
			}
			return 0
		}}
		x := exchanger(t, func(c *Config) {
			c.QueryTimeout = 800 * time.Millisecond
			c.Dial = dialer(l.serve)
			c.Routes[nsAddr] = "ns:53"
		})
		mustAsk(t, x)
		time.Sleep(silentFor + time.Second)
		l.begin()
		mustAsk(t, x)
		if last := l.messages()[0]; strings.Contains(last, "without") {
			t.Errorf("after %v it is still asked without EDNS", silentFor)
		}
	})
}

func TestASlowServerCannotTakeAllPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{delay: func(int) time.Duration { return -1 }}
		quick := &line{delay: func(int) time.Duration { return time.Millisecond }}
		x := exchanger(t, func(c *Config) {
			c.QueryTimeout = 800 * time.Millisecond
			c.MaxUpstream, c.MaxUpstreamPerServer = 3, 2
			c.Routes[nsAddr], c.Routes[nsAddr.Next()] = "slow:53", "quick:53"
			c.Dial = dialer(func(network, address string, conn net.Conn) {
				if address == "slow:53" {
					l.serve(network, address, conn)
				} else {
					quick.serve(network, address, conn)
				}
			})
		})
		start := time.Now()
		outcomes := make(chan string, 5)
		put := func(addr netip.Addr) {
			_, err := x.Exchange(t.Context(), At(addr), "www.example.com.", dns.TypeA, Options{})
			var failure *Error
			what := "answer"
			if errors.As(err, &failure) {
				what = string(failure.Outcome)
			}
			outcomes <- fmt.Sprint(what, " at ", time.Since(start))
		}
		for range 2 {
			go put(nsAddr)
		}
		synctest.Wait()
		go put(nsAddr)        // waits for a place of the slow one, and for nothing else
		go put(nsAddr.Next()) // does not
		if got := <-outcomes; got != "answer at 1ms" {
			t.Errorf("the quick server beside it: %s", got)
		}
		counts := map[string]int{}
		for range 3 {
			counts[<-outcomes]++
		}
		// The third got a place when the first two gave theirs up, or just not.
		if n := counts["timeout at 800ms"]; n < 2 {
			t.Errorf("the slow one: %v", counts)
		}
		synctest.Wait()
	})
}

func TestNobodyWaitsForAPlaceForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{delay: func(int) time.Duration { return -1 }}
		x := exchanger(t, func(c *Config) {
			c.QueryTimeout = time.Second
			c.MaxUpstream, c.MaxUpstreamPerServer = 1, 1
			c.Dial = dialer(l.serve)
			c.Routes[nsAddr], c.Routes[nsAddr.Next()] = "slow:53", "other:53"
		})
		go func() {
			_, _ = x.Exchange(t.Context(), At(nsAddr), "www.example.com.", dns.TypeA, Options{Timeout: 10 * time.Second})
		}()
		synctest.Wait()
		start := time.Now()
		for _, addr := range []netip.Addr{nsAddr, nsAddr.Next()} { // its own place; the one in all
			_, err := x.Exchange(t.Context(), At(addr), "www.example.com.", dns.TypeA, Options{})
			if err == nil || err.Error() != "was not asked, because too many questions are under way" {
				t.Errorf("error %v", err)
			}
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("they waited %v", took)
		}
		if n := len(l.messages()); n > maxSends {
			t.Errorf("%d messages were sent", n)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := x.servers.byKey[At(nsAddr).key()].users; n != 0 {
			t.Errorf("%d users are left", n)
		}
	})
}

func TestACallerThatGivesUpEndsTheWaitAndBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{delay: func(int) time.Duration { return -1 }}
		x := exchanger(t, func(c *Config) {
			c.Dial = dialer(l.serve)
			c.Routes[nsAddr] = "slow:53"
		})
		ctx, cancel := contextAfter(t, time.Second)
		defer cancel()
		start := time.Now()
		if _, err := x.Exchange(ctx, At(nsAddr), "www.example.com.", dns.TypeA, Options{}); err == nil {
			t.Error("no error")
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v", took)
		}
		if x.servers.standings(".", []netip.Addr{nsAddr}, x.cfg.Now())[0].behind {
			t.Error("the server is backed off")
		}
		synctest.Wait()
	})
}
