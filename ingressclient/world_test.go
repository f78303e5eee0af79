package ingressclient

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// A world is a small cloud on loopback: a DNS server, web servers with and
// without TLS, and one that speaks HTTP badly.
type world struct {
	dns, closed string // host:port; closed: nobody listens there
	web, tls    *httptest.Server
	admin       *httptest.Server // of the resolver and the load balancer
	odd         net.Listener

	mu    sync.Mutex
	files map[string]file
	// waiting receives the path of a request that is never answered.
	waiting chan string
	release chan struct{} // lets /stream go on
	asked   map[string]int
}

type file struct {
	contentType string
	content     []byte
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{files: map[string]file{}, waiting: make(chan string, 100), release: make(chan struct{}, 1), asked: map[string]int{}}
	w.web = httptest.NewServer(w.handler())
	w.tls = httptest.NewUnstartedServer(w.handler())
	w.tls.Config.ErrorLog = log.New(io.Discard, "", 0) // Clients refuse its certificate on purpose.
	w.tls.StartTLS()
	t.Cleanup(w.web.Close)
	t.Cleanup(w.tls.Close)
	w.admin = httptest.NewServer(w.adminHandler())
	t.Cleanup(w.admin.Close)
	w.odd = listen(t)
	go w.serveOdd()
	gone := listen(t)
	w.closed = gone.Addr().String()
	_ = gone.Close()
	w.serveDNS(t)
	return w
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// env is what the world says to the command.
func (w *world) env(name string) string {
	switch name {
	case "MINICLOUD_RESOLVER":
		return w.dns
	case "MINICLOUD_RESOLVER_ADMIN", "MINICLOUD_LB_ADMIN":
		return w.admin.Listener.Addr().String()
	}
	return ""
}

func (w *world) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/spells", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("X-Served-By", "http-api-1")
		fmt.Fprint(rw, `[{"id":1,"name":"Accio"},{"id":2,"name":"Lumos"}]`)
	})
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/files/", w.serveFiles)
	mux.HandleFunc("/form", serveForm)
	mux.HandleFunc("/status/{code}", func(rw http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		rw.WriteHeader(code)
		fmt.Fprintf(rw, "the body of %d\n", code)
	})
	mux.HandleFunc("/redirect/{code}", func(rw http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		rw.Header().Set("Location", r.URL.Query().Get("to"))
		rw.WriteHeader(code)
		fmt.Fprintln(rw, "the body of a redirect")
	})
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.HandleFunc("/wait/{who}", func(rw http.ResponseWriter, r *http.Request) {
		w.waiting <- r.URL.Path
		<-r.Context().Done()
	})
	mux.HandleFunc("/stream", func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, "one\n")
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-w.release:
			fmt.Fprint(rw, "two\n")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/binary", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, "a\x00b") })
	mux.HandleFunc("/escape", func(rw http.ResponseWriter, r *http.Request) { rw.Header().Set("X-Bad", "a\u009b31mb") })
	return mux
}

// echo answers with what the request looked like.
func echo(rw http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(rw, "%s %s\nHost: %s\n", r.Method, r.RequestURI, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			fmt.Fprintf(rw, "%s: %s\n", name, v)
		}
	}
	if r.TransferEncoding != nil {
		fmt.Fprintf(rw, "Transfer-Encoding: %s\n", r.TransferEncoding)
	}
	fmt.Fprintf(rw, "%s\n%d bytes\n", content, len(content))
}

func (w *world) serveFiles(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Method == http.MethodPut {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.files[r.URL.Path] = file{r.Header.Get("Content-Type"), content}
		rw.WriteHeader(http.StatusCreated)
		return
	}
	f, ok := w.files[r.URL.Path]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	rw.Header().Set("Content-Type", f.contentType)
	rw.Header().Set("Content-Length", strconv.Itoa(len(f.content)))
	_, _ = rw.Write(f.content)
}

func serveForm(rw http.ResponseWriter, r *http.Request) {
	parts, err := r.MultipartReader()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(rw, "length known: %v\n", r.ContentLength > 0)
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		content, _ := io.ReadAll(p)
		_ = json.NewEncoder(rw).Encode([]string{p.FormName(), p.FileName(), p.Header.Get("Content-Type"), string(content)})
	}
}

// oddReplies is what the odd server answers, by path, before it closes.
var oddReplies = map[string]string{
	"/empty":      "",
	"/ssh":        "SSH-2.0-x\r\n",
	"/headless":   "hello\r\n\r\n",
	"/halfhead":   "HTTP/1.1 200 OK\r\nFoo: b",
	"/badfield":   "HTTP/1.1 200 OK\r\nFoo bar\r\n\r\nx",
	"/partial":    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
	"/cutchunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
	"/badchunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
	"/spelling":   "HTTP/1.1 200 Fine\r\nx-lower: 1\r\nServer: odd\r\nContent-Length: 2\r\n\r\nok",
	"/continue":   "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"/untilclose": "HTTP/1.0 200 OK\r\n\r\nto the end",
	"/barelf":     "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
}

func (w *world) serveOdd() {
	for {
		conn, err := w.odd.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var head []byte
			buf := make([]byte, 4096)
			for !strings.Contains(string(head), "\r\n\r\n") {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				head = append(head, buf[:n]...)
			}
			path := strings.Fields(string(head))[1]
			if path == "/reset" {
				_ = conn.(*net.TCPConn).SetLinger(0)
				return
			}
			_, _ = io.WriteString(conn, oddReplies[path])
		}()
	}
}

