package upstream

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// closings are the names of connections that were closed, in their order.
type closings struct {
	mu    sync.Mutex
	names []string
}

// take returns them, and forgets them.
func (c *closings) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Join(c.names, " ")
	c.names = nil
	return all
}

// A parked connection tells when it is closed.
type parked struct {
	name   string
	closed *closings
}

func (c *parked) Close() error {
	c.closed.mu.Lock()
	defer c.closed.mu.Unlock()
	c.closed.names = append(c.closed.names, c.name)
	return nil
}

type parkedAt struct {
	*parked
	addr net.Addr
}

func (c parkedAt) RemoteAddr() net.Addr { return c.addr }

func TestIdle(t *testing.T) {
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	// Each stack holds at most three, for a minute.
	for _, c := range []struct {
		name   string
		do     func(i *Idle, conn func(name string) Closer) string
		want   string
		closed string // in their order
		left   int
	}{
		{"of nothing there is nothing", func(i *Idle, _ func(string) Closer) string {
			return pop(i, at(0))
		}, "none", "", 0},
		{"the newest is taken first, with the time that it was idle", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.Push(0, conn("b"), at(1))
			return pop(i, at(5)) + pop(i, at(6)) + pop(i, at(7))
		}, "b 4s, a 6s, none", "", 0},
		{"what is above the bound is not kept", func(i *Idle, conn func(string) Closer) string {
			return fmt.Sprint(i.Push(0, conn("a"), at(0)), i.Push(0, conn("b"), at(0)), i.Push(0, conn("c"), at(0)), i.Push(0, conn("d"), at(0)))
		}, "true true true false", "", 3},
		{"one that is too old is closed, and so are those below", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.Push(0, conn("b"), at(1))
			return pop(i, at(61))
		}, "none", "a b", 0},
		{"the newest is taken though the oldest is too old", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.Push(0, conn("b"), at(59))
			return pop(i, at(60))
		}, "b 1s", "", 1},
		{"a sweep closes what is too old only", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.Push(0, conn("b"), at(1))
			i.Push(0, conn("c"), at(2))
			i.sweep(at(61))
			return ""
		}, "", "a b", 1},
		{"with a lower bound a sweep closes the oldest above it", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.Push(0, conn("b"), at(1))
			i.Push(0, conn("c"), at(2))
			i.configure(1, time.Minute)
			i.sweep(at(2))
			return pop(i, at(2))
		}, "c 0s", "a b", 0},
		{"after all are closed others are kept", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.CloseAll()
			return fmt.Sprint(i.Push(0, conn("b"), at(1)))
		}, "true", "a", 1},
		{"once shut it keeps none, until it is opened", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.setShut(true)
			kept := i.Push(0, conn("b"), at(1))
			i.setShut(false)
			return fmt.Sprint(kept, i.Push(0, conn("c"), at(1)))
		}, "false true", "a", 1},
		{"a lane has what was pushed there", func(i *Idle, conn func(string) Closer) string {
			i.Push(1, conn("a"), at(0))
			i.Push(2, conn("b"), at(1))
			return pop(i, at(1)) + popLane(i, 2, at(2)) + popLane(i, 2, at(2)) + popLane(i, 1, at(2))
		}, "none, b 1s, none, a 2s", "", 0},
		{"one above the bound takes the place of the oldest of another lane", func(i *Idle, conn func(string) Closer) string {
			i.Push(1, conn("a"), at(0))
			i.Push(2, conn("b"), at(1))
			i.Push(0, conn("c"), at(2))
			return fmt.Sprint(i.Push(0, conn("d"), at(3)), i.Push(0, conn("e"), at(4)), i.Push(0, conn("f"), at(5)))
		}, "true true false", "a b", 3},
		{"with a lower bound a sweep closes the oldest of all lanes", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(1))
			i.Push(1, conn("b"), at(0))
			i.Push(2, conn("c"), at(2))
			i.configure(1, time.Minute)
			i.sweep(at(2))
			return popLane(i, 2, at(2))
		}, "c 0s", "b a", 0},
		{"where the lane does not matter, one of any is taken", func(i *Idle, conn func(string) Closer) string {
			i.Push(2, conn("a"), at(0))
			return fmt.Sprint(i.PopAny(at(1)).(*parked).name, i.PopAny(at(1)))
		}, "a<nil>", "", 0},
		{"what is too old in a lane is closed there, and elsewhere by a sweep", func(i *Idle, conn func(string) Closer) string {
			i.Push(0, conn("a"), at(0))
			i.Push(1, conn("b"), at(0))
			i.Push(1, conn("c"), at(30))
			none := popLane(i, 0, at(61))
			i.sweep(at(61))
			return none
		}, "none", "a b", 1},
		{"one is taken by itself, once", func(i *Idle, conn func(string) Closer) string {
			a, b := conn("a"), conn("b")
			i.Push(1, a, at(0))
			i.Push(1, b, at(0))
			return fmt.Sprint(i.Take(2, a), i.Take(0, a), i.Take(1, a), i.Take(1, a)) + " " + popLane(i, 1, at(1))
		}, "false false true false b 1s", "", 0},
		{"connections to an address that is gone are closed, and none of them comes back", func(i *Idle, conn func(string) Closer) string {
			to := func(name, addr string) Closer { return parkedAt{conn(name).(*parked), tcpAddr(addr)} }
			i.Push(0, to("a", "10.0.0.1:80"), at(0))
			i.Push(0, to("b", "10.0.0.2:80"), at(0))
			i.Push(0, conn("c"), at(0))
			i.abandon([]netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:80")})
			return fmt.Sprint(i.Push(0, to("d", "10.0.0.1:80"), at(1)), i.Push(0, to("e", "10.0.0.1:81"), at(1)))
		}, "false true", "a", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var closings closings
			i := &Idle{}
			i.configure(3, time.Minute)
			got := c.do(i, func(name string) Closer { return &parked{name, &closings} })
			if got = strings.TrimSuffix(got, ", "); got != c.want && strings.TrimSuffix(got, ", none") != c.want {
				t.Errorf("got %q, expected %q", got, c.want)
			}
			if closed := closings.take(); closed != c.closed || i.Len() != c.left {
				t.Errorf("closed %q, %d left; expected %q, %d", closed, i.Len(), c.closed, c.left)
			}
		})
	}
}

