//go:build linux && !386 && !s390x

package engine

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"minicloud.internal/kit/kittest"
	"minicloud.internal/lb/route"
	"minicloud.internal/lb/upstream"
)

// A script is a target that tells a test what arrives, and answers what it is told.
type script struct {
	arrived chan *http.Request
	answer  chan string
	ended   chan error // of a connection: how
}

const (
	warmRequest = "GET /warm HTTP/1.1\r\nHost: example.com\r\n\r\n"
	request     = "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n"
	// Said of an answer:
	unfinished = "\x00" // at its end: there is more to come
	hangUp     = "\x01" // instead of one: the connection ends
)

// scripted runs an engine in front of a script.
func scripted(t *testing.T, s *Settings) (*rig, *script) {
	sc := &script{make(chan *http.Request, 16), make(chan string, 16), make(chan error, 64)}
	return start(t, s, func(c net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				sc.ended <- err
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if r.URL.Path == "/warm" {
				_, _ = io.WriteString(c, plainAnswer)
				continue
			}
			sc.arrived <- r
			for more := true; more; {
				var part string
				if part, more = strings.CutSuffix(<-sc.answer, unfinished); part == hangUp {
					return
				}
				_, _ = io.WriteString(c, part)
			}
		}
	}), sc
}

// warm is a client's connection that a loop serves, and leaves the loop one to the
// target.
func warm(t *testing.T, r *rig) net.Conn {
	t.Helper()
	c := dial(t, r.address)
	buf := make([]byte, 4096)
	for range quickEnough + 2 {
		roundTrip(t, c, []byte(warmRequest), buf, "[]")
	}
	return c
}

func sendText(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// response reads the next one with its body.
func response(t *testing.T, c net.Conn) (*http.Response, string) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("after %q: %v", body, err)
	}
	return r, string(body)
}

func idleConnections(r *rig) int { return r.set.Targets()[0].Idle.Len() }

func TestIdleConnectionsHoldNoGoroutine(t *testing.T) {
	r, _ := scripted(t, settings())
	warm(t, r)
	before := runtime.NumGoroutine()
	const clients = 300
	for range clients {
		warm(t, r)
	}
	// Those of the target's side and of the pool of workers are few, for requests
	// came one after the other.
	if more := runtime.NumGoroutine() - before; more > clients/10 {
		t.Errorf("%d goroutines for %d idle connections", more, clients)
	}
	if got := r.Connections(); got != clients+1 {
		t.Errorf("%d connections, want %d", got, clients+1)
	}
}

