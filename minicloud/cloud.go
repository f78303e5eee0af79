package minicloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"minicloud.internal/kit"
)

// Options say how [Start] composes the cloud. The zero value is the cloud that
// `minicloud up` starts in the current directory.
type Options struct {
	// Configs is the directory of the configuration files; default "configs".
	Configs string
	// Data is the directory of what the cloud keeps; default ".minicloud/data".
	Data string
	// Log receives the services' logs; default standard error.
	Log io.Writer
	// LookupEnv reads the variables that move ports; default [os.LookupEnv].
	LookupEnv func(string) (string, bool)
}

// FreePorts is an [Options.LookupEnv] under which every port is a free one.
func FreePorts(string) (string, bool) { return "", true }

// A Cloud is running until [Cloud.Close]. Its methods may be called concurrently.
type Cloud struct {
	options Options
	hosts   kit.Hosts
	parts   []*Part
	slots   map[string]*slot // by part; the map never changes

	failed chan error // the first part that ended by itself
}

// A slot is where a part runs, and after a stop runs again.
type slot struct {
	part *Part
	// Where it listens, and its admin listener; fixed once Start has bound them.
	address, admin string

	running atomic.Pointer[running] // nil while the part is stopped

	turn   sync.Mutex // one start or stop at a time, from its begin to its end
	closed bool       // no start any more
}

// running is a started part.
type running struct {
	health *kit.Health
	stop   context.CancelCauseFunc
	done   chan struct{}
	err    error // valid once done is closed
}

func (r *running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Start starts the whole cloud and returns once every part serves or reports
// why it does not yet. An error has stopped everything that had been started.
// The cloud outlives ctx, which bounds only the start.
func Start(ctx context.Context, options Options) (*Cloud, error) {
	if options.Configs == "" {
		options.Configs = "configs"
	}
	if options.Data == "" {
		options.Data = filepath.Join(stateDir, "data")
	}
	if options.Log == nil {
		options.Log = os.Stderr
	}
	if options.LookupEnv == nil {
		options.LookupEnv = os.LookupEnv
	}
	c := &Cloud{options: options, parts: Parts(), slots: map[string]*slot{}, failed: make(chan error, 1)}
	configs := map[string]configured{} // all of them first: a wrong one starts nothing
	for _, p := range c.parts {
		c.slots[p.Name] = &slot{part: p}
		cfg, err := c.load(p)
		if err != nil {
			return nil, err
		}
		configs[p.Name] = cfg
	}
	if err := prepareData(options.Data); err != nil {
		return nil, fmt.Errorf("%w; another directory is chosen by MINICLOUD_DATA=<directory>", err)
	}
	bound, err := c.bindAll()
	for i, p := range c.parts {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil && p.Name == loadBalancer {
			// Its first look at the others decides who gets requests.
			err = c.settle(ctx)
		}
		if err == nil {
			err = c.start(c.slots[p.Name], configs[p.Name], bound[i])
		} else if i < len(bound) {
			bound[i].close()
		}
	}
	if err == nil {
		err = c.settle(ctx)
	}
	if err != nil {
		_ = c.Close() // has nothing to add
		return nil, err
	}
	return c, nil
}

// settle waits until every started part serves, or has reported for longer than
// a start takes why it does not. It returns the error of one that has ended, and
// that of ctx.
func (c *Cloud) settle(ctx context.Context) error {
	patience := time.NewTimer(3 * time.Second)
	defer patience.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		whole := true
		for _, s := range c.slots {
			if r := s.running.Load(); r != nil {
				status, _ := r.health.Status()
				whole = whole && status == http.StatusOK
			}
		}
		select {
		case err := <-c.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
		if whole {
			return nil
		}
		select {
		case <-tick.C:
		case <-patience.C:
			return nil
		}
	}
}

// bindAll opens every part's sockets, in the order of the parts. What it has
// opened is returned with an error too.
func (c *Cloud) bindAll() (bound []sockets, err error) {
	ports, err := publishedPorts(c.options.LookupEnv)
	if err != nil {
		return nil, err
	}
	for _, p := range c.parts {
		on, err := c.bind(p, ports[p.Env], ports[p.Admin.Env])
		if err != nil {
			return bound, err
		}
		bound = append(bound, on)
	}
	return bound, nil
}

// bind opens a part's sockets on loopback and enters them into the host table.
// Its admin listener is on a free port where it is not published on one.
func (c *Cloud) bind(p *Part, port, admin publishedPort) (on sockets, err error) {
	candidates := []int{port.number}
	if p.Name == loadBalancer && !port.chosen {
		// Port 80 needs a right and may be taken. Any other will do, since
		// the SRV record says which.
		candidates = []int{port.number, 8080, 0}
	}
	for _, number := range candidates {
		if on, err = listen(loopback(number), p.UDP); err == nil {
			break
		}
	}
	if err != nil {
		return sockets{}, port.error(err)
	}
	if on.admin, err = kit.Listen(loopback(admin.number)); err != nil {
		on.close()
		return sockets{}, admin.error(err)
	}
	s := c.slots[p.Name]
	s.address, s.admin = on.tcp.Addr().String(), on.admin.Addr().String()
	c.hosts.Set(p.Address, s.address)
	return on, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func listen(address string, udp bool) (on sockets, err error) {
	if udp {
		on.tcp, on.udp, err = kit.ListenDNS(address)
	} else {
		on.tcp, err = kit.Listen(address)
	}
	return on, err
}

// close may be called again, and after a service has closed what it served.
func (s sockets) close() {
	_ = s.tcp.Close()
	if s.udp != nil {
		_ = s.udp.Close()
	}
	if s.admin != nil {
		_ = s.admin.Close()
	}
}

// start builds a part on its sockets and runs it with its admin listener. The
// sockets are closed when it ends, or cannot begin.
func (c *Cloud) start(s *slot, cfg configured, on sockets) error {
	svc, err := c.build(s.part, cfg, on)
	if err != nil {
		on.close()
		return err
	}
	ctx, stop := context.WithCancelCause(context.Background())
	r := &running{health: svc.health, stop: stop, done: make(chan struct{})}
	s.running.Store(r)

	adminCtx, stopAdmin := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := kit.ServeAdmin(adminCtx, on.admin, svc.logger, kit.Admin(svc.health, svc.registry, svc.admin)); err != nil {
			svc.logger.Error("admin listener", "error", err)
		}
	})
	go func() {
		defer close(r.done)
		defer stop(nil)
		err := svc.serve(ctx)
		asked := ctx.Err() != nil
		stopAdmin()
		group.Wait()
		on.close()
		if err == nil && !asked {
			err = errors.New("ended by itself")
		}
		if err == nil {
			return
		}
		r.err = fmt.Errorf("%s: %w", s.part.Name, err)
		if !asked {
			select {
			case c.failed <- r.err:
			default: // it is not the first
			}
		}
	}()
	return nil
}

