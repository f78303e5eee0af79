package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// load sends GET and POST requests through the load balancer until the returned
// function is called, which reports how many there were and every failure.
func load(c cloud) (stop func() (sent int, failures []error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var group sync.WaitGroup
	sent, failures := 0, []error(nil)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	for worker := range 4 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				var r *http.Request
				if worker == 0 {
					r, _ = http.NewRequest(http.MethodPut, "http://"+c.HTTP()+"/api/spells/2", strings.NewReader(`{"name":"Lumos","description":"Creates light"}`))
					r.Header.Set("Content-Type", "application/json")
				} else {
					r, _ = http.NewRequest(http.MethodGet, "http://"+c.HTTP()+"/api/spells", nil)
				}
				r.Host = "example.com"
				resp, err := client.Do(r)
				if err == nil {
					var body []byte
					body, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err == nil && resp.StatusCode != http.StatusOK {
						err = fmt.Errorf("%s %s: %s: %s", r.Method, r.URL.Path, resp.Status, body)
					}
				}
				mu.Lock()
				sent++
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []error) {
		cancel()
		group.Wait()
		client.CloseIdleConnections()
		return sent, failures
	}
}

// count returns how often the load balancer has logged text.
func count(t *testing.T, c cloud, text string) int {
	return strings.Count(c.Logs(t, "load-balancer"), text)
}

func testStopReplica(t *testing.T, c cloud) {
	for _, replica := range []string{"http-api-2", "http-api-1"} {
		two, three := count(t, c, "Healthy targets: 2"), count(t, c, "Healthy targets: 3")
		stop := load(c)
		c.Stop(t, replica)
		logged(t, c, "load-balancer", "Healthy targets: 2", two+1)
		c.Start(t, replica)
		logged(t, c, "load-balancer", "Healthy targets: 3", three+1)
		sent, failures := stop()
		for i, err := range failures {
			if i < 5 {
				t.Errorf("%s stopped: %v", replica, err)
			}
		}
		t.Logf("%s stopped and started: %d requests, %d failures", replica, sent, len(failures))
	}
}

