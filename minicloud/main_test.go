package minicloud

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain also makes the test binary the program itself, which starts itself
// for `up -d`, and a second process that holds a lock.
func TestMain(m *testing.M) {
	switch os.Getenv("MINICLOUD_TEST") {
	case "program":
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	case "holder":
		hold(os.Args[1])
	}
	// The race detector waits for a second at a program's end.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// hold takes the lock of dir, says so, and keeps it until its input ends. It
// does not end for SIGTERM.
func hold(dir string) {
	signal.Ignore(syscall.SIGTERM)
	if _, err := takeLock(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// startHolder starts a process that holds the lock of dir. release ends it, and
// may be called again.
func startHolder(t *testing.T, dir string) (pid int, release func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), "MINICLOUD_TEST=holder")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(release)
	line := make([]byte, len("held\n"))
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "held\n" {
		t.Fatalf("the holder says %q (%v)", line, err)
	}
	return cmd.Process.Pid, release
}

// freePorts asks for free ports by the environment, for the programs that a test
// runs.
func freePorts(t *testing.T) {
	t.Helper()
	t.Setenv("MINICLOUD_DATA", "")
	t.Setenv("COMPOSE_PROJECT_NAME", "")
	for _, name := range PortVariables() {
		t.Setenv(name, "")
	}
}

// configsCopy copies the project's configuration into a project of its own.
func configsCopy(t *testing.T) (configs string) {
	t.Helper()
	configs = filepath.Join(realTempDir(t), "configs")
	if err := os.CopyFS(configs, os.DirFS("../configs")); err != nil {
		t.Fatal(err)
	}
	return configs
}

// realTempDir is a directory whose name has no symbolic link in it.
func realTempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// appendTo adds a line to a file.
func appendTo(t *testing.T, file, line string) {
	t.Helper()
	write(t, file, read(t, file)+"\n"+line+"\n")
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// result is how a run of Main ended.
type result struct {
	code           int
	stdout, stderr string
}

func runMain(args ...string) result {
	var stdout, stderr buffer
	code := Main(context.Background(), args, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// expect fails unless the run ended with code and said each of words, on
// whichever stream.
func (r result) expect(t *testing.T, code int, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.stdout+r.stderr, w) {
			t.Errorf("%q is missing in: %s%s", w, r.stdout, r.stderr)
		}
	}
	if r.code != code {
		t.Errorf("exit code %d, expected %d: %s%s", r.code, code, r.stdout, r.stderr)
	}
}
