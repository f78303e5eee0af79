package minicloud

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"minicloud.internal/kit/kittest"
)

func TestUpInTheBackground(t *testing.T) {
	freePorts(t)
	t.Setenv("MINICLOUD_TEST", "program")
	programs(t, nil) // no Docker
	configs, state := configsCopy(t), filepath.Join(t.TempDir(), "state")
	flags := []string{"-configs", configs, "-state", state}
	run := func(args ...string) result { return runMain(append(args, flags...)...) }
	defer run("clean")
	pid := func() int {
		t.Helper()
		pid, err := lockHolder(state)
		if pid == 0 || err != nil {
			t.Fatalf("no process runs: %v", err)
		}
		return pid
	}

	run("up", "-d", "-mode", "auto").expect(t, 0, "as one local process: no Docker engine answers: there is no docker command.\n",
		"The cloud answers", "\n  load-balancer ", "export MINICLOUD_RESOLVER=127.0.0.1:")
	first := pid()
	run("up", "-d", "-mode", "auto").expect(t, 0, "runs already, as process", "nothing has changed")
	run("status").expect(t, 0, "The cloud runs as local process", "admin http://127.0.0.1:")
	run("logs").expect(t, 0, "Healthy targets: 3")

	file := filepath.Join(configs, "cache-store.toml")
	good := read(t, file)
	appendTo(t, file, "colour = 'red'")
	run("up", "-d").expect(t, 1, "unknown key colour")
	if pid() != first {
		t.Error("a wrong configuration has ended the cloud that ran")
	}
	write(t, file, good+"# a remark\n")
	run("up", "-d").expect(t, 0, "has changed: starting again", "The cloud answers")
	if pid() == first {
		t.Error("the same process runs after a change")
	}
	run("down").expect(t, 0, "The cloud is down.")
	if _, err := os.Stat(stateFile(state)); !os.IsNotExist(err) {
		t.Errorf("the state file outlives the process: %v", err)
	}
	run("logs").expect(t, 0, "level=INFO") // of the one that ran last

	port := taken(t)
	t.Setenv("MINICLOUD_CACHE_PORT", port)
	r := run("up", "-d")
	r.expect(t, 1, "minicloud: port "+port+" for cache-store is in use by another program; another one is chosen by MINICLOUD_CACHE_PORT=<port>\n")
	if strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("it takes more than a sentence: %s", r.stderr)
	}
	run("clean").expect(t, 0, "what it kept is removed")
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("clean leaves the state directory: %v", err)
	}
}

func TestUpHereEndsWithItsContext(t *testing.T) {
	freePorts(t)
	state := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var out buffer
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"up", "-configs", "../configs", "-state", state}, &out, io.Discard)
	}()
	kittest.Eventually(t, "it says that the cloud answers", func() bool { return strings.Contains(out.String(), "Try:") })
	if readState(state, os.Getpid()) == nil {
		t.Error("there is no state of it")
	}
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(stateFile(state)); !os.IsNotExist(err) {
		t.Errorf("the state file is still there: %v", err)
	}

	var complaint buffer
	if code := Main(ctx, []string{"up", "-configs", "../configs", "-state", state}, &out, &complaint); code != 1 || !strings.HasSuffix(complaint.String(), "minicloud: stopped by a signal before the cloud answered\n") {
		t.Errorf("a start that is ended at once: exit code %d, %s", code, complaint.String())
	}
}

func TestTheWholeEndsWithAPartThatFails(t *testing.T) {
	c := &Cloud{failed: make(chan error, 1), slots: map[string]*slot{resolverName: {address: "127.0.0.1:1"}}}
	c.failed <- errors.New("data-store: the disk is gone")
	m := &command{dir: t.TempDir(), stdout: io.Discard}
	if err := m.attend(t.Context(), c, "", time.Now()); err == nil || err.Error() != "data-store: the disk is gone" {
		t.Errorf("before it answers: %v", err)
	}
	c = startCloud(t)
	c.failed <- errors.New("data-store: the disk is gone")
	if err := m.attend(t.Context(), c, "", time.Now()); err == nil || err.Error() != "data-store: the disk is gone" {
		t.Errorf("while it runs: %v", err)
	}
}

