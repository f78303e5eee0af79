package minicloud

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// variables is an environment of its own.
func variables(pairs map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := pairs[name]
		return value, ok
	}
}

func TestHostPort(t *testing.T) {
	for _, test := range []struct {
		name, value string
		set         bool
		port        int
		chosen      bool
		err         string
	}{
		{name: "a variable that is not set leaves the preset", port: 8005},
		{name: "a set and empty one asks for a free port", set: true, chosen: true},
		{name: "a number is the port", value: "9005", set: true, port: 9005, chosen: true},
		{name: "the last port is a port", value: "65535", set: true, port: 65535, chosen: true},
		{name: "a port that is too large is an error", value: "65536", set: true, err: `X is "65536", expected a port from 0 to 65535`},
		{name: "a negative one is an error", value: "-1", set: true, err: `X is "-1", expected a port from 0 to 65535`},
		{name: "an address is no port", value: ":80", set: true, err: `X is ":80", expected a port from 0 to 65535`},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := map[string]string{}
			if test.set {
				env["X"] = test.value
			}
			port, chosen, err := hostPort(variables(env), "X", 8005)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("error %v, expected %s", err, test.err)
				}
				return
			}
			if err != nil || port != test.port || chosen != test.chosen {
				t.Errorf("port %d, chosen %t, error %v", port, chosen, err)
			}
		})
	}
}

func TestPublishedPorts(t *testing.T) {
	t.Run("without variables they are those of the picture", func(t *testing.T) {
		ports, err := publishedPorts(variables(nil))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range Parts() {
			for _, d := range p.doors() {
				got += fmt.Sprint(" ", ports[d.env].number)
			}
		}
		if want := " 5354 5380 8004 8005 8006 8007 8001 8002 80 8008"; got != want {
			t.Errorf("got%s, expected%s", got, want)
		}
	})
	t.Run("all may be free ones", func(t *testing.T) {
		if _, err := publishedPorts(FreePorts); err != nil {
			t.Error(err)
		}
	})
	t.Run("one port for two parts names both", func(t *testing.T) {
		_, err := publishedPorts(variables(map[string]string{"MINICLOUD_CACHE_PORT": "8004"}))
		want := "port 8004 is asked for twice, by MINICLOUD_DATASTORE_PORT for data-store and by MINICLOUD_CACHE_PORT for cache-store"
		if err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
	})
}

func TestPortErrors(t *testing.T) {
	cache := publishedPort{part: "cache-store", env: "MINICLOUD_CACHE_PORT", number: 8005}
	for _, test := range []struct {
		name string
		port publishedPort
		err  error
		want string
	}{
		{"one in use names the variable that moves it", cache, syscall.EADDRINUSE,
			"port 8005 for cache-store is in use by another program; another one is chosen by MINICLOUD_CACHE_PORT=<port>"},
		{"one that is not permitted too", cache, syscall.EACCES,
			"port 8005 for cache-store needs a privilege that this user does not have; another one is chosen by MINICLOUD_CACHE_PORT=<port>"},
		{"too few descriptors are not the port's fault", cache, syscall.EMFILE, "too many open files; allow this process more, as with `ulimit -n 4096`"},
		{"a port that no variable moves keeps its error", publishedPort{}, syscall.EADDRINUSE, "address already in use"},
		{"any other error stands as it is", cache, errors.New("no network"), "no network"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.port.error(test.err).Error(); got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// taken returns a port on loopback that another program has, as it were.
func taken(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

func TestHostPortsOfContainers(t *testing.T) {
	port := taken(t)
	env := func(pairs ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1], true
				}
			}
			return "", true
		}
	}
	up := func(ports string) container { return container{id: "1", status: "Up 2 minutes", ports: ports} }
	for _, test := range []struct {
		name    string
		env     func(string) (string, bool)
		running containers
		err     string
	}{
		{"a port that another program holds is an error", env("MINICLOUD_CACHE_PORT", port), nil,
			"port " + port + " for cache-store is in use by another program; another one is chosen by MINICLOUD_CACHE_PORT=<port>"},
		{"one that our own container holds is not", env("MINICLOUD_CACHE_PORT", port), containers{"cache-store": up("127.0.0.1:" + port + "->8005/tcp")}, ""},
		{"one that our stopped container held is", env("MINICLOUD_CACHE_PORT", port), containers{"cache-store": {status: "Exited (0)", ports: "127.0.0.1:" + port + "->8005/tcp"}},
			"port " + port + " for cache-store is in use"},
		{"one that another part's container holds is", env("MINICLOUD_CACHE_PORT", port), containers{"data-store": up("127.0.0.1:" + port + "->8004/tcp")},
			"port " + port + " for cache-store is in use"},
		{"the load balancer's admin port is its own", env(adminEnv, port), containers{loadBalancer: up("127.0.0.1:9999->80/tcp, 127.0.0.1:" + port + "->8008/tcp")}, ""},
		{"and is not its other port", env(adminEnv, port), containers{loadBalancer: up("127.0.0.1:" + port + "->80/tcp")}, "the admin listener of load-balancer is in use"},
		{"a resolver's port is needed for UDP", env("MINICLOUD_RESOLVER_PORT", port), nil, "port " + port + " for dns-resolver is in use"},
		{"a variable without a port is an error", env("MINICLOUD_QUEUE_PORT", "x"), nil, "MINICLOUD_QUEUE_PORT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := hostPorts(test.env, test.running)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, expected %q", err, test.err)
			}
		})
	}
	t.Run("free ones that others must know are chosen beforehand", func(t *testing.T) {
		chosen, err := hostPorts(FreePorts, nil)
		if err != nil || len(chosen) != 2 || strings.HasSuffix(chosen[0], "=") || strings.HasSuffix(chosen[1], "=") {
			t.Errorf("got %v, %v", chosen, err)
		}
	})
	t.Run("and stay while their containers run", func(t *testing.T) {
		chosen, err := hostPorts(FreePorts, containers{
			loadBalancer: up("127.0.0.1:4080->80/tcp, 127.0.0.1:4088->8008/tcp"),
			resolverName: up("127.0.0.1:4053->5354/tcp, 127.0.0.1:4054->5354/udp"),
		})
		if err != nil || strings.Join(chosen, " ") != "MINICLOUD_RESOLVER_PORT=4054 MINICLOUD_HTTP_PORT=4080" {
			t.Errorf("got %v, %v", chosen, err)
		}
	})
}
