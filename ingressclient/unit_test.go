package ingressclient

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func quiet() *narrator { return &narrator{w: io.Discard} }

func srv(t *testing.T, records ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, r := range records {
		rr, err := dns.NewRR("_http._tcp.example.com. 60 SRV " + r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

func TestOrderSRV(t *testing.T) {
	lowest := func(int) int { return 0 }
	highest := func(n int) int { return n }
	for _, tc := range []struct {
		name    string
		records []string
		draw    func(int) int
		want    string
	}{
		{"no record gives no target", nil, lowest, ""},
		{"the lower priority stands first, whatever its weight", []string{"9 100 80 b.", "1 0 80 a."}, highest, "a. b."},
		{"a draw of zero takes a target of weight zero", []string{"1 10 80 a.", "1 0 80 z."}, lowest, "z. a."},
		{"the highest draw takes the last target", []string{"1 10 80 a.", "1 0 80 z.", "1 20 80 b."}, highest, "b. a. z."},
		{"a draw takes the target whose running sum reaches it", []string{"1 10 80 a.", "1 20 80 b.", "1 30 80 c."}, func(n int) int { return min(n, 11) }, "b. c. a."},
		{"weights of zero alone are drawn all", []string{"1 0 80 a.", "1 0 80 b."}, highest, "a. b."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, s := range orderSRV(srv(t, tc.records...), tc.draw) {
				got = append(got, s.Target)
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("got %v, want %s", got, tc.want)
			}
		})
	}
}

func TestOrderSRVFollowsTheWeights(t *testing.T) {
	records := srv(t, "1 1 80 a.", "1 3 80 b.")
	first := map[string]int{}
	// Every draw there is, instead of chance: 0 and 1 reach a, 2 to 4 reach b.
	for drawn := range 5 {
		first[orderSRV(records, func(n int) int { return min(n, drawn) })[0].Target]++
	}
	if first["a."] != 2 || first["b."] != 3 {
		t.Errorf("first targets over all draws: %v, want a. 2, b. 3", first)
	}
}

func TestParseURL(t *testing.T) {
	for _, tc := range []struct{ name, url, want, host string }{
		{"a scheme may be missing", "example.com", "http://example.com", "example.com"},
		{"a port without a scheme is a port", "example.com:8080/x", "http://example.com:8080/x", "example.com:8080"},
		{"scheme and host have one spelling", "HTTP://EXAMPLE.com./A", "http://example.com/A", "example.com"},
		{"the port of the scheme is not said", "https://example.com:443/", "https://example.com/", "example.com"},
		{"another port is said", "https://example.com:80/", "https://example.com:80/", "example.com:80"},
		{"an IPv6 address has brackets", "http://[::1]:8080/", "http://[::1]:8080/", "[::1]:8080"},
		{"a zone stays at home", "http://[fe80::1%25lo]/", "http://[fe80::1]/", "[fe80::1]"},
		{"dot segments are removed", "http://a/b/../c/./d", "http://a/c/d", "a"},
		{"empty segments stay", "http://a//b//c/", "http://a//b//c/", "a"},
		{"escapes stay as they are written", "http://a/b%2Fc?d=%2F", "http://a/b%2Fc?d=%2F", "a"},
		{"a fragment is not sent", "http://a/b#c", "http://a/b", "a"},
		{"a user is not part of it", "http://me:pw@a/b", "http://a/b", "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseURL(tc.url, false)
			if err != nil {
				t.Fatal(err)
			}
			if got.url.String() != tc.want || got.authority() != tc.host {
				t.Errorf("got %s with Host %s, want %s with Host %s", got.url, got.authority(), tc.want, tc.host)
			}
		})
	}
}

func TestRules(t *testing.T) {
	r, err := parseResolve("+Example.COM:80:[::1],127.0.0.1")
	if err != nil || r.host != "example.com" || r.port != 80 ||
		!slices.Equal(r.addrs, []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.1")}) {
		t.Errorf("--resolve: got %+v, %v", r, err)
	}
	c, err := parseConnectTo("[::1]:80:[::2]:8080")
	if err != nil || c != (connectRule{host: "::1", port: 80, toHost: "::2", toPort: 8080}) {
		t.Errorf("--connect-to: got %+v, %v", c, err)
	}
	c, err = parseConnectTo("::other:")
	if err != nil || c != (connectRule{toHost: "other"}) || !c.matches("any", 1) {
		t.Errorf("--connect-to with empty fields: got %+v, %v", c, err)
	}
	for _, bad := range []string{"", ":", "a:b:c", "a:0:127.0.0.1", "a:80:", "[::1:80:127.0.0.1", "a:80:127.0.0.1,"} {
		if r, err := parseResolve(bad); err == nil {
			t.Errorf("--resolve %q is accepted as %+v", bad, r)
		}
	}
	for _, bad := range []string{"", "a", "a:1", "a:1:b", "a:x:b:1", "a:1:b:70000", "a:1:b c:1"} {
		if r, err := parseConnectTo(bad); err == nil {
			t.Errorf("--connect-to %q is accepted as %+v", bad, r)
		}
	}
}

func TestMediaType(t *testing.T) {
	for _, tc := range []struct{ name, file, start, want string }{
		{"the extension counts first", "a.JPEG", "hello", "image/jpeg"},
		{"then the first bytes", "a", "\x89PNG\x0D\x0A\x1A\x0A", "image/png"},
		{"bytes that are no text have the type of bytes", "a", "\x00\x01\x02", "application/octet-stream"},
		{"a text could be anything", "a", "a=b", ""},
		{"so could an empty file", "a", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := mediaType(tc.file, []byte(tc.start)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestHeadScanner(t *testing.T) {
	for _, tc := range []struct{ name, in, head, rest string }{
		{"a head ends with an empty line", "A\r\nB\r\n\r\nbody", "A\r\nB\r\n\r\n", "body"},
		{"bare line feeds end it too", "A\nB\n\nbody\r\n\r\n", "A\nB\n\n", "body\r\n\r\n"},
		{"without an empty line there is no head", "A\r\nB\r\n", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			whole, bytewise := headScanner{}, headScanner{}
			head, rest := whole.feed([]byte(tc.in))
			if string(head) != tc.head || string(rest) != tc.rest {
				t.Errorf("at once: got %q, %q", head, rest)
			}
			head = nil
			for i := range len(tc.in) {
				if h, _ := bytewise.feed([]byte{tc.in[i]}); h != nil {
					head = h
				}
			}
			if string(head) != tc.head {
				t.Errorf("byte by byte: got %q", head)
			}
		})
	}
}

func TestHeadScannerGivesUp(t *testing.T) {
	h := headScanner{}
	for range 3 * maxHead / 1024 {
		h.feed(bytes.Repeat([]byte("x"), 1024))
	}
	if len(h.buf) > maxHead+1024 {
		t.Errorf("a head without an end takes %d bytes", len(h.buf))
	}
}

func TestResolver(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("a question that got lost is asked again", func(t *testing.T) {
		w := newWorld(t)
		r := &resolver{address: w.dns, waits: []time.Duration{50 * time.Millisecond, 10 * time.Second}, log: quiet()}
		// The name itself does not exist: NXDOMAIN is an answer.
		a, err := r.lookup(t.Context(), "lossy.example.com", dns.TypeA)
		if err != nil || a.rcode != dns.RcodeNameError {
			t.Fatalf("got %+v, %v", a, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := w.asked["lossy.example.com. A"]; n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
	t.Run("one that keeps silent is left after all attempts", func(t *testing.T) {
		w := newWorld(t)
		r := &resolver{address: w.dns, waits: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}, log: quiet()}
		_, err := r.lookup(t.Context(), "silent.example.com", dns.TypeA)
		if err == nil || !strings.Contains(err.Error(), "no answer to 3 attempts") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("the end of the context ends a question", func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := newResolver(w.dns, quiet())
		if _, err := r.lookup(ctx, "silent.example.com", dns.TypeA); err == nil {
			t.Fatal("no error")
		}
	})
}

// A releasing writer lets the server go on once it has seen the first line.
type releasing struct {
	bytes.Buffer
	release chan<- struct{}
}

func (r *releasing) Write(p []byte) (int, error) {
	n, err := r.Buffer.Write(p)
	if strings.HasSuffix(r.String(), "one\n") {
		r.release <- struct{}{}
	}
	return n, err
}

func TestMainStreams(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("what has arrived is written at once", func(t *testing.T) {
		w := newWorld(t)
		out := &releasing{release: w.release}
		code := Main(t.Context(), []string{"-m", "20", "http://example.com/stream"}, w.env, nil, out, io.Discard)
		if code != 0 || out.String() != "one\ntwo\n" {
			t.Errorf("exit code %d, output %q", code, out.String())
		}
	})
	t.Run("a cancelled run ends with 130 and leaves nothing behind", func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-w.waiting; cancel() }()
		var stderr bytes.Buffer
		dir := t.TempDir()
		code := Main(ctx, []string{"-o", filepath.Join(dir, "out"), "http://example.com/wait/cancel"}, w.env, nil, io.Discard, &stderr)
		if code != 130 || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("exit code %d, %s", code, &stderr)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func TestInterruptedWhileReadingStandardInput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		_, _ = w.Write([]byte("a")) // Main reads: now it can be interrupted.
		cancel()
	}()
	if code := Main(ctx, []string{"-d", "@-", "http://127.0.0.1/"}, func(string) string { return "" }, r, io.Discard, io.Discard); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
}

func TestBodyReader(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	pieces := []piece{textPiece("<"), {path: name, size: 7}, textPiece(""), textPiece(">")}
	t.Run("pieces follow each other", func(t *testing.T) {
		got, err := io.ReadAll(&bodyReader{pieces: pieces})
		if err != nil || string(got) != "<content>" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("a file that grew is cut at its length", func(t *testing.T) {
		got, err := io.ReadAll(&bodyReader{pieces: []piece{{path: name, size: 3}}})
		if err != nil || string(got) != "con" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("a file that shrank is an error, not a short body", func(t *testing.T) {
		_, err := io.ReadAll(&bodyReader{pieces: []piece{{path: name, size: 8}}})
		if err == nil || !strings.Contains(err.Error(), "shorter") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a file that is gone is an error", func(t *testing.T) {
		_, err := io.ReadAll(&bodyReader{pieces: []piece{{path: name + "2", size: 8}}})
		if err == nil || !strings.Contains(err.Error(), "cannot read") {
			t.Errorf("got %v", err)
		}
	})
}

func TestConnectHints(t *testing.T) {
	ln := listen(t)
	closed := netip.MustParseAddrPort(ln.Addr().String())
	_ = ln.Close()
	c := &command{options: options{connectTimeout: time.Second}, log: quiet(), srvTrouble: net.UnknownNetworkError("SERVFAIL")}
	_, err := c.connect(t.Context(), &target{host: "example.com"}, place{addrs: []netip.AddrPort{closed}})
	f, ok := err.(*failure)
	if !ok || f.code != exitConnect || !strings.Contains(f.hint, "SRV") {
		t.Errorf("a refusal after a failed SRV question says nothing of it: %+v", err)
	}
}
