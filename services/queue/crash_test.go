package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"minicloud.internal/kit"
	"minicloud.internal/services/queue/client"
)

func TestPowerCut(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprintf("with %d%% of what was not synced on disk, nothing acknowledged is lost or comes back", percent), func(t *testing.T) {
			disk := vfs.NewCrashableMem()
			s := openStore(t, disk, nil)
			var mu sync.Mutex
			sent, gone := map[string]bool{}, map[string]bool{}
			var all sync.WaitGroup
			stop, enough := make(chan struct{}), make(chan struct{})
			for w := range 4 {
				all.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						payload := fmt.Sprintf("%d-%d-%s", w, n, strings.Repeat("x", 12000))
						if _, err := s.Enqueue("q", []byte(payload)); err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						if sent[payload] = true; len(sent) == 600 {
							close(enough)
						}
						mu.Unlock()
						if n%3 != 0 {
							continue
						}
						for _, d := range receive(t, s, "q", 1, time.Hour) {
							if err := s.Ack(d.Receipt); err != nil {
								t.Error(err)
							}
							mu.Lock()
							gone[string(d.Payload)] = true
							mu.Unlock()
						}
					}
				})
			}
			<-enough  // memtables were flushed on the way
			mu.Lock() // what the maps hold now was acknowledged before the cut
			crashed := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(7, 7))})
			wantSent, wantGone := clone(sent), clone(gone)
			mu.Unlock()
			close(stop)
			all.Wait()
			closeStore(t, s)

			s = openStore(t, crashed, nil)
			defer closeStore(t, s)
			for {
				got := receive(t, s, "q", 10, time.Hour)
				for _, d := range got {
					if wantGone[string(d.Payload)] {
						t.Errorf("%.10s came back", d.Payload)
					}
					delete(wantSent, string(d.Payload))
				}
				if len(got) == 0 {
					break
				}
			}
			// What is missing was acknowledged, or was in flight at the cut with
			// its delivery on disk.
			inFlight := 0
			for payload := range wantSent {
				if !wantGone[payload] {
					inFlight++
				}
			}
			for _, q := range s.Stats() {
				if q.Name == "q" && inFlight > 4 {
					t.Errorf("%d messages are lost (%+v)", inFlight, q)
				}
			}
		})
	}
}

func TestPowerCutAfterEachStep(t *testing.T) {
	cut := func(t *testing.T, disk *vfs.MemFS, want string) {
		t.Helper()
		s := openStore(t, disk.CrashClone(vfs.CrashCloneCfg{}), nil)
		defer closeStore(t, s)
		if got := payloads(receive(t, s, "q", 10, time.Hour)); got != want {
			t.Errorf("after the cut: %q, expected %q", got, want)
		}
	}
	t.Run("what was answered holds at once, with nothing after it", func(t *testing.T) {
		disk := vfs.NewCrashableMem()
		s := openStore(t, disk, nil)
		defer closeStore(t, s)
		cut(t, disk, "")
		enqueue(t, s, "q", "1")
		cut(t, disk, "1")
		enqueue(t, s, "q", "2")
		got := receive(t, s, "q", 1, time.Hour)
		if err := s.Ack(got[0].Receipt); err != nil {
			t.Fatal(err)
		}
		cut(t, disk, "2")
	})
}

func clone(m map[string]bool) map[string]bool {
	c := map[string]bool{}
	for k := range m {
		c[k] = true
	}
	return c
}

