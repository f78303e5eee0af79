package transfer

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

// installed returns the path of a program, or skips the test.
func installed(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return path
}

func TestDigAndKdig(t *testing.T) {
	for _, program := range []string{"dig", "kdig"} {
		t.Run(program, func(t *testing.T) {
			path := installed(t, program)
			transfers, _ := newTransfers(t, nil, nil)
			primary, address := startPrimary(t, transfers)
			policy := Policy{AllowTransfer: []string{"key:transfer."}}
			recent := zone(t, 2, append(many(2000, 1), "b A 192.0.2.1")...)
			primary.serve(t, zone(t, 1, many(2001, 1)...), policy)
			primary.serve(t, recent, policy)
			_, port, _ := net.SplitHostPort(address)
			ask := func(arguments ...string) string {
				arguments = append([]string{"@127.0.0.1", "-p", port}, arguments...)
				out, _ := exec.Command(path, arguments...).CombinedOutput() // a refusal is an error, and is seen in out
				return string(out)
			}
			signed := []string{"-y", "hmac-sha256:transfer.:" + testSecret}
			records := func(out string) (lines []string) {
				for line := range strings.Lines(out) {
					if fields := strings.Fields(line); len(fields) > 4 && !strings.HasPrefix(line, ";") && fields[3] != "TSIG" {
						lines = append(lines, strings.Join(fields, " "))
					}
				}
				return lines
			}
			var want []string
			for _, rr := range append(recent, recent[0]) {
				want = append(want, strings.Join(strings.Fields(rr.String()), " "))
			}
			whole := ask(append(signed, "example.com", "AXFR")...)
			if diff := cmp.Diff(want, records(whole)); diff != "" {
				t.Error(diff)
			}
			changes := ask(append(signed, "example.com", "IXFR=1")...)
			if got := records(changes); len(got) != 6 || !strings.Contains(changes, "a2000.example.com.") || !strings.Contains(changes, "b.example.com.") {
				t.Errorf("got %s", changes)
			}
			for _, out := range []string{whole, changes} {
				if l := strings.ToLower(out); strings.Contains(l, "badsig") || strings.Contains(l, "tsig verif") || strings.Contains(l, "warning") {
					t.Errorf("the signature is not right: %s", out[max(0, len(out)-500):])
				}
			}
			if out := ask("example.com", "AXFR"); len(records(out)) > 0 || !strings.Contains(strings.ToLower(out), "failed") && !strings.Contains(out, "REFUSED") {
				t.Errorf("an unsigned transfer got %s", out)
			}
		})
	}
}

// A peer is another implementation as our secondary for example.com.
type peer struct {
	program string
	// arguments and configuration of the program, which serves at port what
	// it fetches from primary, signed with the key "transfer.".
	arguments func(file string) []string
	config    func(dir, port, primary string) string
}

var peers = []peer{
	{"knotd", func(file string) []string { return []string{"-c", file} }, func(dir, port, primary string) string {
		return fmt.Sprintf(`
server:
    listen: 127.0.0.1@%[2]s
    rundir: %[1]s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[1]s
    journal-db-max-size: 8M
    kasp-db-max-size: 8M
    timer-db-max-size: 8M
    catalog-db-max-size: 8M
log:
  - target: stderr
    any: info
key:
  - id: transfer.
    algorithm: hmac-sha256
    secret: %[4]s
remote:
  - id: primary
    address: 127.0.0.1@%[3]s
    key: transfer.
acl:
  - id: notify
    address: 127.0.0.1
    key: transfer.
    action: notify
zone:
  - domain: example.com
    storage: %[1]s
    master: primary
    acl: notify
`, dir, port, primary, testSecret)
	}},
	{"nsd", func(file string) []string { return []string{"-d", "-c", file} }, func(dir, port, primary string) string {
		return fmt.Sprintf(`
server:
  ip-address: 127.0.0.1@%[2]s
  zonesdir: "%[1]s"
  xfrdir: "%[1]s"
  database: ""
  pidfile: "%[1]s/nsd.pid"
  xfrdfile: "%[1]s/xfrd.state"
  zonelistfile: "%[1]s/zone.list"
  cookie-secret-file: ""
  username: ""
  server-count: 1
  xfrd-reload-timeout: 0
  verbosity: 2
remote-control:
  control-enable: no
key:
  name: "transfer."
  algorithm: hmac-sha256
  secret: "%[4]s"
zone:
  name: example.com
  zonefile: example.com.zone
  allow-notify: 127.0.0.1 transfer.
  request-xfr: 127.0.0.1@%[3]s transfer.
`, dir, port, primary, testSecret)
	}},
	{"named", func(file string) []string { return []string{"-g", "-n", "1", "-c", file} }, func(dir, port, primary string) string {
		return fmt.Sprintf(`
options {
  directory "%[1]s";
  pid-file none;
  session-keyfile none;
  managed-keys-directory "%[1]s";
  listen-on port %[2]s { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion no;
  dnssec-validation no;
  notify no;
};
controls { };
key "transfer." { algorithm hmac-sha256; secret "%[4]s"; };
server 127.0.0.1 { keys { "transfer."; }; };
zone "example.com" {
  type secondary;
  file "example.com.zone";
  masterfile-format text;
  primaries port %[3]s { 127.0.0.1 key "transfer."; };
  allow-notify { key "transfer."; };
};
`, dir, port, primary, testSecret)
	}},
}