func testStopBothReplicas(t *testing.T, c cloud) {
	c.Stop(t, "http-api-1")
	c.Stop(t, "http-api-2")
	eventually(t, "the load balancer has no replica", func() error {
		r := enter(t, c, "-i", "http://example.com/api/spells")
		if !strings.HasPrefix(r.stdout, "HTTP/1.1 503") || !strings.Contains(r.stdout, "Service Unavailable") {
			return errors.New(r.stdout)
		}
		return nil
	})
	mustEnter(t, c, "-o", os.DevNull, "http://example.com/files/image.jpg")
	c.Start(t, "http-api-1")
	c.Start(t, "http-api-2")
	eventually(t, "the replicas are back", func() error {
		if r := enter(t, c, "-f", "http://example.com/api/spells"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
}

func testStopObjectStorage(t *testing.T, c cloud) {
	c.Stop(t, "object-storage")
	if r := enter(t, c, "-i", "http://example.com/files/image.jpg"); !strings.HasPrefix(r.stdout, "HTTP/1.1 50") {
		t.Errorf("/files without object storage: %s", r.stdout)
	}
	if list := spells(t, c); len(list) != 3 {
		t.Errorf("the API lists %v", list)
	}
	late := create(t, c, "Late", "Its card waits for the storage")
	c.Start(t, "object-storage")
	eventually(t, "the files are back", func() error {
		if r := enter(t, c, "-f", "-o", os.DevNull, "http://example.com/files/image.jpg"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	waitCard(t, c, late)
}

func testStopCache(t *testing.T, c cloud) {
	c.Stop(t, "cache-store")
	for range 4 {
		if body := mustEnter(t, c, "http://example.com/api/spells/1"); !strings.Contains(body, "Accio") {
			t.Errorf("without the cache: %s", body)
		}
	}
	mustEnter(t, c, "-X", "PUT", "-H", "Content-Type: application/json", "-d", `{"name":"Accio","description":"Fetches an object"}`, "http://example.com/api/spells/1")
	c.Start(t, "cache-store")
	eventually(t, "the cache is used again", func() error {
		answer := mustEnter(t, c, "-i", "http://example.com/api/spells/1")
		if !strings.Contains(answer, "Fetches") {
			t.Fatalf("a stale answer: %s", answer)
		}
		if header(answer, "X-Cache") != "hit" {
			return errors.New(answer)
		}
		return nil
	})
}

func testStopQueue(t *testing.T, c cloud) {
	c.Stop(t, "message-queue")
	s := create(t, c, "Patience", "Arrives when it can")
	c.Start(t, "message-queue")
	waitCard(t, c, s)
}

func testStopDataStore(t *testing.T, c cloud) {
	c.Stop(t, "data-store")
	r := enter(t, c, "-i", "http://example.com/api/spells")
	if !strings.HasPrefix(r.stdout, "HTTP/1.1 503") || header(r.stdout, "X-Served-By") == "" || header(r.stdout, "Content-Type") != "application/problem+json" {
		t.Errorf("without the data store the API should answer 503 itself:\n%s", r.stdout)
	}
	c.Start(t, "data-store")
	eventually(t, "the API is back", func() error {
		if r := enter(t, c, "-f", "http://example.com/api/spells"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	if list := spells(t, c); len(list) != 5 || list[2].Name != "Nox" {
		t.Errorf("after the restart the spells are %v", list)
	}
}

func testStopDNS(t *testing.T, c cloud) {
	ask := func(name string) (*dns.Msg, error) {
		in, _, err := (&dns.Client{Timeout: 20 * time.Second}).ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(name, dns.TypeA), c.Resolver())
		return in, err
	}
	for _, part := range []string{"dns-root", "dns-com"} {
		c.Stop(t, part)
	}
	// The delegation of example.com is cached: its own server is asked.
	if in, err := ask("never-asked-before.example.com."); err != nil || in.Rcode != dns.RcodeNameError {
		t.Errorf("with root and com down: %v\n%v", err, in)
	}
	c.Stop(t, "dns-example-com")
	if in, err := ask("another.example.com."); err != nil || in.Rcode != dns.RcodeServerFailure {
		t.Errorf("with all servers down: expected SERVFAIL: %v\n%v", err, in)
	}
	for _, part := range []string{"dns-root", "dns-com", "dns-example-com"} {
		c.Start(t, part)
	}
	eventually(t, "the resolver recovers", func() error {
		in, err := ask("third.example.com.")
		if err == nil && in.Rcode != dns.RcodeNameError {
			err = errors.New(in.String())
		}
		return err
	})
}

// The record's time to live is one second, so that it is over at once.
func testStaleDNS(t *testing.T, c cloud) {
	ask := func() (ttl uint32, stale bool, err error) {
		m := new(dns.Msg).SetQuestion("short.example.com.", dns.TypeTXT).SetEdns0(1232, false)
		in, _, err := (&dns.Client{Timeout: 20 * time.Second}).ExchangeContext(t.Context(), m, c.Resolver())
		if err != nil {
			return 0, false, err
		}
		if in.Rcode != dns.RcodeSuccess || len(in.Answer) != 1 {
			return 0, false, errors.New(in.String())
		}
		if opt := in.IsEdns0(); opt != nil {
			for _, option := range opt.Option {
				ede, ok := option.(*dns.EDNS0_EDE)
				stale = stale || ok && ede.InfoCode == dns.ExtendedErrorCodeStaleAnswer
			}
		}
		return in.Answer[0].Header().Ttl, stale, nil
	}
	fresh := func() error {
		ttl, stale, err := ask()
		if err == nil && (stale || ttl > 1) {
			err = fmt.Errorf("the TTL is %d, stale %t", ttl, stale)
		}
		return err
	}
	eventually(t, "the name is answered", fresh)
	c.Stop(t, "dns-example-com")
	eventually(t, "the answer is stale", func() error {
		ttl, stale, err := ask()
		if err != nil {
			t.Fatalf("the name was lost: %v", err)
		}
		if !stale || ttl != 30 { // RFC 8767, section 4
			err = fmt.Errorf("the TTL is %d, stale %t", ttl, stale)
		}
		return err
	})
	c.Start(t, "dns-example-com")
	eventually(t, "the answer is fresh again", fresh)
}
