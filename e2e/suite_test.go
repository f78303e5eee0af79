package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/miekg/dns"
)

// suite is what every cloud has to do, however it runs. It begins on fresh
// data; the tests build on each other in this order.
func suite(t *testing.T, c cloud) {
	eventually(t, "the cloud answers", func() error {
		if r := enter(t, c, "-f", "http://example.com/api/spells"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	logged(t, c, "load-balancer", "Healthy targets: 3", 1)
	for _, test := range []struct {
		name string
		run  func(*testing.T, cloud)
	}{
		{"the seeded spells are listed, by both replicas in turn", testList},
		{"a spell that is created is read back, and its card is written", testCreate},
		{"a picture comes back as the same bytes", testPicture},
		{"a client of S3 stores, lists, presigns and keeps versions, by every way", testS3},
		{"dig gets the address and the port from the resolver, over UDP and TCP", testDNS},
		{"ingressclient explains the way of a request without going it", testExplain},
		{"a PostgreSQL client reads the spells", testSQL},
		{"the load balancer says what it does", testSentences},
		{"bad input gets a problem that says what would be right", testBadInput},
		{"one id follows a request through the parts", testRequestID},
		{"ingressclient ends with curl's exit codes", testExitCodes},
		{"a stopped replica costs no request", testStopReplica},
		{"without replicas there is a 503, and they come back", testStopBothReplicas},
		{"without object storage only /files suffers", testStopObjectStorage},
		{"without the cache the API answers", testStopCache},
		{"without the queue a spell is created, and its event arrives later", testStopQueue},
		{"without the data store the API says so", testStopDataStore},
		{"without the authoritative servers a cached name is still answered", testStopDNS},
		{"a name past its time is answered, and said to be stale, until its server is back", testStaleDNS},
	} {
		if !t.Run(test.name, func(t *testing.T) { test.run(t, c) }) {
			return // the following would fail for the same reason, at length
		}
	}
}

type spell struct {
	ID          int64  `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// spells returns what the API lists.
func spells(t *testing.T, c cloud) (list []spell) {
	t.Helper()
	body := mustEnter(t, c, "http://example.com/api/spells")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("the list %q is not JSON: %v", body, err)
	}
	return list
}

// create posts a spell and returns it.
func create(t *testing.T, c cloud, name, description string) (s spell) {
	t.Helper()
	in, _ := json.Marshal(map[string]string{"name": name, "description": description})
	body := mustEnter(t, c, "-X", "POST", "-H", "Content-Type: application/json", "-d", string(in), "http://example.com/api/spells")
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("the answer %q is not JSON: %v", body, err)
	}
	return s
}

// header returns a header of an answer that ingressclient -i has printed.
func header(answer, name string) string {
	for line := range strings.Lines(answer) {
		if strings.TrimSpace(line) == "" {
			break
		}
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func testList(t *testing.T, c cloud) {
	list := spells(t, c)
	want := []spell{{1, "Accio", "Summons an object"}, {2, "Lumos", "Creates light"}}
	if len(list) != 2 || list[0] != want[0] || list[1] != want[1] {
		t.Errorf("the list is %v, expected %v", list, want)
	}
	served := map[string]bool{}
	for range 4 {
		served[header(mustEnter(t, c, "-i", "http://example.com/api/spells"), "X-Served-By")] = true
	}
	if !served["http-api-1"] || !served["http-api-2"] || len(served) != 2 {
		t.Errorf("served by %v, expected both replicas", served)
	}
}

// waitCard waits for the card of a spell and returns it.
func waitCard(t *testing.T, c cloud, s spell) (card string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the card of spell %d shows %q", s.ID, s.Name), func() error {
		r := enter(t, c, "-f", fmt.Sprintf("http://example.com/files/spells/%d.svg", s.ID))
		if r.code != 0 {
			return errors.New(r.stderr)
		}
		if card = r.stdout; !strings.Contains(card, s.Name) {
			return fmt.Errorf("it is %.200q", card)
		}
		return nil
	})
	return card
}

func testCreate(t *testing.T, c cloud) {
	nox := create(t, c, "Nox", "Puts out light")
	if nox != (spell{3, "Nox", "Puts out light"}) {
		t.Fatalf("created %v", nox)
	}
	const url = "http://example.com/api/spells/3"
	// From the data store, then from the cache; later where the machine is so
	// slow that the API goes round the cache.
	eventually(t, "the spell is read from the cache", func() error {
		answer := mustEnter(t, c, "-i", url)
		if !strings.Contains(answer, `"name":"Nox"`) {
			t.Fatalf("the answer is %s", answer)
		}
		if got := header(answer, "X-Cache"); got != "hit" {
			return fmt.Errorf("X-Cache is %q", got)
		}
		return nil
	})
	if card := waitCard(t, c, nox); !strings.HasPrefix(card, "<svg") && !strings.HasPrefix(card, "<?xml") {
		t.Errorf("the card is not SVG: %.100q", card)
	}
	for _, seeded := range []spell{{1, "Accio", ""}, {2, "Lumos", ""}} {
		waitCard(t, c, seeded)
	}

	// What changes is never read stale, from either replica.
	for i := range 10 {
		name := fmt.Sprintf("Nox %d", i)
		mustEnter(t, c, "-X", "PUT", "-H", "Content-Type: application/json",
			"-d", fmt.Sprintf(`{"name":%q,"description":"Puts out light"}`, name), url)
		for range 2 {
			if body := mustEnter(t, c, url); !strings.Contains(body, fmt.Sprintf("%q", name)) {
				t.Fatalf("after the change to %q: %s", name, body)
			}
		}
	}
	mustEnter(t, c, "-X", "PUT", "-H", "Content-Type: application/json", "-d", `{"name":"Nox","description":"Puts out light"}`, url)
}

// picture is bytes that are no text: every value, and more than one buffer.
func picture() []byte {
	b := []byte{0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0}
	for i := range 300_000 {
		b = append(b, byte(i*i>>3), '\n', '\r')
	}
	return b
}

func testPicture(t *testing.T, c cloud) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "lumos.jpeg"), filepath.Join(dir, "copy.jpeg")
	if err := os.WriteFile(from, picture(), 0o600); err != nil {
		t.Fatal(err)
	}
	mustEnter(t, c, "-X", "PUT", "-d", "@"+from, "http://example.com/files/image.jpg")
	mustEnter(t, c, "-X", "GET", "-o", to, "http://example.com/files/image.jpg")
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, picture()) {
		t.Errorf("%d bytes came back, error %v, expected the same %d bytes", len(got), err, len(picture()))
	}
	if ct := header(mustEnter(t, c, "-i", "http://example.com/files/image.jpg"), "Content-Type"); ct != "image/jpeg" {
		t.Errorf("Content-Type is %q, expected image/jpeg", ct)
	}
	if part := mustEnter(t, c, "-H", "Range: bytes=6-9", "http://example.com/files/image.jpg"); part != "JFIF" {
		t.Errorf("bytes 6 to 9 are %q, expected JFIF", part)
	}
	mustEnter(t, c, "-F", "data=@"+from, "-F", "file_name=form.jpg", "http://example.com/files/put")
	if got := mustEnter(t, c, "http://example.com/files/form.jpg"); got != string(picture()) {
		t.Errorf("the form's file came back as %d bytes", len(got))
	}
	if list := mustEnter(t, c, "http://example.com/files/?prefix=image"); !strings.Contains(list, `"image.jpg"`) {
		t.Errorf("the listing is %s", list)
	}
	mustEnter(t, c, "-X", "DELETE", "http://example.com/files/form.jpg")
	if r := enter(t, c, "-f", "http://example.com/files/form.jpg"); r.code != 22 {
		t.Errorf("a deleted file: exit code %d, expected 22", r.code)
	}
}

func testDNS(t *testing.T, c cloud) {
	_, port, _ := net.SplitHostPort(c.HTTP())
	for _, network := range []string{"udp", "tcp"} {
		for _, q := range []struct {
			name string
			kind uint16
			want string
		}{
			{"example.com.", dns.TypeA, "\tA\t127.0.0.1"},
			{"ExAmPlE.com.", dns.TypeA, "\tA\t127.0.0.1"},
			{"www.example.com.", dns.TypeA, "\tA\t127.0.0.1"},
			{"_http._tcp.example.com.", dns.TypeSRV, "\tSRV\t0 0 " + port + " example.com."},
			{"_http._tcp.www.example.com.", dns.TypeSRV, "\tSRV\t0 0 " + port + " example.com."},
			{"s3.example.com.", dns.TypeA, "\tA\t127.0.0.1"},
			{"photos.s3.example.com.", dns.TypeA, "\tA\t127.0.0.1"},
			{"_http._tcp.s3.example.com.", dns.TypeSRV, "\tSRV\t0 0 " + port + " s3.example.com."},
			{"_http._tcp.photos.s3.example.com.", dns.TypeSRV, "\tSRV\t0 0 " + port + " s3.example.com."},
		} {
			m := new(dns.Msg).SetQuestion(q.name, q.kind)
			in, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second}).ExchangeContext(t.Context(), m, c.Resolver())
			if err != nil {
				t.Fatalf("%s over %s: %v", q.name, network, err)
			}
			if !strings.Contains(in.String(), q.want) || in.Rcode != dns.RcodeSuccess || !in.RecursionAvailable {
				t.Errorf("%s over %s: expected %q in\n%s", q.name, network, q.want, in)
			}
		}
	}
	m := new(dns.Msg).SetQuestion("no.example.com.", dns.TypeA)
	in, err := dns.ExchangeContext(t.Context(), m, c.Resolver())
	if err != nil || in.Rcode != dns.RcodeNameError || len(in.Ns) == 0 {
		t.Errorf("a name that does not exist: %v\n%v", err, in)
	}
	if dig, err := exec.LookPath("dig"); err == nil {
		host, port, _ := net.SplitHostPort(c.Resolver())
		out, err := exec.CommandContext(t.Context(), dig, "@"+host, "-p", port, "+short", "example.com", "A").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "127.0.0.1" {
			t.Errorf("dig says %q, %v", out, err)
		}
	}
}

func testExplain(t *testing.T, c cloud) {
	before := c.Logs(t, "load-balancer")
	out := mustEnter(t, c, "--explain", "--resolver-admin", c.Admin(t, "dns-resolver"), "--lb-admin", c.Admin(t, "load-balancer"), "http://www.example.com/files/explained")
	for _, want := range []string{"dns-root", "dns-com", "dns-example-com", "object-storage:8007"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not named in\n%s", want, out)
		}
	}
	if after := c.Logs(t, "load-balancer"); strings.Contains(after, "/files/explained") {
		t.Errorf("the request was sent: %s", strings.TrimPrefix(after, before))
	}
}

func testSQL(t *testing.T, c cloud) {
	where := c.Where(t, "data-store")
	conn, err := pgx.Connect(t.Context(), "postgres://reader@"+where+"/spells?sslmode=disable")
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(context.Background())
	var s spell
	if err := conn.QueryRow(t.Context(), "SELECT id, name, description FROM spells WHERE id = $1", 1).Scan(&s.ID, &s.Name, &s.Description); err != nil {
		t.Fatalf("select: %v", err)
	}
	if s != (spell{1, "Accio", "Summons an object"}) {
		t.Errorf("selected %v", s)
	}
	if psql, err := exec.LookPath("psql"); err == nil {
		host, port, _ := net.SplitHostPort(where)
		out, err := exec.CommandContext(t.Context(), psql, "-h", host, "-p", port, "-U", "reader", "-d", "spells", "-c", "SELECT id, name FROM spells").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Lumos") {
			t.Errorf("psql says %s, %v", out, err)
		}
	}
}

func testSentences(t *testing.T, c cloud) {
	for _, sentence := range []string{
		"Healthy targets: 3",
		"Request path: /api/spells",
		"Forwarding connection to backend: http-api-1:8001",
		"Forwarding connection to backend: http-api-2:8001",
		"Routing to specific path-based backend: object-storage:8007",
	} {
		logged(t, c, "load-balancer", sentence, 1)
	}
}

func testBadInput(t *testing.T, c cloud) {
	const spellsURL = "http://example.com/api/spells"
	large := filepath.Join(t.TempDir(), "large.json") // too long for an argument
	if err := os.WriteFile(large, []byte(`{"name":"`+strings.Repeat("x", 200_000)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		args   []string
		status string
		says   string
	}{
		{"malformed JSON", []string{"-H", "Content-Type: application/json", "-d", `{"name":`, spellsURL}, "400", "JSON"},
		{"an empty name", []string{"-H", "Content-Type: application/json", "-d", `{"name":"","description":"x"}`, spellsURL}, "422", "name"},
		{"a name too long", []string{"-H", "Content-Type: application/json", "-d", `{"name":"` + strings.Repeat("x", 1000) + `","description":"x"}`, spellsURL}, "422", "name"},
		{"an unknown field", []string{"-H", "Content-Type: application/json", "-d", `{"nam":"x"}`, spellsURL}, "400", "nam"},
		{"an id that is no number", []string{spellsURL + "/x"}, "400", "id"},
		{"an id that is not there", []string{spellsURL + "/999999"}, "404", "999999"},
		{"a body over the limit", []string{"-H", "Content-Type: application/json", "-d", "@" + large, spellsURL}, "413", "limit"},
		{"a method that is not there", []string{"-X", "PATCH", spellsURL}, "405", "PATCH"},
		{"a file that is not there", []string{"http://example.com/files/nothing.txt"}, "404", "nothing.txt"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := enter(t, c, append([]string{"-i"}, test.args...)...)
			if r.code != 0 || !strings.HasPrefix(r.stdout, "HTTP/1.1 "+test.status) {
				t.Fatalf("exit code %d, expected status %s:\n%.600s\n%s", r.code, test.status, r.stdout, r.stderr)
			}
			if ct := header(r.stdout, "Content-Type"); ct != "application/problem+json" {
				t.Errorf("Content-Type is %q", ct)
			}
			if _, body, _ := strings.Cut(r.stdout, "\r\n\r\n"); !strings.Contains(body, test.says) {
				t.Errorf("the problem does not say %q: %s", test.says, body)
			}
		})
	}
}

func testRequestID(t *testing.T, c cloud) {
	answer := mustEnter(t, c, "-i", "-H", "X-Request-Id: e2e-follow-me", "http://example.com/api/spells/1")
	if got := header(answer, "X-Request-Id"); got == "" {
		t.Fatalf("the answer carries no X-Request-Id:\n%s", answer)
	} else {
		replica := header(answer, "X-Served-By")
		logged(t, c, "load-balancer", got, 1)
		logged(t, c, replica, got, 1)
	}
}

func testExitCodes(t *testing.T, c cloud) {
	for _, test := range []struct {
		name string
		args []string
		code int
	}{
		{"a bad URL", []string{"http://exa mple.com/"}, 3},
		{"an unknown host", []string{"http://nowhere.example.com/"}, 6},
		{"a dead resolver", []string{"--resolver", "127.0.0.1:9", "http://example.com/"}, 6},
		{"a refused connection", []string{"http://example.com:9/"}, 7},
		{"-f and a 404", []string{"-f", "http://example.com/files/nothing"}, 22},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := enter(t, c, test.args...)
			if r.code != test.code || r.stderr == "" || r.stdout != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q; expected %d and a sentence on stderr", r.code, r.stdout, r.stderr, test.code)
			}
		})
	}
}
