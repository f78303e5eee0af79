package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"

	"minicloud.internal/kit"
)

// A Listener is the TCP socket of a DNS server and, where the configuration
// asks for them, the sockets for DNS over TLS and over HTTPS beside it. It goes
// wherever the TCP socket alone would go, to [Server.Serve], and closes all.
type Listener struct {
	net.Listener
	tls, https  net.Listener
	certificate *certificate
}

// Listen binds an address for UDP and TCP (see [kit.ListenDNS]), and more as
// [Extend] does.
func Listen(address, dir string, l Limits) (net.Listener, net.PacketConn, error) {
	ln, pc, err := kit.ListenDNS(address)
	if err != nil {
		return nil, nil, err
	}
	out, err := Extend(ln, dir, l)
	if err != nil {
		_, _ = ln.Close(), pc.Close()
		return nil, nil, err
	}
	return out, pc, nil
}

// Extend binds the addresses of TLSListen and HTTPSListen for a TCP socket of DNS,
// and reads their certificate, whose file names are relative to dir. A wrong
// certificate is a [kit.KeyError]. After an error ln is still open.
func Extend(ln net.Listener, dir string, l Limits) (*Listener, error) {
	out := &Listener{Listener: ln}
	if l.Certificate != "" {
		files := kit.Common{Dir: dir}
		out.certificate = &certificate{cert: files.Path(l.Certificate), key: files.Path(l.Key)}
		if err := out.certificate.load(); err != nil {
			return nil, kit.KeyErrorf("certificate", "and key are no usable pair of PEM files: %v", err)
		}
	}
	var err error
	if l.TLSListen != "" {
		if out.tls, err = kit.Listen(l.TLSListen); err != nil {
			return nil, err
		}
	}
	if l.HTTPSListen != "" {
		if out.https, err = kit.Listen(l.HTTPSListen); err != nil {
			if out.tls != nil {
				_ = out.tls.Close()
			}
			return nil, err
		}
	}
	return out, nil
}

// TLSAddr and HTTPSAddr return the addresses of the further sockets, or nil.
func (l *Listener) TLSAddr() net.Addr   { return addrOf(l.tls) }
func (l *Listener) HTTPSAddr() net.Addr { return addrOf(l.https) }

func addrOf(ln net.Listener) net.Addr {
	if ln == nil {
		return nil
	}
	return ln.Addr()
}

// Close closes every socket.
func (l *Listener) Close() error {
	err := l.Listener.Close()
	for _, more := range []net.Listener{l.tls, l.https} {
		if more == nil {
			continue
		}
		if closeErr := more.Close(); err == nil {
			err = closeErr
		}
	}
	return err
}

// A certificate is a pair of files, read anew when one of them has changed. A
// pair that does not fit, as between two writes, leaves the old one in use.
type certificate struct {
	cert, key string

	mu      sync.Mutex
	read    [2]fs.FileInfo
	loaded  *tls.Certificate
	failure string // that was logged last; "" after a success
}

// load reads the files where they are not those that were read.
func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var now [2]fs.FileInfo
	for i, name := range []string{c.cert, c.key} {
		var err error
		if now[i], err = os.Stat(name); err != nil {
			return err
		}
	}
	if sameFile(now[0], c.read[0]) && sameFile(now[1], c.read[1]) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("read %s and %s: %w", c.cert, c.key, err)
	}
	c.loaded, c.read = &pair, now
	return nil
}

// sameFile compares more than times: a file that is put in another's place may
// have kept its own.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// config returns the TLS side of a server with this certificate. A look at the
// files costs little beside a handshake.
func (c *certificate) config(protocol string, logger *slog.Logger) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{protocol},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			err := c.load()
			c.mu.Lock()
			defer c.mu.Unlock()
			failure := ""
			if err != nil {
				failure = err.Error()
			}
			if failure != "" && failure != c.failure { // once, not for every client
				logger.Error("the certificate cannot be read anew; the old one stays in use", "error", err)
			}
			c.failure = failure
			return c.loaded, nil
		},
	}
}

// A quietHandler logs what net/http has to say about its clients at debug level:
// whoever connects and speaks no TLS would otherwise fill the log, a warning for
// each connection.
type quietHandler struct{ slog.Handler }

func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "http") && !strings.HasPrefix(r.Message, "http: Accept error") {
		if r.Level = slog.LevelDebug; !h.Enabled(ctx, r.Level) {
			return nil
		}
	}
	return h.Handler.Handle(ctx, r)
}

// A limitedListener counts the connections of an HTTP server among the others.
type limitedListener struct {
	net.Listener
	run *serving
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := addressOf(conn).Addr()
		if l.run.admitted.admit(client, transportHTTPS) {
			return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { l.run.admitted.dismiss(client, transportHTTPS) })}, nil
		}
		l.run.metrics.drop(transportHTTPS, reasonOverload)
		_ = conn.Close()
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