func TestALoopHandsOverWhatItCannotServe(t *testing.T) {
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name    string
		parts   []string // of the answer
		seen    []string // what the client has before each part but the first
		status  int
		body    string
		another bool // the connection serves another request after that
	}{
		{"an answer of which the head comes in two parts", []string{"HTTP/1.1 200 OK\r\nConte", "nt-Length: 2\r\n\r\nhi"}, []string{""}, 200, "hi", true},
		{"an answer of which the body comes later", []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi", "hi"}, []string{"\r\n\r\nhi"}, 200, "hihi", true},
		{"chunks that come one by one", []string{chunked + "2\r\nhi\r\n", "2\r\nho\r\n", "0\r\n\r\n"}, []string{"\r\nhi\r\n", "\r\nho\r\n"}, 200, "hiho", true},
		{"an interim answer", []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, []string{"</a>\r\n\r\n"}, 200, "hi", true},
		{"an answer that ends with the connection", []string{"HTTP/1.1 200 OK\r\n\r\nhi", hangUp}, []string{"hi\r\n"}, 200, "hi", true},
		{"an answer that is none", []string{"SSH-2.0-OpenSSH\r\n\r\n"}, nil, 502, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, sc := scripted(t, settings())
			conn := warm(t, r)
			sendText(t, conn, request)
			<-sc.arrived
			var got bytes.Buffer
			for i, part := range c.parts {
				if i > 0 {
					buf := make([]byte, 4096)
					for !strings.HasSuffix(got.String(), c.seen[i-1]) {
						n, err := conn.Read(buf)
						if got.Write(buf[:n]); err != nil {
							t.Fatalf("after %q: %v", got.String(), err)
						}
					}
				}
				if i < len(c.parts)-1 {
					part += unfinished
				}
				sc.answer <- part
			}
			in := bufio.NewReader(io.MultiReader(&got, conn))
			res, err := http.ReadResponse(in, nil)
			for err == nil && res.StatusCode < 200 {
				res, err = http.ReadResponse(in, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != c.status || c.body != "" && string(body) != c.body {
				t.Fatalf("got %d %q, %v", res.StatusCode, body, err)
			}
			if c.another {
				roundTrip(t, conn, []byte(warmRequest), make([]byte, 4096), "[]")
			}
		})
	}
	for _, c := range []struct{ name, sent string }{
		{"a head that comes in two parts", "GET /a HTTP/1.1\r\nHo|st: example.com\r\n\r\n"},
		{"a body that comes later", "POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\n|hi"},
		{"requests in a row", request + request + "|"},
		{"a head as large as the buffer", "GET /a HTTP/1.1\r\nHost: example.com\r\nX-A: " + strings.Repeat("a", inSize-49) + "\r\n\r\n|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, sc := scripted(t, settings())
			conn := warm(t, r)
			first, second, _ := strings.Cut(c.sent, "|")
			sendText(t, conn, first)
			if second != "" {
				kittest.Eventually(t, "the first part was read", func() bool { return unread(t, r, conn) == 0 })
				sendText(t, conn, second)
			}
			for range strings.Count(c.sent, "/a") {
				<-sc.arrived
				sc.answer <- plainAnswer
				if res, body := response(t, conn); res.StatusCode != 200 || body != "[]" {
					t.Fatalf("got %d %q", res.StatusCode, body)
				}
			}
			roundTrip(t, conn, []byte(warmRequest), make([]byte, 4096), "[]")
		})
	}
}

