package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/compose"

	"minicloud.internal/minicloud"
)

// composed is the cloud of docker-compose.yml.
type composed struct {
	stack          *compose.DockerCompose
	http, resolver string
}

// needEngine skips a test where no Docker engine answers.
func needEngine(t *testing.T) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, NO DOCKER ENGINE: the container tests did not run (%v: %s)", err, strings.TrimSpace(string(out)))
	}
}

// freePort returns a port that is free for UDP and TCP, from below the range in
// which the kernel chooses by itself: it is used only later, and no connection of
// a test beside this one may be given it meanwhile. The two doors that a client
// finds by number get one each; every other port is Docker's choice.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(12_000))
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		_ = ln.Close()
		if err == nil {
			_ = pc.Close()
			return port
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}

// startComposed starts docker-compose.yml as it stands, beside whatever else
// runs on this machine.
func startComposed(t *testing.T) *composed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := minicloud.BuildImages(ctx, root, bin); err != nil {
		t.Fatalf("build the images: %v", err)
	}
	tclog.SetDefault(tclog.NewNoopLogger())
	stack, err := compose.NewDockerComposeWith(
		compose.StackIdentifier(fmt.Sprintf("minicloud-e2e-%d", time.Now().UnixNano())),
		compose.WithStackFiles(filepath.Join(root, "docker-compose.yml")))
	if err != nil {
		t.Fatalf("read docker-compose.yml: %v", err)
	}
	env := map[string]string{}
	for _, name := range minicloud.PortVariables() {
		env[name] = ""
	}
	http, resolver := freePort(t), freePort(t)
	env["MINICLOUD_HTTP_PORT"], env["MINICLOUD_RESOLVER_PORT"] = http, resolver
	t.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := stack.Down(ctx, compose.RemoveOrphans(true), compose.RemoveVolumes(true)); err != nil {
			t.Errorf("remove the containers: %v", err)
		}
	})
	if err := stack.WithEnv(env).Up(ctx); err != nil {
		t.Fatalf("start the containers: %v", err)
	}
	c := &composed{stack, "127.0.0.1:" + http, "127.0.0.1:" + resolver}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range minicloud.Parts() {
				t.Logf("log of %s:\n%s", p.Name, c.Logs(t, p.Name))
			}
		}
	})
	return c
}

func (c *composed) HTTP() string     { return c.http }
func (c *composed) Resolver() string { return c.resolver }

func (c *composed) container(t *testing.T, part string) *testcontainers.DockerContainer {
	t.Helper()
	container, err := c.stack.ServiceContainer(context.Background(), part)
	if err != nil {
		t.Fatalf("container of %s: %v", part, err)
	}
	return container
}

func (c *composed) Where(t *testing.T, part string) string {
	t.Helper()
	_, inside, _ := net.SplitHostPort(partOf(t, part).Address)
	return c.published(t, part, inside)
}

func (c *composed) Admin(t *testing.T, part string) string {
	t.Helper()
	return c.published(t, part, partOf(t, part).Admin.Inside)
}

func partOf(t *testing.T, name string) *minicloud.Part {
	t.Helper()
	for _, p := range minicloud.Parts() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no part %s", name)
	return nil
}

func (c *composed) published(t *testing.T, part, inside string) string {
	t.Helper()
	address, err := c.container(t, part).PortEndpoint(t.Context(), inside+"/tcp", "")
	if err != nil {
		t.Fatalf("port of %s: %v", part, err)
	}
	return strings.Replace(address, "localhost", "127.0.0.1", 1)
}

func (c *composed) Stop(t *testing.T, part string) {
	t.Helper()
	grace := 20 * time.Second
	if err := c.container(t, part).Stop(t.Context(), &grace); err != nil {
		t.Fatalf("stop %s: %v", part, err)
	}
}

func (c *composed) Start(t *testing.T, part string) {
	t.Helper()
	if err := c.container(t, part).Start(t.Context()); err != nil {
		t.Fatalf("start %s: %v", part, err)
	}
}

func (c *composed) Logs(t *testing.T, part string) string {
	t.Helper()
	logs, err := c.container(t, part).Logs(context.Background())
	if err != nil {
		t.Fatalf("log of %s: %v", part, err)
	}
	defer logs.Close()
	text, err := io.ReadAll(logs)
	if err != nil {
		t.Fatalf("log of %s: %v", part, err)
	}
	return string(text)
}

func TestContainers(t *testing.T) {
	needEngine(t)
	c := startComposed(t)
	suite(t, c)

	t.Run("parts that are killed under writes lose nothing acknowledged", func(t *testing.T) { testKillParts(t, c) })
	t.Run("each container runs without privileges", func(t *testing.T) {
		for _, p := range minicloud.Parts() {
			info, err := c.container(t, p.Name).Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			h := info.HostConfig
			if !h.ReadonlyRootfs || h.Privileged || len(h.CapDrop) != 1 || h.CapDrop[0] != "ALL" || info.Config.User != "65532:65532" {
				t.Errorf("%s: read-only %t, privileged %t, dropped %v, user %q", p.Name, h.ReadonlyRootfs, h.Privileged, h.CapDrop, info.Config.User)
			}
			for port, bindings := range h.PortBindings {
				for _, b := range bindings {
					if b.HostIP.String() != "127.0.0.1" {
						t.Errorf("%s publishes %v on %v, expected loopback only", p.Name, port, b.HostIP)
					}
				}
			}
		}
	})
}
