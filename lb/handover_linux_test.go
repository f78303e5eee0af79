package lb

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestHandover(t *testing.T) {
	_, target := backend(t, named("fine"))
	cfg := quick(target)
	cfg.ReusePort = true
	first, err := kit.ListenShared("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listening := func() net.Listener {
		ln, err := kit.ListenShared(first.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	old := startOn(t, cfg, first)
	url := old.url("/")
	done := make(chan struct{})
	var workers sync.WaitGroup
	var answered atomic.Int64
	for range 8 {
		workers.Go(func() {
			c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
			for {
				select {
				case <-done:
					return
				default:
				}
				res, err := c.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				answered.Add(1)
			}
		})
	}
	more := func() {
		before := answered.Load()
		kittest.Eventually(t, "requests are answered", func() bool { return answered.Load() > before+50 })
	}
	more()
	for range 3 {
		next := startOn(t, cfg, listening())
		more()
		mark := old.log.mark()
		old.stop()
		if len(old.log.since(mark, "another process takes over the address")) != 1 {
			t.Errorf("the successor was not found: %q", old.log.since(mark, ""))
		}
		more()
		old = next
	}
	// The newer one may be the one that ends.
	next := startOn(t, cfg, listening())
	more()
	next.stop()
	more()
	close(done)
	workers.Wait()
	began := time.Now()
	old.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("without a successor it took %s", took)
	}
}
