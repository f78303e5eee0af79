package lb

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A network is made of pipes, so that it lives inside a synctest bubble. Each
// address has a behaviour that a test may change.
type network struct {
	mu      sync.Mutex
	answer  map[string]int // status; 0: accept and stay silent; absent: refuse
	dialled map[string]int
	servers sync.WaitGroup
}

func newNetwork() *network { return &network{answer: map[string]int{}, dialled: map[string]int{}} }

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

func (n *network) count(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dialled[address]
}

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dialled[address]++
	status, ok := n.answer[address]
	if !ok {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	n.servers.Go(func() {
		defer theirs.Close()
		b := make([]byte, 4096)
		for read := false; status == 0 || !read; read = true {
			if _, err := theirs.Read(b); err != nil {
				return
			}
		}
		res := http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Close: true}
		_ = res.Write(theirs)
	})
	return ours, nil
}

// watched runs the monitor of a load balancer over n's addresses, in a bubble.
func watched(t *testing.T, n *network, cfg Config, test func(lb *LoadBalancer, log *logbook)) {
	t.Helper()
	cfg.Dial = n.dial
	log := newLogbook()
	lb, err := New(cfg, slog.New(log), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); lb.monitor.run(ctx) }()
	synctest.Wait()
	test(lb, log)
	cancel()
	<-done
	n.servers.Wait()
}

func two() (*network, Config) {
	cfg := DefaultConfig()
	cfg.Targets = []Target{{Address: "a:1"}, {Address: "b:1"}}
	n := newNetwork()
	n.set("a:1", 200)
	n.set("b:1", 200)
	return n, cfg
}

func (l *logbook) counts() []string { return l.since(0, "Healthy targets: ") }

func TestMonitor(t *testing.T) {
	bubble := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	bubble("every target is probed at once, and the number is logged once for all", func(t *testing.T) {
		n, cfg := two()
		watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
			if got := log.counts(); !slices.Equal(got, []string{"Healthy targets: 2"}) {
				t.Errorf("logged %q", got)
			}
		})
	})
	bubble("the first number waits for the slowest probe, and for no more than its timeout", func(t *testing.T) {
		n, cfg := two()
		n.set("b:1", 0)
		watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
			if got := log.counts(); len(got) != 0 {
				t.Errorf("logged %q before the round was complete", got)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if got := log.counts(); !slices.Equal(got, []string{"Healthy targets: 1"}) {
				t.Errorf("logged %q", got)
			}
		})
	})
	for what, change := range map[string]func(n *network){
		"a 503":     func(n *network) { n.set("b:1", 503) },
		"a 404":     func(n *network) { n.set("b:1", 404) },
		"a refusal": func(n *network) { n.refuse("b:1") },
	} {
		bubble(what+" takes a target down within one interval, and it is back within one", func(t *testing.T) {
			n, cfg := two()
			watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
				change(n)
				time.Sleep(cfg.HealthCheckInterval)
				synctest.Wait()
				n.set("b:1", 200)
				time.Sleep(cfg.HealthCheckInterval)
				synctest.Wait()
				if got := log.counts(); !slices.Equal(got, []string{"Healthy targets: 2", "Healthy targets: 1", "Healthy targets: 2"}) {
					t.Errorf("logged %q", got)
				}
			})
		})
	}
	bubble("one silence is forgiven, the second is asked for soon and takes the target down", func(t *testing.T) {
		n, cfg := two()
		watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
			n.set("b:1", 0)
			time.Sleep(cfg.HealthCheckInterval + cfg.HealthCheckTimeout)
			synctest.Wait()
			if got := stateOf(lb, "b:1"); got != "up" {
				t.Errorf("after one silence the target is %s", got)
			}
			time.Sleep(2 * cfg.HealthCheckTimeout)
			synctest.Wait()
			if got := stateOf(lb, "b:1"); got != "down" {
				t.Errorf("after two silences the target is %s", got)
			}
		})
	})
	bubble("each probe has a connection of its own", func(t *testing.T) {
		n, cfg := two()
		watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
			time.Sleep(10 * cfg.HealthCheckInterval)
			synctest.Wait()
			if got := n.count("a:1"); got < 11 || got > 12 {
				t.Errorf("%d connections in ten intervals, expected 11 or 12", got)
			}
		})
	})
	bubble("a refused request takes a target down at once and asks it again at once", func(t *testing.T) {
		n, cfg := two()
		watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
			n.refuse("b:1")
			lb.monitor.observe(lb.targets[1], bad, errors.New("refused"))
			if got := stateOf(lb, "b:1"); got != "down" {
				t.Errorf("the target is %s", got)
			}
			synctest.Wait()
			if got := n.count("b:1"); got != 2 {
				t.Errorf("%d probes, expected a second one without delay", got)
			}
		})
	})
	bubble("a cut connection takes a sound target out for one probe only", func(t *testing.T) {
		n, cfg := two()
		watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
			lb.monitor.observe(lb.targets[1], broken, errors.New("reset"))
			synctest.Wait()
			if got := stateOf(lb, "b:1"); got != "up" {
				t.Errorf("the target is %s", got)
			}
			if got := log.counts(); !slices.Equal(got, []string{"Healthy targets: 2", "Healthy targets: 1", "Healthy targets: 2"}) {
				t.Errorf("logged %q", got)
			}
		})
	})
	bubble("health names no target", func(t *testing.T) {
		n, cfg := two()
		n.refuse("b:1")
		watched(t, n, cfg, func(lb *LoadBalancer, log *logbook) {
			lb.health.OK()
			if code, got := lb.Health().Status(); code != 200 || got != "OK, reduced: targets: 1 of 2 healthy" {
				t.Errorf("health is %d %q", code, got)
			}
		})
	})
}

