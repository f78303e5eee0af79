package minicloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"minicloud.internal/kit/kittest"
)

func startCloud(t *testing.T) *Cloud {
	t.Helper()
	log := &buffer{}
	c, err := Start(t.Context(), Options{Configs: "../configs", Data: t.TempDir(), Log: log, LookupEnv: FreePorts})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func TestACloudStartsAndCloses(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	c, err := Start(t.Context(), Options{Configs: "../configs", Data: t.TempDir(), Log: io.Discard, LookupEnv: FreePorts})
	if err != nil {
		t.Fatal(err)
	}
	if err := waitReady(t.Context(), c.Address(resolverName)); err != nil {
		t.Error(err)
	}
	for _, p := range Parts() {
		if status, sentence := c.Health(p.Name); status != http.StatusOK {
			t.Errorf("%s answers %d %s", p.Name, status, sentence)
		}
		resp, err := http.Get("http://" + c.AdminAddress(p.Name) + "/readyz")
		if err != nil {
			t.Errorf("admin of %s: %v", p.Name, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("admin of %s answers %s", p.Name, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
	for _, p := range Parts() {
		for _, address := range []string{c.Address(p.Name), c.AdminAddress(p.Name)} {
			on, err := listen(address, p.UDP && address == c.Address(p.Name))
			if err != nil {
				t.Errorf("%s still has %s: %v", p.Name, address, err)
				continue
			}
			on.close()
		}
		if status, sentence := c.Health(p.Name); status != 0 || sentence != "stopped" {
			t.Errorf("after the end %s answers %d %s", p.Name, status, sentence)
		}
	}
	goleak.VerifyNone(t, leaks)
}

func TestAStartThatFailsLeavesNothing(t *testing.T) {
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no longer wanted"))
	port := taken(t)
	env := func(name, value string) func(string) (string, bool) {
		return func(asked string) (string, bool) {
			if asked == name {
				return value, true
			}
			return "", true
		}
	}
	for _, test := range []struct {
		name    string
		ctx     context.Context
		spoil   func(configs, data string) error
		env     func(string) (string, bool)
		want    string
		noFiles bool // nothing was begun
	}{
		{name: "a wrong file names file, line and key", noFiles: true, want: "load-balancer.toml:1: unknown key lisen, did you mean listen?",
			spoil: func(configs, _ string) error {
				return os.WriteFile(filepath.Join(configs, "load-balancer.toml"), []byte("lisen = ':80'\n"), 0o600)
			}},
		{name: "a file that is missing is named", noFiles: true, want: "cache-store.toml: no such file",
			spoil: func(configs, _ string) error { return os.Remove(filepath.Join(configs, "cache-store.toml")) }},
		{name: "a port in use names its variable", env: env("MINICLOUD_CACHE_PORT", port),
			want: "port " + port + " for cache-store is in use by another program; another one is chosen by MINICLOUD_CACHE_PORT=<port>"},
		{name: "the load balancer's too, where it was chosen", env: env(httpEnv, port), want: "port " + port + " for load-balancer is in use"},
		{name: "and its admin listener's", env: env(adminEnv, port), want: "port " + port + " for the admin listener of load-balancer is in use"},
		{name: "a port that is none is refused", env: env(httpEnv, "http"), want: `MINICLOUD_HTTP_PORT is "http", expected a port`},
		{name: "data that cannot be written has a hint", want: "not a directory; another directory is chosen by MINICLOUD_DATA=<directory>",
			spoil: func(_, data string) error { return os.WriteFile(data, nil, 0o600) }},
		{name: "a store that cannot open is named", want: "object-storage: ",
			spoil: func(_, data string) error {
				return errors.Join(os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "object-storage"), nil, 0o600))
			}},
		{name: "a context that has ended ends the start", ctx: canceled, want: "no longer wanted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			configs, data := configsCopy(t), filepath.Join(t.TempDir(), "data")
			if test.spoil != nil {
				if err := test.spoil(configs, data); err != nil {
					t.Fatal(err)
				}
			}
			ctx, lookup := test.ctx, test.env
			if ctx == nil {
				ctx = t.Context()
			}
			if lookup == nil {
				lookup = FreePorts
			}
			c, err := Start(ctx, Options{Configs: configs, Data: data, Log: io.Discard, LookupEnv: lookup})
			if err == nil {
				_ = c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(data); test.noFiles && !os.IsNotExist(err) {
				t.Errorf("the data directory was made: %v", err)
			}
			goleak.VerifyNone(t, leaks)
		})
	}
}

func TestPort80GivesWay(t *testing.T) {
	number, err := strconv.Atoi(taken(t))
	if err != nil {
		t.Fatal(err)
	}
	c := &Cloud{slots: map[string]*slot{}}
	p := c.entrance()
	for _, test := range []struct {
		name  string
		port  publishedPort
		fails bool
	}{
		{"to any other, where nobody chose it", publishedPort{number: number}, false},
		{"to none, where somebody did", publishedPort{part: p.Name, env: p.Env, number: number, chosen: true}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			on, err := c.bind(p, test.port, publishedPort{})
			if err == nil {
				on.close()
			}
			if (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
			if err == nil && c.port(loadBalancer) == number {
				t.Errorf("it is on %s, which is taken", c.Address(loadBalancer))
			}
		})
	}
}

// entrance adds the load balancer's slot.
func (c *Cloud) entrance() *Part {
	parts := Parts()
	p := parts[len(parts)-1]
	c.slots[p.Name] = &slot{part: p}
	return p
}

func TestPartsStopAndStart(t *testing.T) {
	c := startCloud(t)
	const part = "cache-store"
	address := c.Address(part)
	mustFail := func(what string, err error, want string) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, expected %s", what, err, want)
		}
	}
	mustFail("a part that is not there stops", c.StopPart("cash-store"), `there is no part "cash-store"`)
	mustFail("a part that is not there starts", c.StartPart("cash-store"), `there is no part "cash-store"`)
	if status, sentence := c.Health("cash-store"); status != 0 || sentence != `there is no part "cash-store"` || c.Address("cash-store")+c.AdminAddress("cash-store") != "" {
		t.Errorf("a part that is not there answers %d %s", status, sentence)
	}
	mustFail("a part that runs starts", c.StartPart(part), "cache-store is running already")
	if err := c.StopPart(part); err != nil {
		t.Fatal(err)
	}
	mustFail("a part that is stopped stops", c.StopPart(part), "cache-store is not running")
	if status, sentence := c.Health(part); status != 0 || sentence != "stopped" {
		t.Errorf("it answers %d %s", status, sentence)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("its socket is still open")
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	mustFail("its port is taken meanwhile", c.StartPart(part), "listen on TCP "+address+": the address is in use by another program")
	_ = ln.Close()
	if err := c.StartPart(part); err != nil {
		t.Fatal(err)
	}
	if c.Address(part) != address {
		t.Errorf("it moved from %s to %s", address, c.Address(part))
	}
	select {
	case err := <-c.Failed():
		t.Errorf("a part that was asked to stop counts as failed: %v", err)
	default:
	}
}

// Starts and stops of one part from everywhere neither race nor leave anything
// behind once the cloud is closed.
func TestStartsAndStopsMayMeet(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	c := startCloud(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 5 {
				_ = c.StopPart("dns-com")
				_, _ = c.Health("dns-com")
				_ = c.StartPart("dns-com")
			}
		})
	}
	group.Go(func() { _ = c.Close() })
	group.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.StartPart("dns-com"); err == nil || err.Error() != "dns-com cannot be started: the cloud is closed" {
		t.Errorf("a start after the end: %v", err)
	}
	goleak.VerifyNone(t, leaks)
}

