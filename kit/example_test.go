package kit_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"minicloud.internal/kit"
)

type Config struct {
	kit.Common
	MaxValue kit.Bytes     `toml:"max_value"`
	Interval time.Duration `toml:"interval"`
}

func (c *Config) Validate() error {
	if c.Interval <= 0 {
		return kit.KeyErrorf("interval", `is %v, expected more than 0, as in "5s"`, c.Interval)
	}
	return nil
}

func ExampleLoadConfig() {
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "cache.toml")
	for _, text := range []string{
		"listen = '${CACHE_HOST-127.0.0.1}:8005'\nmax_value = '1MiB'",
		"listen = ':8005'\nmax_valeu = '1MiB'",
		"max_value = '1MB'",
		"interval = '-1s'",
	} {
		_ = os.WriteFile(file, []byte(text), 0o600)
		cfg := Config{Common: kit.DefaultCommon(":8005"), MaxValue: 1 << 10, Interval: 5 * time.Second}
		if err := kit.LoadConfig(file, &cfg); err != nil {
			fmt.Println(strings.TrimPrefix(err.Error(), dir+"/"))
			continue
		}
		fmt.Println(cfg.Listen, cfg.MaxValue, cfg.Interval)
	}
	// Output:
	// 127.0.0.1:8005 1MiB 5s
	// cache.toml:2: unknown key max_valeu, did you mean max_value?
	// cache.toml:1: max_value is "1MB", expected a size such as "512B", "64KiB", "5MiB" or "2GiB"
	// cache.toml:1: interval is -1s, expected more than 0, as in "5s"
}

func ExampleHTTPServer() {
	health := kit.NewHealth()
	server := &kit.HTTPServer{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			kit.WriteJSON(w, http.StatusOK, map[string]string{"name": "Nox"})
		}),
		Logger: slog.New(slog.DiscardHandler),
		Health: health,
	}
	ln, err := kit.Listen("127.0.0.1:0")
	if err != nil {
		fmt.Println(err) // listen on TCP 127.0.0.1:80: the address is in use by another program
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, ln) }()

	var hosts kit.Hosts // the cloud's names in one process
	hosts.Set("http-api-1:8001", ln.Addr().String())
	client := kit.NewHTTPClient(hosts.Dial, 5*time.Second)
	defer client.CloseIdleConnections()
	var spell struct {
		Name string `json:"name"`
	}
	err = kit.CallJSON(ctx, client, "GET", "http://http-api-1:8001/api/spells/3", nil, &spell)
	fmt.Println(spell.Name, err)

	stop() // drains
	fmt.Println(<-done)
	// Output:
	// Nox <nil>
	// <nil>
}

// TestTheReadmeIsTrue holds that its code is in the examples above, which run,
// and that its table has every key.
func TestTheReadmeIsTrue(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	flat := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "//", "")), " ") }
	for i, block := range strings.Split(string(readme), "```") {
		kind, text, _ := strings.Cut(block, "\n")
		if i%2 == 1 && kind != "toml" && !strings.Contains(flat(string(source)), flat(text)) {
			t.Errorf("this is in no example:\n%s", text)
		}
		if i%2 == 1 && kind == "toml" {
			file := filepath.Join(t.TempDir(), "readme.toml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := Config{Common: kit.DefaultCommon(":0"), Interval: time.Second}
			if err := kit.LoadConfig(file, &cfg); err != nil {
				t.Error(err)
			}
		}
	}
	for _, key := range []string{"listen", "admin", "log_level", "log_format"} {
		if !strings.Contains(string(readme), "| `"+key+"` |") {
			t.Errorf("the table has no row for %s", key)
		}
	}
}
