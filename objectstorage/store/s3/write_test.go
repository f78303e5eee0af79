package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"minicloud.internal/objectstorage/store"
)

func etag(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// absent answers a HEAD where there is nothing, and stores nothing else.
func absent(put func(w http.ResponseWriter, r *http.Request, n int, body string)) func(http.ResponseWriter, *http.Request, string) {
	n := 0
	return func(w http.ResponseWriter, r *http.Request, body string) {
		switch r.Method {
		case "HEAD":
			w.WriteHeader(http.StatusNotFound)
		case "GET":
			refuse(w, http.StatusNotFound, "NoSuchKey")
		default:
			n++
			put(w, r, n, body)
		}
	}
}

func TestAPutIsRepeated(t *testing.T) {
	ok := func(w http.ResponseWriter, body string) { w.Header().Set("ETag", quote(etag(body))) }
	for _, c := range []struct {
		name      string
		condition store.Condition
		first     func(w http.ResponseWriter)
		puts      int
		want      error // nil: success
	}{
		{"after a lost answer", store.Condition{}, lose, 2, nil},
		{"after an internal error", store.Condition{}, func(w http.ResponseWriter) { refuse(w, 500, "InternalError") }, 2, nil},
		{"but never with a condition after a lost answer, which the write itself may have made false", store.Condition{Absent: true}, lose, 1, errAny},
		{"nor after an internal error, which says nothing of the write", store.Condition{Absent: true}, func(w http.ResponseWriter) { refuse(w, 500, "InternalError") }, 1, errAny},
		{"with a condition where the service refused it as too much", store.Condition{Absent: true}, func(w http.ResponseWriter) { refuse(w, 503, "SlowDown") }, 2, nil},
		{"with a condition where the service found it in conflict", store.Condition{Absent: true}, func(w http.ResponseWriter) { refuse(w, 409, "ConditionalRequestConflict") }, 2, nil},
		{"with a condition that it found false, once it is decided anew", store.Condition{NoneMatch: []string{"other"}}, func(w http.ResponseWriter) { refuse(w, 412, "PreconditionFailed") }, 2, nil},
		{"and not where the service does not want it", store.Condition{}, func(w http.ResponseWriter) { refuse(w, 400, "MetadataTooLarge") }, 1, store.ErrAttributes},
	} {
		for _, size := range []int{10, 3 << 20} { // in memory, and in a file
			t.Run(fmt.Sprintf("%s, %d bytes", c.name, size), func(t *testing.T) {
				f, s := serve(t, absent(func(w http.ResponseWriter, r *http.Request, n int, body string) {
					if n == 1 {
						c.first(w)
						return
					}
					ok(w, body)
				}))
				body := strings.Repeat("x", size)
				info, created, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader(body), store.Attributes{}, c.condition)
				switch {
				case c.want == nil && (err != nil || !created || info.ETag != etag(body) || info.Size != int64(size)):
					t.Errorf("put: %+v, created %v, %v, want the object", info, created, err)
				case c.want == errAny && (err == nil || errors.Is(err, store.ErrPrecondition)),
					c.want != nil && c.want != errAny && !errors.Is(err, c.want):
					t.Errorf("put: %v, want %v", err, c.want)
				}
				puts := f.sent("PUT")
				if len(puts) != c.puts {
					t.Fatalf("%d PUTs were sent, want %d", len(puts), c.puts)
				}
				for _, p := range puts {
					if p.body != body {
						t.Errorf("a PUT had %d bytes, want all %d each time", len(p.body), size)
					}
					if got := p.header.Get("If-None-Match"); (got == "*") != !c.condition.IsZero() {
						t.Errorf("If-None-Match is %q", got)
					}
				}
			})
		}
	}
}

// errAny stands for an error that is no answer to the condition.
var errAny = errors.New("any")