// unread is how many bytes of a client's the engine has not read.
func unread(t *testing.T, r *rig, conn net.Conn) (n int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.clients {
		if c.RemoteAddr().String() != conn.LocalAddr().String() {
			continue
		}
		err := c.Conn.(interface{ control(func(int) error) error }).control(func(fd int) (err error) {
			n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestWhatALoopCannotWriteAtOnceComesLater(t *testing.T) {
	client, accepted, _ := acceptOne(t, "tcp", "127.0.0.1:0")
	c := newClient(New(settings(), nil, nil), accepted)
	c.acquire()
	c.w.x.s = c.e.settings.Load()
	c.fd, c.looped = int(accepted.fd), true
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	for part := range slices.Chunk(big, 4<<20) {
		if err := c.write(part, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.unsent) == 0 {
		t.Fatal("everything fits the socket's buffer")
	}
	c.looped = false
	var flushing sync.WaitGroup
	flushing.Go(func() {
		if err := c.flushUnsent(); err != nil {
			t.Error(err)
		}
		c.close()
	})
	got, err := io.ReadAll(client)
	flushing.Wait()
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes came of %d, %v", len(got), len(big), err)
	}
}

func TestATargetThatIsSilent(t *testing.T) {
	s := settings()
	s.ResponseHead = 2 * time.Second // the requests before are answered at once
	r, sc := scripted(t, s)
	conn := warm(t, r)
	sendText(t, conn, request)
	<-sc.arrived
	if res, _ := response(t, conn); res.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("the client got %d", res.StatusCode)
	}
	sc.answer <- hangUp
}

func TestAClientThatHasGoneAway(t *testing.T) {
	r, sc := scripted(t, settings())
	conn := warm(t, r)
	sendText(t, conn, request)
	<-sc.arrived
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	// The target's connection ends though it has not answered.
	kittest.Eventually(t, "the request is given up", func() bool { return r.Connections() == 0 && r.set.Targets()[0].InFlight() == 0 })
	if n := idleConnections(r); n != 0 {
		t.Errorf("%d connections are kept of which one is owed an answer", n)
	}
	sc.answer <- hangUp
}

func TestAKeptConnectionThatItsTargetCloses(t *testing.T) {
	r, sc := scripted(t, settings())
	conn := warm(t, r)
	t.Run("under a request that may be repeated, the client sees nothing", func(t *testing.T) {
		sendText(t, conn, request)
		<-sc.arrived
		sc.answer <- hangUp
		<-sc.arrived
		sc.answer <- plainAnswer
		if res, body := response(t, conn); res.StatusCode != 200 || body != "[]" {
			t.Errorf("the client got %d %q", res.StatusCode, body)
		}
	})
	t.Run("while it is idle, is closed here too", func(t *testing.T) {
		conn := warm(t, r)
		sendText(t, conn, request)
		<-sc.arrived
		sc.answer <- plainAnswer + unfinished
		if res, body := response(t, conn); res.StatusCode != 200 || body != "[]" {
			t.Errorf("the client got %d %q", res.StatusCode, body)
		}
		// A client has its answer a moment before the connection is put back.
		kittest.Eventually(t, "it is kept", func() bool { return r.set.Targets()[0].InFlight() == 0 })
		kept := idleConnections(r)
		sc.answer <- hangUp
		kittest.Eventually(t, "it is closed", func() bool { return idleConnections(r) < kept })
	})
}

// The buffers that the request was read into are another client's by then.
func TestARequestThatIsRepeatedIsTheSame(t *testing.T) {
	s := settings()
	s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r, sc := scripted(t, s)
	conn := warm(t, r)
	id := strings.Repeat("i", 100)
	var others []net.Conn
	for range 16 { // at every loop some
		others = append(others, warm(t, r))
	}
	// A connection that has been used, and by the same loop: only on such a request is
	// given to its target again.
	for range quickEnough + 1 {
		roundTrip(t, conn, []byte(warmRequest), make([]byte, 4096), "[]")
		kittest.Eventually(t, "it is kept", func() bool { return r.set.Targets()[0].InFlight() == 0 })
	}
	sendText(t, conn, "PUT /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Request-Id: "+id+"\r\nX-More: a\r\nContent-Length: 5\r\n\r\nhello")
	first := <-sc.arrived
	for _, other := range others {
		sendText(t, other, "GET /b HTTP/1.1\r\nHost: example.com\r\nAuthorization: secret\r\nCookie: "+strings.Repeat("e", 500))
		kittest.Eventually(t, "it was read", func() bool { return unread(t, r, other) == 0 })
	}
	sc.answer <- hangUp
	second := <-sc.arrived
	first.Header.Del("Traceparent")
	second.Header.Del("Traceparent")
	if second.Header.Get("X-Request-Id") != id || second.URL.String() != "/a?b=c" || second.ContentLength != 5 || !maps.EqualFunc(first.Header, second.Header, slices.Equal) {
		t.Errorf("the target got %v, and then %v", first.Header, second.Header)
	}
	sc.answer <- plainAnswer
	if res, body := response(t, conn); res.StatusCode != 200 || body != "[]" || res.Header.Get("X-Request-Id") != id {
		t.Errorf("the client got %d %q, id %q", res.StatusCode, body, res.Header.Get("X-Request-Id"))
	}
}

// A target may serve no more than one connection at a time.
func TestRequestsInARowTakeOneConnection(t *testing.T) {
	r, _ := scripted(t, settings())
	for range 30 {
		kittest.Eventually(t, "no request is under way", func() bool { return r.set.Targets()[0].InFlight() == 0 })
		roundTrip(t, dial(t, r.address), []byte(warmRequest), make([]byte, 4096), "[]")
	}
	if n := r.UpstreamOpened.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

func TestAClientThatHasGoneAwayBeforeALoopHadATarget(t *testing.T) {
	s := settings()
	s.ResponseHead = time.Minute
	r, sc := scripted(t, s)
	conn := dial(t, r.address)
	sendText(t, conn, request)
	<-sc.arrived
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	kittest.Eventually(t, "the request is given up", func() bool { return r.Connections() == 0 })
	sc.answer <- hangUp
}

func TestTheEndOfAClientThatCameWithItsNextRequest(t *testing.T) {
	r, sc := scripted(t, settings())
	conn := warm(t, r)
	sendText(t, conn, request)
	<-sc.arrived
	sendText(t, conn, request)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	sc.answer <- plainAnswer
	<-sc.arrived
	sc.answer <- plainAnswer
	// It would last for as long as a connection may be idle.
	if b, err := io.ReadAll(conn); err != nil || strings.Count(string(b), "[]") != 2 {
		t.Errorf("the client got %q, %v", b, err)
	}
}

func TestIdleClientsAreClosed(t *testing.T) {
	s := settings()
	r, _ := scripted(t, s)
	used := warm(t, r)
	short := *s
	short.KeepAlive = 100 * time.Millisecond
	r.Use(&short) // not before, lest a slow machine lose the connection
	roundTrip(t, used, []byte(warmRequest), make([]byte, 4096), "[]")
	for name, conn := range map[string]net.Conn{"after its requests": used, "before one": dial(t, r.address)} {
		if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
			t.Errorf("%s a client got %q, %v", name, b, err)
		}
	}
	kittest.Eventually(t, "they are forgotten", func() bool { return r.Connections() == 0 })
}

func TestThereIsRoomForSoManyClients(t *testing.T) {
	s := settings()
	s.MaxConnections = 2
	r, _ := scripted(t, s)
	first, second := warm(t, r), warm(t, r)
	third := dial(t, r.address)
	sendText(t, third, warmRequest)
	roundTrip(t, second, []byte(warmRequest), make([]byte, 4096), "[]")
	if n := r.Accepted.Load(); n != 2 {
		t.Errorf("%d were accepted", n)
	}
	_ = first.Close()
	if res, _ := response(t, third); res.StatusCode != 200 {
		t.Errorf("the third client got %d", res.StatusCode)
	}
	more := *s
	more.MaxConnections = 3
	fourth := dial(t, r.address)
	sendText(t, fourth, warmRequest)
	r.Use(&more)
	if res, _ := response(t, fourth); res.StatusCode != 200 {
		t.Errorf("the fourth client got %d", res.StatusCode)
	}
}

func TestRoomIsSeenByWhicheverLoop(t *testing.T) {
	s := settings()
	s.MaxConnections = 4
	r, _ := scripted(t, s)
	for range 100 {
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				c, err := net.Dial("tcp", r.address)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				_, _ = io.WriteString(c, warmRequest)
				if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
					t.Error(err)
				}
			})
		}
		if clients.Wait(); t.Failed() {
			return
		}
	}
}