// start runs the peer until the end of the test, and returns its address.
func (p peer) start(t *testing.T, primary string) (address string) {
	t.Helper()
	path := installed(t, p.program)
	dir := t.TempDir()
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_, primaryPort, _ := net.SplitHostPort(primary)
	_, _ = ln.Close(), pc.Close()
	file := filepath.Join(dir, "peer.conf")
	if err := os.WriteFile(file, []byte(p.config(dir, port, primaryPort)), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &log{}
	cmd := exec.Command(path, p.arguments(file)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = said, said, dir
	// Some of them fork: they are ended as a group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if t.Failed() {
			t.Logf("%s said:\n%s", p.program, said)
		}
	})
	return address
}

// TestOtherServersAsSecondaries runs Knot, NSD and BIND as secondaries of ours:
// each fetches the zone, is notified of a change and fetches what changed, all of
// it signed.
func TestOtherServersAsSecondaries(t *testing.T) {
	for _, p := range peers {
		t.Run(p.program, func(t *testing.T) {
			installed(t, p.program)
			t.Parallel() // each mostly waits
			transfers, logged := newTransfers(t, nil, nil)
			primary, address := startPrimary(t, transfers)
			policy := Policy{AllowTransfer: []string{"127.0.0.1 key:transfer."}}
			primary.serve(t, zone(t, 1, many(2001, 1)...), policy)
			secondary := p.start(t, address)
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the primary said:\n%s", logged)
				}
			})
			eventually(t, secondary, "the whole zone arrives", "a2000.example.com.", "10.1.7.208")
			if counted(transfers, "axfr", "whole")+counted(transfers, "ixfr", "whole") == 0 {
				t.Error("the whole zone was not transferred")
			}
			policy.Notify = []string{secondary + " key:transfer."}
			for serial := uint32(2); serial <= 4; serial++ {
				added := fmt.Sprintf("b%d A 192.0.2.%d", serial, serial)
				primary.serve(t, zone(t, serial, append(many(2000, 1), added)...), policy)
				eventually(t, secondary, "the change arrives", fmt.Sprintf("b%d.example.com.", serial), "192.0.2."+strconv.Itoa(int(serial)))
				eventually(t, secondary, "what went is gone", fmt.Sprintf("a%d.example.com.", 2000), "NXDOMAIN")
				if serial > 2 {
					eventually(t, secondary, "what went is gone", fmt.Sprintf("b%d.example.com.", serial-1), "NXDOMAIN")
				}
			}
			if got := counted(transfers, "ixfr", "differences"); got < 3 {
				t.Errorf("%v differences were transferred, expected 3", got)
			}
			kittest.Eventually(t, "the notifications are acknowledged", func() bool { return notified(transfers, "acknowledged") >= 3 })
		})
	}
}

// eventually waits until a server answers a question for an address with it, or
// with this response code.
func eventually(t *testing.T, server, what, name, want string) {
	t.Helper()
	kittest.Eventually(t, what, func() bool {
		m := new(dns.Msg)
		m.SetQuestion(name, dns.TypeA)
		reply, _, err := new(dns.Client).Exchange(m, server)
		if err != nil {
			return false
		}
		if len(reply.Answer) == 1 {
			return reply.Answer[0].(*dns.A).A.String() == want
		}
		return dns.RcodeToString[reply.Rcode] == want
	})
}
