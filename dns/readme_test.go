// Package dns_test holds the README to what the code does.
package dns_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/authority"
	"minicloud.internal/dns/resolver"
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

// block returns the first fenced block of a language.
func block(t *testing.T, language string) string {
	t.Helper()
	m := regexp.MustCompile("(?s)\n```" + language + "\n(.*?)```").FindStringSubmatch(readme(t))
	if m == nil {
		t.Fatalf("README.md has no %s block", language)
	}
	return m[1]
}

func TestTheExampleWorks(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"garden.zone": block(t, "zone"), "garden.toml": block(t, "toml")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := authority.DefaultConfig()
	if err := kit.LoadConfig(filepath.Join(dir, "garden.toml"), &cfg); err != nil {
		t.Fatal(err)
	}
	s, err := authority.New(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, pc) }()
	defer func() { cancel(); <-done }()
	for question, want := range map[string]string{
		"rose.garden.test. A":          "192.0.2.80",
		"tulip.bed.garden.test. TXT":   "something grows here",
		"_http._tcp.garden.test. SRV":  "8080 rose.garden.test.",
		"elsewhere.garden.test. CNAME": "",
	} {
		name, qtype, _ := strings.Cut(question, " ")
		q := new(dns.Msg)
		q.SetQuestion(name, dns.StringToType[qtype])
		m, err := dns.Exchange(q, pc.LocalAddr().String())
		if err != nil || (len(m.Answer) == 1) != (want != "") || want != "" && !strings.Contains(m.Answer[0].String(), want) {
			t.Errorf("%s: %v %v", question, m, err)
		}
	}
}

func TestEveryKeyIsExplained(t *testing.T) {
	kittest.Readme(t, "README.md", &authority.Config{})
	kittest.Readme(t, "README.md", &resolver.Config{})
}

// names is a registerer that only remembers what was registered.
type names struct {
	prometheus.Registerer
	descriptions []string
}

func (n *names) Register(c prometheus.Collector) error {
	ch := make(chan *prometheus.Desc, 10)
	c.Describe(ch)
	close(ch)
	for d := range ch {
		n.descriptions = append(n.descriptions, d.String())
	}
	return nil
}

func TestEveryMetricIsExplained(t *testing.T) {
	var n names
	if _, err := authority.New(authority.DefaultConfig(), slog.New(slog.DiscardHandler), &n); err != nil {
		t.Fatal(err)
	}
	if _, err := resolver.New(resolver.DefaultConfig(), slog.New(slog.DiscardHandler), &n); err != nil {
		t.Fatal(err)
	}
	text := readme(t)
	for _, d := range n.descriptions {
		m := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d)
		if m == nil || !strings.Contains(text, "`"+m[1]+"`") {
			t.Errorf("%s is not in the table", d)
		}
	}
	if len(n.descriptions) < 10 {
		t.Errorf("only %d metrics", len(n.descriptions))
	}
}
