package engine

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
	"minicloud.internal/lb/http1"
	"minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// A rig is an engine in front of targets, each a function that is given the
// connections.
type rig struct {
	*Engine
	address string
	set     *upstream.Set
	stop    func() // ends the engine, and waits for it
}

// settings returns those of the tests: short, but no test waits for one to pass
// unless it says so.
func settings() *Settings {
	return &Settings{
		Limits: http1.Limits{Line: 8 << 10, Head: 64 << 10, Fields: 100}, MaxConnections: 20_000, Dial: kit.DefaultDial,
		DialTimeout: time.Second, RequestHead: 10 * time.Second, KeepAlive: time.Minute, BodyIdle: 10 * time.Second,
		TunnelIdle: time.Minute, Drain: 5 * time.Second, RetryAfter: time.Second,
	}
}

// start runs an engine in front of a target that serve is given the connections
// of. Probes are answered apart.
func start(t testing.TB, s *Settings, serve func(net.Conn, *bufio.Reader)) *rig {
	t.Helper()
	target := listen(t, serve)
	health := kit.NewHealth()
	logger := slog.New(slog.DiscardHandler)
	set := upstream.NewSet(logger, health)
	pools := set.Apply(upstream.Config{
		Dial:    kit.DefaultDial,
		Targets: []upstream.TargetConfig{{Address: target, MaxIdle: 64, Health: upstream.Health{Interval: time.Hour}}},
		Pools:   []upstream.PoolConfig{{Name: "default", Targets: []string{target}}},
	})
	rules := []route.Rule{{Split: []route.Share{{Pool: "default", Weight: 1}}, Retries: 2,
		ResponseHeaderTimeout: cmp.Or(s.ResponseHead, 10*time.Second), BodyIdleTimeout: s.BodyIdle}}
	table, err := route.NewTable(rules, pools, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.Routes = table
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{Engine: New(s, logger, health), address: ln.Addr().String(), set: set}
	var running sync.WaitGroup
	probing, stopProbing := context.WithCancel(context.Background())
	running.Go(func() { set.Run(probing) })
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
		stopProbing()
		running.Wait()
	})
	t.Cleanup(r.stop)
	kittest.Eventually(t, "the target is up", func() bool { return set.Targets()[0].State() == upstream.Up })
	return r
}

// listen gives every connection to serve, but for probes, and returns its
// address.
func listen(t testing.TB, serve func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			running.Go(func() {
				defer c.Close()
				in := bufio.NewReader(c)
				if first, err := in.Peek(12); err == nil && string(first) == "GET /healthz" {
					if r, err := http.ReadRequest(in); err == nil && r.UserAgent() == "minicloud-lb-health" {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
						return
					}
				}
				serve(c, in)
			})
		}
	})
	return ln.Addr().String()
}

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c
}
