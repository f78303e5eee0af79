package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// A Zone is a zone by its name, with the final dot, and the text of its file.
type Zone struct{ Origin, Text string }

// A Config is what a server is to do. The zero value is a server without zones,
// with one thread.
type Config struct {
	// Program is the binary; empty means what [Find] finds.
	Program string
	// Address is where the server listens, over UDP and TCP; the zero value
	// means a loopback address of its own, all at the same port, or, for BIND, a
	// free port of 127.0.0.1: it listens at no address that no interface has.
	Address netip.AddrPort
	// Zones are what it answers for.
	Zones []Zone
	// Hints makes Unbound, BIND and our resolver start there: the root's name
	// servers in the form of a zone file. Empty: no resolver.
	Hints string
	// Threads is how many threads answer; 0 means 1.
	Threads int
	// Prefix is put before the command, as "taskset -c 0" is; default none.
	Prefix []string
	// Extra is put into the configuration as it is: into ours at the top, into
	// that of the others within the server's options.
	Extra string
}

// Admin is the address of the admin listener of ours.
func (c Config) Admin() string {
	return netip.AddrPortFrom(c.Address.Addr(), 9100).String()
}

// A Server is one that runs. Its methods may be called by several goroutines.
type Server struct {
	Kind Kind
	Config

	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
	once  sync.Once
}

const (
	// port is where servers listen that are not told.
	port      = 5300
	hintsFile = "root.hints"
	logFile   = "log"
	// patience bounds the wait for a first answer: a busy machine takes its time.
	patience = 30 * time.Second
	// farewell is how long a server may take to end when it is asked to.
	farewell = 3 * time.Second
)

// FreeAddress returns an address of the loopback network at which nobody listens
// at the port, over UDP or TCP: anywhere in 127.1.0.0 to 127.250.255.255, so that
// nobody takes it meanwhile but by a rare chance. Ports below 1024 may need a
// privilege; the error is then [syscall.EACCES].
func FreeAddress(port uint16) (netip.AddrPort, error) {
	return free(func(n uint32) netip.AddrPort {
		a := netip.AddrFrom4([4]byte{127, 1 + byte(n>>16)%250, byte(n >> 8), 1 + byte(n)%250})
		return netip.AddrPortFrom(a, port)
	})
}

// freePort returns a free port of 127.0.0.1, below those that the kernel gives to
// whoever asks for any.
func freePort() (netip.AddrPort, error) {
	return free(func(n uint32) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 12000+uint16(n%20000))
	})
}

func free(candidate func(random uint32) netip.AddrPort) (a netip.AddrPort, err error) {
	for range 100 {
		a = candidate(rand.Uint32())
		var ln net.Listener
		if ln, err = net.Listen("tcp4", a.String()); err == nil {
			_ = ln.Close()
			var pc net.PacketConn
			if pc, err = net.ListenPacket("udp4", a.String()); err == nil {
				return a, pc.Close()
			}
		}
		if errors.Is(err, syscall.EACCES) {
			break
		}
	}
	return a, err
}

// address is where a kind listens unless it is told. BIND knows no address but
// those that an interface has (127.0.0.1 alone, of 127.0.0.0/8).
func address(k Kind) (netip.AddrPort, error) {
	if k == BIND {
		return freePort()
	}
	return FreeAddress(port)
}

// Start starts a server and waits until it answers for all its zones. The error
// wraps [ErrNotInstalled] where the program is not there.
func Start(ctx context.Context, kind Kind, c Config) (*Server, error) {
	how, known := programs[kind]
	if !known {
		return nil, fmt.Errorf("no server is named %q", kind)
	}
	var err error
	if c.Program == "" {
		if c.Program, err = Find(kind); err != nil {
			return nil, err
		}
	}
	if !c.Address.IsValid() {
		if c.Address, err = address(kind); err != nil {
			return nil, fmt.Errorf("an address for %s: %w", kind, err)
		}
	}
	c.Threads = max(1, c.Threads)
	s := &Server{Kind: kind, Config: c, ended: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "minicloud-peer-"); err != nil { // short: Knot puts a socket there
		return nil, err
	}
	if err = s.start(ctx, how); err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	if err = s.ready(ctx); err != nil {
		_ = s.Stop()
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, how program) error {
	at := place{s.Config, s.dir}
	files := map[string]string{how.file: how.config(at)}
	for i, z := range s.Zones {
		files[zoneFile(i)] = z.Text
	}
	if s.Hints != "" {
		files[hintsFile] = s.Hints
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(s.dir, logFile))
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	words := append(append(append([]string(nil), s.Prefix...), s.Program), how.args(at)...)
	s.cmd = exec.Command(words[0], words[1:]...)
	s.cmd.Dir = s.dir
	s.cmd.Env = os.Environ()
	if how.env != nil {
		s.cmd.Env = append(s.cmd.Env, how.env(at)...)
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = groupOfItsOwn()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	return nil
}

// ready waits until the server answers: with the SOA record of each of its zones,
// or, where it has none, at all.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	origins := []string{""}
	if len(s.Zones) > 0 {
		origins = nil
		for _, z := range s.Zones {
			origins = append(origins, z.Origin)
		}
	}
	for _, origin := range origins {
		for {
			err := s.answers(ctx, origin)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("no answer for %q (%v): %s", origin, err, s.Log())
			case <-s.ended:
				return fmt.Errorf("it has ended: %s", s.Log())
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

// answers asks once, over UDP and over TCP: some listen to one before the other.
func (s *Server) answers(ctx context.Context, origin string) error {
	m := new(dns.Msg)
	if origin != "" {
		m.SetQuestion(origin, dns.TypeSOA)
	} else {
		m.SetQuestion("version.bind.", dns.TypeTXT)
		m.Question[0].Qclass = dns.ClassCHAOS
	}
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, Timeout: 500 * time.Millisecond}
		r, _, err := client.ExchangeContext(ctx, m, s.Address.String())
		if err != nil {
			return err
		}
		if origin != "" && (r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0) {
			return fmt.Errorf("it answers %s over %s", dns.RcodeToString[r.Rcode], network)
		}
	}
	return nil
}

// PID is the number of the process; what it has started is below it. (Where the
// command has a prefix, that has to become the program, as taskset does.)
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log is the end of what the process has printed.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, logFile))
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-2000):]))
}

// Stop ends the process, with what it has started, and removes its directory. The
// error says that it had ended by itself. A second call does nothing.
func (s *Server) Stop() (err error) {
	s.once.Do(func() {
		select {
		case <-s.ended:
			err = fmt.Errorf("%s ended by itself (%v): %s", s.Kind, s.cmd.ProcessState, s.Log())
		default:
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-s.ended:
			case <-time.After(farewell):
			}
		}
		end(s.cmd.Process.Pid)
		<-s.ended
		_ = os.RemoveAll(s.dir)
	})
	return err
}
