package authority

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/dns/transfer"
	"minicloud.internal/kit"
	"minicloud.internal/kit/kittest"
)

// version is a zone whose address of www is 192.0.2.<serial>.
func version(serial int) string {
	return fmt.Sprintf("$TTL 60\n@ IN SOA ns1 h %d 7200 3600 604800 60\n@ IN NS ns1\nns1 IN A 192.0.2.1\nwww IN A 192.0.2.%d\n", serial, serial)
}

// replace puts a new text in a file's place, at once.
func replace(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A reloading server serves one zone from a file "z".
type reloading struct {
	*Server
	path string
	log  *syncBuffer
	reg  *prometheus.Registry
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func newReloading(t testing.TB, text string, change func(*Config)) *reloading {
	t.Helper()
	r := &reloading{log: new(syncBuffer), reg: prometheus.NewRegistry()}
	cfg := DefaultConfig()
	cfg.Dir = files(t, map[string]string{"z": text})
	cfg.Zones = []ZoneConfig{{Name: "example.com.", File: "z"}}
	cfg.ReloadInterval = 0
	if change != nil {
		change(&cfg)
	}
	r.path = filepath.Join(cfg.Dir, "z")
	var err error
	if r.Server, err = New(cfg, slog.New(slog.NewTextHandler(r.log, nil)), r.reg); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reloading) serial() uint32 {
	return r.zones.Load().zones["\x07example\x03com\x00"].Serial()
}

// metric returns the value of a metric of the zone.
func (r *reloading) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "minicloud_authority_"+name && len(f.Metric) == 1 {
			return f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestReload(t *testing.T) {
	t.Run("a new version is served", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		replace(t, r.path, version(2)+"more A 192.0.2.9\n")
		if err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		if m := ask(t, r.Server, "www.example.com.", dns.TypeA); m.Answer[0].(*dns.A).A.String() != "192.0.2.2" {
			t.Errorf("got %v", m)
		}
		if r.metric(t, "zone_serial") != 2 || r.metric(t, "zone_names") != 4 || r.metric(t, "zone_load_failures_total") != 0 || r.metric(t, "zone_loaded_timestamp_seconds") < 1e9 {
			t.Error("the metrics are those of the old version")
		}
		if strings.Contains(r.log.String(), "WARN") || !strings.Contains(r.log.String(), "a zone was reloaded") {
			t.Errorf("logged %s", r.log)
		}
	})
	t.Run("a version with an error is refused with file and line, and the old one stays", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		replace(t, r.path, version(2)+"www IN CNAME ns1\n")
		if err := r.Reload(); err == nil || !strings.Contains(err.Error(), r.path+":6: www.example.com. has a CNAME record beside") {
			t.Errorf("got %v", err)
		}
		if m := ask(t, r.Server, "www.example.com.", dns.TypeA); m.Answer[0].(*dns.A).A.String() != "192.0.2.1" {
			t.Errorf("got %v", m)
		}
		if r.metric(t, "zone_load_failures_total") != 1 || r.metric(t, "zone_serial") != 1 {
			t.Error("the metrics do not show it")
		}
		if !strings.Contains(r.log.String(), "level=ERROR msg=\"a zone was not reloaded, the version before stays\"") {
			t.Errorf("logged %s", r.log)
		}
	})
	t.Run("a serial number that does not grow is served, and warned of", func(t *testing.T) {
		for _, serial := range []int{5, 4} {
			r := newReloading(t, version(5), nil)
			replace(t, r.path, version(serial)+"more A 192.0.2.9\n")
			if err := r.Reload(); err != nil {
				t.Fatal(err)
			}
			if m := ask(t, r.Server, "more.example.com.", dns.TypeA); len(m.Answer) != 1 {
				t.Errorf("got %v", m)
			}
			if !strings.Contains(r.log.String(), "level=WARN msg=\"a zone changed without a higher serial number") {
				t.Errorf("logged %s", r.log)
			}
		}
	})
	t.Run("one that wraps around grows", func(t *testing.T) {
		r := newReloading(t, strings.Replace(version(1), "h 1 ", "h 4294967295 ", 1), nil)
		replace(t, r.path, version(3))
		if err := r.Reload(); err != nil || strings.Contains(r.log.String(), "WARN") {
			t.Errorf("got %v, logged %s", err, r.log)
		}
	})
	t.Run("the same again is no change", func(t *testing.T) {
		r := newReloading(t, version(5), nil)
		replace(t, r.path, "; a comment\n"+version(5))
		if err := r.Reload(); err != nil || strings.Contains(r.log.String(), "WARN") || strings.Contains(r.log.String(), "a zone was reloaded") {
			t.Errorf("got %v, logged %s", err, r.log)
		}
	})
	t.Run("what is hardly meant so is served, and told once, in one line", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		for range 2 {
			replace(t, r.path, version(2)+"sub NS ns.sub\n@ MX 1 nope\n")
			if err := r.Reload(); err != nil {
				t.Fatal(err)
			}
		}
		if m := ask(t, r.Server, "sub.example.com.", dns.TypeA); len(m.Ns) != 1 {
			t.Errorf("got %v", m)
		}
		if log := r.log.String(); strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "warnings=2 first=\""+r.path+":6: ns.sub.example.com.") {
			t.Errorf("logged %s", log)
		}
	})
	t.Run("the other zones and the configuration's records stay", func(t *testing.T) {
		r := newReloading(t, version(1), func(c *Config) {
			c.Zones[0].Records = []string{"fixed 1 IN A 192.0.2.77"}
			if err := os.WriteFile(filepath.Join(c.Dir, "y"), []byte(version(1)), 0o600); err != nil {
				t.Fatal(err)
			}
			c.Zones = append(c.Zones, ZoneConfig{Name: "example.org.", File: "y"})
		})
		replace(t, r.path, version(2))
		if err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"fixed.example.com.", "www.example.org."} {
			if m := ask(t, r.Server, name, dns.TypeA); len(m.Answer) != 1 {
				t.Errorf("got %v", m)
			}
		}
	})
}