// pop describes what Pop returns.
func pop(i *Idle, now time.Time) string { return popLane(i, 0, now) }

func popLane(i *Idle, lane int, now time.Time) string {
	c, idle := i.Pop(lane, now)
	if c == nil {
		return "none, "
	}
	return c.(*parked).name + " " + idle.String() + ", "
}

func TestAddrOf(t *testing.T) {
	for name, c := range map[string]struct {
		conn any
		want netip.AddrPort
	}{
		"what has no address has none":           {&parked{}, netip.AddrPort{}},
		"what is not TCP has none":               {located{addr: &net.UnixAddr{Name: "x"}}, netip.AddrPort{}},
		"an address that is not there is none":   {located{addr: (*net.TCPAddr)(nil)}, netip.AddrPort{}},
		"an IPv4 address is one in IPv6 as well": {located{addr: tcpAddr("[::ffff:10.0.0.1]:80")}, netip.MustParseAddrPort("10.0.0.1:80")},
		"an IPv6 address is itself":              {located{addr: tcpAddr("[::1]:80")}, netip.MustParseAddrPort("[::1]:80")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := addrOf(c.conn); got != c.want {
				t.Errorf("got %s, expected %s", got, c.want)
			}
		})
	}
}

func TestWhereabouts(t *testing.T) {
	addr := func(c byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, c}), 80) }
	letters := func(addrs []netip.AddrPort) string {
		var out []byte
		for _, a := range addrs {
			b := a.Addr().As4()
			out = append(out, b[3])
		}
		slices.Sort(out)
		return string(out)
	}
	// Each letter is where one probe is led; ! says that it changed what is gone.
	for name, c := range map[string]struct{ probes, changes, here, gone string }{
		"the first address is no move":                               {"A", ".", "A", ""},
		"nothing changes where nothing moves":                        {"AAAA", "....", "A", ""},
		"a new address is a move, at once":                           {"AAB", "..!", "B", "A"},
		"what moves twice leaves two behind":                         {"ABC", ".!!", "C", "AB"},
		"two that take turns are both there, once one is seen again": {"ABAAB", ".!!..", "AB", ""},
		"three that take turns are all there in the end":             {"ABCABCABC", ".!!!!....", "ABC", ""},
		"one that was away for sixteen probes is still there":        {"ABA" + "BBBBBBBBBBBBBBBB", ".!!" + "................", "AB", ""},
		"for seventeen, it is gone":                                  {"ABA" + "BBBBBBBBBBBBBBBBB", ".!!" + "................!", "B", "A"},
		"one of several that moves leaves the others to be found":    {"ABAB" + "C" + "BC", ".!!." + "!" + "!.", "BC", "A"},
		"no more than sixteen are remembered as gone":                {"ABCDEFGHIJKLMNOPQRST", ".!!!!!!!!!!!!!!!!!!!", "T", "DEFGHIJKLMNOPQRS"},
	} {
		t.Run(name, func(t *testing.T) {
			var w whereabouts
			changes := ""
			for _, letter := range []byte(c.probes) {
				mark := "."
				if w.see(addr(letter)) {
					mark = "!"
				}
				changes += mark
				if w.latest() != addr(letter) {
					t.Errorf("led to %c, and the latest is %s", letter, w.latest())
				}
			}
			var here []netip.AddrPort
			for _, s := range w.here {
				here = append(here, s.addr)
			}
			if changes != c.changes || letters(here) != c.here || letters(w.gone) != c.gone {
				t.Errorf("got %s, here %s, gone %s; expected %s, %s, %s", changes, letters(here), letters(w.gone), c.changes, c.here, c.gone)
			}
		})
	}
	if (&whereabouts{}).latest().IsValid() {
		t.Error("without a probe there is an address")
	}
}
