package kittest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Eventually waits until a condition holds, and fails the test where it does not
// for longer than any slow machine needs. Waiting costs nothing where it holds.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	const patience = time.Minute
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// Call sends a request and reads the whole answer.
func Call(t testing.TB, method, url, body string) (status int, header http.Header, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}
