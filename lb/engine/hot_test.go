package engine

import (
	"bufio"
	"bytes"
	"net"
	"runtime"
	"testing"
)

const (
	plainRequest = "GET /api/spells HTTP/1.1\r\nHost: example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"
	plainAnswer  = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n[]"
)

// answerAll answers everything that arrives in one piece with the same bytes.
func answerAll(answer string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, in *bufio.Reader) {
		buf, out := make([]byte, 4096), []byte(answer)
		for {
			n, err := in.Read(buf)
			if err != nil || n == 0 {
				return
			}
			if bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				if _, err := c.Write(out); err != nil {
					return
				}
			}
		}
	}
}

// roundTrip sends a request and reads an answer up to its mark.
func roundTrip(t testing.TB, c net.Conn, request []byte, buf []byte, mark string) []byte {
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; {
		m, err := c.Read(buf[n:])
		if n += m; err != nil {
			t.Fatalf("after %q: %v", buf[:n], err)
		}
		if bytes.HasSuffix(buf[:n], []byte(mark)) {
			return buf[:n]
		}
	}
}

// raced is whether the race detector runs, under which pools drop some of what
// they are given.
var raced bool

func TestARequestOnAKeptConnectionAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("allocations are not counted under the race detector")
	}
	for _, c := range []struct{ name, request, answer, mark string }{
		{"a GET", plainRequest, plainAnswer, "[]"},
		{"a POST whose body comes with its head", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n", plainAnswer, "[]"},
		{"an answer in chunks", plainRequest, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", "0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, settings(), answerAll(c.answer))
			conn := dial(t, r.address)
			buf, request := make([]byte, 4096), []byte(c.request)
			for range 100 {
				roundTrip(t, conn, request, buf, c.mark)
			}
			// The whole process is counted: the target and the client of this
			// test allocate nothing either.
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			const requests = 2000
			for range requests {
				roundTrip(t, conn, request, buf, c.mark)
			}
			runtime.ReadMemStats(&after)
			// The runtime allocates now and then by itself.
			if n := after.Mallocs - before.Mallocs; n > requests/20 {
				t.Errorf("%d allocations in %d requests", n, requests)
			}
		})
	}
}

func BenchmarkGET(b *testing.B) {
	r := start(b, settings(), answerAll(plainAnswer))
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		conn := dial(b, r.address)
		buf, request := make([]byte, 4096), []byte(plainRequest)
		for p.Next() {
			roundTrip(b, conn, request, buf, "[]")
		}
	})
}