// serveDNS answers for the world's names over UDP and TCP on one port.
func (w *world) serveDNS(t testing.TB) {
	t.Helper()
	for {
		ln := listen(t)
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		if err != nil { // Somebody else has this port for UDP.
			_ = ln.Close()
			continue
		}
		w.dns = ln.Addr().String()
		for _, s := range []*dns.Server{{PacketConn: pc}, {Listener: ln}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			s.Handler = dns.HandlerFunc(w.answerDNS)
			go func() { _ = s.ActivateAndServe() }()
			<-started
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		return
	}
}

// zone is the world's records; the ports in it are filled in.
func (w *world) zone() string {
	return strings.NewReplacer(
		"WEB", portOf(w.web.Listener.Addr().String()),
		"TLS", portOf(w.tls.Listener.Addr().String()),
		"ODD", portOf(w.odd.Addr().String()),
		"CLOSED", portOf(w.closed),
	).Replace(`
$ORIGIN example.com.
$TTL 60
@                       A     127.0.0.1
_http._tcp              SRV   0 0 WEB @
www                     CNAME @
_http._tcp.www          SRV   0 0 WEB @
_http._tcp.alias        SRV   0 0 WEB alias
alias                   CNAME end
end                     A     127.0.0.1
empty                   TXT   "no address here"
loop                    CNAME loop2
loop2                   CNAME loop
_http._tcp.noservice    SRV   0 0 0 .
noservice               A     127.0.0.1
_http._tcp.glue         SRV   0 0 WEB only-as-glue
_http._tcp.far          SRV   0 0 WEB end
_http._tcp.dangling     SRV   0 0 WEB nowhere
_http._tcp.closed       SRV   0 0 CLOSED @
_http._tcp.failover     SRV   0 0 CLOSED @
_http._tcp.failover     SRV   9 0 WEB @
_http._tcp.odd          SRV   0 0 ODD @
_https._tcp.tls         SRV   0 0 TLS tls
tls                     A     127.0.0.1
_https._tcp.nottls      SRV   0 0 WEB @
big                     A     127.0.0.1
_http._tcp.big          SRV   0 0 WEB big
spoofed                 A     127.0.0.1
_http._tcp.spoofed      SRV   0 0 WEB spoofed
late                    A     127.0.0.1
_http._tcp.late         SRV   0 0 WEB late
six                     AAAA  ::1
`)
}

func (w *world) answerDNS(rw dns.ResponseWriter, q *dns.Msg) {
	name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	label, _, _ := strings.Cut(strings.TrimPrefix(name, "_http._tcp."), ".")
	_, udp := rw.RemoteAddr().(*net.UDPAddr)
	w.mu.Lock()
	w.asked[name+" "+dns.Type(qtype).String()]++
	first := w.asked[name+" "+dns.Type(qtype).String()] == 1
	w.mu.Unlock()

	m := new(dns.Msg)
	m.SetReply(q)
	switch {
	case label == "silent", label == "late" && qtype == dns.TypeAAAA, label == "lossy" && first:
		return
	case label == "servfail":
		m.Rcode = dns.RcodeServerFailure
	case label == "big" && udp:
		m.Truncated = true
	default:
		w.lookup(m, name, qtype)
	}
	if label == "spoofed" {
		forge(rw, m)
	}
	_ = rw.WriteMsg(m)
}

// forge sends three answers before the true one that must not count.
func forge(rw dns.ResponseWriter, m *dns.Msg) {
	wrongID := m.Copy()
	wrongID.Id++
	wrongID.Rcode = dns.RcodeNameError
	wrongName := m.Copy()
	wrongName.Question[0].Name = "other.example.com."
	wrongName.Rcode = dns.RcodeNameError
	_ = rw.WriteMsg(wrongID)
	_ = rw.WriteMsg(wrongName)
	_, _ = rw.Write([]byte{0, 1, 2})
}

func (w *world) lookup(m *dns.Msg, name string, qtype uint16) {
	exists := false
	for {
		next := ""
		zp := dns.NewZoneParser(strings.NewReader(w.zone()), "", "")
		for rr, ok := zp.Next(); ok; rr, ok = zp.Next() {
			if rr.Header().Name != name {
				continue
			}
			exists = true
			switch rr := rr.(type) {
			case *dns.CNAME:
				m.Answer = append(m.Answer, rr)
				next = rr.Target
			case *dns.SRV:
				if qtype == dns.TypeSRV {
					m.Answer = append(m.Answer, rr)
				}
				if strings.HasPrefix(rr.Target, "only-as-glue.") {
					glue, _ := dns.NewRR(rr.Target + " 60 A 127.0.0.1")
					m.Extra = append(m.Extra, glue)
				}
			default:
				if rr.Header().Rrtype == qtype {
					m.Answer = append(m.Answer, rr)
				}
			}
		}
		if err := zp.Err(); err != nil {
			panic(err)
		}
		// An alias named "alias" is left open, as an authoritative server
		// of another zone would.
		if next == "" || strings.HasPrefix(name, "alias.") || len(m.Answer) > 4 {
			break
		}
		name = next
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		soa, _ := dns.NewRR("example.com. 60 SOA ns.example.com. host.example.com. 1 2 3 4 5")
		m.Ns = append(m.Ns, soa)
	}
}

// writeCertificate stores the certificate of the TLS server, for SSL_CERT_FILE.
func (w *world) writeCertificate(dir string) (string, error) {
	cert := w.tls.Certificate()
	if cert == nil || !slices.Contains(cert.DNSNames, "example.com") {
		return "", errors.New("the test server's certificate is not for example.com")
	}
	if _, err := x509.ParseCertificate(cert.Raw); err != nil {
		return "", err
	}
	name := filepath.Join(dir, "roots.pem")
	return name, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600)
}
