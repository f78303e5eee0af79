package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const interval, timeout = 5 * time.Second, time.Second // of probes, by default

func TestMonitor(t *testing.T) {
	two := []string{"a:1", "b:1"}
	running(t, "every target is probed at once, and the number is logged once for all", newNetwork(two...), of(two...), func(t *testing.T, r *rig) {
		if got := r.log.counts(); !slices.Equal(got, []string{"Healthy targets: 2"}) {
			t.Errorf("logged %q", got)
		}
	})
	n := newNetwork(two...)
	running(t, "a probe asks for the endpoint and says who asks", n, of(two...), func(t *testing.T, r *rig) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, asked := range n.asked {
			if !strings.HasPrefix(asked, "GET /healthz HTTP/1.1\r\n") || !strings.Contains(asked, "\r\nUser-Agent: minicloud-lb-health\r\n") || !strings.Contains(asked, "\r\nConnection: close\r\n") {
				t.Errorf("asked %q", asked)
			}
		}
	})
	silent := newNetwork(two...)
	silent.set("b:1", 0)
	running(t, "the first number waits for the slowest probe, and for no more than its timeout", silent, of(two...), func(t *testing.T, r *rig) {
		if got := r.log.counts(); len(got) != 0 {
			t.Errorf("logged %q before the round was complete", got)
		}
		passing(timeout)
		if got := r.log.counts(); !slices.Equal(got, []string{"Healthy targets: 1"}) {
			t.Errorf("logged %q", got)
		}
		if status := r.Statuses()[1]; status.LastError != "no answer within 1s: context deadline exceeded" {
			t.Errorf("the error is %q", status.LastError)
		}
	})
	for what, change := range map[string]func(n *network){
		"a 503":     func(n *network) { n.set("b:1", 503) },
		"a 404":     func(n *network) { n.set("b:1", 404) },
		"a refusal": func(n *network) { n.refuse("b:1") },
	} {
		n := newNetwork(two...)
		running(t, what+" takes a target down within one interval, and it is back within one", n, of(two...), func(t *testing.T, r *rig) {
			change(n)
			passing(interval)
			n.set("b:1", 200)
			passing(interval)
			if got := r.log.counts(); !slices.Equal(got, []string{"Healthy targets: 2", "Healthy targets: 1", "Healthy targets: 2"}) {
				t.Errorf("logged %q", got)
			}
			if up, down := r.log.with("target up"), r.log.with("target down target=b:1 error="); len(up) != 3 || len(down) != 1 {
				t.Errorf("logged %q, %q", up, down)
			}
		})
	}
	n = newNetwork(two...)
	running(t, "one silence is forgiven, the second is asked for soon and takes the target down", n, of(two...), func(t *testing.T, r *rig) {
		n.set("b:1", 0)
		passing(interval + timeout)
		if got := r.target("b:1").State(); got != Up {
			t.Errorf("after one silence the target is %s", got)
		}
		passing(2 * timeout)
		if got := r.target("b:1").State(); got != Down {
			t.Errorf("after two silences the target is %s", got)
		}
	})
	own := newNetwork(two...)
	running(t, "each probe has a connection of its own", own, of(two...), func(t *testing.T, r *rig) {
		passing(10 * interval)
		if got := own.count("a:1"); got < 11 || got > 12 {
			t.Errorf("%d connections in ten intervals, expected 11 or 12", got)
		}
	})
	refusing := newNetwork(two...)
	running(t, "a refused request takes a target down at once and has it asked at once", refusing, of(two...), func(t *testing.T, r *rig) {
		refusing.refuse("b:1")
		r.target("b:1").Observe(Refused, errors.New("refused"))
		if got := r.target("b:1").State(); got != Down {
			t.Errorf("the target is %s", got)
		}
		synctest.Wait()
		if got := refusing.count("b:1"); got != 2 {
			t.Errorf("%d probes, expected a second one without delay", got)
		}
		r.target("b:1").Observe(Refused, errors.New("refused"))
		synctest.Wait()
		if got := refusing.count("b:1"); got != 2 {
			t.Errorf("%d probes, expected none for what is known", got)
		}
	})
	cut := newNetwork(two...)
	running(t, "a cut connection takes a sound target out for one probe only", cut, of(two...), func(t *testing.T, r *rig) {
		cut.delay(time.Millisecond)
		r.target("b:1").Observe(Broken, errors.New("reset"))
		if got := addresses(r.pool.Candidates()); got != "a:1" {
			t.Errorf("in doubt the candidates are %s", got)
		}
		passing(time.Millisecond)
		if got := r.target("b:1").State(); got != Up {
			t.Errorf("the target is %s", got)
		}
		if got := r.log.counts(); !slices.Equal(got, []string{"Healthy targets: 2", "Healthy targets: 1", "Healthy targets: 2"}) {
			t.Errorf("logged %q", got)
		}
		if got := r.log.with("target in doubt, probing it target=b:1 error=reset"); len(got) != 1 {
			t.Errorf("logged %q", r.log.lines)
		}
	})
	reduced := newNetwork("a:1")
	running(t, "health names no target", reduced, of(two...), func(t *testing.T, r *rig) {
		r.health.OK()
		if code, got := r.health.Status(); code != 200 || got != "OK, reduced: targets: 1 of 2 healthy" {
			t.Errorf("health is %d %q", code, got)
		}
		reduced.set("b:1", 200)
		passing(interval)
		if code, got := r.health.Status(); code != 200 || got != "OK" {
			t.Errorf("then health is %d %q", code, got)
		}
	})
}

