package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestCacheDown(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("one")
	cfg.CachePause = time.Minute // longer than the test: only a success ends it
	cfg.VisibilityTimeout = time.Second
	r := c.replica(cfg)
	<-r.store.schema
	c.net.stop(cacheStore)

	t.Run("reads and writes pass it by", func(t *testing.T) {
		before := c.net.dialed(cacheStore)
		for range 5 {
			if a := r.call("GET", "/api/spells/1", ""); a.status != 200 || a.header.Get("X-Cache") != bypass {
				t.Fatalf("got %v", a)
			}
		}
		if n := c.net.dialed(cacheStore) - before; n > 2 { // one call dials, and may dial again
			t.Errorf("the cache was dialed %d times within the pause", n)
		}
		if a := r.call("PUT", "/api/spells/1", `{"name":"Accio Maxima"}`); a.status != 200 {
			t.Errorf("got %v", a)
		}
	})
	t.Run("health stays 200 and says what is missing", func(t *testing.T) {
		if a := r.call("GET", "/healthz", ""); a.status != 200 || !strings.Contains(a.body, "OK, reduced: cache-store: ") {
			t.Errorf("got %v", a)
		}
		if up := r.metric("minicloud_httpapi_dependency_up", "service", "cache-store"); up != 0 {
			t.Errorf("dependency_up is %v", up)
		}
	})
	t.Run("a write finds out that it is back, and reads use it again", func(t *testing.T) {
		c.net.start(cacheStore)
		r.call("PUT", "/api/spells/1", `{"name":"Accio"}`)
		c.quietNow(r)
		for _, want := range []string{miss, hit} {
			if a := r.call("GET", "/api/spells/1", ""); a.header.Get("X-Cache") != want {
				t.Errorf("want a %s, got %v", want, a)
			}
		}
		if a := r.call("GET", "/healthz", ""); strings.Contains(a.body, "cache-store") {
			t.Errorf("got %v", a)
		}
	})
	t.Run("what somebody else wrote under the key is not believed, and removed", func(t *testing.T) {
		c.cache.put("spell:2", "not a spell")
		for _, want := range []string{bypass, miss, hit} {
			if a := r.call("GET", "/api/spells/2", ""); a.header.Get("X-Cache") != want || a.spell(t).Name != "Lumos" {
				t.Errorf("want a %s, got %v", want, a)
			}
		}
	})
}

func TestHealthNoticesThatTheCacheIsBack(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("one")
	cfg.CachePause = 10 * time.Millisecond
	r := c.replica(cfg)
	<-r.store.schema
	reduced := func() bool { return strings.Contains(r.call("GET", "/healthz", "").body, "cache-store") }
	c.net.stop(cacheStore)
	r.call("GET", "/api/spells/1", "")
	if !reduced() {
		t.Fatal("the cache is not missed")
	}
	c.net.start(cacheStore)
	kittest.Eventually(t, "health is whole again, though nobody asks for a spell", func() bool { return !reduced() })
}

func TestMissedInvalidation(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("one")
	cfg.VisibilityTimeout = time.Second
	r := c.replica(cfg)
	<-r.store.schema
	c.quietNow(r)
	r.call("GET", "/api/spells/1", "")
	if _, cached := c.cache.value("spell:1"); !cached {
		t.Fatal("not cached")
	}
	c.net.stop(cacheStore)
	r.call("PUT", "/api/spells/1", `{"name":"Accio Maxima"}`)
	c.net.start(cacheStore)
	// The entry of before is still there; its TTL never ends in this cache.
	kittest.Eventually(t, "the event deletes the entry that the write could not", func() bool {
		_, cached := c.cache.value("spell:1")
		return !cached
	})
	c.quietNow(r)
}

// pausedCache lets a test act between a load and its set.
type pausedCache struct {
	cacheClient
	before func()
}

func (p *pausedCache) Set(ctx context.Context, key, value string, ttl time.Duration, lease uint64) (bool, error) {
	if p.before != nil {
		p.before()
	}
	return p.cacheClient.Set(ctx, key, value, ttl, lease)
}

func TestStaleSet(t *testing.T) {
	c := newCloud(t)
	one, two := c.start("one"), c.start("two")
	c.quietNow(one)
	loaded, goOn := make(chan struct{}), make(chan struct{})
	pause := &pausedCache{one.cache.client, sync.OnceFunc(func() { close(loaded); <-goOn })}
	one.cache.client = pause

	first := make(chan answer)
	go func() { first <- one.call("GET", "/api/spells/1", "") }()
	<-loaded
	// One has the old spell in hand, and stands before the cache.
	two.call("PUT", "/api/spells/1", `{"name":"Accio Maxima"}`)
	c.quietNow(two) // the event invalidates once more
	second := make(chan answer)
	go func() { second <- one.call("GET", "/api/spells/1", "") }() // may join the load, must not believe it
	kittest.Eventually(t, "the second reader has missed", func() bool {
		c.cache.mu.Lock()
		defer c.cache.mu.Unlock()
		return c.cache.leases["spell:1"] != 0
	})
	close(goOn)
	if a := <-first; a.status != 200 {
		t.Errorf("the reader from before the write got %v", a)
	}
	if a := <-second; a.spell(t).Name != "Accio Maxima" {
		t.Errorf("a reader from after the write got %v", a)
	}
	if a := one.call("GET", "/api/spells/1", ""); a.spell(t).Name != "Accio Maxima" || a.header.Get("X-Cache") != hit {
		t.Errorf("afterwards the cache gave %v", a)
	}
	if one.metric("minicloud_httpapi_cache_sets_refused_total") != 1 {
		t.Error("the stale set was not refused")
	}
}