func TestAPartThatEndsByItself(t *testing.T) {
	c := startCloud(t)
	s := c.slots["cache-store"]
	if err := c.StopPart("cache-store"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		err        error
	}{
		{"with an error", "cache-store: the disk is gone", errors.New("the disk is gone")},
		{"without one", "cache-store: ended by itself", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The real part, but for how it serves.
			failing := *s.part
			build := failing.kind.build
			failing.kind.build = func(c *Cloud, p *Part, cfg configured, svc *service, on sockets) error {
				err := build(c, p, cfg, svc, on)
				svc.serve = func(context.Context) error { return test.err }
				return err
			}
			real := s.part
			s.part = &failing
			defer func() { s.part = real }()
			if err := c.StartPart("cache-store"); err != nil {
				t.Fatal(err)
			}
			if err := <-c.Failed(); err.Error() != test.want {
				t.Errorf("failed says %v", err)
			}
			kittest.Eventually(t, "its health says why", func() bool {
				status, sentence := c.Health("cache-store")
				return status == 0 && sentence == test.want
			})
			if err := c.StopPart("cache-store"); fmt.Sprint(err) != test.want {
				t.Errorf("stop says %v", err)
			}
		})
	}
	if err := c.StartPart("cache-store"); err != nil {
		t.Errorf("it cannot be started again: %v", err)
	}
}

func TestCheck(t *testing.T) {
	if errs := Check("../configs"); len(errs) != 0 {
		t.Errorf("the project's own configuration: %v", errs)
	}
	configs := configsCopy(t)
	appendTo(t, filepath.Join(configs, "http-api.toml"), "colour = 'red'")
	if err := os.Remove(filepath.Join(configs, "dns-com.toml")); err != nil {
		t.Fatal(err)
	}
	errs := Check(configs)
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "dns-com.toml") || !strings.Contains(errs[1].Error(), "unknown key colour") {
		t.Errorf("one error of each wrong file is expected, got %v", errs)
	}
}

func TestWaitReadySaysWhatIsMissing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waitReady(ctx, "127.0.0.1:1"); err == nil || !strings.HasPrefix(err.Error(), "the cloud does not answer: ") {
		t.Errorf("got %v", err)
	}
}