// slot returns the slot of a part, or an error where there is no such part.
func (c *Cloud) slot(name string) (*slot, error) {
	s, ok := c.slots[name]
	if !ok {
		return nil, fmt.Errorf("there is no part %q", name)
	}
	return s, nil
}

// Address returns where a part listens on this machine, "127.0.0.1:port", or ""
// where there is no such part. It keeps the address while it is stopped.
func (c *Cloud) Address(name string) string {
	if s := c.slots[name]; s != nil {
		return s.address
	}
	return ""
}

// AdminAddress returns where a part's admin listener is, "127.0.0.1:port", or ""
// where there is no such part.
func (c *Cloud) AdminAddress(name string) string {
	if s := c.slots[name]; s != nil {
		return s.admin
	}
	return ""
}

func (c *Cloud) port(name string) int {
	_, port, _ := net.SplitHostPort(c.Address(name))
	n, _ := strconv.Atoi(port)
	return n
}

// StopPart ends one part in its orderly way and waits for it. The error says
// that the part is not there or not running, or how it ended badly.
func (c *Cloud) StopPart(name string) error {
	s, err := c.slot(name)
	if err != nil {
		return err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.running.Load() == nil {
		return fmt.Errorf("%s is not running", name)
	}
	return s.stop(nil)
}

// stop ends the part if it runs; the caller has the turn.
func (s *slot) stop(cause error) error {
	r := s.running.Load()
	if r == nil {
		return nil
	}
	r.stop(cause)
	<-r.done
	s.running.Store(nil)
	return r.err
}

// StartPart starts a part again that has been stopped, or has ended by itself,
// on the address it had and with what its file says by now.
func (c *Cloud) StartPart(name string) error {
	s, err := c.slot(name)
	if err != nil {
		return err
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.closed {
		return fmt.Errorf("%s cannot be started: the cloud is closed", name)
	}
	if r := s.running.Load(); r != nil && !r.ended() {
		return fmt.Errorf("%s is running already", name)
	}
	cfg, err := c.load(s.part)
	if err != nil {
		return err
	}
	on, err := listen(s.address, s.part.UDP)
	if err != nil {
		return err
	}
	if on.admin, err = kit.Listen(s.admin); err != nil {
		on.close()
		return err
	}
	return c.start(s, cfg, on)
}

// Health returns what a part would answer to a health check, status and
// sentence; 0 and "stopped" while it is stopped, and 0 and why it ended where it
// ended by itself.
func (c *Cloud) Health(name string) (status int, sentence string) {
	s, err := c.slot(name)
	if err != nil {
		return 0, err.Error()
	}
	r := s.running.Load()
	switch {
	case r == nil:
		return 0, "stopped"
	case r.ended() && r.err != nil:
		return 0, r.err.Error()
	}
	return r.health.Status()
}

// Failed returns a channel that delivers the error of the first part that ended
// by itself.
func (c *Cloud) Failed() <-chan error { return c.failed }

// Close ends every part, those that others stand on last, and waits. What was
// acknowledged stays in [Options.Data]. Its error names every part that ended
// badly, now or before. A second call changes nothing.
func (c *Cloud) Close() error {
	var errs []error
	for _, p := range slices.Backward(c.parts) {
		s := c.slots[p.Name]
		s.turn.Lock()
		s.closed = true
		errs = append(errs, s.stop(kit.ErrStopNow))
		s.turn.Unlock()
	}
	return errors.Join(errs...)
}
