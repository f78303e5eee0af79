package conformance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/lb"
)

// Settings are what a behaviour asks of the proxy's configuration, and of its
// targets; zero stands for the default.
type settings struct {
	targets        int  // 1
	unhealthy      bool // every probe gets 503
	maxConnections int  // to each target

	dial, requestHead, bodyIdle, responseHead, keepAlive, tunnelIdle, queue time.Duration

	maxLine, maxHead, maxBody int // bytes
	maxFields                 int
	trusting                  bool // the client is a trusted proxy
}

// A proxy is what the behaviours are asked of. It is started anew for each.
type proxy interface {
	String() string
	// ours tells our load balancer, which promises more than the standards.
	ours() bool
	// start returns when the proxy serves. It may keep files in dir.
	start(s settings, targets []string, dir string) (*running, error)
}

type running struct {
	addr string
	stop func() error
	log  func() string
}

// loadBalancer is ours, in this process.
type loadBalancer struct{}

func (loadBalancer) String() string { return "ours" }
func (loadBalancer) ours() bool     { return true }

// config writes what a user would.
func (loadBalancer) config(s settings, targets []string) string {
	var b strings.Builder
	set := func(key string, value any) { fmt.Fprintf(&b, "%s = %v\n", key, value) }
	set("health_check_interval", `"1h"`) // one probe; then requests alone bring news
	set("drain_timeout", `"200ms"`)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"dial_timeout", s.dial},
		{"request_head_timeout", s.requestHead},
		{"body_idle_timeout", s.bodyIdle},
		{"response_header_timeout", s.responseHead},
		{"keep_alive_timeout", s.keepAlive},
		{"tunnel_idle_timeout", s.tunnelIdle},
		{"queue_timeout", s.queue},
	} {
		if d.value != 0 {
			set(d.key, fmt.Sprintf("%q", d.value))
		}
	}
	for _, n := range []struct {
		key   string
		value int
	}{
		{"max_line", s.maxLine},
		{"max_head", s.maxHead},
		{"max_fields", s.maxFields},
		{"max_body", s.maxBody},
	} {
		if n.value != 0 {
			set(n.key, n.value)
		}
	}
	if s.trusting {
		set("trusted_proxies", `["127.0.0.0/8"]`)
	}
	for _, t := range targets {
		fmt.Fprintf(&b, "[[targets]]\naddress = %q\n", t)
		if s.maxConnections != 0 {
			set("max_connections", s.maxConnections)
		}
	}
	return b.String()
}

func (p loadBalancer) start(s settings, targets []string, dir string) (*running, error) {
	file := filepath.Join(dir, "load-balancer.toml")
	if err := os.WriteFile(file, []byte(p.config(s, targets)), 0o600); err != nil {
		return nil, err
	}
	cfg := lb.DefaultConfig()
	if err := kit.LoadConfig(file, &cfg); err != nil {
		return nil, err
	}
	log := &logbook{ready: make(chan struct{}), sentence: fmt.Sprintf("Healthy targets: %d", len(targets))}
	if s.unhealthy {
		log.sentence = "Healthy targets: 0"
	}
	balancer, err := lb.New(cfg, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- balancer.Serve(ctx, ln) }()
	stop := func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(waiting):
			return errors.New("it does not stop")
		}
	}
	select {
	case <-log.ready:
	case err := <-done:
		cancel()
		return nil, fmt.Errorf("serve: %w", err)
	case <-time.After(waiting):
		_ = stop()
		return nil, fmt.Errorf("the log never says %q; it says\n%s", log.sentence, log)
	}
	return &running{addr: ln.Addr().String(), stop: stop, log: log.String}, nil
}

// waiting bounds a start and a stop; it is never waited out where all is well.
const waiting = 10 * time.Second

// A logbook keeps a log, and tells when it says that the targets were probed.
type logbook struct {
	mu       sync.Mutex
	text     strings.Builder
	sentence string
	ready    chan struct{}
	said     bool
}

func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.said && strings.Contains(string(line), l.sentence) {
		l.said = true
		close(l.ready)
	}
	return l.text.Write(line)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
