package objectstorage

import (
	"bytes"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/objectstorage/s3api"
	"minicloud.internal/objectstorage/store"
	"minicloud.internal/objectstorage/store/disk"
)

// field is a field of a form; with a file name it is a file.
type field struct{ name, value, file, contentType string }

// form encodes fields in their order.
func form(t *testing.T, fields []field) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, f := range fields {
		h := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + f.name + `"`}}
		if f.file != "" {
			h.Set("Content-Disposition", h.Get("Content-Disposition")+`; filename="`+f.file+`"`)
		}
		if f.contentType != "" {
			h.Set("Content-Type", f.contentType)
		}
		p, err := w.CreatePart(h)
		if err == nil {
			_, err = p.Write([]byte(f.value))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), w.FormDataContentType()
}

func TestForm(t *testing.T) {
	r := run(t, nil, func(c *Config) { c.MaxObjectSize = 1000 })
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		name        string
		fields      []field
		headers     []string
		status      int
		key         string // where it is stored
		value       string
		contentType string
		want        string // in the answer
	}{
		{"a file and its name", []field{{"file_name", "a/b.txt", "", ""}, {"data", "hello", "c.svg", "image/svg+xml"}}, nil, 201, "a/b.txt", "hello", "image/svg+xml", `"key":"a/b.txt"`},
		{"the name after the data", []field{{"data", "hullo", "c.svg", "image/svg+xml"}, {"file_name", "a/b.txt", "", ""}}, nil, 200, "a/b.txt", "hullo", "image/svg+xml", `"size":5`},
		{"text in the place of a file", []field{{"data", "<svg/>", "", ""}, {"file_name", "t.svg", "", ""}}, nil, 201, "t.svg", "<svg/>", "image/svg+xml", ""},
		{"a type that the browser did not know is detected", []field{{"file_name", "p", "", ""}, {"data", "\x89PNG\r\n\x1a\n", "p", "application/octet-stream"}}, nil, 201, "p", "\x89PNG\r\n\x1a\n", "image/png", ""},
		{"without a name that of the file counts", []field{{"data", "x", "f.svg", ""}}, nil, 201, "f.svg", "x", "image/svg+xml", ""},
		{"a body of the limit is taken", []field{{"data", long, "", ""}, {"file_name", "long", "", ""}}, nil, 201, "long", long, "text/plain; charset=utf-8", ""},
		{"one byte more is not", []field{{"data", long + "x", "", ""}, {"file_name", "longer", "", ""}}, nil, 413, "", "", "", "limit"},
		{"conditions hold here too", []field{{"data", "x", "", ""}, {"file_name", "p", "", ""}}, []string{"If-None-Match: *"}, 412, "", "", "", "conditions"},
		{"no data", []field{{"file_name", "x", "", ""}}, nil, 400, "", "", "", "data"},
		{"no name at all", []field{{"data", "x", "", ""}}, nil, 400, "", "", "", "file_name"},
		{"an empty name", []field{{"data", "x", "f", ""}, {"file_name", "", "", ""}}, nil, 400, "", "", "", "empty"},
		{"a name that is too long", []field{{"data", "x", "f", ""}, {"file_name", strings.Repeat("k", 1025), "", ""}}, nil, 400, "", "", "", "1024"},
		{"a name that is not UTF-8", []field{{"data", "x", "f", ""}, {"file_name", "\xff", "", ""}}, nil, 400, "", "", "", "UTF-8"},
		{"data twice", []field{{"data", "x", "f", ""}, {"data", "y", "g", ""}}, nil, 400, "", "", "", "twice"},
		{"a name twice", []field{{"file_name", "x", "", ""}, {"file_name", "y", "", ""}}, nil, 400, "", "", "", "twice"},
		{"a field that is not known", []field{{"data", "x", "f", ""}, {"acl", "public", "", ""}}, nil, 400, "", "", "", "acl"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(r.page(t, "").Objects)
			body, contentType := form(t, c.fields)
			a := r.do(t, http.MethodPost, "/files/put", strings.NewReader(body), append(c.headers, "Content-Type: "+contentType)...)
			if a.status != c.status || !strings.Contains(a.body, c.want) {
				t.Fatalf("%d %s, want %d with %q", a.status, a.body, c.status, c.want)
			}
			if c.key == "" {
				wantProblem(t, a)
				if after := len(r.page(t, "").Objects); after != before {
					t.Errorf("%d objects became %d", before, after)
				}
				return
			}
			got := r.do(t, http.MethodGet, "/files/"+c.key, nil)
			if got.body != c.value || got.header.Get("Content-Type") != c.contentType {
				t.Errorf("stored %q as %s, want %q as %s", got.body, got.header.Get("Content-Type"), c.value, c.contentType)
			}
		})
	}
	whole, contentType := form(t, []field{{"data", "hello", "", ""}, {"file_name", "cut", "", ""}})
	for name, body := range map[string]string{
		"cut in the data": whole[:strings.Index(whole, "hello")+3],
		"cut at the end":  whole[:len(whole)-6],
		"empty":           "",
	} {
		a := r.do(t, http.MethodPost, "/files/put", strings.NewReader(body), "Content-Type: "+contentType)
		if a.status != 400 {
			t.Errorf("%s: %+v, want 400", name, a)
		}
	}
	if a := r.do(t, http.MethodGet, "/files/cut", nil); a.status != 404 {
		t.Errorf("a form cut short was stored: %+v", a)
	}
	if a := r.do(t, http.MethodPost, "/files/put", strings.NewReader("x"), "Content-Type: text/plain"); a.status != 415 {
		t.Errorf("no form: %+v", a)
	}
}

// A form of any bytes is answered, and leaves no temporary file.
func FuzzForm(f *testing.F) {
	const boundary = "b"
	f.Add("--b\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=\"file_name\"\r\n\r\nk\r\n--b--\r\n")
	f.Add("--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"../x\"\r\n\r\nx\r\n--b--")
	f.Add("--b\r\n\r\n--b--")
	f.Add("")
	d, err := disk.Open(f.TempDir(), disk.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Close() })
	if err := d.CreateBucket(f.Context(), store.Bucket{Name: filesBucket, Anonymous: accessReadWrite}); err != nil {
		f.Fatal(err)
	}
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		f.Fatal(err)
	}
	handler := &door{store: d, max: 1 << 20, permit: s3api.New(d, s3api.Config{}).PermitAnonymous, now: time.Now, logger: slog.New(slog.DiscardHandler), metrics: m}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/files/put", strings.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
