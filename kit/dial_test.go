package kit

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestHosts(t *testing.T) {
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var hosts Hosts
	if _, err := hosts.Dial(t.Context(), "tcp", "no-such-host.invalid:80"); err == nil {
		t.Error("a name that no table has was reached")
	}
	hosts.Set("cache-store:8005", ln.Addr().String())
	for name, address := range map[string]string{
		"a name of the table is reached at its address": "cache-store:8005",
		"any other address is reached as it stands":     ln.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := hosts.Dial(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := conn.RemoteAddr().String(); got != ln.Addr().String() {
				t.Errorf("connected to %s, want %s", got, ln.Addr())
			}
		})
	}
	t.Run("a name counts with its port only", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if conn, err := hosts.Dial(ctx, "tcp", "cache-store:9"); err == nil {
			t.Errorf("connected to %s", conn.RemoteAddr())
		}
	})
	t.Run("the table may change while it is used", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				hosts.Set("cache-store:8005", ln.Addr().String())
				conn, err := hosts.Dial(t.Context(), "tcp", "cache-store:8005")
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.Close()
			})
		}
		wg.Wait()
	})
}

func TestListenErrors(t *testing.T) {
	ln, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	taken := ln.Addr().String()
	free, pc, err := ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close() // so that UDP alone is taken
	defer pc.Close()
	takenUDP := pc.LocalAddr().String()
	listen := func(address string) error {
		ln, err := Listen(address)
		if err == nil {
			_ = ln.Close()
		}
		return err
	}
	listenDNS := func(address string) error {
		ln, pc, err := ListenDNS(address)
		if err == nil {
			_, _ = ln.Close(), pc.Close()
		}
		return err
	}
	for _, c := range []struct {
		name  string
		err   error
		want  string
		cause error
	}{
		{"an address in use says so", listen(taken), "listen on TCP " + taken + ": the address is in use by another program", syscall.EADDRINUSE},
		{"TCP in use ends DNS", listenDNS(taken), "listen on TCP " + taken + ": the address is in use by another program", syscall.EADDRINUSE},
		{"UDP in use ends DNS", listenDNS(takenUDP), "listen on UDP " + takenUDP + ": the address is in use by another program", syscall.EADDRINUSE},
		{"a port that is not permitted says what it needs",
			listenError("TCP", ":53", &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)}),
			"listen on TCP :53: not permitted; ports below 1024 need a privilege", syscall.EACCES},
		{"an address without a port is refused", listen("127.0.0.1"), "listen on TCP 127.0.0.1: listen tcp: address 127.0.0.1: missing port in address", nil},
		{"an address without a port is refused for DNS", listenDNS("127.0.0.1"), "listen on 127.0.0.1: address 127.0.0.1: missing port in address", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.err == nil || c.err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", c.err, c.want)
			}
			if c.cause != nil && !errors.Is(c.err, c.cause) {
				t.Errorf("%v is not %v", c.err, c.cause)
			}
		})
	}
}

func TestListenDNSBindsOnePortTwice(t *testing.T) {
	ln, pc, err := ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	defer pc.Close()
	tcp, udp := ln.Addr().(*net.TCPAddr), pc.LocalAddr().(*net.UDPAddr)
	if tcp.Port == 0 || tcp.Port != udp.Port || !udp.IP.Equal(tcp.IP) {
		t.Errorf("TCP is bound to %v, UDP to %v", tcp, udp)
	}
}

func TestNewHTTPClient(t *testing.T) {
	t.Run("follows no redirect", func(t *testing.T) {
		server := httptest.NewServer(http.RedirectHandler("/elsewhere", http.StatusFound))
		defer server.Close()
		client := NewHTTPClient(nil, 0)
		defer client.CloseIdleConnections()
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusFound {
			t.Errorf("got %d, want the redirect itself", resp.StatusCode)
		}
	})
	t.Run("ends a call after its timeout, and before an answer after 30 s at the latest", func(t *testing.T) {
		for timeout, want := range map[time.Duration]time.Duration{5 * time.Second: 5 * time.Second, 0: 30 * time.Second, time.Hour: 30 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
				client := NewHTTPClient(s.ln.dial, timeout)
				began := time.Now()
				resp, err := client.Get("http://test/")
				if err == nil {
					_ = resp.Body.Close()
				}
				if err == nil || time.Since(began) != want {
					t.Errorf("with %v it ended after %v with %v, want %v", timeout, time.Since(began), err, want)
				}
			})
		}
	})
	t.Run("sends no trace where the context has none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var got http.Header
			s := start(t, &HTTPServer{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })})
			s.get("/")
			if got.Get(RequestIDHeader)+got.Get("Traceparent") != "" || strings.Contains(got.Get("Accept-Encoding"), "gzip") {
				t.Errorf("sent %v", got)
			}
		})
	})
}

func TestListenShared(t *testing.T) {
	first, err := ListenShared("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	address := first.Addr().String()
	t.Run("a second one may listen beside it", func(t *testing.T) {
		second, err := ListenShared(address)
		if err != nil {
			t.Fatal(err)
		}
		second.Close()
	})
	t.Run("one that does not share is told that the address is in use", func(t *testing.T) {
		ln, err := Listen(address)
		if err == nil {
			ln.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v", err)
		}
	})
}