func TestLook(t *testing.T) {
	looks := func(t *testing.T, r *reloading, want uint32) {
		t.Helper()
		if quiet := r.look(); quiet {
			t.Error("the first look takes no notice")
		}
		if !r.look() || r.serial() != want {
			t.Errorf("after the second look the serial is %d, expected %d", r.serial(), want)
		}
		for range 2 {
			if !r.look() {
				t.Error("it is read again and again")
			}
		}
	}
	t.Run("without a change nothing is read", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		for range 2 {
			if !r.look() || strings.Contains(r.log.String(), "reloaded") {
				t.Errorf("logged %s", r.log)
			}
		}
	})
	t.Run("a changed file is read once it no longer changes", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		replace(t, r.path, version(2))
		if r.look() {
			t.Error("the first look takes no notice")
		}
		replace(t, r.path, version(3))
		looks(t, r, 3)
	})
	t.Run("an included file counts", func(t *testing.T) {
		r := newReloading(t, "$INCLUDE more\n", func(c *Config) { replace(t, filepath.Join(c.Dir, "more"), version(1)) })
		replace(t, filepath.Join(filepath.Dir(r.path), "more"), version(2))
		looks(t, r, 2)
	})
	t.Run("a file that vanishes leaves the zone, and counts when it is back", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		if err := os.Remove(r.path); err != nil {
			t.Fatal(err)
		}
		looks(t, r, 1)
		if strings.Count(r.log.String(), "was not reloaded") != 1 {
			t.Errorf("logged %s", r.log)
		}
		replace(t, r.path, version(2))
		looks(t, r, 2)
	})
	t.Run("a file that cannot be read leaves the zone, and is complained of once", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		if err := os.Remove(r.path); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(r.path, 0o700); err != nil {
			t.Fatal(err)
		}
		looks(t, r, 1)
		if err := r.Reload(); err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("got %v", err)
		}
		if n := strings.Count(r.log.String(), "was not reloaded"); n != 2 {
			t.Errorf("it was complained of %d times, expected once for each that was asked: %s", n, r.log)
		}
		if err := os.Remove(r.path); err != nil {
			t.Fatal(err)
		}
		replace(t, r.path, version(2))
		looks(t, r, 2)
	})
	t.Run("a file that could not be opened for want of descriptors is tried again, and complained of once", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		replace(t, r.path, "nonsense\n")
		looks(t, r, 1)
		for range 4 {
			r.sources[0].used[0].info = nil // as it is then
			r.look()
		}
		if n := strings.Count(r.log.String(), "was not reloaded"); n != 1 {
			t.Errorf("it was complained of %d times: %s", n, r.log)
		}
		if n := r.metric(t, "zone_load_failures_total"); n != 3 {
			t.Errorf("it was read %v times", n)
		}
	})
	t.Run("a file whose mode changes is read again", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		if err := os.Chmod(r.path, 0o640); err != nil {
			t.Fatal(err)
		}
		if r.look() || !r.look() || r.metric(t, "zone_load_failures_total") != 0 || !r.look() {
			t.Error("it takes no notice, or does not come to rest")
		}
	})
	t.Run("a file that was wrong is read again when it changes", func(t *testing.T) {
		r := newReloading(t, version(1), nil)
		replace(t, r.path, "nonsense\n")
		looks(t, r, 1)
		replace(t, r.path, version(2))
		looks(t, r, 2)
	})
}