func TestAPutCarriesEverything(t *testing.T) {
	f, s := serve(t, absent(func(w http.ResponseWriter, _ *http.Request, _ int, body string) {
		w.Header().Set("ETag", quote(etag(body)))
		w.Header().Set("X-Amz-Version-Id", "v1")
		w.Header().Set("Date", "Thu, 01 Oct 2026 10:00:00 GMT")
	}))
	a := store.Attributes{ContentType: "text/plain", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: `attachment; filename="é"`,
		CacheControl: "no-cache", Expires: "not a date", User: map[string]string{"a-b": "c d"}, Tags: []store.Tag{{Key: "k &", Value: "v=+"}},
		StorageClass: "STANDARD_IA", Redirect: "/x", Checksum: store.Checksum{Algorithm: "CRC32C", Type: fullObject, Value: "AAAAAA=="}}
	info, _, err := store.Put(t.Context(), s, "bucket", "a b/../ä+?", strings.NewReader("body"), a, store.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Version != "v1" || info.Modified.Format(http.TimeFormat) != "Thu, 01 Oct 2026 10:00:00 GMT" || info.ContentType != a.ContentType || !info.Latest {
		t.Errorf("put returned %+v, want what the answer and the attributes say", info)
	}
	put := f.sent("PUT")[0]
	if want := "/bucket/a%20b/../%C3%A4%2B%3F"; put.path != want {
		t.Errorf("the path is %s, want %s", put.path, want)
	}
	sum := md5.Sum([]byte("body"))
	for name, want := range map[string]string{
		"Content-Type": "text/plain", "Content-Encoding": "gzip", "Content-Language": "de", "Content-Disposition": `attachment; filename="é"`,
		"Cache-Control": "no-cache", "Expires": "not a date", "X-Amz-Meta-A-B": "c d", "X-Amz-Tagging": "k%20%26=v%3D%2B", "X-Amz-Storage-Class": "STANDARD_IA",
		"X-Amz-Website-Redirect-Location": "/x", "X-Amz-Checksum-Crc32c": "AAAAAA==", "Content-Md5": base64.StdEncoding.EncodeToString(sum[:]),
		"X-Amz-Content-Sha256": "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5", "X-Amz-Sdk-Checksum-Algorithm": "", "If-Match": "", "If-None-Match": "",
	} {
		if got := put.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestAConditionIsDecidedOnWhatIsThere(t *testing.T) {
	const there = "d41d8cd98f00b204e9800998ecf8427e"
	for _, c := range []struct {
		name      string
		condition store.Condition
		ifMatch   string // of the PUT; empty: there is none
	}{
		{"one of two ETags", store.Condition{Match: []string{"x", there}}, quote(there)},
		{"any object", store.Condition{Match: []string{"*"}}, quote(there)},
		{"the size", store.Condition{HasSize: true, Size: 0}, quote(there)},
		{"another ETag", store.Condition{NoneMatch: []string{"x"}}, quote(there)},
		{"the key absent", store.Condition{Absent: true}, ""},
		{"another size", store.Condition{HasSize: true, Size: 7}, ""},
	} {
		t.Run("a write that wants "+c.name, func(t *testing.T) {
			f, s := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
				w.Header().Set("ETag", quote(there))
				w.Header().Set("Content-Length", "0")
			})
			_, created, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader("body"), store.Attributes{}, c.condition)
			puts := f.sent("PUT")
			if c.ifMatch == "" {
				if !errors.Is(err, store.ErrPrecondition) || len(puts) != 0 {
					t.Errorf("put: %v and %d PUTs, want ErrPrecondition and none", err, len(puts))
				}
				return
			}
			if err != nil || created || len(puts) != 1 || puts[0].header.Get("If-Match") != c.ifMatch {
				t.Errorf("put: created %v, %v, PUTs %+v, want one with If-Match %s", created, err, puts, c.ifMatch)
			}
		})
	}
}

