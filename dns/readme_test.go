// Package dns_test holds the README, and the story in docs/dns.md, to what the
// code does.
package dns_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/authority"
	"minicloud.internal/dns/resolver"
	"minicloud.internal/dns/server"
	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns the first fenced block of a language, or of a file.
func block(t *testing.T, language string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)\n```" + regexp.QuoteMeta(language) + "\n(.*?)```").FindStringSubmatch(readme(t))
	if m == nil {
		t.Fatalf("README.md has no %s block", language)
	}
	return m[1]
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// A service is what both programs run.
type service interface {
	Serve(ctx context.Context, ln net.Listener, pc net.PacketConn) error
}

// serve runs a service on loopback until the test ends, with TLS and HTTPS where
// its limits ask for them.
func serve(t *testing.T, s service, dir string, l server.Limits) *server.Listener {
	t.Helper()
	ln, pc, err := server.Listen("127.0.0.1:0", dir, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Serve(ctx, ln, pc); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return ln.(*server.Listener)
}

func authoritative(t *testing.T, file string) *server.Listener {
	t.Helper()
	cfg := authority.DefaultConfig()
	if err := kit.LoadConfig(file, &cfg); err != nil {
		t.Fatal(err)
	}
	s, err := authority.New(cfg, discard(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s, cfg.Dir, cfg.Limits)
}

// recursive returns the DNS side and the admin pages of a resolver.
func recursive(t *testing.T, file string, dial kit.DialFunc) (dns *server.Listener, admin string) {
	t.Helper()
	cfg := resolver.DefaultConfig()
	if err := kit.LoadConfig(file, &cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Dial = dial
	r, err := resolver.New(cfg, discard(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, handler := range r.AdminHandlers() {
		mux.Handle(pattern, handler)
	}
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	return serve(t, r, cfg.Dir, cfg.Limits), pages.Listener.Addr().String()
}

// garden writes the files of the README's examples, with free ports for theirs,
// and serves the zone.
func garden(t *testing.T) (dir string, ln *server.Listener) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("GARDEN_SECRET", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	for name, language := range map[string]string{"garden.zone": "zone", "garden.toml": "toml garden.toml"} {
		write(t, filepath.Join(dir, name), block(t, language))
	}
	return dir, authoritative(t, filepath.Join(dir, "garden.toml"))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The zone of the examples is what they say, also where no dig is installed.
func TestTheExampleWorks(t *testing.T) {
	_, ln := garden(t)
	for question, want := range map[string]string{
		"rose.garden.test. A":          "192.0.2.80",
		"tulip.bed.garden.test. TXT":   "something grows here",
		"_http._tcp.garden.test. SRV":  "8080 rose.garden.test.",
		"elsewhere.garden.test. CNAME": "",
	} {
		name, qtype, _ := strings.Cut(question, " ")
		m, err := dns.Exchange(new(dns.Msg).SetQuestion(name, dns.StringToType[qtype]), ln.Addr().String())
		if err != nil || (len(m.Answer) == 1) != (want != "") || want != "" && !strings.Contains(m.Answer[0].String(), want) {
			t.Errorf("%s: %v %v", question, m, err)
		}
	}
}

// An example is a command of the README and what it says.
type example struct{ command, output string }

func examples(t *testing.T) (list []example) {
	t.Helper()
	for _, part := range strings.Split(readme(t), "\n    $ ")[1:] {
		command, rest, _ := strings.Cut(part, "\n")
		e := example{command: command}
		for line := range strings.Lines(rest) {
			output, ok := strings.CutPrefix(line, "    ")
			if !ok {
				break // the text goes on
			}
			e.output += output
		}
		list = append(list, e)
	}
	return list
}

// varies is what is another one at each run: times, and what is left of a TTL.
var varies = regexp.MustCompile(`("milliseconds": |"ttl":|cached )[\d.]+|\b\d+( IN )|"stored":"[^"]*"`)

// said is an output without that, and without the width of its columns.
func said(output string) string {
	return varies.ReplaceAllString(strings.Join(strings.Fields(output), " "), "$1#$2")
}

// everything serves what the examples speak of: the cloud's own zones, the garden and
// the laptop's resolver. It returns where they run, and the real address for each port
// of the README.
func everything(t *testing.T) (dir string, real map[string]string) {
	t.Helper()
	openssl := regexp.MustCompile(`(?m)^    (openssl req .*)$`).FindStringSubmatch(readme(t))
	if openssl == nil {
		t.Fatal("the command that makes the certificate is missing")
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here, with which the examples make their certificate")
	}
	dir, ln := garden(t)
	if _, err := shell(dir, openssl[1]); err != nil {
		t.Fatal(err)
	}
	zone := ln.Addr().String()
	real = map[string]string{"5353": zone}

	laptop := filepath.Join(dir, "laptop.toml")
	text := regexp.MustCompile(`"127.0.0.1:(8853|8443)"`).ReplaceAllString(block(t, "toml laptop.toml"), `"127.0.0.1:0"`)
	write(t, laptop, strings.ReplaceAll(text, "127.0.0.1:5353", zone))
	resolving, admin := recursive(t, laptop, func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != zone {
			return nil, fmt.Errorf("%s is not asked in a test", address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	})
	real["5355"], real["5381"] = resolving.Addr().String(), admin
	real["8853"], real["8443"] = resolving.TLSAddr().String(), resolving.HTTPSAddr().String()

	t.Setenv("MINICLOUD_HTTP_PORT", "80")
	var hosts kit.Hosts
	for _, name := range []string{"dns-root", "dns-com", "dns-example-com"} {
		hosts.Set(name+":53", authoritative(t, "../configs/"+name+".toml").Addr().String())
	}
	cloud, admin := recursive(t, "../configs/dns-resolver.toml", hosts.Dial)
	real["5354"], real["5380"] = cloud.Addr().String(), admin
	return dir, real
}

// Every command of the README says what stands below it.
func TestReadmeExamples(t *testing.T) {
	dir, real := everything(t)
	list := examples(t)
	if len(list) < 15 {
		t.Errorf("found only %d examples", len(list))
	}
	for _, e := range list {
		t.Run(e.command, func(t *testing.T) {
			for _, program := range regexp.MustCompile(`(?:^|\| )(\w+)`).FindAllStringSubmatch(e.command, -1) {
				if _, err := exec.LookPath(program[1]); err != nil {
					t.Skipf("no %s here", program[1])
				}
			}
			command := e.command
			for written, address := range real {
				_, port, _ := net.SplitHostPort(address)
				command = regexp.MustCompile(`((?:-p |:))`+written+`\b`).ReplaceAllString(command, "${1}"+port)
			}
			output, err := shell(dir, command)
			if err != nil {
				t.Error(err)
			}
			for written, address := range real {
				output = strings.ReplaceAll(output, address, "127.0.0.1:"+written)
			}
			if diff := cmp.Diff(said(e.output), said(output)); diff != "" {
				t.Errorf("(-README +run)\n%s", diff)
			}
		})
	}
}

func shell(dir, command string) (string, error) {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	if err != nil && len(output) == 0 { // dig says that a transfer was refused with its status, too
		return "", fmt.Errorf("%s: %w", command, err)
	}
	return string(output), nil
}

func TestEveryKeyIsExplained(t *testing.T) {
	kittest.Readme(t, "README.md", &authority.Config{})
	kittest.Readme(t, "README.md", &resolver.Config{})
}

// TestTheDefaultsAreThose makes a configuration of the tables' defaults: it must be
// the code's.
func TestTheDefaultsAreThose(t *testing.T) {
	_, tables, _ := strings.Cut(readme(t), "**Both programs.**")
	tables, _, _ = strings.Cut(tables, "\n## ")
	both, rest, _ := strings.Cut(tables, "**dnsserver.**")
	authoritative, recursive, found := strings.Cut(rest, "**resolver.**")
	if !found {
		t.Fatal("the tables are not where they were")
	}
	home := regexp.MustCompile(`[0-9a-f.:]+/\d+`).FindAllString(readme(t), -1)[:8]
	load := func(text string, cfg any) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "defaults.toml")
		write(t, file, text)
		if err := kit.LoadConfig(file, cfg); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	options := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(kit.Common{}, "Dir", "File")}

	var a authority.Config
	load(defaults(both+authoritative, home), &a)
	if diff := cmp.Diff(authority.DefaultConfig(), a, options); diff != "" {
		t.Errorf("dnsserver (-code +README)\n%s", diff)
	}
	var r resolver.Config
	load(defaults(both+recursive, home), &r)
	if diff := cmp.Diff(resolver.DefaultConfig(), r, options); diff != "" {
		t.Errorf("resolver (-code +README)\n%s", diff)
	}
}

// defaults returns the rows of tables as a configuration file. Where a default is "at
// home", it is these networks.
func defaults(tables string, home []string) string {
	var text strings.Builder
	for _, row := range regexp.MustCompile("(?m)^\\| (`\\w+`(?:, `\\w+`)*) \\| (?:`([^`]+)`[^|]*|(at home)) \\|").FindAllStringSubmatch(tables, -1) {
		value := row[2]
		if row[3] != "" {
			value = `["` + strings.Join(home, `", "`) + `"]`
		}
		for _, key := range strings.Split(row[1], ", ") {
			fmt.Fprintf(&text, "%s = %s\n", strings.Trim(key, "`"), value)
		}
	}
	return text.String()
}

// A metric is one that is registered.
type metric struct{ name, help, labels string }

// names is a registerer that only remembers what was registered.
type names struct {
	prometheus.Registerer
	metrics []metric
}

var described = regexp.MustCompile(`fqName: "(\w+)", help: "([^"]*)",(?: unit: "[^"]*",)? constLabels: \{(.*?)\}, variableLabels: \{(.*?)\}`)

func (n *names) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 10)
	c.Describe(ch)
	close(ch)
	for d := range ch {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			return fmt.Errorf("%s is described otherwise", d)
		}
		n.metrics = append(n.metrics, metric{m[1], m[2], strings.TrimSuffix(m[3]+","+m[4], ",")})
	}
	return nil
}

// TestEveryMetricIsExplained compares the table with what both programs register, in
// both directions; a row also has each label, and each value that the metric's help
// lists.
func TestEveryMetricIsExplained(t *testing.T) {
	var n names
	if _, err := authority.New(authority.DefaultConfig(), discard(), &n); err != nil {
		t.Fatal(err)
	}
	if _, err := resolver.New(resolver.DefaultConfig(), discard(), &n); err != nil {
		t.Fatal(err)
	}
	if len(n.metrics) < 30 {
		t.Errorf("only %d metrics", len(n.metrics))
	}
	registered := map[string]bool{}
	text := readme(t)
	values := regexp.MustCompile(`\((\w+(?:, \w+)+)\)`)
	word := regexp.MustCompile(`\w+`)
	for _, m := range n.metrics {
		registered[m.name] = true
		row := regexp.MustCompile("(?m)^\\|.*`" + m.name + "`.*$").FindString(text)
		if row == "" {
			t.Errorf("%s is not in the table", m.name)
			continue
		}
		wanted := word.FindAllString(regexp.MustCompile(`="[^"]*"`).ReplaceAllString(m.labels, ""), -1)
		if list := values.FindStringSubmatch(m.help); list != nil && m.labels != "" && !strings.Contains(m.name, "_dropped_") {
			wanted = append(wanted, word.FindAllString(list[1], -1)...)
		}
		for _, w := range wanted {
			if !strings.Contains(row, "`"+w+"`") {
				t.Errorf("the row of %s does not name %s", m.name, w)
			}
		}
	}
	for _, name := range regexp.MustCompile(`minicloud_\w+`).FindAllString(text, -1) {
		if !registered[name] {
			t.Errorf("%s is in the README, and not in the code", name)
		}
	}
}

// known returns what Go code has: its files, and every word, method ("Zone.pack"),
// field ("Result.Notes") and name of a package ("cache.Rank").
func known(t *testing.T, dirs ...string) (paths []string, names map[string]bool) {
	t.Helper()
	names = map[string]bool{}
	word, pack := regexp.MustCompile(`\w+`), regexp.MustCompile(`(?m)^package (\w+)`)
	method, top := regexp.MustCompile(`(?m)^func \(\w+ \*?(\w+)\) (\w+)`), regexp.MustCompile(`(?m)^(?:func|type|const|var) (\w+)`)
	structure, field := regexp.MustCompile(`(?ms)^type (\w+) struct \{\n(.*?)^\}`), regexp.MustCompile(`(?m)^\t(\w+) `)
	read := func(path, code string) {
		paths = append(paths, filepath.ToSlash(path))
		if filepath.Base(path) == "readme_test.go" {
			return
		}
		for _, w := range word.FindAllString(code, -1) {
			names[w] = true
		}
		for _, m := range method.FindAllStringSubmatch(code, -1) {
			names[m[1]+"."+m[2]] = true
		}
		for _, m := range top.FindAllStringSubmatch(code, -1) {
			names[pack.FindStringSubmatch(code)[1]+"."+m[1]] = true
		}
		for _, s := range structure.FindAllStringSubmatch(code, -1) {
			for _, f := range field.FindAllStringSubmatch(s[2], -1) {
				names[s[1]+"."+f[1]] = true
			}
		}
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			code, err := os.ReadFile(path)
			read(path, string(code))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return paths, names
}

// The README, docs/dns.md and the step of docs/architecture.md about DNS name no test,
// no file and no function that is not there.
func TestWhatTheDocumentsNameIsThere(t *testing.T) {
	paths, names := known(t, ".", "../e2e")
	read := func(file string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, step, _ := strings.Cut(read("../docs/architecture.md"), "\n## 2. ")
	step, _, found := strings.Cut(step, "\n## 3. ")
	if !found {
		t.Fatal("docs/architecture.md has no step 2")
	}
	story := read("../docs/dns.md")
	for document, body := range map[string]string{"README.md": readme(t), "docs/dns.md": story, "docs/architecture.md": step} {
		for _, name := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(body, -1) {
			if !names[name[1]] {
				t.Errorf("%s names %s, which no file has", document, name[1])
			}
		}
		for _, file := range regexp.MustCompile(`[\w/]+\.go\b`).FindAllString(body, -1) {
			file = strings.TrimPrefix(file, "dns/")
			if !slices.ContainsFunc(paths, func(p string) bool { return p == file || strings.HasSuffix(p, "/"+file) }) {
				t.Errorf("%s names %s, which is not there", document, file)
			}
		}
	}
	for _, name := range regexp.MustCompile("`([A-Za-z]\\w*(?:\\.\\w+)?)`").FindAllStringSubmatch(story+step, -1) {
		if name := strings.TrimPrefix(name[1], "authority."); !strings.HasSuffix(name, ".com") && !strings.HasSuffix(name, ".go") && !names[name] {
			t.Errorf("a document names %s, which the code has not", name)
		}
	}
}
