package conformance

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A behaviour is one row of the tables.
type behaviour struct {
	name string // a sentence of what holds
	rfc  string // where it says so
	// ours marks what our load balancer promises beyond the standards.
	ours bool
	// cold marks what cannot begin with requests that are answered.
	cold bool
	settings
	script func(x *exchange)
}

func (b behaviour) title() string {
	if b.rfc == "" {
		return b.name
	}
	return b.name + " (RFC " + b.rfc + ")"
}

// An exchange is one run of a script: a proxy between clients and upstreams.
type exchange struct {
	ours      bool
	warm      bool   // clients have made requests before
	served    bool   // by a service
	addr      string // of the proxy
	patience  time.Duration
	upstreams []*upstream

	arrivals chan *conn
	over     chan struct{} // closed when the script is
	accepted atomic.Int64
	clients  []*conn
	open     []*conn // those of the upstreams that next has handed out

	owned sync.WaitGroup
	mu    sync.Mutex
	ended bool
	conns []net.Conn
	said  []string // what differs, in the order that it was found
}

// A client that is warm has made requests before the script, enough for both sides'
// connections to be where the proxy has those that are used again and again.
const (
	warmth   = 5
	warmPath = "/warm"
)

// A difference ends a script.
type difference string

func (x *exchange) differs(format string, args ...any) {
	panic(difference(fmt.Sprintf(format, args...)))
}

// own has a connection closed when the script is over.
func (x *exchange) own(c net.Conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended {
		_ = c.Close()
	}
	x.conns = append(x.conns, c)
}

// try runs a part of the script, and keeps what differs.
func (x *exchange) try(part func()) {
	defer func() {
		if v := recover(); v != nil {
			said, found := v.(difference)
			if !found {
				panic(v)
			}
			x.mu.Lock()
			defer x.mu.Unlock()
			if !x.ended { // what ends with the script is no difference
				x.said = append(x.said, string(said))
			}
		}
	}()
	part()
}

// meanwhile runs a part beside the others, and returns what waits for its end.
func (x *exchange) meanwhile(part func()) (wait func()) {
	ended := make(chan struct{})
	x.owned.Go(func() {
		defer close(ended)
		x.try(part)
	})
	return func() { <-ended }
}

// run runs a behaviour against a proxy, where asked for on warm connections. It returns what differs from it, or "",
// and the proxy's log. An error means that the proxy could not be run.
func run(p proxy, b behaviour, dir string, patience time.Duration, warm bool) (differs, log string, err error) {
	x := &exchange{
		ours: p.ours(), patience: patience, warm: warm,
		arrivals: make(chan *conn, 1024), over: make(chan struct{}),
	}
	defer x.end()
	var targets []string
	for n := range max(1, b.targets) {
		status := "200 OK"
		if b.unhealthy {
			status = "503 Service Unavailable"
		}
		u, err := newUpstream(x, n+1, status)
		if err != nil {
			return "", "", err
		}
		x.upstreams = append(x.upstreams, u)
		targets = append(targets, u.addr)
	}
	running, err := p.start(b.settings, targets, dir)
	if err != nil {
		return "", "", err
	}
	x.addr = running.addr
	x.try(func() { b.script(x) })
	x.end()
	if err := running.stop(); err != nil {
		x.said = append(x.said, err.Error())
	}
	return strings.Join(x.said, "; "), running.log(), nil
}

// end closes every connection and listener of the script's and joins what runs
// beside it. It may be called twice.
func (x *exchange) end() {
	x.mu.Lock()
	if !x.ended {
		x.ended = true
		close(x.over)
	}
	conns := x.conns
	x.mu.Unlock()
	for _, u := range x.upstreams {
		u.refuse()
	}
	for _, c := range conns {
		_ = c.Close()
	}
	x.owned.Wait()
}

// client opens a client's connection.
func (x *exchange) client() *conn {
	tcp, err := net.DialTimeout("tcp", x.addr, x.patience)
	if err != nil {
		x.differs("the proxy cannot be connected to: %v", err)
	}
	x.own(tcp)
	c := newConn(x, "the client", tcp.(*net.TCPConn))
	x.clients = append(x.clients, c)
	if x.warm {
		for range warmth {
			c.send(get(warmPath))
			if !x.served {
				u := x.next()
				u.request()
				u.send(ok("warm"))
			}
			x.gets(c.response("GET"), 200, "warm")
		}
	}
	return c
}

// instead says what the clients got that no script expected, as yet.
func (x *exchange) instead() string {
	for _, c := range x.clients {
		_ = c.tcp.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, _ = c.in.Peek(1)
		if b, _ := c.in.Peek(c.in.Buffered()); len(b) > 0 {
			line, _, _ := strings.Cut(string(b), "\r\n")
			return fmt.Sprintf("; a client gets %q", shortened(line))
		}
	}
	return ""
}

// next waits for the next request at any upstream, on a new connection or on one
// that was used before, and returns its connection.
func (x *exchange) next() *conn {
	found := make(chan *conn, len(x.open))
	var watches sync.WaitGroup
	for _, c := range x.open {
		c.hurry()
		watches.Go(func() {
			if b, _ := c.in.Peek(1); len(b) > 0 {
				found <- c
			}
		})
	}
	var next *conn
	select {
	case next = <-x.arrivals:
		x.open = append(x.open, next)
	case next = <-found:
	case <-time.After(x.patience):
	}
	for _, c := range x.open {
		_ = c.tcp.SetReadDeadline(time.Now()) // calls its watch off
	}
	watches.Wait()
	if next == nil {
		x.differs("no request reaches the upstream%s", x.instead())
	}
	return next
}

// A service answers every request at every upstream as it arrives.
type service struct {
	mu   sync.Mutex
	seen []*message // whole requests
}

// serve answers all requests from now on, in place of next. What answer returns
// is sent as it is; where it is empty the connection is closed.
func (x *exchange) serve(answer func(m *message) string) *service {
	s := &service{}
	x.served = true
	x.owned.Go(func() {
		for {
			select {
			case c := <-x.arrivals:
				x.owned.Go(func() { s.serve(c, answer) })
			case <-x.over:
				return
			}
		}
	})
	return s
}

func (s *service) serve(c *conn, answer func(m *message) string) {
	defer c.close()
	for {
		_ = c.tcp.SetReadDeadline(time.Time{}) // between requests
		if _, err := c.in.Peek(1); err != nil {
			return
		}
		m, err := c.tryRequest()
		if err != nil {
			return
		}
		var text string
		if m.target == warmPath {
			text = ok("warm")
		} else {
			s.mu.Lock()
			s.seen = append(s.seen, m)
			s.mu.Unlock()
			text = answer(m)
		}
		if text == "" || c.write(text) != nil {
			return
		}
	}
}

// lines returns the request lines that were served.
func (s *service) lines() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.seen {
		lines = append(lines, m.line)
	}
	return lines
}