func TestStageSpools(t *testing.T) {
	_, s := serve(t, func(http.ResponseWriter, *http.Request, string) {}, func(o *Options) { o.Memory = 100 })
	for _, size := range []int{0, 1, 99, 100, 101, 5000} {
		body := bytes.Repeat([]byte{'b'}, size)
		for _, hint := range []int64{-1, int64(size), 3, 1 << 40} {
			up, err := s.Stage(t.Context(), iotest.HalfReader(bytes.NewReader(body)), hint)
			if err != nil {
				t.Fatal(err)
			}
			u := up.(*upload)
			got, err := io.ReadAll(u.section(0, u.size))
			if err != nil || !bytes.Equal(got, body) || u.Size() != int64(size) || u.ETag() != etag(string(body)) {
				t.Errorf("%d bytes, hint %d: staged %d, %v", size, hint, len(got), err)
			}
			if (u.file != nil) != (size > 100) {
				t.Errorf("%d bytes: in a file %v, want those over 100", size, u.file != nil)
			}
			u.Discard()
			u.Discard()
		}
	}
	for _, size := range []int{10, 1000} {
		broken := errors.New("broken")
		var failure *store.BodyError
		if _, err := s.Stage(t.Context(), io.MultiReader(bytes.NewReader(make([]byte, size)), iotest.ErrReader(broken)), -1); !errors.As(err, &failure) || !errors.Is(err, broken) {
			t.Errorf("a body that breaks after %d bytes: %v, want a BodyError", size, err)
		}
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) != 0 {
		t.Errorf("the spool has %d files, %v, want none", len(left), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Stage(ctx, strings.NewReader("x"), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("stage for a caller who left: %v", err)
	}
}

func TestALargeBodyGoesInParts(t *testing.T) {
	var parts [][]byte
	f, s := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
		switch {
		case r.Method == "HEAD":
			w.WriteHeader(404)
		case r.Method == "POST" && r.URL.Query().Has("uploads"):
			_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case r.Method == "PUT":
			w.Header().Set("ETag", quote(etag(body)))
		case r.Method == "POST":
			_, _ = io.WriteString(w, `<CompleteMultipartUploadResult><ETag>"abc-2"</ETag></CompleteMultipartUploadResult>`)
		}
	}, func(o *Options) { o.Memory = -1 })
	s.single = 800 // and parts of 10
	body := strings.Repeat("0123456789", 80) + "x"
	info, created, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader(body), store.Attributes{ContentType: "text/plain"}, store.Condition{Absent: true})
	if err != nil || !created || info.ETag != "abc-2" || info.Size != 801 {
		t.Fatalf("put: %+v, created %v, %v", info, created, err)
	}
	sort := map[string]string{}
	for _, p := range f.sent("PUT") {
		sort[p.query] = p.body
	}
	for i := range 81 {
		parts = append(parts, []byte(sort[fmt.Sprintf("partNumber=%d&uploadId=u&x-id=UploadPart", i+1)]))
	}
	if string(bytes.Join(parts, nil)) != body {
		t.Errorf("the parts are %q, want the body", parts)
	}
	posts := f.sent("POST")
	if posts[0].header.Get("Content-Type") != "text/plain" || posts[1].header.Get("If-None-Match") != "*" {
		t.Errorf("the upload began with %v and ended with %v, want the attributes and the condition", posts[0].header, posts[1].header)
	}
}

func TestALargeBodyThatFailsLeavesNoUpload(t *testing.T) {
	f, s := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
		switch r.Method {
		case "HEAD":
			w.WriteHeader(404)
		case "POST":
			_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case "PUT":
			refuse(w, 507, "InsufficientStorage")
		case "DELETE":
			w.WriteHeader(204)
		}
	})
	s.single = 8
	if _, _, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader("0123456789"), store.Attributes{}, store.Condition{}); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("put: %v, want ErrNoSpace", err)
	}
	if d := f.sent("DELETE"); len(d) != 1 || !strings.Contains(d[0].query, "uploadId=u") {
		t.Errorf("sent %+v, want the upload aborted", d)
	}
}

func TestACompletionWhoseAnswerWasLost(t *testing.T) {
	part := etag("x")
	whole := etagOf(completedParts(part))
	for _, c := range []struct {
		name, there string
		condition   store.Condition
		want        error
	}{
		{"is found to have been done", whole, store.Condition{}, nil},
		{"is not taken for done where the object is another", etag("y"), store.Condition{}, store.ErrNoUpload},
		{"is not repeated with a condition", whole, store.Condition{Match: []string{"*"}}, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			_, s := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
				switch {
				case r.Method == "HEAD":
					w.Header().Set("ETag", quote(c.there))
					w.Header().Set("Content-Length", "1")
				case r.Method == "GET" && r.URL.Query().Has("uploadId"):
					_, _ = fmt.Fprintf(w, `<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>"%s"</ETag><Size>1</Size></Part></ListPartsResult>`, part)
				case r.Method == "POST":
					if n++; n == 1 {
						lose(w)
						return
					}
					refuse(w, 404, "NoSuchUpload")
				default:
					refuse(w, 404, "NoSuchTagSet")
				}
			})
			info, err := s.CompleteMultipart(t.Context(), "bucket", "key", "u", []store.PartID{{Number: 1, ETag: part}}, store.Attributes{}, c.condition)
			if !errors.Is(err, c.want) || c.want == nil && (err != nil || info.ETag != whole) {
				t.Errorf("complete: %+v, %v, want %v", info, err, c.want)
			}
		})
	}
}