// serving runs the server until the test ends.
func (r *reloading) serving(t testing.TB) (address string) {
	t.Helper()
	ln, pc, err := kit.ListenDNS("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, ln, pc) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return pc.LocalAddr().String()
}

func TestNoQueryIsLostDuringReload(t *testing.T) {
	for _, how := range []string{"SIGHUP", "a changed file"} {
		t.Run("on "+how, func(t *testing.T) {
			r := newReloading(t, version(1), func(c *Config) {
				if how != "SIGHUP" {
					c.ReloadInterval = 2 * time.Millisecond
				}
			})
			address := r.serving(t)
			var asking sync.WaitGroup
			var asked atomic.Int64
			stop := make(chan struct{})
			for range 3 {
				asking.Go(func() { askUntil(t, address, stop, &asked) })
			}
			for serial := 2; serial <= 12; serial++ {
				before := asked.Load()
				replace(t, r.path, version(serial))
				if how == "SIGHUP" {
					r.Hangup <- syscall.SIGHUP
				}
				kittest.Eventually(t, "the new version and some questions", func() bool { return r.serial() == uint32(serial) && asked.Load() > before+20 })
			}
			close(stop)
			asking.Wait()
		})
	}
}

// askUntil asks for www over and over: each question is answered, and never with
// an older version than the one before.
func askUntil(t *testing.T, address string, stop <-chan struct{}, asked *atomic.Int64) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	client, newest := &dns.Client{Timeout: 10 * time.Second}, byte(0)
	for {
		select {
		case <-stop:
			return
		default:
		}
		q := new(dns.Msg)
		q.SetQuestion("www.example.com.", dns.TypeA)
		m, _, err := client.ExchangeWithConn(q, &dns.Conn{Conn: conn})
		if err != nil || len(m.Answer) != 1 {
			t.Errorf("question %d: %v %v", asked.Load(), m, err)
			return
		}
		serial := m.Answer[0].(*dns.A).A.To4()[3]
		if serial < newest {
			t.Errorf("version %d after %d", serial, newest)
			return
		}
		newest = serial
		asked.Add(1)
	}
}

func TestTransferOfWhatWasReloaded(t *testing.T) {
	// Without it the whole zone is shorter than what has changed.
	const rest = "x IN TXT \"the first half of what stays the same\" \"the second half of what stays the same\"\n"
	secret := []byte("a secret of test octets")
	r := newReloading(t, version(1)+rest, func(c *Config) {
		c.Keys = []transfer.Key{{Name: "Key.", Secret: secret}}
		c.Zones[0].AllowTransfer = []string{"127.0.0.1 key:key."}
	})
	address := r.serving(t)
	fetch := func(t *testing.T, q *dns.Msg) (got []string, err error) {
		t.Helper()
		tr := &dns.Transfer{TsigSecret: map[string]string{"key.": base64.StdEncoding.EncodeToString(secret)}}
		envelopes, err := tr.In(q, address)
		if err != nil {
			t.Fatal(err)
		}
		for e := range envelopes {
			if e.Error != nil {
				err = e.Error
			}
			for _, rr := range e.RR {
				got = append(got, strings.ReplaceAll(strings.TrimPrefix(rr.String(), rr.Header().Name), "\t", " "))
			}
		}
		return got, err
	}
	signed := func(q *dns.Msg) *dns.Msg { return q.SetTsig("key.", dns.HmacSHA256, 300, time.Now().Unix()) }
	soa := func(serial int) string {
		return fmt.Sprintf(" 60 IN SOA ns1.example.com. h.example.com. %d 7200 3600 604800 60", serial)
	}
	const text = ` 60 IN TXT "the first half of what stays the same" "the second half of what stays the same"`
	t.Run("the whole zone", func(t *testing.T) {
		got, err := fetch(t, signed(new(dns.Msg).SetAxfr("example.com.")))
		want := []string{soa(1), " 60 IN NS ns1.example.com.", text, " 60 IN A 192.0.2.1", " 60 IN A 192.0.2.1", soa(1)}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
	t.Run("what has changed", func(t *testing.T) {
		replace(t, r.path, version(2)+rest)
		if err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		got, err := fetch(t, signed(new(dns.Msg).SetIxfr("example.com.", 1, "ns1.", "h.")))
		want := []string{soa(2), soa(1), " 60 IN A 192.0.2.1", soa(2), " 60 IN A 192.0.2.2", soa(2)}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
	t.Run("nothing without the key", func(t *testing.T) {
		if got, err := fetch(t, new(dns.Msg).SetAxfr("example.com.")); err == nil {
			t.Errorf("got %v", got)
		}
	})
}

func TestNotifyOfWhatWasReloaded(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	told := make(chan uint32, 10)
	secondary := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if len(q.Answer) == 1 {
			told <- q.Answer[0].(*dns.SOA).Serial
		}
		_ = w.WriteMsg(new(dns.Msg).SetReply(q))
	}), MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	served := make(chan error, 1)
	go func() { served <- secondary.ActivateAndServe() }()
	defer func() { _ = secondary.Shutdown(); <-served }()
	r := newReloading(t, version(1), func(c *Config) { c.Zones[0].Notify = []string{pc.LocalAddr().String()} })
	r.serving(t)
	if serial := <-told; serial != 1 {
		t.Errorf("at the start: told of %d", serial)
	}
	replace(t, r.path, version(2))
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	for serial := range told {
		if serial == 2 {
			break
		}
	}
}
