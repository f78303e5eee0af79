package minicloud

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// programs puts a directory on PATH, alone, with these shell scripts in it. A
// script's directory is $D.
func programs(t *testing.T, scripts map[string]string) (dir string) {
	t.Helper()
	dir = realTempDir(t)
	for name, script := range scripts {
		write(t, filepath.Join(dir, name), "#!/bin/sh\nD='"+dir+"'\n"+script+"\n")
	}
	t.Setenv("PATH", dir)
	return dir
}

const (
	dead  = `echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1`
	alive = `[ "$1" = version ] && echo 28.2.2 && exit 0; `
	// What the client says of a plugin that it does not have.
	noPlugin = `[ "$1" = compose ] && echo "docker: unknown command: docker compose" >&2 && exit 1; `
)

func TestEngine(t *testing.T) {
	for _, test := range []struct {
		name    string
		scripts map[string]string
		want    string
	}{
		{"one that answers is an engine", map[string]string{"docker": alive}, ""},
		{"without a docker command there is none", nil, "no Docker engine answers: there is no docker command"},
		{"a command without a daemon says so", map[string]string{"docker": dead},
			"no Docker engine answers: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running"},
		{"a command that fails silently says how", map[string]string{"docker": "exit 3"}, "no Docker engine answers: docker version: exit status 3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			programs(t, test.scripts)
			err := engine(t.Context())
			if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want || !errors.Is(err, errNoEngine)) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("an answer that does not come is not waited for", func(t *testing.T) {
		programs(t, map[string]string{"docker": "exec /bin/sleep 100"})
		if _, err := output(t.Context(), 50*time.Millisecond, "docker", "version"); err == nil || err.Error() != "docker version has not answered within 50ms" {
			t.Errorf("got %v", err)
		}
	})
}

func TestComposeCommand(t *testing.T) {
	for _, test := range []struct {
		name    string
		scripts map[string]string
		want    string
	}{
		{"version 2 is a plugin", map[string]string{"docker": `[ "$1 $2" = "compose version" ]`}, "docker compose"},
		{"version 1 is a program", map[string]string{"docker": noPlugin, "docker-compose": `[ "$1" = version ]`}, "docker-compose"},
		{"version 2 is preferred", map[string]string{"docker": "exit 0", "docker-compose": "exit 0"}, "docker compose"},
		{"a program that does not work is none", map[string]string{"docker": noPlugin, "docker-compose": "exit 1"}, ""},
		{"without either there is a hint", map[string]string{"docker": noPlugin}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			programs(t, test.scripts)
			m := &command{}
			words, err := m.composeCommand(t.Context())
			if got := strings.Join(words, " "); got != test.want {
				t.Errorf("got %q, %v", got, err)
			}
			if test.want == "" && (err == nil || !strings.Contains(err.Error(), "Compose is missing; install") || !strings.Contains(err.Error(), "MODE=local")) {
				t.Errorf("got %v", err)
			}
			programs(t, nil)
			if words, _ := m.composeCommand(t.Context()); strings.Join(words, " ") != test.want {
				t.Errorf("it is asked again: %v", words)
			}
		})
	}
}

func TestProjectIsNamedAsComposeDoes(t *testing.T) {
	for _, test := range []struct{ name, root, variable, want string }{
		{"by its directory", "/home/me/minicloud", "", "minicloud"},
		{"in lower case and without signs", "/home/me/My Cloud 2.0", "", "mycloud20"},
		{"beginning with a letter or a digit", "/home/me/_cloud", "", "cloud"},
		{"by the variable before the directory", "/home/me/minicloud", "mine", "mine"},
		{"somehow, where nothing is left", "/", "", "minicloud"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("COMPOSE_PROJECT_NAME", test.variable)
			if got := (&command{root: test.root}).project(); got != test.want {
				t.Errorf("got %q, expected %q", got, test.want)
			}
		})
	}
}

