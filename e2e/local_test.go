package e2e

import (
	"path/filepath"
	"testing"

	"minicloud.internal/minicloud"
)

// local is the cloud in this process.
type local struct {
	*minicloud.Cloud
	log *logBuffer
}

// startLocal starts a cloud on free ports, with its data in dir.
func startLocal(t *testing.T, dir string) *local {
	t.Helper()
	log := &logBuffer{}
	c, err := minicloud.Start(t.Context(), minicloud.Options{
		Configs:   filepath.Join(root, "configs"),
		Data:      dir,
		Log:       log,
		LookupEnv: minicloud.FreePorts,
	})
	if err != nil {
		t.Fatalf("start the cloud: %v\n%s", err, log.lines(""))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", log.lines(""))
		}
	})
	return &local{c, log}
}

func (l *local) HTTP() string                           { return l.Address("load-balancer") }
func (l *local) Resolver() string                       { return l.Address("dns-resolver") }
func (l *local) Where(_ *testing.T, part string) string { return l.Address(part) }
func (l *local) Admin(_ *testing.T, part string) string { return l.AdminAddress(part) }
func (l *local) Logs(_ *testing.T, part string) string  { return l.log.lines("service=" + part) }

func (l *local) Stop(t *testing.T, part string) {
	t.Helper()
	if err := l.StopPart(part); err != nil {
		t.Fatalf("stop %s: %v", part, err)
	}
}

func (l *local) Start(t *testing.T, part string) {
	t.Helper()
	if err := l.StartPart(part); err != nil {
		t.Fatalf("start %s: %v", part, err)
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	c := startLocal(t, dir)
	suite(t, c)

	t.Run("what it kept is there after a stop and a start", func(t *testing.T) {
		before := mustEnter(t, c, "http://example.com/api/spells")
		if err := c.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		again := startLocal(t, dir)
		defer again.Close()
		if after := mustEnter(t, again, "http://example.com/api/spells"); after != before {
			t.Errorf("spells before: %s, after: %s", before, after)
		}
		if got := mustEnter(t, again, "http://example.com/files/image.jpg"); got != string(picture()) {
			t.Errorf("the picture is not the same bytes after a restart: %d bytes", len(got))
		}
	})
}
