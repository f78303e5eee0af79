package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/miekg/dns"

	"minicloud.internal/kit/kittest"
)

// asProgram in the environment makes the test's binary the program itself.
const asProgram = "DNSSERVER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A log is what the program has written.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func zone(serial int) string {
	return fmt.Sprintf("$TTL 60\n@ IN SOA ns h %d 7200 3600 604800 60\n@ IN NS ns\nns IN A 192.0.2.%d\n", serial, serial)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestHangupReloads(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "garden.zone")
	write(t, file, zone(1))
	write(t, filepath.Join(dir, "c.toml"), `
listen = "127.0.0.1:0"
reload_interval = "0s"
log_format = "text"
[[zones]]
name = "garden.test."
file = "garden.zone"
`)
	output := new(log)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-config", filepath.Join(dir, "c.toml"))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var address string
	kittest.Eventually(t, "it serves", func() bool {
		found := regexp.MustCompile(`answering for zones.* address=(\S+)`).FindStringSubmatch(output.String())
		if found != nil {
			address = found[1]
		}
		return found != nil
	})
	served := func() string {
		m, err := dns.Exchange(new(dns.Msg).SetQuestion("ns.garden.test.", dns.TypeA), address)
		if err != nil || len(m.Answer) != 1 {
			t.Fatalf("%v %v; it wrote %s", m, err, output)
		}
		return m.Answer[0].(*dns.A).A.String()
	}
	if got := served(); got != "192.0.2.1" {
		t.Errorf("got %s", got)
	}
	hangup := func() {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	write(t, file, zone(2))
	hangup()
	kittest.Eventually(t, "the new version is served", func() bool { return served() == "192.0.2.2" })
	write(t, file, zone(3)+"nonsense\n")
	hangup()
	kittest.Eventually(t, "a wrong one is refused", func() bool { return strings.Contains(output.String(), "was not reloaded") })
	if got := served(); got != "192.0.2.2" {
		t.Errorf("got %s", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("at the end: %v; it wrote %s", err, output)
	}
}
