package differential

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"minicloud.internal/dns/peers"
)

// inNamespace is set where this program runs in a network namespace of its own.
const inNamespace = "MINICLOUD_DNS_NAMESPACE"

// A finding is a message of Zonemaster.
type finding struct {
	Level, Tag, Testcase string
	Args                 map[string]any
}

// An explanation is why an error of Zonemaster's is none; without a zone, of any.
type explanation struct{ zone, tag, reason string }

// explained are the errors that Zonemaster finds in any tree like this one.
var explained = []explanation{
	{"", "NAMESERVER_IP_PRIVATE_NETWORK", "the name servers have addresses from the documentation (RFC 5737), so that the zones are the same wherever the cloud runs"},
	{".", "IS_A_RECURSOR", "it takes whoever says NXDOMAIN to a name elsewhere for a recursor; of the root's servers there is no elsewhere (RFC 1034, section 4.3.2)"},
}

// TestZonemaster has Zonemaster check a root, com and example.com of ours, each with
// two name servers. It asks port 53 of the addresses that the zones name, which
// exist in a network namespace of the test's own, and nowhere else.
func TestZonemaster(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		checkZones(t)
		return
	}
	t.Parallel()
	for _, name := range []string{"zonemaster-cli", "unshare", "ip"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	if runtime.GOOS != "linux" || exec.CommandContext(t.Context(), "unshare", "--net", "true").Run() != nil {
		t.Skip("no network namespace can be made here; run it as root")
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run", "^TestZonemaster$", "-test.v", "-dnsserver", program(t, peers.DNSServer))
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// pair is a zone with two name servers.
func pair(origin, names string, addresses [2]string, more string) peers.Zone {
	var b strings.Builder
	a, c := "a."+names, "b."+names
	fmt.Fprintf(&b, "%s 86400 IN SOA %s hostmaster.%s 1 14400 3600 1209600 3600\n", origin, a, names)
	for i, name := range []string{a, c} {
		fmt.Fprintf(&b, "%s 86400 IN NS %s\n%s 86400 IN A %s\n", origin, name, name, addresses[i])
	}
	return peers.Zone{Origin: origin, Text: b.String() + more}
}

// checkZones is the part within the namespace.
func checkZones(t *testing.T) {
	at := [3][2]string{{"192.0.2.53", "198.51.100.1"}, {"198.51.100.53", "203.0.113.1"}, {"203.0.113.53", "192.0.2.1"}}
	commands := [][]string{{"link", "set", "lo", "up"}}
	for _, addresses := range at {
		for _, a := range addresses {
			commands = append(commands, []string{"address", "add", a + "/32", "dev", "lo"})
		}
	}
	for _, words := range commands {
		if out, err := exec.CommandContext(t.Context(), "ip", words...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", words, err, out)
		}
	}
	delegate := func(child, names string, addresses [2]string) (text string) {
		for i, name := range []string{"a." + names, "b." + names} {
			text += fmt.Sprintf("%s 86400 IN NS %s\n%s 86400 IN A %s\n", child, name, name, addresses[i])
		}
		return text
	}
	zones := []peers.Zone{
		pair(".", "root.minicloud.", at[0], delegate("com.", "gtld.com.", at[1])),
		pair("com.", "gtld.com.", at[1], delegate("example.com.", "ns.example.com.", at[2])),
		pair("example.com.", "ns.example.com.", at[2], "example.com. 300 IN A 192.0.2.80\nexample.com. 300 IN MX 10 mail.example.com.\nmail.example.com. 300 IN A 192.0.2.25\n"),
	}
	for i, z := range zones {
		for _, a := range at[i] {
			s, err := peers.Start(t.Context(), peers.DNSServer, peers.Config{Program: program(t, peers.DNSServer),
				Address: netip.MustParseAddrPort(a + ":53"), Zones: []peers.Zone{z}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
		}
	}
	hints := filepath.Join(t.TempDir(), "hints")
	if err := os.WriteFile(hints, []byte(delegate(".", "root.minicloud.", at[0])), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, z := range zones {
		t.Run(z.Origin, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "zonemaster-cli", "--hints", hints, "--no-ipv6", "--level", "INFO", "--json", "--no-progress", z.Origin)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var found []finding
			if err := json.Unmarshal(out, &found); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if len(found) < 10 {
				t.Errorf("it found %d things to say: it cannot have asked", len(found))
			}
			for _, f := range found {
				i := slices.IndexFunc(explained, func(e explanation) bool { return f.Tag == e.tag && (e.zone == "" || e.zone == z.Origin) })
				switch {
				case f.Level != "ERROR" && f.Level != "CRITICAL":
					t.Logf("%s %s %v", f.Level, f.Tag, f.Args)
				case i >= 0:
					t.Logf("%s %s %v: %s", f.Level, f.Tag, f.Args, explained[i].reason)
				default:
					t.Errorf("%s %s %v", f.Level, f.Tag, f.Args)
				}
			}
		})
	}
}
