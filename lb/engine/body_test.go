package engine

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"minicloud.internal/kit/kittest"
)

// A kept connection takes the whole request and ends without an answer. What was kept
// of the body is sent again on a new one, if it is all of it.
func TestABodyIsSentAgain(t *testing.T) {
	r := start(t, settings(), func(c net.Conn, in *bufio.Reader) {
		for served := 0; ; served++ {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, r.Body); err != nil || served > 0 {
				return
			}
			answer := fmt.Sprintf("%x", sum.Sum(nil))
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		}
	})
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	ask := func(t *testing.T, method string, body io.Reader) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.address+"/", body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	for _, size := range []int{1, smallBody, smallBody + 1, 30_000, keptBody, keptBody + 1, 4 * keptBody} {
		for name, framed := range map[string]func(io.Reader) io.Reader{
			"with a length": func(r io.Reader) io.Reader { return r },
			"in chunks":     func(r io.Reader) io.Reader { return io.MultiReader(r) },
		} {
			t.Run(fmt.Sprint(size, " bytes ", name), func(t *testing.T) {
				target := r.set.Targets()[0]
				unused := func() bool { return target.InFlight() == 0 }
				kittest.Eventually(t, "the last request is over", unused)
				target.Idle.CloseAll()
				ask(t, "GET", nil)
				kittest.Eventually(t, "its connection is kept", unused)
				if n := target.Idle.Len(); n != 1 {
					t.Fatalf("%d connections are kept", n)
				}
				body := bytes.Repeat([]byte{byte(size), byte(size >> 8), 7}, size/3+1)[:size]
				status, got := ask(t, "PUT", framed(bytes.NewReader(body)))
				switch want := fmt.Sprintf("%x", sha256.Sum256(body)); {
				case size <= keptBody && (status != 200 || got != want):
					t.Errorf("got %d %s, want %s", status, got, want)
				case size > keptBody && status != 502:
					t.Errorf("got %d %s, want 502", status, got)
				}
			})
		}
	}
}
