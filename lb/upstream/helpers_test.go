package upstream

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"minicloud.internal/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A logbook is a log handler that keeps what it gets.
type logbook struct {
	mu    sync.Mutex
	lines []string // message, then attributes as " key=value"
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }
func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// with returns the lines that begin with a prefix.
func (l *logbook) with(prefix string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.HasPrefix(line, prefix) {
			found = append(found, line)
		}
	}
	return found
}

func (l *logbook) counts() []string { return l.with("Healthy targets: ") }

// A network is made of pipes, so that it lives inside a synctest bubble. Each
// address has a behaviour that a test may change.
type network struct {
	mu      sync.Mutex
	answer  map[string]int    // status; 0: accept and stay silent; absent: refuse
	body    map[string]string // of the answer
	leads   map[string]string // address -> IP address and port of its connections
	late    time.Duration     // until a connection is made
	dialled map[string]int
	asked   []string // request lines and User-Agent fields, in order
	servers sync.WaitGroup
}

func newNetwork(answering ...string) *network {
	n := &network{answer: map[string]int{}, body: map[string]string{}, leads: map[string]string{}, dialled: map[string]int{}}
	for _, address := range answering {
		n.answer[address] = 200
	}
	return n
}

func (n *network) set(address string, status int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer[address] = status
}

func (n *network) refuse(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.answer, address)
}

func (n *network) lead(address, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leads[address] = to
}

func (n *network) delay(by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.late = by
}

func (n *network) count(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialled[address]
}

// A located connection has an address.
type located struct {
	net.Conn
	addr net.Addr
}

func (c located) RemoteAddr() net.Addr { return c.addr }

func tcpAddr(s string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", s) // of a literal: asks nobody
	if err != nil {
		panic(err)
	}
	return a
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	late := n.late
	n.mu.Unlock()
	if late > 0 {
		select {
		case <-time.After(late):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled[address]++
	status, ok := n.answer[address]
	if !ok {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	body := n.body[address]
	ours, theirs := net.Pipe()
	n.servers.Go(func() {
		defer theirs.Close()
		b := make([]byte, 4096)
		for read := false; status == 0 || !read; read = true {
			k, err := theirs.Read(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.asked = append(n.asked, string(b[:k]))
			n.mu.Unlock()
		}
		_, _ = theirs.Write([]byte("HTTP/1.1 103 Early Hints\r\n\r\n"))
		res := http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Close: true,
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		_ = res.Write(theirs)
	})
	if to := n.leads[address]; to != "" {
		return located{ours, tcpAddr(to)}, nil
	}
	return ours, nil
}

// A rig is a Set that a test drives, with its log and its health.
type rig struct {
	*Set
	log    *logbook
	health *kit.Health
	pool   *Pool // the one with the name "p"
	cancel context.CancelFunc
	done   chan struct{}
}

func newRig(cfg Config) *rig {
	r := &rig{log: &logbook{}, health: kit.NewHealth()}
	r.Set = NewSet(slog.New(r.log), r.health)
	r.apply(cfg)
	return r
}

func (r *rig) apply(cfg Config) { r.pool = r.Apply(cfg)["p"] }

// watch begins to probe, in a bubble, and returns when everybody stands still.
// The test ends it.
func (r *rig) watch(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() { defer close(r.done); r.Run(ctx) }()
	synctest.Wait()
}

func (r *rig) end() {
	r.cancel()
	<-r.done
}

func (r *rig) target(address string) *Target {
	for _, t := range r.Targets() {
		if t.Address() == address {
			return t
		}
	}
	panic("no target " + address)
}

// up makes targets up without a probe.
func (r *rig) up(addresses ...string) {
	for _, address := range addresses {
		r.learn(r.target(address), finding{})
	}
}

// running probes cfg over n in a bubble of its own, then hands over to the test.
func running(t *testing.T, name string, n *network, cfg Config, test func(t *testing.T, r *rig)) {
	t.Helper()
	bubble(t, name, func(t *testing.T) {
		cfg.Dial = n.dial
		r := newRig(cfg)
		r.watch(t)
		test(t, r)
		r.end()
		n.servers.Wait()
	})
}

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// of is a configuration of one pool, "p", over all its targets.
func of(addresses ...string) Config {
	cfg := Config{Pools: []PoolConfig{{Name: "p", Targets: addresses}}}
	for _, address := range addresses {
		cfg.Targets = append(cfg.Targets, TargetConfig{Address: address, MaxIdle: 8})
	}
	return cfg
}

func addresses(targets []*Target) string {
	all := make([]string, len(targets))
	for i, t := range targets {
		all[i] = t.Address()
	}
	return strings.Join(all, " ")
}

// passing lets the time of a bubble go on.
func passing(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