func TestManyReadersOneLoad(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	goOn := make(chan struct{})
	r.cache.client = &pausedCache{r.cache.client, func() { <-goOn }}
	const readers = 20
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			if a := r.call("GET", "/api/spells/1", ""); a.status != 200 {
				t.Errorf("got %v", a)
			}
		})
	}
	kittest.Eventually(t, "all have missed", func() bool {
		c.cache.mu.Lock()
		defer c.cache.mu.Unlock()
		return c.cache.gets >= readers
	})
	close(goOn)
	all.Wait()
	// One who missed and comes too late to join loads again: TestFlights is exact.
	if n := r.metric("minicloud_httpapi_loads_total"); n > readers/4 {
		t.Errorf("%v loads for %d readers", n, readers)
	}
}

func TestQueueDown(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	c.quietNow(r)
	c.net.stop(messageQueue)
	t.Run("a POST succeeds, and health says what is missing", func(t *testing.T) {
		a := r.call("POST", "/api/spells", `{"name":"Nox"}`, "X-Request-Id", "the-post", "Traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
		if a.status != 201 {
			t.Fatalf("got %v", a)
		}
		kittest.Eventually(t, "health is reduced", func() bool {
			a := r.call("GET", "/healthz", "")
			return a.status == 200 && strings.Contains(a.body, "message-queue: ")
		})
	})
	t.Run("the event arrives once the queue is back, and the card is written", func(t *testing.T) {
		c.net.start(messageQueue)
		kittest.Eventually(t, "the card is there", func() bool { return strings.Contains(c.objects.object("spells/3.svg"), "Nox") })
		if got := c.queue.seen(); !slices.Equal(got, []int64{1, 2, 3}) {
			t.Errorf("events of the spells %v", got)
		}
		kittest.Eventually(t, "health is whole", func() bool { return r.call("GET", "/healthz", "").body == "OK\n" })
	})
	t.Run("the event carries the trace of the POST", func(t *testing.T) {
		c.queue.mu.Lock()
		defer c.queue.mu.Unlock()
		h := c.queue.headers[len(c.queue.headers)-1]
		if h.Get("X-Request-Id") != "the-post" || !strings.Contains(h.Get("Traceparent"), "0123456789abcdef0123456789abcdef") {
			t.Errorf("the queue was called with %v", h)
		}
	})
}

func TestDataStoreDown(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	r.call("GET", "/api/spells/1", "")
	c.net.stop(dataStore)
	for _, q := range []struct{ method, path, body, detail string }{
		{"GET", "/api/spells", "", "send the same request again"},
		{"GET", "/api/spells/2", "", "send the same request again"},
		{"PUT", "/api/spells/2", `{"name":"a"}`, "send the same request again"},
		{"DELETE", "/api/spells/2", "", "send the same request again"},
		{"POST", "/api/spells", `{"name":"a"}`, "look in a few seconds whether the spell is in GET /api/spells"},
	} {
		t.Run(q.method+" "+q.path+" answers a 503 that says what to do", func(t *testing.T) {
			a := r.call(q.method, q.path, q.body)
			p := a.problem(t)
			if a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(p.Detail, q.detail) {
				t.Errorf("got %v", a)
			}
			if strings.Contains(p.Detail, "refused") || strings.Contains(p.Detail, "data-store") {
				t.Errorf("an internal detail: %s", p.Detail)
			}
		})
	}
	t.Run("a cached spell is still read", func(t *testing.T) {
		if a := r.call("GET", "/api/spells/1", ""); a.status != 200 || a.header.Get("X-Cache") != hit {
			t.Errorf("got %v", a)
		}
	})
	t.Run("bad input is still told apart", func(t *testing.T) {
		if a := r.call("POST", "/api/spells", `{"name":""}`); a.status != 422 {
			t.Errorf("got %v", a)
		}
	})
	t.Run("health stays 200, so that this problem and not the load balancer's is read", func(t *testing.T) {
		if a := r.call("GET", "/healthz", ""); a.status != 200 || !strings.Contains(a.body, "OK, reduced: data-store: ") {
			t.Errorf("got %v", a)
		}
	})
	t.Run("the first request after it is back succeeds", func(t *testing.T) {
		c.net.start(dataStore)
		if a := r.call("POST", "/api/spells", `{"name":"Nox"}`); a.status != 201 {
			t.Errorf("got %v", a)
		}
	})
	t.Run("connections that broke while idle are replaced without an error", func(t *testing.T) {
		for _, q := range []struct{ method, path, body string }{{"GET", "/api/spells", ""}, {"PUT", "/api/spells/2", `{"name":"a"}`}} {
			c.net.stop(dataStore)
			c.net.start(dataStore)
			if a := r.call(q.method, q.path, q.body); a.status != 200 {
				t.Errorf("%s: got %v", q.method, a)
			}
		}
	})
}

func TestDataStoreRestarts(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	r.call("POST", "/api/spells", `{"name":"Nox"}`)
	c.quietNow(r)
	c.stopDataStore()
	c.startDataStore()
	// It told its idle connections that it was going down (57P01).
	for _, q := range []struct{ method, path, body string }{{"PUT", "/api/spells/2", `{"name":"a"}`}, {"GET", "/api/spells/3", ""}} {
		if a := r.call(q.method, q.path, q.body); a.status != 200 {
			t.Errorf("%s: got %v", q.method, a)
		}
	}
}

func TestStartWithoutDataStore(t *testing.T) {
	c := newCloud(t)
	c.net.stop(dataStore)
	r := c.replica(c.config("one"))
	kittest.Eventually(t, "health says what it waits for", func() bool {
		a := r.call("GET", "/healthz", "")
		return a.status == 503 && strings.Contains(a.body, "waiting for the data store")
	})
	if a := r.call("GET", "/api/spells", ""); a.status != 503 || a.problem(t).Detail == "" {
		t.Errorf("got %v", a)
	}
	c.net.start(dataStore)
	kittest.Eventually(t, "it is whole", func() bool { return r.call("GET", "/healthz", "").body == "OK\n" })
	if a := r.call("GET", "/api/spells/1", ""); a.status != 200 {
		t.Errorf("got %v", a)
	}
}

func TestStopWithoutDataStore(t *testing.T) {
	c := newCloud(t)
	c.net.stop(dataStore)
	r := c.replica(c.config("one"))
	kittest.Eventually(t, "it serves", func() bool { return r.call("GET", "/api/spells", "").status == 503 })
	r.stop() // background fails the test unless Serve returns nil
}

func TestLogsOneLinePerChange(t *testing.T) {
	var out bytes.Buffer
	health, m := kit.NewHealth(), must(newMetrics(prometheus.NewRegistry()))
	p := newPart("cache-store", "does not answer", health, slog.New(slog.NewTextHandler(&out, nil)), m.up)
	for range 3 {
		p.lost(fmt.Errorf("refused"))
	}
	for range 3 {
		p.found()
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestObjectStorageDown(t *testing.T) {
	c := newCloud(t)
	r := c.start("one")
	c.quietNow(r)
	c.net.stop(objectStorage)
	r.call("POST", "/api/spells", `{"name":"Nox"}`)
	kittest.Eventually(t, "health is reduced", func() bool { _, s := r.Health().Status(); return strings.Contains(s, "object-storage: ") })
	if a := r.call("GET", "/api/spells/3", ""); a.status != 200 {
		t.Errorf("got %v", a)
	}
	dialed := c.net.dialed(objectStorage)
	kittest.Eventually(t, "the consumer has asked for it again and again", func() bool { return c.net.dialed(objectStorage) > dialed+2 })
	if got := c.queue.waiting(); !slices.Equal(got, []int{1}) {
		t.Errorf("the outage cost the event its receives: %v", got)
	}
	c.net.start(objectStorage)
	kittest.Eventually(t, "the card is there", func() bool { return c.objects.object("spells/3.svg") != "" })
	c.quietNow(r)
	if n := r.metric("minicloud_httpapi_events_consumed_total", "outcome", "failed"); n != 0 {
		t.Errorf("the consumer gave the event up %v times instead of trying again", n)
	}
}

func TestRefusedCardComesBack(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("one")
	cfg.VisibilityTimeout = time.Second
	r := c.replica(cfg)
	<-r.store.schema
	c.quietNow(r)
	c.objects.refuse(http.StatusInternalServerError)
	r.call("POST", "/api/spells", `{"name":"Nox"}`)
	kittest.Eventually(t, "the event has failed", func() bool { return r.metric("minicloud_httpapi_events_consumed_total", "outcome", "failed") > 0 })
	c.objects.refuse(0)
	kittest.Eventually(t, "it came back and the card is there", func() bool { return c.objects.object("spells/3.svg") != "" })
}

func TestPoison(t *testing.T) {
	c := newCloud(t)
	cfg := c.config("one")
	cfg.VisibilityTimeout = 1 * time.Second
	r := c.replica(cfg)
	<-r.store.schema
	c.quietNow(r)
	for _, message := range []string{`"text"`, `{"type":"spell.eaten","spell_id":1}`, `{"type":"spell.saved","spell_id":0}`} {
		c.queue.add(json.RawMessage(message))
	}
	r.call("POST", "/api/spells", `{"name":"Nox"}`)
	kittest.Eventually(t, "the events behind are done", func() bool { return c.objects.object("spells/3.svg") != "" })
	kittest.Eventually(t, "poison is received again, for the queue to make dead letters of it", func() bool {
		w := c.queue.waiting()
		return len(w) == 3 && w[0] > 1 && w[1] > 1 && w[2] > 1
	})
}
