package minicloud

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeDocker puts an engine on PATH whose containers are the parts of a cloud in
// this process: `compose up` makes them appear, `compose down` disappear.
func fakeDocker(t *testing.T, c *Cloud, root string) (dir string) {
	t.Helper()
	t.Setenv("COMPOSE_PROJECT_NAME", "test")
	dir = programs(t, map[string]string{"docker": `
		case "$1 $2" in
		"version "*) echo 28.2.2;;
		"buildx "*) exit 1;;
		"build "*) while read -r line; do :; done;;
		"image prune") ;;
		"compose version") ;;
		"compose up") [ -e "$D/broken" ] && { echo "pulling"; echo "network is down" >&2; exit 1; }
			: >"$D/up"; echo "$@ in $PWD as $COMPOSE_PROJECT_NAME, $MINICLOUD_HTTP_PORT" >>"$D/calls";;
		"compose down") echo "$@" >>"$D/calls"; /bin/rm -f "$D/up";;
		"compose logs") echo "the log, $@";;
		"ps "*) [ "$5" = label=com.docker.compose.project=test ] && [ -e "$D/up" ] && /bin/cat "$D/rows"; exit 0;;
		"logs "*) echo "cache: no such file." >&2;;
		*) echo "unexpected: $@" >&2; exit 1;;
		esac`})
	rows := ""
	for _, p := range Parts() {
		ports := ""
		_, inside, _ := net.SplitHostPort(p.Address)
		_, outside, _ := net.SplitHostPort(c.Address(p.Name))
		if p.Env != "" {
			ports = fmt.Sprintf("127.0.0.1:%s->%s/tcp", outside, inside)
		}
		if p.Env != "" && p.UDP {
			ports += fmt.Sprintf(", 127.0.0.1:%s->%s/udp", outside, inside)
		}
		rows += strings.Join([]string{p.Name + "-id", "test", root, p.Name, "Up 1 second", ports}, "\t") + "\n"
	}
	write(t, filepath.Join(dir, "rows"), rows)
	return dir
}

func TestContainersFromUpToClean(t *testing.T) {
	freePorts(t)
	configs := configsCopy(t)
	root := filepath.Dir(configs)
	write(t, filepath.Join(root, "docker-compose.yml"), "")
	dir := fakeDocker(t, startCloud(t), root)
	state := filepath.Join(root, ".minicloud")
	flags := []string{"-configs", configs, "-state", state}
	run := func(args ...string) result { return runMain(append(args, flags...)...) }
	// The services' binaries are beside the program, which is this test.
	up := func(mode string) error {
		m := &command{mode: "local", stdout: &buffer{}}
		if err := m.parse("up", append([]string{"-d", "-mode", mode}, flags...)); err != nil {
			t.Fatal(err)
		}
		m.self = filepath.Join(dir, "minicloud")
		err := m.up(t.Context())
		t.Logf("%s", m.stdout)
		if err != nil {
			return fmt.Errorf("%s%w", m.stdout, err)
		}
		return fmt.Errorf("%s", m.stdout)
	}
	says := func(err error, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q is missing in %v", w, err)
			}
		}
	}
	run("status").expect(t, 1, "the cloud does not run")
	says(up("auto"), "with Docker Compose: a Docker engine answers", "Dockerfile.prebuilt: no such file")
	write(t, filepath.Join(root, "Dockerfile.prebuilt"), "FROM scratch\n")
	for _, name := range Images() {
		write(t, filepath.Join(dir, name), "binary")
	}
	write(t, filepath.Join(dir, "broken"), "")
	says(up("docker"), "docker compose up -d --no-build --remove-orphans: exit status 1\npulling\nnetwork is down")
	if err := os.Remove(filepath.Join(dir, "broken")); err != nil {
		t.Fatal(err)
	}

	says(up("auto"), "The cloud answers, ", "export MINICLOUD_RESOLVER=127.0.0.1:", "dns-com          inside only")
	says(up("docker"), "the mode was asked for", "runs already in containers, and nothing has changed")
	calls := read(t, filepath.Join(dir, "calls"))
	if !strings.Contains(calls, " in "+root+" as test, ") || strings.Contains(calls, ", \n") {
		t.Errorf("Compose was called as %s", calls)
	}
	says(up("local"), "the cloud runs already in containers; `make down` stops it")
	run("status").expect(t, 0, "The cloud runs in containers.")
	run("logs").expect(t, 0, "the log, compose logs --no-color --tail=1000\n")
	run("logs", "-f").expect(t, 0, "--tail=1000 -f\n")

	rows := read(t, filepath.Join(dir, "rows"))
	cache := "cache-store\tUp 1 second"
	write(t, filepath.Join(dir, "rows"), strings.Replace(rows, cache, "cache-store\tRestarting (1) 1 second ago", 1))
	run("status").expect(t, 0, "cache-store      not running ")
	says(up("docker"), "the container of cache-store does not run: cache: no such file; `make logs` shows more")

	run("down").expect(t, 0, "The cloud is down.")
	run("down").expect(t, 0, "The cloud does not run.")
	run("clean").expect(t, 0, "what it kept is removed")
	if calls := read(t, filepath.Join(dir, "calls")); !strings.HasSuffix(calls, "compose down\ncompose down --volumes --remove-orphans\n") {
		t.Errorf("Compose was called as %s", calls)
	}
}

// An engine that is there without Compose is an error with a hint, not a reason
// to start in another way than was expected.
func TestComposeIsMissing(t *testing.T) {
	freePorts(t)
	programs(t, map[string]string{"docker": alive + noPlugin + "exit 0"})
	flags := []string{"-configs", configsCopy(t), "-state", filepath.Join(t.TempDir(), "state")}
	r := runMain(append([]string{"up", "-d", "-mode", "auto"}, flags...)...)
	r.expect(t, 1, "Compose is missing; install the Compose plugin", "make up MODE=local\n")
	if strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("it takes more than a sentence: %s", r.stderr)
	}
	runMain(append([]string{"clean"}, flags...)...).expect(t, 0, "what it kept is removed")
}