func TestWhatIsHealthy(t *testing.T) {
	large := strings.Repeat("x", 64<<10)
	for name, c := range map[string]struct {
		health Health
		status int
		body   string
		err    string // "": healthy
	}{
		"by default every 2xx is":                    {Health{}, 204, "", ""},
		"by default a redirect is not":               {Health{}, 302, "", "answered 302: "},
		"the reason is what the answer begins with":  {Health{}, 503, "  no disk\n", "answered 503: no disk"},
		"a long reason is cut":                       {Health{}, 503, large, "answered 503: " + large[:200]},
		"another status may be":                      {Health{Status: status("200-399,404")}, 404, "", ""},
		"then another than those is not":             {Health{Status: status("204")}, 200, "", "answered 200: "},
		"a text in the body may be asked for":        {Health{Body: "ready"}, 200, "all is ready now", ""},
		"without it the target is not":               {Health{Body: "ready"}, 200, "all is bad", `answered without "ready" in the body`},
		"a text that is cut by a read is found":      {Health{Body: "xxready"}, 200, large[:4094] + "xxready" + large[:8000], ""},
		"a text beyond 64 KiB is not found":          {Health{Body: "ready"}, 200, large + "ready", `answered without "ready" in the body`},
		"the status counts, whatever is in the body": {Health{Body: "ready"}, 500, "ready", "answered 500: ready"},
		"an endpoint that is no path is not asked":   {Health{Endpoint: "/%zz"}, 200, "", `parse "http://a:1/%zz": invalid URL escape "%zz"`},
	} {
		n := newNetwork()
		n.set("a:1", c.status)
		n.body["a:1"] = c.body
		cfg := of("a:1")
		cfg.Targets[0].Health = c.health
		running(t, name, n, cfg, func(t *testing.T, r *rig) {
			status := r.Statuses()[0]
			if status.LastError != c.err || (status.State == "up") != (c.err == "") {
				t.Errorf("it is %s: %q, expected %q", status.State, status.LastError, c.err)
			}
		})
	}
}

func status(text string) StatusSet {
	s, err := ParseStatusSet(text)
	if err != nil {
		panic(err)
	}
	return s
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct{ answer, err string }{
		"an answer that is not HTTP is no answer":    {"SSH-2.0-x\r\n", `malformed HTTP response "SSH-2.0-x"`},
		"an answer that is cut in its head is none":  {"HTTP/1.1 200 OK\r\nA: ", "unexpected EOF"},
		"a body that is cut before the text is none": {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nrea", "unexpected EOF"},
		"what comes after the text does not matter":  {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nready", ""},
		"an announced answer is waited for":          {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nready", ""},
		"another protocol is another answer":         {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "answered 101: "},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodGet, "http://a:1/", nil)
			if err != nil {
				t.Fatal(err)
			}
			h := Health{Body: "ready"}
			err = h.judge(bufio.NewReader(strings.NewReader(c.answer)), r)
			if got := fmt.Sprint(err); got != c.err && (c.err != "" || err != nil) {
				t.Errorf("got %q, expected %q", got, c.err)
			}
		})
	}
}

func FuzzProbeAnswer(f *testing.F) {
	for _, s := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\nready", "HTTP/1.1 103 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nready",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nready\r\n0\r\n\r\n",
		"HTTP/1.0 503\r\n\r\n", "SSH-2.0-x\r\n",
	} {
		f.Add(s)
	}
	r, err := http.NewRequest(http.MethodGet, "http://a:1/", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		h := Health{Body: "ready"}
		if err := h.judge(bufio.NewReader(strings.NewReader(answer)), r); err == nil && !strings.HasPrefix(answer, "HTTP/") {
			t.Errorf("%q is healthy", answer)
		}
	})
}

