package ingressclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"
)

// run does what the options ask for.
func (c *command) run(ctx context.Context) error {
	t, err := parseURL(c.url, c.pathAsIs)
	if err != nil {
		return err
	}
	c.uploadName(t)
	if c.maxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.maxTime, errMaxTime)
		defer cancel()
	}
	if c.explain {
		return c.explainRequest(ctx, t)
	}
	b, err := c.prepareBody(ctx)
	if err != nil {
		return err
	}
	out, err := c.openSink(t)
	if err != nil {
		return err
	}
	defer out.discard()
	if err := c.follow(ctx, t, b, out); err != nil {
		return err
	}
	return nil
}

// follow sends the request, and again where redirects lead.
func (c *command) follow(ctx context.Context, first *target, b *body, out *sink) error {
	t, method := first, c.chooseMethod()
	for redirects := 0; ; redirects++ {
		next, err := c.exchange(ctx, t, first, method, b, out)
		if err != nil || next == nil {
			return err
		}
		if c.maxRedirs >= 0 && redirects >= c.maxRedirs {
			return failf(exitRedirects, "Maximum (%d) redirects followed", c.maxRedirs).
				withHint("--max-redirs allows more; -v shows where they lead")
		}
		if t, err = t.redirect(next.location, c.pathAsIs); err != nil {
			return err
		}
		if next.asGet && method != http.MethodGet {
			if c.method == "" {
				method = http.MethodGet
			}
			b = nil
		}
		if err := b.rewindable(); err != nil {
			return err
		}
		c.log.say("Redirected to %s", t.url)
	}
}

// chooseMethod is -X, or what the other flags imply.
func (c *command) chooseMethod() string {
	switch {
	case c.method != "":
		return c.method
	case c.head:
		return http.MethodHead
	case c.upload != "":
		return http.MethodPut
	case len(c.data) > 0 || len(c.form) > 0:
		return http.MethodPost
	}
	return http.MethodGet
}

// A redirect is where an answer leads.
type redirect struct {
	location string
	asGet    bool // without the body
}

// redirectOf returns where the answer leads, or nil. After 303 every method but
// HEAD becomes GET, after 301 and 302 POST does (RFC 9110, section 15.4).
func redirectOf(method string, resp *http.Response) *redirect {
	location := resp.Header.Get("Location")
	if location == "" {
		return nil
	}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound:
		return &redirect{location, method == http.MethodPost}
	case http.StatusSeeOther:
		return &redirect{location, method != http.MethodHead}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return &redirect{location, false}
	}
	return nil
}

// exchange sends one request over a connection of its own, and writes the
// answer to out unless it is a redirect to be followed.
func (c *command) exchange(ctx context.Context, t, first *target, method string, b *body, out *sink) (*redirect, error) {
	req, err := c.request(ctx, t, first, method, b)
	if err != nil {
		return nil, err
	}
	conn, err := c.open(ctx, t)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	connected := time.Now()
	transport := c.transport(conn)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	heads, firstByte, _ := conn.seen()
	if err != nil {
		return nil, c.exchangeFailure(ctx, t, conn, err)
	}
	defer resp.Body.Close()
	c.spent.requests++
	c.spent.firstByte += firstByte.Sub(connected)
	defer func() { c.spent.body += time.Since(firstByte) }()

	if c.include || c.head {
		if err := out.head(heads); err != nil {
			return nil, err
		}
	}
	if next := redirectOf(method, resp); next != nil && c.location {
		return next, nil
	}
	return nil, c.receive(ctx, resp, out, firstByte)
}

// request builds the request for t. The URL's name stands in Host, whatever
// address the connection leads to.
func (c *command) request(ctx context.Context, t, first *target, method string, b *body) (*http.Request, error) {
	if !isToken(method) {
		return nil, usagef("-X %q is not a method", method)
	}
	req, err := http.NewRequestWithContext(ctx, method, t.url.String(), nil)
	if err != nil {
		return nil, failf(exitURL, "the request cannot be built: %v", err)
	}
	req.Host = t.authority()
	switch {
	case b == nil:
	case b.size == 0:
		req.Body = http.NoBody
	default:
		req.Body, req.ContentLength = b.reader(), b.size
	}
	c.applyHeaders(req, t, first, b)
	return req, nil
}

