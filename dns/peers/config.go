package peers

import (
	"fmt"
	"path/filepath"
	"strings"
)

// A place is what a configuration is made of.
type place struct {
	Config
	dir string
}

func (p place) path(name string) string { return filepath.Join(p.dir, name) }

func (p place) host() string { return p.Address.Addr().String() }

func (p place) port() uint16 { return p.Address.Port() }

// zoneFile is the name of the file of a zone.
func zoneFile(i int) string { return fmt.Sprintf("%d.zone", i) }

// A text is a configuration that grows line by line.
type text struct{ strings.Builder }

func (t *text) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

// ours is what both of our programs have in common.
func ours(p place) *text {
	t := new(text)
	t.line("listen = %q", p.Address)
	t.line("admin = %q", p.Admin())
	t.line("log_level = %q", "warn")
	t.line("%s", p.Extra)
	return t
}

func ourServer(p place) string {
	t := ours(p)
	for i, z := range p.Zones {
		t.line("[[zones]]\nname = %q\nfile = %q", z.Origin, zoneFile(i))
	}
	return t.String()
}

func ourResolver(p place) string {
	t := ours(p)
	if p.Hints != "" {
		t.line("hints = %q", hintsFile)
	}
	return t.String()
}

// Knot by default has a thread per core, and writes changed zones back.
func knot(p place) string {
	t := new(text)
	t.line("server:\n rundir: %q\n listen: %q", p.dir, fmt.Sprintf("%s@%d", p.host(), p.port()))
	t.line(" udp-workers: %d\n tcp-workers: %d\n background-workers: 1", p.Threads, p.Threads)
	t.line("log:\n - target: stderr\n   any: warning")
	t.line("control:\n listen: %q", p.path("knot.sock"))
	t.line("database:\n storage: %q", p.path("db"))
	t.line("template:\n - id: default\n   storage: %q\n   semantic-checks: off\n   zonefile-sync: -1\n   journal-content: none", p.dir)
	t.line("%s\nzone:", p.Extra)
	for i, z := range p.Zones {
		t.line(" - domain: %q\n   file: %q", z.Origin, zoneFile(i))
	}
	return t.String()
}

// NSD limits its answers by default.
func nsd(p place) string {
	t := new(text)
	t.line("server:\n ip-address: %s@%d\n server-count: %d", p.host(), p.port(), p.Threads)
	t.line(" username: \"\"\n chroot: \"\"\n database: \"\"\n zonesdir: %q\n zonelistfile: %q\n xfrdfile: %q\n xfrdir: %q",
		p.dir, p.path("zone.list"), p.path("xfrd.state"), p.dir)
	t.line(" pidfile: %q\n rrl-ratelimit: 0\n zonefiles-write: 0\n minimal-responses: no", p.path("nsd.pid"))
	t.line("remote-control:\n control-enable: no")
	t.line("%s", p.Extra)
	for i, z := range p.Zones {
		t.line("zone:\n name: %q\n zonefile: %q", z.Origin, zoneFile(i))
	}
	return t.String()
}

// BIND would check what other servers take as it is, and talk to nobody else
// about it. Where it is a resolver it asks port 53, like everybody.
func bind(p place) string {
	t := new(text)
	t.line("options {\n directory %q;\n listen-on port %d { %s; };\n listen-on-v6 { none; };", p.dir, p.port(), p.host())
	t.line(" pid-file none; lock-file none; session-keyfile none; managed-keys-directory %q;", p.dir)
	t.line(" notify no; allow-transfer { any; }; dnssec-validation no; empty-zones-enable no; check-integrity no; check-mx ignore; check-srv-cname ignore; check-sibling no;")
	t.line(" check-names primary ignore; check-names response ignore; check-dup-records ignore; zone-statistics no; prefetch 0 0;")
	t.line(" recursion %s; allow-query { any; }; minimal-responses no;\n%s\n};", yes(p.Hints != ""), p.Extra)
	t.line("controls { };")
	if p.Hints != "" {
		t.line("zone \".\" { type hint; file %q; };", hintsFile)
	}
	for i, z := range p.Zones {
		t.line("zone %q { type primary; file %q; };", z.Origin, zoneFile(i))
	}
	return t.String()
}

// Unbound is fast with the caches that its documentation recommends, and asks
// nobody on the loopback network unless it is told to.
func unbound(p place) string {
	t := new(text)
	t.line("server:\n interface: %s@%d\n num-threads: %d\n so-reuseport: yes\n outgoing-range: 512\n num-queries-per-thread: 512", p.host(), p.port(), p.Threads)
	t.line(" username: \"\"\n chroot: \"\"\n directory: %q\n pidfile: \"\"\n do-daemonize: no\n use-syslog: no\n logfile: \"\"\n verbosity: 0", p.dir)
	t.line(" access-control: 127.0.0.0/8 allow\n do-ip6: no\n do-not-query-localhost: no\n module-config: \"iterator\"\n unblock-lan-zones: yes\n insecure-lan-zones: yes")
	t.line(" msg-cache-size: 64m\n rrset-cache-size: 128m\n edns-buffer-size: 1232")
	if p.Hints != "" {
		t.line(" root-hints: %q", p.path(hintsFile))
	}
	t.line("%s\nremote-control:\n control-enable: no", p.Extra)
	for i, z := range p.Zones {
		t.line("auth-zone:\n name: %q\n zonefile: %q\n for-upstream: no\n for-downstream: yes", z.Origin, zoneFile(i))
	}
	return t.String()
}

func coreDNS(p place) string {
	t := new(text)
	for i, z := range p.Zones {
		t.line("%s:%d {\n bind %s\n file %s\n%s\n}", z.Origin, p.port(), p.host(), p.path(zoneFile(i)), p.Extra)
	}
	return t.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
