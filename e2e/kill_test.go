package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"minicloud.internal/minicloud"
)

// A witness writes spells and files through the load balancer, and remembers
// what the cloud has acknowledged. Failures are expected; a broken promise is
// not.
type witness struct {
	client *http.Client
	stop   context.CancelFunc
	group  sync.WaitGroup

	mu     sync.Mutex
	spells map[int64]string  // id -> name
	files  map[string]string // key -> body
	failed int
}

// newWitness starts writing to the address that http returns at each request.
func newWitness(address func() string) *witness {
	ctx, stop := context.WithCancel(context.Background())
	w := &witness{
		client: &http.Client{Timeout: 10 * time.Second},
		stop:   stop,
		spells: map[int64]string{},
		files:  map[string]string{},
	}
	for worker := range 4 {
		w.group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				name := fmt.Sprintf("spell %d-%d-%d", worker, n, time.Now().UnixNano())
				var err error
				if worker%2 == 0 {
					err = w.spell(ctx, address(), name)
				} else {
					err = w.file(ctx, address(), fmt.Sprintf("kill/%d/%d", worker, n%50), strings.Repeat(name+"\n", 1+n%200))
				}
				w.mu.Lock()
				if err != nil {
					w.failed++
				}
				w.mu.Unlock()
			}
		})
	}
	return w
}

// do sends a request and returns the body of a 2xx answer.
func (w *witness) do(ctx context.Context, method, url, contentType, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host = "example.com"
	r.Header.Set("Content-Type", contentType)
	resp, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return answer, err
}

func (w *witness) spell(ctx context.Context, address, name string) error {
	answer, err := w.do(ctx, http.MethodPost, "http://"+address+"/api/spells", "application/json", fmt.Sprintf(`{"name":%q,"description":"written under fire"}`, name))
	if err != nil {
		return err
	}
	var s spell
	if err := json.Unmarshal(answer, &s); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spells[s.ID] = name
	return nil
}

// file overwrites a key. While the answer is out it may hold either body, so
// the key counts only with an acknowledged one after it.
func (w *witness) file(ctx context.Context, address, key, body string) error {
	w.mu.Lock()
	delete(w.files, key)
	w.mu.Unlock()
	if _, err := w.do(ctx, http.MethodPut, "http://"+address+"/files/"+key, "text/plain", body); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[key] = body
	return nil
}

// waitWrites waits until n more spells and files than now are acknowledged.
func (w *witness) waitWrites(t *testing.T, n int) {
	t.Helper()
	count := func() (int, int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.spells), len(w.files)
	}
	spells, _ := count()
	eventually(t, fmt.Sprintf("%d more acknowledged writes", n), func() error {
		s, f := count()
		if s < spells+n || f < min(n, 20) {
			return fmt.Errorf("%d spells more, %d files", s-spells, f)
		}
		return nil
	})
}

// check stops the writing and reads everything that was acknowledged back.
func (w *witness) check(t *testing.T, address string) {
	t.Helper()
	w.stop()
	w.group.Wait()
	defer w.client.CloseIdleConnections()
	get := func(path string) (body []byte) {
		eventually(t, "read "+path, func() (err error) {
			body, err = w.do(t.Context(), http.MethodGet, "http://"+address+path, "text/plain", "")
			return err
		})
		return body
	}
	for id, name := range w.spells {
		if body := get(fmt.Sprintf("/api/spells/%d", id)); !strings.Contains(string(body), fmt.Sprintf("%q", name)) {
			t.Errorf("spell %d was acknowledged as %q and is %s", id, name, body)
		}
		if body := get(fmt.Sprintf("/files/spells/%d.svg", id)); !strings.HasPrefix(string(body), "<svg") {
			t.Errorf("the card of spell %d is %.60q", id, body)
		}
	}
	for key, body := range w.files {
		if got := get("/files/" + key); string(got) != body {
			t.Errorf("file %s was acknowledged with %d bytes and has %d others", key, len(body), len(got))
		}
	}
	t.Logf("%d spells with their cards and %d files were acknowledged and are there; %d requests failed meanwhile", len(w.spells), len(w.files), w.failed)
}

// testKillParts kills the containers that keep data, and a replica, each in the
// middle of writes.
func testKillParts(t *testing.T, c *composed) {
	w := newWitness(c.HTTP)
	for _, part := range []string{"data-store", "message-queue", "object-storage", "http-api-1"} {
		w.waitWrites(t, 20)
		id := c.container(t, part).GetContainerID()
		if out, err := exec.CommandContext(t.Context(), "docker", "kill", "--signal", "KILL", id).CombinedOutput(); err != nil {
			t.Fatalf("kill %s: %v: %s", part, err, out)
		}
		c.Start(t, part)
	}
	w.waitWrites(t, 20)
	w.check(t, c.HTTP())
}

// The whole cloud in one process is killed in the middle of writes, again and
// again; each start finds everything that was acknowledged.
func TestKilledProcessKeepsWhatItAcknowledged(t *testing.T) {
	project := t.TempDir()
	port := freePort(t)
	env := []string{"MINICLOUD_HTTP_PORT=" + port, "MINICLOUD_RESOLVER_PORT=" + freePort(t)}
	start := func() int {
		t.Helper()
		if up := run(t, project, env, "up", "-d"); up.code != 0 {
			t.Fatalf("up: %+v", up)
		}
		text, err := os.ReadFile(filepath.Join(project, ".minicloud", "state.json"))
		if err != nil {
			t.Fatal(err)
		}
		var state minicloud.State
		if err := json.Unmarshal(text, &state); err != nil {
			t.Fatal(err)
		}
		return state.PID
	}
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(project, ".minicloud", "minicloud.log"))
			t.Logf("log:\n%s", text)
		}
		if clean := run(t, project, env, "clean"); clean.code != 0 {
			t.Errorf("clean: %+v", clean)
		}
	})
	pid := start()
	w := newWitness(func() string { return "127.0.0.1:" + port })
	for range 3 {
		w.waitWrites(t, 20)
		process, err := os.FindProcess(pid)
		if err == nil {
			err = process.Kill()
		}
		if err != nil {
			t.Fatalf("kill the cloud: %v", err)
		}
		pid = start()
	}
	w.waitWrites(t, 20)
	w.check(t, "127.0.0.1:"+port)
}
