package lb

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func TestReload(t *testing.T) {
	_, one := backend(t, named("one"))
	_, two := backend(t, named("two"))
	t.Run("what is new is used by the next request", func(t *testing.T) {
		lb, c := start(t, quick(one)), client(t)
		do(t, c, "GET", lb.url("/files/a"), "")
		cfg := quick(one)
		cfg.PathRoutes = []PathRoute{{Path: "/files", Address: two}}
		if err := lb.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		if _, body, _ := do(t, c, "GET", lb.url("/files/a"), ""); body != "two" {
			t.Errorf("got %q", body)
		}
		if n := lb.metric(t, "requests_total", "class", "2xx", "route", "default"); n != 1 {
			t.Errorf("the default has counted %v, expected what it had before", n)
		}
	})
	t.Run("what is gone from the configuration is gone from the metrics", func(t *testing.T) {
		lb := start(t, quick(one, two))
		if err := lb.Reload(quick(one)); err != nil {
			t.Fatal(err)
		}
		families, err := lb.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if strings.Contains(f.String(), two) {
				t.Errorf("%s still has the target", f.GetName())
			}
		}
	})
	t.Run("targets that stay keep their health, and stay drained", func(t *testing.T) {
		lb, c := start(t, patient(one, two)), client(t)
		lb.set.Drain(two)
		mark := lb.log.mark()
		cfg := patient(one, two)
		cfg.Retries = 1
		if err := lb.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, body, _ := do(t, c, "GET", lb.url("/"), ""); body != "one" {
				t.Errorf("got %q, two is drained", body)
			}
		}
		if news := lb.log.since(mark, "target "); len(news) > 0 {
			t.Errorf("the log has %q", news)
		}
	})
	t.Run("a WebSocket outlives its route and its target", func(t *testing.T) {
		echo := echoServer(t)
		lb := start(t, quick(echo, one))
		lb.set.Drain(one)
		conn, in := upgrade(t, lb.addr)
		if err := lb.Reload(quick(one)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "still here\n")
		if got, err := in.ReadString('\n'); err != nil || got != "still here\n" {
			t.Errorf("the echo is %q, %v", got, err)
		}
	})
	t.Run("an invalid configuration changes nothing", func(t *testing.T) {
		lb, c := start(t, quick(one)), client(t)
		before := lb.now.Load()
		cfg := quick(two)
		cfg.Routes = []Route{{Path: "/a", Pool: "nowhere"}}
		if err := lb.Reload(cfg); err == nil {
			t.Error("it was taken")
		}
		if _, body, _ := do(t, c, "GET", lb.url("/"), ""); body != "one" || lb.now.Load() != before {
			t.Errorf("got %q", body)
		}
		if good, failed := lb.metric(t, "reloads_total", "result", "good"), lb.metric(t, "reloads_total", "result", "failed"); good != 0 || failed != 1 {
			t.Errorf("%v good and %v failed reloads counted", good, failed)
		}
	})
	t.Run("what only a start changes is kept, and named", func(t *testing.T) {
		lb := start(t, quick(one))
		cfg := quick(one)
		cfg.Listen, cfg.ReusePort = ":1", true
		if err := lb.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		if got := lb.log.since(0, "a changed key counts at the next start"); len(got) != 2 || !strings.HasSuffix(got[0], "key=listen") || !strings.HasSuffix(got[1], "key=reuse_port") {
			t.Errorf("the log has %q", got)
		}
		if now := lb.now.Load().cfg; now.Listen != ":80" || now.ReusePort {
			t.Errorf("it is %q, %v", now.Listen, now.ReusePort)
		}
	})
	t.Run("no request fails meanwhile, and a WebSocket of another route stays", func(t *testing.T) {
		sockets := PathRoute{Path: "/ws", Address: echoServer(t)}
		cfg := quick(one, two)
		cfg.PathRoutes = []PathRoute{sockets}
		lb := start(t, cfg)
		socket, in := upgrade(t, lb.addr)
		var workers sync.WaitGroup
		var done atomic.Bool
		var answered atomic.Int64
		defer func() {
			done.Store(true)
			workers.Wait()
		}()
		for range 4 {
			c := client(t)
			workers.Go(func() {
				for !done.Load() {
					if code, body, _ := do(t, c, "GET", lb.url("/files/a"), ""); code != 200 {
						t.Errorf("got %d %s", code, body)
						return
					}
					answered.Add(1)
				}
			})
		}
		for i := range 40 {
			cfg := quick(one, two)
			cfg.PathRoutes = []PathRoute{sockets}
			if i%2 == 0 {
				cfg.PathRoutes = append(cfg.PathRoutes, PathRoute{Path: "/files", Address: two})
			}
			if err := lb.Reload(cfg); err != nil {
				t.Error(err)
			}
			before := answered.Load()
			kittest.Eventually(t, "the next requests are answered", func() bool { return answered.Load() > before+8 })
			_, _ = io.WriteString(socket, "still here\n")
			if got, err := in.ReadString('\n'); err != nil || got != "still here\n" {
				t.Fatalf("after %d reloads the echo is %q, %v", i+1, got, err)
			}
		}
	})
}

