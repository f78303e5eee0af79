package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"minicloud.internal/minicloud"
)

// run runs the minicloud command in a project directory of its own, so that it
// never meets the cloud that may run in this one, and with every port free
// unless env says otherwise.
func run(t *testing.T, project string, env []string, args ...string) result {
	t.Helper()
	configs := filepath.Join(project, "configs")
	if _, err := os.Stat(configs); err != nil {
		if err := os.CopyFS(configs, os.DirFS(filepath.Join(root, "configs"))); err != nil {
			t.Fatal(err)
		}
	}
	// Not t.Context: the last call cleans up, when that has ended.
	cmd := exec.Command(filepath.Join(bin, "minicloud"), args...)
	cmd.Dir = project
	cmd.Env = os.Environ()
	for _, name := range minicloud.PortVariables() {
		cmd.Env = append(cmd.Env, name+"=")
	}
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// background is a cloud that `minicloud up -d` has started.
type background struct {
	local
	resolver string
}

func (b *background) Resolver() string { return b.resolver }

func TestUpInTheBackground(t *testing.T) {
	project := t.TempDir()
	// The default port of the load balancer may be taken here or not
	// permitted; the resolver must be where the second client looks.
	env := []string{"MINICLOUD_RESOLVER_PORT=" + freePort(t)}
	t.Cleanup(func() { // a test that failed half-way leaves nothing behind
		if clean := run(t, project, env, "clean"); clean.code != 0 {
			t.Errorf("clean: %+v", clean)
		}
	})
	up := run(t, project, env, "up", "-d", "-mode", "local")
	if up.code != 0 || !strings.Contains(up.stdout, "one local process") || !strings.Contains(up.stdout, "The cloud answers") {
		t.Fatalf("up: %+v", up)
	}
	for _, p := range minicloud.Parts() {
		if !strings.Contains(up.stdout, p.Name) {
			t.Errorf("the table does not show %s:\n%s", p.Name, up.stdout)
		}
	}
	c := &background{resolver: "127.0.0.1:" + strings.TrimPrefix(env[0], "MINICLOUD_RESOLVER_PORT=")}
	create(t, c, "Nox", "Puts out light")

	if again := run(t, project, env, "up", "-d", "-mode", "local"); again.code != 0 || !strings.Contains(again.stdout, "runs already") {
		t.Errorf("a second up: %+v", again)
	}
	if here := run(t, project, env, "up"); here.code != 1 || !strings.Contains(here.stderr, "already") {
		t.Errorf("up in the foreground beside it: %+v", here)
	}
	if status := run(t, project, env, "status"); status.code != 0 || !strings.Contains(status.stdout, "admin http://127.0.0.1:") {
		t.Errorf("status: %+v", status)
	}
	if logs := run(t, project, env, "logs"); logs.code != 0 || !strings.Contains(logs.stdout, "Healthy targets: 3") {
		t.Errorf("logs: %+v", logs)
	}
	if down := run(t, project, env, "down"); down.code != 0 || !strings.Contains(down.stdout, "The cloud is down") {
		t.Errorf("down: %+v", down)
	}
	if status := run(t, project, env, "status"); status.code != 1 || !strings.Contains(status.stderr, "does not run") {
		t.Errorf("status after down: %+v", status)
	}
	if up := run(t, project, env, "up", "-d", "-mode", "local"); up.code != 0 {
		t.Fatalf("up after down: %+v", up)
	}
	if list := spells(t, c); len(list) != 3 || list[2].Name != "Nox" {
		t.Errorf("after down and up the spells are %v", list)
	}
	if clean := run(t, project, env, "clean"); clean.code != 0 {
		t.Errorf("clean: %+v", clean)
	}
	if _, err := os.Stat(filepath.Join(project, ".minicloud")); !os.IsNotExist(err) {
		t.Errorf("clean leaves .minicloud: %v", err)
	}
}

func TestAPortInUseIsOneClearSentence(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for _, test := range []struct{ name, env string }{
		{"of a store", "MINICLOUD_CACHE_PORT"},
		{"of the resolver", "MINICLOUD_RESOLVER_PORT"},
		{"of the load balancer, asked for by name", "MINICLOUD_HTTP_PORT"},
		{"of its admin listener", "MINICLOUD_LB_ADMIN_PORT"},
		{"of the resolver's", "MINICLOUD_RESOLVER_ADMIN_PORT"},
	} {
		for _, mode := range []string{"local", "docker"} {
			t.Run(test.name+", "+mode, func(t *testing.T) {
				if mode == "docker" {
					needEngine(t)
				}
				r := run(t, t.TempDir(), []string{test.env + "=" + port}, "up", "-d", "-mode", mode)
				want := "port " + port + " for"
				if r.code != 1 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, test.env+"=") || strings.Count(r.stderr, "\n") != 1 {
					t.Errorf("%+v; expected exit code 1 and a sentence with %q and %s", r, want, test.env)
				}
			})
		}
	}
}