func TestClientsThatStayAreSpreadOverTheLoops(t *testing.T) {
	r, _ := scripted(t, settings())
	const clients = 60
	for range clients {
		warm(t, r)
	}
	loops := loopsOf(r)
	total, fewest, most := int64(0), int64(clients), int64(0)
	for _, l := range loops {
		n := l.clients.Load()
		total, fewest, most = total+n, min(fewest, n), max(most, n)
	}
	if total != clients || most-fewest > uneven+1 {
		t.Errorf("%d loops have %d to %d clients, %d together", len(loops), fewest, most, total)
	}
}

// loopsOf returns the loops of an engine that accepts.
func loopsOf(r *rig) []*loop {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loops
}

func TestALoopThatIsCalledAccepts(t *testing.T) {
	r, _ := scripted(t, settings())
	warm(t, r)
	loops := loopsOf(r)
	if len(loops) == 1 {
		t.Skip("there is one loop for one core")
	}
	first := loops[0]
	first.mu.Lock() // it comes no further than its next event
	defer first.mu.Unlock()
	for range 3 { // once each time
		c := dial(t, r.address)
		first.callNext()
		sendText(t, c, "GET /healthz HTTP/1.1\r\nHost: example.com\r\n\r\n") // no target's connection is the first loop's
		if res, _ := response(t, c); res.StatusCode != 200 {
			t.Errorf("got %d", res.StatusCode)
		}
	}
}

