package kit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A DialFunc connects to an address as [net.Dialer.DialContext] does. It is a
// field of every configuration that dials, so that a composition can hand in a
// host table; nil means [DefaultDial].
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// DefaultDial connects with the system's resolver, in at most 5 seconds.
func DefaultDial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
}

// Or returns d, or [DefaultDial] where d is nil.
func (d DialFunc) Or() DialFunc {
	if d == nil {
		return DefaultDial
	}
	return d
}

// Hosts is a host table: the names of the cloud, with ports, and the real
// address of each in this process. It may be changed while it is used.
type Hosts struct {
	mu    sync.RWMutex
	table map[string]string
}

// Set maps a "name:port" to a real "address:port".
func (h *Hosts) Set(name, address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.table == nil {
		h.table = map[string]string{}
	}
	h.table[name] = address
}

// Dial connects to the real address of a name in the table, and to any other
// address as it stands.
func (h *Hosts) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	h.mu.RLock()
	real, ok := h.table[address]
	h.mu.RUnlock()
	if ok {
		address = real
	}
	return DefaultDial(ctx, network, address)
}

// Listen binds a TCP address. The error of one in use, or not permitted, says
// so in words ([ListenError] holds the address).
func Listen(address string) (net.Listener, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, listenError("TCP", address, err)
	}
	return ln, nil
}

// ListenHTTP is [Listen] for a server that bounds the silence of its connections
// itself, and therefore needs no TCP keep-alive, which costs four system calls
// for each. It speaks plain TCP, not Multipath TCP, which costs more yet.
func ListenHTTP(address string) (net.Listener, error) { return listenHTTP(address, nil) }

// ListenShared is [ListenHTTP] on an address that other processes of the same
// user may listen on as well, if they do it in this way too (SO_REUSEPORT), so
// that a new one can take over from an old one without a gap. It is for Unix.
func ListenShared(address string) (net.Listener, error) { return listenHTTP(address, sharePort) }

func listenHTTP(address string, control func(network, address string, c syscall.RawConn) error) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: control}
	lc.SetMultipathTCP(false) // nor can Linux tell its sockets apart in a handover
	ln, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, listenError("TCP", address, err)
	}
	return ln, nil
}

// ListenDNS binds one address for UDP and TCP, on the same port where port 0
// asks for a free one.
func ListenDNS(address string) (net.Listener, net.PacketConn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	for try := 0; ; try++ {
		ln, err := Listen(address)
		if err != nil {
			return nil, nil, err
		}
		real := net.JoinHostPort(host, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
		pc, err := net.ListenPacket("udp", real)
		if err == nil {
			return ln, pc, nil
		}
		_ = ln.Close()
		// The free TCP port may be somebody's UDP port: ask for another.
		if port != "0" || try == 20 {
			return nil, nil, listenError("UDP", real, err)
		}
	}
}

// A ListenError is a failed bind.
type ListenError struct {
	Network, Address string
	Err              error
}

func listenError(network, address string, err error) error {
	return &ListenError{Network: network, Address: address, Err: err}
}

func (e *ListenError) Error() string {
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		return fmt.Sprintf("listen on %s %s: the address is in use by another program", e.Network, e.Address)
	case errors.Is(e.Err, syscall.EACCES):
		return fmt.Sprintf("listen on %s %s: not permitted; ports below 1024 need a privilege", e.Network, e.Address)
	}
	return fmt.Sprintf("listen on %s %s: %v", e.Network, e.Address, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }

// NewHTTPClient returns a client for calls between services: it dials with
// dial, keeps connections, passes the request id and trace of the context on,
// follows no redirect, and gives a call at most timeout in all, its body
// included (0: no limit but the context's). An answer must begin within 30
// seconds of the request's end in any case.
func NewHTTPClient(dial DialFunc, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: traced{&http.Transport{
			DialContext:         dial.Or(),
			MaxIdleConnsPerHost: 32,
			// Shorter than the servers' own, so that the client is the one
			// that closes and no request meets a closing connection.
			IdleConnTimeout:       60 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			DisableCompression:    true,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