func TestContainersAreReadFromDocker(t *testing.T) {
	root := realTempDir(t)
	link := filepath.Join(realTempDir(t), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	line := func(words ...string) string { return strings.Join(words, "\t") + "\n" }
	for _, test := range []struct {
		name, out string
		want      containers
	}{
		{"no line is no container", "", containers{}},
		{"a line is a container", line("a1", "p", root, "load-balancer", "Up 2 minutes", "127.0.0.1:80->80/tcp, 127.0.0.1:8008->8008/tcp"),
			containers{"load-balancer": {"a1", "Up 2 minutes", "127.0.0.1:80->80/tcp, 127.0.0.1:8008->8008/tcp"}}},
		{"ports may be missing at the end", "a1\tp\t" + root + "\tdns-com\tUp 1 second", containers{"dns-com": {"a1", "Up 1 second", ""}}},
		{"a link to the directory is the directory", line("a1", "p", link, "dns-com", "Up 1 second", ""), containers{"dns-com": {"a1", "Up 1 second", ""}}},
		{"another clone of the same name is another project", line("a1", "p", root+"-2", "dns-com", "Up 1 second", ""), containers{}},
		{"a container without a service is none of ours", line("a1", "p", root, "", "Up 1 second", ""), containers{}},
		{"of two the one that runs counts", line("a1", "p", root, "dns-com", "Up 1 second", "") + line("a2", "p", root, "dns-com", "Exited (1) 1 second ago", ""),
			containers{"dns-com": {"a1", "Up 1 second", ""}}},
		{"a line of something else is passed over", "WARNING: no swap limit support\n", containers{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := parseContainers(test.out, root); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzParseContainers(f *testing.F) {
	f.Add("a1\tp\t/r\tdns-com\tUp 1 second\t127.0.0.1:53->53/udp\n")
	f.Add("\t\t\t\t\t\t\t")
	f.Fuzz(func(t *testing.T, out string) {
		for _, row := range dockerRows(parseContainers(out, "/r")) {
			if row.Where == "" {
				continue
			}
			if row.Where != "not running" && !strings.HasPrefix(row.Where, "127.0.0.1:") {
				t.Errorf("%q made %+v", out, row)
			}
		}
	})
}

func TestContainerState(t *testing.T) {
	for status, up := range map[string]bool{
		"Up 3 seconds": true, "Up 2 hours (healthy)": true, "Up 2 hours (Paused)": false,
		"Restarting (1) 2 seconds ago": false, "Exited (0) 2 seconds ago": false, "Created": false, "": false,
	} {
		if got := (container{status: status}).up(); got != up {
			t.Errorf("%q: up %t", status, got)
		}
	}
	all := allUp()
	if len(all.down()) != 0 || !all.anyUp() {
		t.Errorf("down: %v", all.down())
	}
	all["cache-store"] = container{status: "Exited (1) 1 second ago"}
	delete(all, "dns-com")
	if got := fmt.Sprint(all.down()); got != "[dns-com cache-store]" {
		t.Errorf("down: %s", got)
	}
	if (containers{"cache-store": {status: "Created"}}).anyUp() {
		t.Error("a container that was only made runs")
	}
}

// allUp is a project of which every container runs.
func allUp() containers {
	all := containers{}
	for _, p := range Parts() {
		all[p.Name] = container{id: p.Name, status: "Up 2 minutes", ports: "8005/tcp"}
	}
	return all
}

func TestUnchanged(t *testing.T) {
	if !unchanged(allUp(), allUp()) {
		t.Error("the same containers are a change")
	}
	for name, change := range map[string]func(containers){
		"a container more":         func(c containers) { delete(c, "dns-com") },
		"one in another's place":   func(c containers) { c["dns-com"] = container{id: "new", status: "Up 1 second"} },
		"one that did not run yet": func(c containers) { c["dns-com"] = container{id: "dns-com", status: "Exited (0)"} },
		"a first start":            func(c containers) { clear(c) },
	} {
		before := allUp()
		change(before)
		if unchanged(before, allUp()) {
			t.Errorf("%s is no change", name)
		}
	}
}

func TestDockerRows(t *testing.T) {
	all := allUp()
	all[loadBalancer] = container{status: "Up 1 second", ports: "127.0.0.1:8080->80/tcp, 127.0.0.1:9008->8008/tcp"}
	all[resolverName] = container{status: "Up 1 second", ports: "127.0.0.1:6000->5354/tcp, 127.0.0.1:6001->5354/udp"}
	all["cache-store"] = container{status: "Restarting (1) 1 second ago"}
	got := map[string]Row{}
	for _, row := range dockerRows(all) {
		got[row.Name] = row
	}
	for name, want := range map[string][2]string{
		loadBalancer:  {"127.0.0.1:8080", "admin http://127.0.0.1:9008"},
		resolverName:  {"127.0.0.1:6001", ""},
		"cache-store": {"not running", ""},
		"dns-root":    {"", ""},
	} {
		if row := got[name]; row.Where != want[0] || row.Admin != want[1] {
			t.Errorf("%s: %+v", name, row)
		}
	}
}

func TestBuildContext(t *testing.T) {
	stream := func(binary string) []byte {
		t.Helper()
		r, err := buildContext([]byte("FROM scratch\n"), []byte(binary))
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if !bytes.Equal(stream("ELF"), stream("ELF")) {
		t.Error("equal binaries make different streams")
	}
	if bytes.Equal(stream("ELF"), stream("elf")) {
		t.Error("different binaries make equal streams")
	}
	got := ""
	for r := tar.NewReader(bytes.NewReader(stream("ELF"))); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got += fmt.Sprintf("%s %v %q\n", h.Name, h.FileInfo().Mode(), body)
	}
	if want := "Dockerfile -rw-r--r-- \"FROM scratch\\n\"\ndata/ drwxr-xr-x \"\"\nservice -rwxr-xr-x \"ELF\"\n"; got != want {
		t.Errorf("the stream holds\n%s", got)
	}
}

func TestBuildImages(t *testing.T) {
	root, bin := realTempDir(t), realTempDir(t)
	programs(t, map[string]string{"docker": "exit 0"})
	if err := BuildImages(t.Context(), root, bin); err == nil || !strings.Contains(err.Error(), "Dockerfile.prebuilt") {
		t.Errorf("without a Dockerfile: %v", err)
	}
	write(t, filepath.Join(root, "Dockerfile.prebuilt"), "FROM scratch\n")
	if err := BuildImages(t.Context(), root, bin); err == nil || !strings.Contains(err.Error(), "`make build` makes the binaries") {
		t.Errorf("without binaries: %v", err)
	}
	for _, name := range Images() {
		write(t, filepath.Join(bin, name), "the binary "+name)
	}
	dir := programs(t, map[string]string{"docker": `[ "$1" = buildx ] && exit 1
		[ "$1 $2 $3 $5 $DOCKER_BUILDKIT" = "build -q -t - 0" ] || { echo "unexpected: $@" >&2; exit 1; }
		/bin/cat >"$D/${4#minicloud/}.tar"`})
	if err := BuildImages(t.Context(), root, bin); err != nil {
		t.Fatal(err)
	}
	for _, name := range Images() {
		if !strings.Contains(read(t, filepath.Join(dir, name+".tar")), "the binary "+name) {
			t.Errorf("the image of %s has not its binary", name)
		}
	}
	programs(t, map[string]string{"docker": `[ "$1" = buildx ] && exit 0; /bin/cat >/dev/null; echo first >&2; echo "no space left on device." >&2; exit 1`})
	if err := BuildImages(t.Context(), root, bin); err == nil || !strings.HasSuffix(err.Error(), ": no space left on device") {
		t.Errorf("of an engine that fails: %v", err)
	}
}
