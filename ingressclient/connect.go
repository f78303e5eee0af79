package ingressclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// open finds out where t is and connects to it, with TLS for https.
func (c *command) open(ctx context.Context, t *target) (*tap, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.connectTimeout, errConnectTime)
	defer cancel()
	begin := time.Now()
	p, err := c.locate(ctx, t)
	located := time.Now()
	c.spent.resolve += located.Sub(begin)
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx, t, p)
	connected := time.Now()
	c.spent.connect += connected.Sub(located)
	if err != nil {
		return nil, err
	}
	if t.url.Scheme == "https" {
		if conn, err = c.encrypt(ctx, t, conn); err != nil {
			return nil, err
		}
		c.spent.handshake += time.Since(connected)
	}
	return &tap{Conn: conn, log: c.log}, nil
}

// connect tries the addresses of p in order. Each gets its share of the time
// that is left, so that one that swallows packets does not eat it all.
func (c *command) connect(ctx context.Context, t *target, p place) (net.Conn, error) {
	begin := time.Now()
	var last error
	for i, addr := range p.addrs {
		c.log.say("  Trying %s...", addr)
		conn, err := dialShare(ctx, addr, len(p.addrs)-i)
		if err == nil {
			c.log.say("Connected to %s (%s) port %d in %s", t.host, addr.Addr(), addr.Port(), millis(time.Since(begin)))
			return conn, nil
		}
		if err := c.cutShort(ctx, "Connecting to "+addr.String()); err != nil {
			return nil, err
		}
		last = plain(err)
		c.log.say("  %s: %v", addr, last)
	}
	var tried []string
	for _, addr := range p.addrs {
		tried = append(tried, addr.String())
	}
	f := failf(exitConnect, "Failed to connect to %s at %s: %v", t.host, strings.Join(tried, ", "), last)
	switch {
	case p.fromSRV != "":
		return nil, f.withHint(`the port is that of the SRV record %s; "make up" starts the cloud, -v shows every step`, p.fromSRV)
	case c.srvTrouble != nil:
		return nil, f.withHint("the load balancer may be on another port: the question for the SRV record failed (%v)", c.srvTrouble)
	}
	return nil, f.withHint(`is anything listening there? "make up" starts the cloud, -v shows every step`)
}

func dialShare(ctx context.Context, addr netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr.String())
}

// encrypt shakes hands over conn, and closes it where that fails.
func (c *command) encrypt(ctx context.Context, t *target, conn net.Conn) (net.Conn, error) {
	// HTTP/1.1 only: the heads can then be shown as they pass.
	config := &tls.Config{ServerName: t.host, InsecureSkipVerify: c.insecure, NextProtos: []string{"http/1.1"}}
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	if err == nil {
		state := secure.ConnectionState()
		c.log.say("%s, %s, certificate of %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite),
			certificateName(state))
		return secure, nil
	}
	_ = conn.Close()
	if cut := c.cutShort(ctx, "The TLS handshake with "+t.host); cut != nil {
		return nil, cut
	}
	if bad := (*tls.CertificateVerificationError)(nil); errors.As(err, &bad) {
		return nil, failf(exitCertificate, "The certificate of %s is not trusted: %v", t.host, bad.Err).
			withHint("-k goes on without the check, where you know who answers")
	}
	return nil, failf(exitTLS, "The TLS handshake with %s failed: %v", t.host, plain(err)).
		withHint("does the server speak TLS on this port? http:// asks without")
}

func certificateName(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return "nobody"
	}
	cert := state.PeerCertificates[0]
	if len(cert.DNSNames) > 0 {
		return strings.Join(cert.DNSNames, ", ")
	}
	return fmt.Sprintf("%q", cert.Subject.String())
}