func TestDiskFailure(t *testing.T) {
	t.Run("a failed fsync acknowledges nothing, then or later, and turns health", func(t *testing.T) {
		var broken atomic.Bool
		disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			switch op.Kind {
			case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
				if broken.Load() {
					return syscall.EIO
				}
			}
			return nil
		}))
		failed := make(chan error, 1)
		cfg := DefaultConfig()
		s := NewStore(cfg, discard(), newMetrics(), func(err error) { failed <- err })
		s.fs = disk
		if err := s.Open(); err != nil {
			t.Fatal(err)
		}
		enqueue(t, s, "q", "1")
		got := receive(t, s, "q", 1, time.Minute)
		polled := make(chan error, 1)
		go func() {
			_, err := s.Receive(t.Context(), "empty", 1, 20*time.Second, time.Minute)
			polled <- err
		}()
		broken.Store(true)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := s.Enqueue("q", []byte("2")); !errors.Is(err, ErrFailed) {
					t.Errorf("enqueue: %v", err)
				}
			})
		}
		all.Wait()
		if err := <-failed; !errors.Is(err, syscall.EIO) {
			t.Errorf("the cause is %v", err)
		}
		broken.Store(false) // a disk that recovers must not be believed
		if err := s.Ack(got[0].Receipt); !errors.Is(err, ErrFailed) {
			t.Errorf("ack: %v", err)
		}
		if _, err := s.Receive(t.Context(), "q", 1, 0, 0); !errors.Is(err, ErrFailed) {
			t.Errorf("receive: %v", err)
		}
		if err := <-polled; !errors.Is(err, ErrFailed) {
			t.Errorf("the long poll: %v", err)
		}
		closeStore(t, s)
	})
	t.Run("a full disk in the log is answered as full", func(t *testing.T) {
		var full atomic.Bool
		disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite && full.Load() {
				return syscall.ENOSPC
			}
			return nil
		}))
		s := openStore(t, disk, nil)
		full.Store(true)
		if _, err := s.Enqueue("q", []byte("1")); !errors.Is(err, ErrFailed) || !errors.Is(err, ErrDiskFull) {
			t.Errorf("got %v", err)
		}
		closeStore(t, s)
	})
	t.Run("a full disk that is emptied soon goes unnoticed", func(t *testing.T) {
		var full atomic.Int32
		disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite && full.Add(-1) >= 0 {
				return syscall.ENOSPC
			}
			return nil
		}))
		s := openStore(t, disk, nil)
		full.Store(1)
		enqueue(t, s, "q", "1")
		closeStore(t, s)
	})
	t.Run("a disk that fails while the store opens is a returned error", func(t *testing.T) {
		for _, kind := range []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpLock} {
			disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == kind {
					return syscall.EIO
				}
				return nil
			}))
			s := NewStore(DefaultConfig(), discard(), newMetrics(), nil)
			s.fs = disk
			if err := s.Open(); !errors.Is(err, syscall.EIO) {
				t.Errorf("%v: Open() = %v", kind, err)
			}
		}
	})
}

// TestKill ends the service as the kernel would, again and again, under load.
func TestKill(t *testing.T) {
	t.Run("kill -9 loses no acknowledged enqueue and brings back no acknowledged message", func(t *testing.T) {
		dir := t.TempDir()
		var mu sync.Mutex
		sent, gone, unknown := map[string]bool{}, map[string]bool{}, map[string]bool{}
		hc := kit.NewHTTPClient(nil, 10*time.Second)
		defer hc.CloseIdleConnections()
		for round := range 3 {
			base, kill := startChild(t, dir)
			c := client.New(base, hc)
			before, enough := len(sent), make(chan struct{})
			var all sync.WaitGroup
			for w := range 4 {
				all.Go(func() {
					for n := 0; ; n++ {
						payload := fmt.Sprintf("%d-%d-%d", round, w, n)
						if _, err := c.Enqueue(t.Context(), payload); err != nil {
							return // killed
						}
						mu.Lock()
						if sent[payload] = true; len(sent) == before+100 {
							close(enough)
						}
						mu.Unlock()
						if n%5 != 4 {
							continue
						}
						got, err := c.Receive(t.Context(), 1, 0, 50*time.Millisecond)
						if err != nil || len(got) == 0 {
							continue
						}
						payload = strings.Trim(string(got[0].Message), `"`)
						err = c.Ack(t.Context(), got[0].Receipt)
						var refused *kit.Problem
						mu.Lock()
						if err == nil {
							gone[payload] = true
						} else if !errors.As(err, &refused) {
							unknown[payload] = true // killed before it answered
						}
						mu.Unlock()
					}
				})
			}
			<-enough
			kill()
			all.Wait()
		}
		base, kill := startChild(t, dir)
		defer kill()
		c := client.New(base, hc)
		missing := map[string]bool{}
		for payload := range sent {
			if !gone[payload] && !unknown[payload] {
				missing[payload] = true
			}
		}
		for len(missing) > 0 {
			got, err := c.Receive(t.Context(), 10, time.Second, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 {
				// Messages whose 50 ms ran out too often are dead letters, and
				// kept as well.
				if got, err = c.Queue("default.dead").Receive(t.Context(), 10, 0, time.Hour); err != nil || len(got) == 0 {
					t.Fatalf("%d acknowledged messages are lost (%v)", len(missing), err)
				}
			}
			for _, m := range got {
				payload := strings.Trim(string(m.Message), `"`)
				if gone[payload] {
					t.Errorf("%s came back", payload)
				}
				delete(missing, payload)
			}
		}
	})
}

// startChild runs this test binary as a queue; kill ends it with SIGKILL.
func startChild(t *testing.T, dir string) (base string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "QUEUE_TEST_SERVE="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	base = "http://" + strings.TrimSpace(address)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for status := 0; status != http.StatusOK; {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		// The listener is bound before the store is open: this waits in its backlog.
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		status = resp.StatusCode
	}
	http.DefaultClient.CloseIdleConnections()
	return base, sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