func TestFirstVerdict(t *testing.T) {
	// ask returns how long the order of a request took, and its first target.
	ask := func(lb *LoadBalancer) (time.Duration, string, error) {
		start := time.Now()
		order, err := lb.order(context.Background(), lb.table.fallback)
		first := ""
		if err == nil {
			for target := range order {
				first = target.address
				break
			}
		}
		return time.Since(start), first, err
	}
	late := func(n *network, by time.Duration) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			select {
			case <-time.After(by):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return n.dial(ctx, network, address)
		}
	}
	for name, c := range map[string]struct {
		answer  int
		by      time.Duration
		timeout time.Duration
		took    time.Duration
		err     error
	}{
		"a request waits for the first verdict":        {200, 300 * time.Millisecond, time.Second, 300 * time.Millisecond, nil},
		"it learns at once that nobody is left":        {503, 300 * time.Millisecond, time.Second, 300 * time.Millisecond, errNoTarget},
		"it waits no longer than a second for anybody": {200, 3 * time.Second, 4 * time.Second, time.Second, errNoTarget},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				n.set("a:1", c.answer)
				cfg := DefaultConfig()
				cfg.Targets = []Target{{Address: "a:1"}}
				cfg.HealthCheckTimeout = c.timeout
				cfg.Dial = late(n, c.by)
				lb, err := New(cfg, slog.New(newLogbook()), prometheus.NewRegistry())
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); lb.monitor.run(ctx) }()
				took, first, err := ask(lb)
				if took != c.took || !errors.Is(err, c.err) || err == nil && first != "a:1" {
					t.Errorf("after %s: %q, %v; expected after %s: %v", took, first, err, c.took, c.err)
				}
				cancel()
				<-done
				synctest.Wait()
				n.servers.Wait()
			})
		})
	}
	t.Run("a request that is cancelled waits no more", func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Targets = []Target{{Address: "a:1"}}
		lb, err := New(cfg, slog.New(newLogbook()), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := lb.order(ctx, lb.table.fallback); !errors.Is(err, errNoTarget) {
			t.Errorf("got %v", err)
		}
	})
}