// written is a configuration file for a target, with more lines before it.
func written(more, target string) string {
	return fmt.Sprintf("health_check_interval = '20ms'\nwatch = '5ms'\n%s\n[[targets]]\naddress = %q\n", more, target)
}

// put replaces a file by a rename, as careful editors do.
func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// started loads a file and runs a load balancer that watches it.
func started(t *testing.T, file string) *balancer {
	t.Helper()
	cfg := DefaultConfig()
	if err := kit.LoadConfig(file, &cfg); err != nil {
		t.Fatal(err)
	}
	return start(t, cfg)
}

func TestWatch(t *testing.T) {
	_, one := backend(t, named("one"))
	_, two := backend(t, named("two"))
	answers := func(t *testing.T, lb *balancer, body string) {
		t.Helper()
		c := client(t)
		kittest.Eventually(t, body+" answers", func() bool {
			_, got, _ := do(t, c, "GET", lb.url("/"), "")
			return got == body
		})
	}
	t.Run("a file that is replaced is loaded", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lb.toml")
		put(t, file, written("", one))
		lb := started(t, file)
		answers(t, lb, "one")
		put(t, file, written("", two))
		answers(t, lb, "two")
		if n := lb.metric(t, "reloads_total", "result", "good"); n != 1 {
			t.Errorf("%v reloads counted", n)
		}
	})
	t.Run("so is one in a mounted directory, whose link is moved", func(t *testing.T) {
		// As Kubernetes mounts a ConfigMap: lb.toml -> ..data/lb.toml, ..data -> a version.
		dir := t.TempDir()
		for version, target := range map[string]string{"v1": one, "v2": two} {
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, version, "lb.toml"), written("", target))
		}
		for from, to := range map[string]string{"..data": "v1", "lb.toml": "..data/lb.toml", "..next": "v2"} {
			if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
				t.Fatal(err)
			}
		}
		lb := started(t, filepath.Join(dir, "lb.toml"))
		answers(t, lb, "one")
		if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		answers(t, lb, "two")
	})
	t.Run("an invalid one is reported with its line and changes nothing, and the next is loaded", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lb.toml")
		put(t, file, written("", one))
		lb := started(t, file)
		put(t, file, written("retries = 99", two))
		lb.log.wait(t, 0, fmt.Sprintf("configuration not reloaded, the one before stays error=%s:3: retries is 99", file))
		answers(t, lb, "one")
		if n := lb.metric(t, "reloads_total", "result", "failed"); n != 1 {
			t.Errorf("%v failed reloads counted", n)
		}
		put(t, file, written("", two))
		answers(t, lb, "two")
	})
	t.Run("a file that is gone is no change, and reported", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lb.toml")
		put(t, file, written("", one))
		lb := started(t, file)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		lb.log.wait(t, 0, "the configuration file cannot be read")
		answers(t, lb, "one")
		put(t, file, written("", two))
		answers(t, lb, "two")
	})
	t.Run("what says the same is not loaded, unless that is asked for", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lb.toml")
		put(t, file, written("", one))
		lb := started(t, file)
		before := lb.now.Load()
		put(t, file, written("# a comment", one))
		put(t, file, written("# another", one))
		lb.Hangup <- syscall.SIGHUP
		lb.log.wait(t, 0, "configuration reloaded")
		if now := lb.now.Load(); now == before || now.table.Routes()[0].Requests != before.table.Routes()[0].Requests {
			t.Error("it was not loaded once more, with its counters")
		}
	})
	t.Run("with watch = 0s a change waits for a signal", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "lb.toml")
		text := func(target string) string { return strings.Replace(written("", target), "'5ms'", "'0s'", 1) }
		put(t, file, text(one))
		lb := started(t, file)
		put(t, file, text(two))
		lb.Hangup <- syscall.SIGHUP
		answers(t, lb, "two")
	})
}

func TestLookAtAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	w := watchedFile{name: file}
	for _, step := range []struct {
		name, text string // "-": no file
		changed    bool
	}{
		{"the first sight is no more than that", "a", false},
		{"the second makes it news", "a", true},
		{"what was used is none", "a", false},
		{"a file that is being written is waited for", "b", false},
		{"and waited for", "bc", false},
		{"until it stands still", "bc", true},
		{"a file that is gone is no news", "-", false},
		{"nor is it when it is back", "bc", false},
		{"what changed and changed back is none", "d", false},
		{"for it is what is used", "bc", false},
		{"a change while it was gone", "-", false},
		{"is seen", "e", false},
		{"and used", "e", true},
	} {
		_ = os.Remove(file)
		if step.text != "-" {
			put(t, file, step.text)
		}
		if changed, err := w.look(); changed != step.changed || (err != nil) != (step.text == "-") {
			t.Fatalf("%s: got %v, %v", step.name, changed, err)
		}
	}
}