// The first signal begins the orderly end, which an upload holds up; the second
// ends the process at once.
func TestASecondSignalKills(t *testing.T) {
	freePorts(t)
	state := t.TempDir()
	cmd := exec.Command(os.Args[0], "up", "-configs", "../configs", "-state", state)
	cmd.Env = append(os.Environ(), "MINICLOUD_TEST=program")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	kittest.Eventually(t, "the cloud answers", func() bool { return readState(state, cmd.Process.Pid) != nil })
	address := ""
	for _, row := range readState(state, cmd.Process.Pid).Rows {
		if row.Name == loadBalancer {
			address = row.Where
		}
	}
	upload, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer upload.Close()
	if _, err := io.WriteString(upload, "PUT /files/slow HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The 100 says that the upload is under way.
	if _, err := io.ReadFull(upload, make([]byte, len("HTTP/1.1 100"))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	signal := func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	signal()
	kittest.Eventually(t, "the orderly end has begun", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	signal()
	err = <-ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, expected the signal's own end", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v, as if the second signal did not count", took)
	}
}

func TestLastWords(t *testing.T) {
	for _, test := range []struct{ name, log, want string }{
		{"the sentence behind the program's name", "time=1 level=INFO msg=x\nminicloud: port 80 is taken\n", "port 80 is taken"},
		{"of the last one", "minicloud: old\ntime=1\nminicloud: new\n", "new"},
		{"with every line of it", "time=1\nminicloud: a.toml:1: bad\nb.toml:2: bad\n", "a.toml:1: bad\nb.toml:2: bad"},
		{"a sentence alone", "minicloud: bad", "bad"},
		{"inside a line it is no sentence", "time=1 msg=\"minicloud: x\"\n", "the cloud ended while it started; its log is LOG"},
		{"a crash is named", "time=1\npanic: runtime error: index out of range [1] with length 1\n\ngoroutine 1 [running]:\n",
			"the cloud crashed while it started: panic: runtime error: index out of range [1] with length 1; its log is LOG"},
		{"nothing said", "", "the cloud ended while it started; its log is LOG"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "minicloud.log")
			write(t, file, test.log)
			if got := strings.ReplaceAll(lastWords(file), file, "LOG"); got != test.want {
				t.Errorf("got %q", got)
			}
		})
	}
	if got := lastWords("/none/minicloud.log"); got != "the cloud ended while it started; its log is /none/minicloud.log" {
		t.Errorf("without a log: %q", got)
	}
}

// A start that a signal ends takes its process with it, even one that hangs.
func TestAnAbandonedStartLeavesNoProcess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	child := exec.Command(os.Args[0], t.TempDir())
	child.Env = append(os.Environ(), "MINICLOUD_TEST=holder") // ignores SIGTERM
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	m := &command{dir: t.TempDir(), stdout: io.Discard, patience: time.Millisecond}
	if err := m.awaitChild(ctx, child); !errors.Is(err, errSignal) {
		t.Errorf("got %v", err)
	}
	if child.ProcessState == nil {
		t.Error("the process still runs")
	}
}

func TestBuildDigest(t *testing.T) {
	freePorts(t)
	configs, self := configsCopy(t), filepath.Join(t.TempDir(), "minicloud")
	write(t, self, "the binary")
	m := &command{configs: configs, self: self, data: "/data"}
	digest := func() string {
		t.Helper()
		d, err := m.buildDigest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	last := digest()
	changes := func(what string, expected bool, change func()) {
		t.Helper()
		change()
		if now := digest(); (now != last) != expected {
			t.Errorf("%s: changed %t, expected %t", what, now != last, expected)
		}
		last = digest()
	}
	changes("nothing", false, func() {})
	changes("a configuration file", true, func() { appendTo(t, filepath.Join(configs, "cache-store.toml"), "# x") })
	changes("a zone file", true, func() { appendTo(t, filepath.Join(configs, "zones", "com.zone"), "; x") })
	changes("a new file", true, func() { write(t, filepath.Join(configs, "new.toml"), "x = '${MINICLOUD_X}'") })
	changes("the binary", true, func() { write(t, self, "another binary") })
	changes("a port", true, func() { t.Setenv("MINICLOUD_CACHE_PORT", "9005") })
	changes("a variable of the configuration", true, func() { t.Setenv("MINICLOUD_X", "y") })
	changes("the directory of data", true, func() { m.data = "/elsewhere" })
	changes("a client's variable", false, func() { t.Setenv("MINICLOUD_RESOLVER", "127.0.0.1:1") })

	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(configs, link); err != nil {
		t.Fatal(err)
	}
	changes("a link to the configuration", false, func() { m.configs = link })
	changes("a file behind the link", true, func() { appendTo(t, filepath.Join(configs, "cache-store.toml"), "# y") })
	m.configs = filepath.Join(configs, "none")
	if _, err := m.buildDigest(); err == nil || !strings.HasPrefix(err.Error(), "read the configuration: ") {
		t.Errorf("without a configuration: %v", err)
	}
}

func TestTable(t *testing.T) {
	rows := []Row{
		{Name: "dns-root", Speaks: "DNS, the zone ."},
		{Name: resolverName, Where: "127.0.0.1:5354", Speaks: "DNS", Admin: "admin http://127.0.0.1:9"},
	}
	print := func(admin bool) string {
		var out buffer
		printTable(&out, rows, admin)
		table, _, _ := strings.Cut(out.String(), "  bin/ingressclient")
		return table
	}
	if got, want := print(false), "\n  dns-root         inside only      DNS, the zone .\n  dns-resolver     127.0.0.1:5354   DNS\n\nTry:\n"; got != want {
		t.Errorf("got\n%s", got)
	}
	rows[1].Where = "127.0.0.1:6000"
	got := print(true)
	for _, want := range []string{"DNS                              admin http://127.0.0.1:9\n", "Try:\n  export MINICLOUD_RESOLVER=127.0.0.1:6000\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if text, err := json.Marshal(rows[0]); err != nil || string(text) != `{"name":"dns-root","where":"","speaks":"DNS, the zone ."}` {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}