// transport sends one request over conn. It adds nothing of its own: no
// proxies of the environment, no compression.
func (c *command) transport(conn net.Conn) *http.Transport {
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	return &http.Transport{
		DialContext:           dial,
		DialTLSContext:        dial,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// receive streams the body of the last answer to out and ends the output.
func (c *command) receive(ctx context.Context, resp *http.Response, out *sink, firstByte time.Time) error {
	if resp.StatusCode >= 400 && c.fail {
		return refused(resp).withHint("--fail-with-body shows what the server says about it")
	}
	if !c.head {
		if err := c.copyBody(ctx, resp, out); err != nil {
			return err
		}
	}
	if err := out.commit(); err != nil {
		return err
	}
	if by := resp.Header.Get("X-Served-By"); by != "" {
		c.log.say("Served by %s", by)
	}
	spent := c.spent
	spent.body += time.Since(firstByte)
	c.log.say("%s", spent.summary(out.bodyLen))
	if resp.StatusCode >= 400 && c.failBody {
		return refused(resp).withHint("the body is what the server says about it")
	}
	return nil
}

func refused(resp *http.Response) *failure {
	return failf(exitHTTP, "The requested URL returned error: %s", resp.Status)
}

// copyBody passes the body on as it arrives.
func (c *command) copyBody(ctx context.Context, resp *http.Response, out *sink) error {
	buf := make([]byte, 64<<10)
	for {
		n, readErr := resp.Body.Read(buf)
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case readErr == io.EOF:
			return nil
		case readErr == nil:
			continue
		}
		if err := c.cutShort(ctx, "Receiving the body"); err != nil {
			return err
		}
		if errors.Is(readErr, io.ErrUnexpectedEOF) {
			f := failf(exitPartial, "The server closed after %d bytes of body, before its end", out.bodyLen)
			if resp.ContentLength > 0 {
				f = failf(exitPartial, "The server closed after %d of %d bytes of body", out.bodyLen, resp.ContentLength)
			}
			return f.withHint("what came is not whole; a GET can be sent again")
		}
		return failf(exitReceive, "The body broke off after %d bytes: %v", out.bodyLen, plain(readErr))
	}
}

// exchangeFailure says why a request had no answer: by what passed over the
// connection, as the errors of net/http depend on who noticed first.
func (c *command) exchangeFailure(ctx context.Context, t *target, conn *tap, err error) error {
	if cut := c.cutShort(ctx, "Waiting for the answer of "+t.host); cut != nil {
		return cut
	}
	if bad := (*readError)(nil); errors.As(err, &bad) {
		return failf(exitRead, "%v", bad).withHint("the request was broken off")
	}
	_, firstByte, readErr := conn.seen()
	begun := conn.begun()
	switch {
	case firstByte.IsZero() && errors.Is(readErr, io.EOF):
		return failf(exitEmpty, "Empty reply from server: %s closed the connection without a byte", t.host).
			withHint(`the service may have stopped in the middle; "make logs" shows its log`)
	case firstByte.IsZero() && errors.Is(err, syscall.EPIPE):
		return failf(exitSend, "The request could not be sent: %v", plain(err))
	case firstByte.IsZero():
		return failf(exitReceive, "No answer was received from %s: %v", t.host, plain(err))
	case len(begun) > 0 && !bytes.HasPrefix(begun, []byte("HTTP/")[:min(5, len(begun))]):
		return failf(exitUnsupported, "The answer of %s is not HTTP/1", t.host).
			withHint("another protocol may be listening on this port")
	case len(begun) > 0 && readErr != nil && !errors.Is(readErr, io.EOF):
		return failf(exitReceive, "The head of the answer broke off: %v", plain(readErr))
	}
	return failf(exitWeird, "The head of the answer cannot be read: %v", plain(err))
}
