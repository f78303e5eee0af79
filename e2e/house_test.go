package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"minicloud.internal/minicloud"
)

const house = "minicloud.internal/"

// may says which modules of the house each module imports outside its tests,
// and why no others.
var may = map[string]struct {
	modules []string
	why     string
}{
	"kit":           {nil, "kit is what the others stand on: it knows no domain word"},
	"lb":            {[]string{"kit"}, "the load balancer carries any service, so it knows none"},
	"dns":           {[]string{"kit"}, "names are answered for anybody"},
	"objectstorage": {[]string{"kit"}, "a store is used, and uses nobody"},
	"services":      {[]string{"kit"}, "the stores are used, and use nobody"},
	"httpapi":       {[]string{"kit", "services", "objectstorage"}, "the application uses the stores, through their client packages"},
	"ingressclient": {nil, "it enters any cloud through its doors, and stays a small binary"},
	"minicloud":     {[]string{"kit", "lb", "dns", "objectstorage", "services", "httpapi"}, "the composition is the one place that knows every part"},
	"bench":         {[]string{"minicloud", "objectstorage", "dns"}, "measurements start the cloud as a user does; of a part, only what a client of it needs (Signature V4), and what starts name servers as programs (peers)"},
	"e2e":           {[]string{"kit", "minicloud"}, "black-box tests enter where a user does"},
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) (all []pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "work")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 15 {
		t.Fatalf("go list names only %d packages", len(all))
	}
	return all
}

func module(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, house), "/")
	return name
}

func TestImportsFollowTheHouse(t *testing.T) {
	for _, p := range packages(t) {
		from := module(p.ImportPath)
		rule, ok := may[from]
		if !ok {
			t.Errorf("module %s has no rule in this test: say whom it may import, and why", from)
			continue
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, house) || module(imported) == from {
				continue
			}
			if !slices.Contains(rule.modules, module(imported)) {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule.why)
			}
			if from == "bench" && module(imported) == "dns" && imported != house+"dns/peers" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule.why)
			}
			if from == "httpapi" && module(imported) != "kit" && !strings.HasSuffix(imported, "/client") {
				t.Errorf("%s imports %s: only client packages, so that the API does not link the engines", p.ImportPath, imported)
			}
		}
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if from != "e2e" && strings.HasPrefix(imported, "github.com/testcontainers/") {
				t.Errorf("%s imports %s: heavy test dependencies live in e2e and nowhere else", p.ImportPath, imported)
			}
			if from != "e2e" && from != "bench" && from != "minicloud" && imported == house+"minicloud" {
				t.Errorf("%s imports the composition: nothing but its command, e2e and bench may", p.ImportPath)
			}
		}
	}
}

// composeFile is what these tests read of docker-compose.yml.
type composeFile struct {
	Services map[string]struct {
		Image   string   `yaml:"image"`
		Command []string `yaml:"command"`
		Ports   []string `yaml:"ports"`
	} `yaml:"services"`
}

func TestComposeFileAndCodeNameTheSameParts(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) != len(minicloud.Parts()) {
		t.Errorf("docker-compose.yml has %d services, the code %d parts", len(file.Services), len(minicloud.Parts()))
	}
	for _, p := range minicloud.Parts() {
		s, ok := file.Services[p.Name]
		if !ok {
			t.Errorf("docker-compose.yml has no service %s", p.Name)
			continue
		}
		if s.Image != "minicloud/"+p.Image {
			t.Errorf("%s runs image %s, expected minicloud/%s", p.Name, s.Image, p.Image)
		}
		if want := "/etc/minicloud/" + p.Config; !slices.Contains(s.Command, want) {
			t.Errorf("%s runs %v, expected the configuration %s", p.Name, s.Command, want)
		}
		_, inside, _ := net.SplitHostPort(p.Address)
		want := fmt.Sprintf("127.0.0.1:${%s-%d}:%s", p.Env, p.Port, inside)
		if p.Env != "" && !slices.ContainsFunc(s.Ports, func(port string) bool { return strings.HasPrefix(port, want) }) {
			t.Errorf("%s publishes %v, expected %s", p.Name, s.Ports, want)
		}
		want = fmt.Sprintf("127.0.0.1:${%s-%d}:%s", p.Admin.Env, p.Admin.Port, p.Admin.Inside)
		if p.Admin.Env != "" && !slices.Contains(s.Ports, want) {
			t.Errorf("%s publishes %v, expected %s", p.Name, s.Ports, want)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:${MINICLOUD_") {
				t.Errorf("%s publishes %s, expected loopback and a variable", p.Name, port)
			}
		}
	}
}

func TestReadmeNamesEveryVariable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := minicloud.PortVariables()
	for _, p := range minicloud.Parts() {
		names = append(names, p.Name)
	}
	for _, name := range names {
		if !bytes.Contains(text, []byte(name)) {
			t.Errorf("README.md does not name %s", name)
		}
	}
}

// A wrong file starts nothing: exit code 1, one line with file, line, key and
// what is expected. Every program reads its own kind.
func TestWrongConfigurationIsRefused(t *testing.T) {
	for _, test := range []struct {
		name, program, config, says string
	}{
		{"an unknown key", "cache", "listen = \":0\"\nlisten_adress = \"x\"\n", "bad.toml:2: unknown key listen_adress"},
		{"a wrong type", "queue", "listen = 8006\n", "bad.toml:1: listen is 8006, expected a string"},
		{"an address without port", "lb", "[[targets]]\naddress = \"http-api-1\"\n", "bad.toml:2: targets[0].address"},
		{"two routes that contradict", "lb", "[[targets]]\naddress = \"a:1\"\n\n[[path_routes]]\npath = \"/x\"\naddress = \"a:1\"\n\n[[path_routes]]\npath = \"/x\"\naddress = \"a:1\"\n", "bad.toml:10: path_routes[1].address"},
		{"a level that is not there", "httpapi", "log_level = \"loud\"\n", "bad.toml:1: log_level is \"loud\""},
		{"no TOML", "resolver", "listen = \n", "bad.toml:1: "},
		{"a zone file that is not there", "dnsserver", "[[zones]]\nname = \"a.\"\nfile = \"none.zone\"\n", "none.zone"},
		{"a listen address without port", "datastore", "listen = \"localhost\"\n", "bad.toml:1: listen is \"localhost\", expected host:port"},
		{"a size without sense", "objectstorage", "max_object_size = \"big\"\n", "bad.toml:1: max_object_size"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bad.toml")
			if err := os.WriteFile(file, []byte(test.config), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, flags := range [][]string{{"-config", file}, {"-check", "-config", file}} {
				cmd := exec.CommandContext(t.Context(), filepath.Join(bin, test.program), flags...)
				cmd.Dir = t.TempDir()
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				err := cmd.Run()
				if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), test.says) || strings.Count(stderr.String(), "\n") != 1 {
					t.Errorf("%s %v: %v, stderr %q; expected exit code 1 and one line with %q", test.program, flags, err, stderr.String(), test.says)
				}
			}
		})
	}
	if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "minicloud"), "-check", "-configs", filepath.Join(root, "configs")).CombinedOutput(); err != nil {
		t.Errorf("minicloud -check on the project's own configuration: %v\n%s", err, out)
	}
}