// The answer waits in the socket for the end of the stream. Closing a socket that has
// something to read would drop it.
func TestTheLastAnswerComesWhateverTheClientSends(t *testing.T) {
	r, sc := scripted(t, settings())
	warm(t, r)
	c := dial(t, r.address)
	sendText(t, c, strings.Replace(request, "Host", "Connection: close\r\nHost", 1))
	<-sc.arrived
	sendText(t, c, request)
	sc.answer <- plainAnswer
	if res, body := response(t, c); res.StatusCode != 200 || !res.Close || body != "[]" {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}

func TestADoorThatWasShutOpensAgain(t *testing.T) {
	r, _ := scripted(t, settings())
	warm(t, r) // it is open
	r.cannotAccept(syscall.EMFILE)
	c := dial(t, r.address)
	roundTrip(t, c, []byte(warmRequest), make([]byte, 4096), "[]")
}

func TestADrainOfWhatALoopServes(t *testing.T) {
	r, sc := scripted(t, settings())
	idle, busy := warm(t, r), warm(t, r)
	sendText(t, busy, request)
	<-sc.arrived
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	if b, err := io.ReadAll(idle); err != nil || len(b) > 0 {
		t.Errorf("the idle connection got %q, %v", b, err)
	}
	if c, err := net.Dial("tcp", r.address); err == nil {
		_ = c.Close()
		t.Error("the address still takes connections")
	}
	sc.answer <- plainAnswer
	if res, body := response(t, busy); res.StatusCode != 200 || body != "[]" || !res.Close {
		t.Errorf("the busy connection got %d %q, close %v", res.StatusCode, body, res.Close)
	}
	<-stopped
}

// records keeps what is recorded, as text where it will not last.
type records struct {
	mu   sync.Mutex
	done []Record
}

func (*records) Arrived([]byte, []byte)             {}
func (*records) Given(*route.Route, string, []byte) {}

func (r *records) Done(d *Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *d
	for _, b := range []*[]byte{&c.Method, &c.Host, &c.Path, &c.Query, &c.RequestID} {
		*b = bytes.Clone(*b)
	}
	r.done = append(r.done, c)
}

func TestWhatIsRecordedOfARequestThatALoopServes(t *testing.T) {
	s := settings()
	s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	r, sc := scripted(t, s)
	conn := warm(t, r)
	kept := &records{}
	r.Record(kept)
	sendText(t, conn, "POST /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-Request-Id: mine\r\nContent-Length: 5\r\n\r\nhello")
	if got := (<-sc.arrived).Header.Get("X-Request-Id"); got != "mine" {
		t.Errorf("the target got the id %q", got)
	}
	sc.answer <- plainAnswer
	if res, _ := response(t, conn); res.Header.Get("X-Request-Id") != "mine" {
		t.Errorf("the client got the id %q", res.Header.Get("X-Request-Id"))
	}
	var d Record
	kittest.Eventually(t, "it is recorded", func() bool {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		for i := range kept.done { // the last of the warm ones may be among them
			if d = kept.done[i]; string(d.Path) == "/a" {
				return true
			}
		}
		return false
	})
	if string(d.Method) != "POST" || string(d.Host) != "example.com" || string(d.Path) != "/a" || string(d.Query) != "?b=c" ||
		string(d.RequestID) != "mine" || d.Status != 200 || d.Reason != Answered || d.Attempts != 1 || d.In != 5 || d.Out != 2 ||
		d.Target != r.set.Targets()[0].Address() || d.FirstByte <= 0 || d.Total < d.FirstByte {
		t.Errorf("the record is %+v", d)
	}
}

// A target with no place left is one that a loop cannot give a request to.
func TestARequestThatHasToQueue(t *testing.T) {
	s := settings()
	r, sc := scripted(t, s)
	conn, other := warm(t, r), warm(t, r)
	target := r.set.Targets()[0].Address()
	r.set.Apply(upstream.Config{
		Targets: []upstream.TargetConfig{{Address: target, MaxIdle: 64, MaxConnections: 1, Health: upstream.Health{Interval: time.Hour}}},
		Pools:   []upstream.PoolConfig{{Name: "default", Targets: []string{target}, QueueLength: 1, QueueTimeout: 10 * time.Second}},
	})
	sendText(t, conn, request)
	<-sc.arrived
	sendText(t, other, request)
	kittest.Eventually(t, "the second one waits", func() bool { return s.Routes.Match([]byte("example.com"), []byte("/a")).Pick().Pool.Waiting() == 1 })
	for _, c := range []net.Conn{conn, other} {
		sc.answer <- plainAnswer
		if res, body := response(t, c); res.StatusCode != 200 || body != "[]" {
			t.Errorf("got %d %q", res.StatusCode, body)
		}
	}
}
