package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// root is the project's directory, bin its binaries.
var root, bin string

// TestMain builds the binaries, as a user's `make up` does, so that no test
// meets one of an older state of the code.
func TestMain(m *testing.M) {
	var err error
	// What the container tests need where no image can be pulled, unless the
	// caller knows better: no reaper (the tests clean up themselves), and ports
	// on localhost.
	for name, value := range map[string]string{"TESTCONTAINERS_RYUK_DISABLED": "true", "TESTCONTAINERS_HOST_OVERRIDE": "localhost"} {
		if _, set := os.LookupEnv(name); !set {
			_ = os.Setenv(name, value)
		}
	}
	if root, err = filepath.Abs(".."); err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	bin = filepath.Join(root, "bin")
	if err == nil {
		build := exec.Command("make", "--no-print-directory", "build")
		build.Dir, build.Stdout, build.Stderr = root, os.Stdout, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e: build the binaries:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A cloud is one that runs, in whichever way.
type cloud interface {
	// HTTP and Resolver are the two addresses that a client needs.
	HTTP() string
	Resolver() string
	// Where is the address on this machine of a published part.
	Where(t *testing.T, part string) string
	// Admin is the address on this machine of a published admin listener.
	Admin(t *testing.T, part string) string
	// Stop ends a part in its orderly way; Start brings it back.
	Stop(t *testing.T, part string)
	Start(t *testing.T, part string)
	// Logs returns what a part has logged so far.
	Logs(t *testing.T, part string) string
}

// patience is how long a condition may take to hold. It is long, because the
// machine may be slow, and costs nothing where it holds.
const patience = 60 * time.Second

// eventually waits until check returns nil, and fails with its last error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

// logged waits until a part has logged text at least n times.
func logged(t *testing.T, c cloud, part, text string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("the log of %s says %q %d times", part, text, n), func() error {
		if found := strings.Count(c.Logs(t, part), text); found < n {
			return fmt.Errorf("found %d", found)
		}
		return nil
	})
}

// result is how a run of ingressclient ended.
type result struct {
	code           int
	stdout, stderr string
}

// enter runs ingressclient against the cloud.
func enter(t *testing.T, c cloud, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "ingressclient"), args...)
	cmd.Env = append(os.Environ(), "MINICLOUD_RESOLVER="+c.Resolver())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("run ingressclient: %v", err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// mustEnter is enter for what has to succeed.
func mustEnter(t *testing.T, c cloud, args ...string) string {
	t.Helper()
	r := enter(t, c, append([]string{"-f"}, args...)...)
	if r.code != 0 {
		t.Fatalf("ingressclient %s: exit code %d, stderr %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

// logBuffer collects logs from many goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*logBuffer)(nil)

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// lines returns the lines that contain text.
func (b *logBuffer) lines(text string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found strings.Builder
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, text) {
			found.WriteString(line)
		}
	}
	return found.String()
}
