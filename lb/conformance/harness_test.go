package conformance

import (
	"bufio"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A pipe passes every byte as it is. It is no gateway, and has to be found out.
type pipe struct{}

func (pipe) String() string { return "pipe" }
func (pipe) ours() bool     { return false }

func (pipe) start(_ settings, targets []string, _ string) (*running, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() { carry(in, targets[0]) })
		}
	})
	stop := func() error {
		err := ln.Close()
		work.Wait()
		return err
	}
	return &running{addr: ln.Addr().String(), stop: stop, log: func() string { return "" }}, nil
}

func carry(in net.Conn, target string) {
	defer in.Close()
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(in, out)
		_ = in.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(out, in)
	_ = out.(*net.TCPConn).CloseWrite()
	back.Wait()
}

func TestAPipe(t *testing.T) {
	// What is waited for in vain here is the refusal.
	const wait = time.Second
	for _, b := range slices.Concat(refusedLines(), refusedHosts(), refusedFields(), refusedFraming(), refusedChunks()) {
		t.Run("is found out: "+b.name, func(t *testing.T) {
			t.Parallel()
			if differs, _, err := run(pipe{}, b, "", wait, false); err != nil || differs == "" {
				t.Errorf("it is taken for a gateway (%v)", err)
			}
		})
	}
	for _, b := range slices.Concat(largeBodies(), tunnels()[:7]) {
		if strings.HasPrefix(b.name, "a refusal ") || strings.Contains(b.name, "large") && strings.Contains(b.name, "chunks") {
			continue // it has none; they take their time
		}
		t.Run("passes for a gateway: "+b.name, func(t *testing.T) {
			t.Parallel()
			if differs, _, err := run(pipe{}, b, "", *patience, false); err != nil || differs != "" {
				t.Errorf("%s (%v)", differs, err)
			}
		})
	}
}

func TestMessagesAreReadByTheLetter(t *testing.T) {
	const fine = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name, text string
		to         string
		body       string // of a good one
		err        error
	}{
		{"a length", fine + "Content-Length: 2\r\n\r\nhi", "GET", "hi", nil},
		{"chunks", fine + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "GET", "hi", nil},
		{"the end of the connection", fine + "\r\nhi", "GET", "hi", nil},
		{"nothing behind HEAD", fine + "Content-Length: 2\r\n\r\n", "HEAD", "", nil},
		{"nothing behind 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "GET", "", nil},
		{"a line with a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "GET", "", errMalformed},
		{"a line with a bare CR", fine + "X-A: 1\r2\r\nContent-Length: 0\r\n\r\n", "GET", "", errMalformed},
		{"a folded field", fine + "X-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n", "GET", "", errMalformed},
		{"a space before a colon", fine + "Content-Length : 0\r\n\r\n", "GET", "", errMalformed},
		{"both lengths", fine + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "GET", "", errMalformed},
		{"two lengths", fine + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "GET", "", errMalformed},
		{"a signed length", fine + "Content-Length: +2\r\n\r\nhi", "GET", "", errMalformed},
		{"another coding", fine + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "GET", "", errMalformed},
		{"a bad chunk size", fine + "Transfer-Encoding: chunked\r\n\r\n2x\r\nhi\r\n0\r\n\r\n", "GET", "", errMalformed},
		{"a chunk that is too long", fine + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n", "GET", "", errMalformed},
		{"a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "GET", "", errMalformed},
		{"a short body", fine + "Content-Length: 2\r\n\r\nh", "GET", "", io.ErrUnexpectedEOF},
		{"no last chunk", fine + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "GET", "", io.ErrUnexpectedEOF},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", "GET", "", io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := readResponse(bufio.NewReader(strings.NewReader(c.text)), c.to)
			if !errors.Is(err, c.err) || err == nil && m.body != c.body {
				t.Errorf("got %q, %v; expected %q, %v", m.body, err, c.body, c.err)
			}
		})
	}
}