func TestSlowStart(t *testing.T) {
	cfg := of("a:1", "b:1")
	for i := range cfg.Targets {
		cfg.Targets[i].SlowStart = 90 * time.Second
		cfg.Targets[i].Weight = 2
	}
	n := newNetwork("a:1")
	weights := func(r *rig) (got string) {
		for _, s := range r.Statuses() {
			got += fmt.Sprintf(" %.1f", s.EffectiveWeight)
		}
		return got[1:]
	}
	running(t, "a target that comes back grows into its weight, one that comes up for the first time has it", n, cfg, func(t *testing.T, r *rig) {
		if got := weights(r); got != "2.0 2.0" {
			t.Errorf("at first the weights are %s", got)
		}
		n.set("b:1", 200)
		passing(interval)
		if got := weights(r); got != "2.0 2.0" || r.target("b:1").State() != Up {
			t.Errorf("when both are up for the first time the weights are %s", got)
		}
		r.target("b:1").Observe(Broken, errors.New("reset"))
		synctest.Wait()
		if got := weights(r); got != "2.0 2.0" {
			t.Errorf("after a doubt the weights are %s", got)
		}
		r.target("b:1").Observe(Refused, errors.New("refused"))
		synctest.Wait()
		for _, want := range []string{"2.0 0.2", "2.0 0.4", "2.0 0.6", "2.0 0.8", "2.0 1.0", "2.0 1.2", "2.0 1.4", "2.0 1.6", "2.0 1.8", "2.0 2.0", "2.0 2.0"} {
			if got := weights(r); got != want {
				t.Errorf("the weights are %s, expected %s", got, want)
			}
			passing(10 * time.Second)
		}
	})
	running(t, "its share of the requests grows with it", newNetwork("a:1", "b:1"), cfg, func(t *testing.T, r *rig) {
		r.target("b:1").Observe(Refused, errors.New("refused"))
		synctest.Wait()
		share := func() (b int) {
			for range 110 {
				w := r.pool.Walk(0)
				if w.Next().Address() == "b:1" {
					b++
				}
			}
			return b
		}
		if got := share(); got != 10 {
			t.Errorf("at first it gets %d of 110, expected 10", got)
		}
		passing(90 * time.Second)
		if got := share(); got != 55 {
			t.Errorf("in the end it gets %d of 110", got)
		}
	})
	running(t, "a new configuration without a slow start ends it", newNetwork("a:1", "b:1"), cfg, func(t *testing.T, r *rig) {
		r.target("b:1").Observe(Refused, errors.New("refused"))
		synctest.Wait()
		before := weights(r)
		plain := of("a:1", "b:1")
		plain.Dial = r.dial
		r.apply(plain)
		if got := weights(r); before != "2.0 0.2" || got != "1.0 1.0" {
			t.Errorf("before the weights are %s, then %s", before, got)
		}
	})
}

func TestIdleConnections(t *testing.T) {
	var closed closings
	conn := func(name string) Closer { return &parked{name, &closed} }
	at := func(name, addr string) Closer { return parkedAt{&parked{name, &closed}, tcpAddr(addr)} }
	expect := func(t *testing.T, what string, want string) {
		t.Helper()
		synctest.Wait()
		if got := closed.take(); got != want {
			t.Errorf("%s: closed %q, expected %q", what, got, want)
		}
	}
	cfg := of("a:1")
	cfg.Targets[0].IdleTimeout = 10 * time.Second
	running(t, "those that are too old are closed, a second late at most", newNetwork("a:1"), cfg, func(t *testing.T, r *rig) {
		idle := r.target("a:1").Idle
		idle.Push(0, conn("old"), time.Now())
		passing(5 * time.Second)
		idle.Push(0, conn("young"), time.Now())
		passing(4 * time.Second)
		expect(t, "after nine seconds", "")
		passing(2 * time.Second)
		expect(t, "after eleven", "old")
		if n := r.Statuses()[0].IdleConnections; n != 1 {
			t.Errorf("%d are left", n)
		}
		r.end()
		expect(t, "in the end", "young")
		if idle.Push(0, conn("late"), time.Now()) {
			t.Error("one is kept after the end")
		}
	})
	n := newNetwork("a:1")
	running(t, "all are closed when their target is not up any more", n, cfg, func(t *testing.T, r *rig) {
		idle := r.target("a:1").Idle
		idle.Push(0, conn("1"), time.Now())
		r.target("a:1").Observe(Broken, errors.New("reset"))
		expect(t, "in doubt", "1")
		idle.Push(0, conn("2"), time.Now())
		n.set("a:1", 500)
		passing(interval)
		expect(t, "down", "2")
	})
	moving := newNetwork("a:1")
	moving.lead("a:1", "10.0.0.1:80")
	cfg.Targets[0].IdleTimeout = time.Hour
	running(t, "those to an address that the name has left are closed within an interval, and do not come back", moving, cfg, func(t *testing.T, r *rig) {
		idle := r.target("a:1").Idle
		idle.Push(0, at("before", "10.0.0.1:80"), time.Now())
		if got := r.Statuses()[0].Resolved; got != "10.0.0.1:80" {
			t.Errorf("the name leads to %q", got)
		}
		moving.lead("a:1", "10.0.0.2:80")
		idle.Push(0, at("fresh", "10.0.0.2:80"), time.Now())
		passing(interval)
		expect(t, "after the move", "before")
		if idle.Push(0, at("in use", "10.0.0.1:80"), time.Now()) {
			t.Error("one that was in use is kept")
		}
		if got := r.Statuses()[0].Resolved; got != "10.0.0.2:80" {
			t.Errorf("the name leads to %q", got)
		}
		moving.lead("a:1", "10.0.0.1:80")
		passing(interval)
		expect(t, "when the name has two addresses", "")
		if !idle.Push(0, at("other", "10.0.0.1:80"), time.Now()) {
			t.Error("one to the first address is not kept, though the name leads there")
		}
		r.end()
		expect(t, "in the end", "fresh other")
	})
}
