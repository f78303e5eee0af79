package exchange

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTargets(t *testing.T) {
	tests := []struct {
		name string
		list []string
		want string // as they are written, or the error
	}{
		{"a bare address", []string{"192.0.2.1"}, "192.0.2.1"},
		{"an address with a port", []string{"192.0.2.1:5353"}, "192.0.2.1:5353"},
		{"IPv6 in all forms", []string{"2001:db8::1", "[2001:db8::2]", "[2001:db8::3]:5353"}, "2001:db8::1 2001:db8::2 [2001:db8::3]:5353"},
		{"every transport", []string{"udp://192.0.2.1", "tcp://192.0.2.1", "tls://192.0.2.1"}, "192.0.2.1 tcp://192.0.2.1 tls://192.0.2.1"},
		{"a name for TLS", []string{"tls://192.0.2.1:8853#dns.example."}, "tls://192.0.2.1:8853#dns.example"},
		{"IPv4 in IPv6 is IPv4", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"loopback, since the operator says so", []string{"127.0.0.1:5300"}, "127.0.0.1:5300"},
		{"none", nil, `addresses is empty, expected an address such as "192.0.2.1", "[2001:db8::1]:53", "tcp://192.0.2.1" or "tls://192.0.2.1#dns.example"`},
		{"a name instead of an address", []string{"192.0.2.1", "dns.example"}, `addresses[1] is "dns.example", expected an address such as`},
		{"brackets around IPv4", []string{"[192.0.2.1]"}, `addresses[0] is "[192.0.2.1]", expected an address such as`},
		{"another transport", []string{"https://192.0.2.1"}, `addresses[0] is "https://192.0.2.1", whose transport is unknown; expected`},
		{"a name without TLS", []string{"192.0.2.1#dns.example"}, `addresses[0] is "192.0.2.1#dns.example", but only "tls://" has a name after "#"`},
		{"an empty name", []string{"tls://192.0.2.1#"}, `addresses[0] is "tls://192.0.2.1#", but after "#" stands no name, as in`},
		{"a name of 256 octets", []string{"tls://192.0.2.1#" + strings.Repeat("a.", 126) + "aa"}, `addresses[0] is "tls://192.0.2.1#` + strings.Repeat("a.", 126) + `aa", but after "#" stands no name, as in`},
		{"port 0", []string{"192.0.2.1:0"}, `addresses[0] is "192.0.2.1:0", expected a port from 1 to 65535 after the colon, or none`},
		{"no port after the colon", []string{"192.0.2.1:"}, `addresses[0] is "192.0.2.1:", expected an address such as`},
		{"no machine at all", []string{"0.0.0.0"}, `addresses[0] is "0.0.0.0", which is not the address of one machine`},
		{"many machines", []string{"224.0.0.1:53"}, `addresses[0] is "224.0.0.1:53", which is not the address of one machine`},
		{"the same twice", []string{"192.0.2.1", "192.0.2.1:53"}, `addresses[1] is "192.0.2.1:53", which stands in the list before`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			targets, err := ParseTargets("addresses", tt.list)
			var got []string
			for _, target := range targets {
				got = append(got, target.String())
				if again, err := ParseTarget("", target.String()); err != nil || again != target {
					t.Errorf("%s is read back as %v (%v)", target, again, err)
				}
			}
			if err != nil {
				got = []string{err.Error()}
			}
			if s := strings.Join(got, " "); s != tt.want && (err == nil || !strings.HasPrefix(s, tt.want)) {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

func TestAskable(t *testing.T) {
	x := exchanger(t, func(c *Config) { c.Routes[netip.MustParseAddr("127.0.0.53")] = "dns:53" })
	for addr, want := range map[string]bool{
		"198.41.0.4": true, "10.0.0.1": true, "2001:500:2::c": true, "fd00::1": true, "::ffff:198.41.0.4": true,
		"127.0.0.53": true, // routed
		"127.0.0.1":  false, "::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false,
		"224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false,
		"169.254.1.1": false, "fe80::1": false, "::ffff:127.0.0.1": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "fe80::1%lo": false,
	} {
		if got := x.Askable(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Askable(%s) = %v", addr, got)
		}
	}
	if x.Askable(netip.Addr{}) {
		t.Error("no address is askable")
	}
}

func TestRoutesLeadFromTheUsualPort(t *testing.T) {
	x := exchanger(t, func(c *Config) { c.Routes[nsAddr] = "dns-root:53" })
	for s, want := range map[string]string{
		"192.0.2.1": "dns-root:53", "tcp://192.0.2.1": "dns-root:53",
		"192.0.2.1:5353": "192.0.2.1:5353", "tls://192.0.2.1": "192.0.2.1:853",
		"2001:db8::1": "[2001:db8::1]:53",
	} {
		target, err := ParseTarget("", s)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Route(target); got != want {
			t.Errorf("%s is asked at %s, want %s", s, got, want)
		}
	}
}

func TestSettingsSayWhatIsWrong(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Settings)
		want   string
	}{
		{"the defaults are good", func(*Settings) {}, ""},
		{"no time", func(s *Settings) { s.QueryTimeout = 0 }, "query_timeout is 0s, expected 1ms to 1m0s"},
		{"no time to forward", func(s *Settings) { s.ForwardTimeout = time.Hour }, "forward_timeout is 1h0m0s, expected 1ms to 1m0s"},
		{"idle for ever", func(s *Settings) { s.UpstreamIdle = time.Hour }, "upstream_idle is 1h0m0s, expected 1ms to 10m0s"},
		{"nothing at once", func(s *Settings) { s.MaxUpstream = 0 }, "max_upstream is 0, expected 1 to 10000"},
		{"more for one than for all", func(s *Settings) { s.MaxUpstreamPerServer = 1000 }, "max_upstream_per_server is 1000, expected 1 to 512"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := DefaultSettings()
			tt.change(&s)
			got := ""
			if _, err := New(Config{Settings: s}); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
