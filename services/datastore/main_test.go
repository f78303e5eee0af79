package datastore

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"minicloud.internal/kit/kittest"
)

// serverDir, where set, makes the test binary a data store on that directory:
// the crash test starts it so, and kills it.
const serverDir = "MINICLOUD_TEST_DATASTORE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverDir); dir != "" {
		serveForCrashTest(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func serveForCrashTest(dir string) {
	cfg := DefaultConfig()
	cfg.DataDir = dir
	s, err := New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	if err := s.Serve(context.Background(), ln); err != nil {
		panic(err)
	}
}

// running is a data store that a test started.
type running struct {
	*Server
	addr string
	dir  string
	reg  *prometheus.Registry
	stop func() error // ends Serve, and returns its error
}

// start serves a data store on a free port until the test ends.
func start(t *testing.T, change ...func(*Config)) *running {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	for _, c := range change {
		c(&cfg)
	}
	reg := prometheus.NewRegistry()
	s, err := New(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			return fmt.Errorf("Serve did not return")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &running{Server: s, addr: ln.Addr().String(), dir: cfg.DataDir, reg: reg, stop: stop}
}

func (r *running) url(options string) string {
	return "postgres://spells@" + r.addr + "/spells?sslmode=disable" + options
}

// connect opens a pgx connection until the test ends.
func (r *running) connect(t *testing.T, options string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), r.url(options))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// must runs statements that must succeed.
func must(t *testing.T, c *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := c.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func TestTheShippedConfiguration(t *testing.T) {
	cfg := DefaultConfig()
	kittest.ConfigFile(t, "../../configs/data-store.toml", &cfg)
	kittest.Readme(t, "README.md", &cfg)
	cfg.Common, cfg.DataDir = DefaultConfig().Common, "data/datastore"
	if cfg != DefaultConfig() {
		t.Errorf("beyond addresses, log format and directory it departs from the defaults: %+v", cfg)
	}
}

func TestValidate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		key    string
	}{
		"the defaults are valid":                          {func(*Config) {}, ""},
		"a database name cannot leave the data directory": {func(c *Config) { c.Database = "../x" }, "database"},
		"the data directory is needed":                    {func(c *Config) { c.DataDir = "" }, "data_dir"},
		"no connection at all is no data store":           {func(c *Config) { c.MaxConnections = 0 }, "max_connections"},
		"a message has room for a statement":              {func(c *Config) { c.MaxMessage = 10 }, "max_message"},
		"the engine has room to work":                     {func(c *Config) { c.MaxMemory = 1 << 20 }, "max_memory"},
		"no wait is without an end":                       {func(c *Config) { c.LockTimeout = 0 }, "lock_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			test.change(&cfg)
			err := cfg.Validate()
			if test.key == "" && err != nil || test.key != "" && (err == nil || !strings.HasPrefix(err.Error(), test.key+" ")) {
				t.Errorf("got %v, expected an error of %q", err, test.key)
			}
		})
	}
}
