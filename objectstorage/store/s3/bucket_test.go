package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"minicloud.internal/objectstorage/store"
)

func TestAnonymousIsATag(t *testing.T) {
	const tags = `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`
	for _, document := range []string{"", tags} {
		for _, anonymous := range []string{"", "read", "read-write"} {
			kept, err := joinTags([]byte(document), anonymous)
			if err != nil {
				t.Fatal(err)
			}
			if anonymous == "" && string(kept) != document {
				t.Errorf("%q without the tag became %q", document, kept)
			}
			rest, got, err := splitTags(kept)
			if err != nil || got != anonymous || (len(rest) == 0) != (document == "") || document != "" && !strings.Contains(string(rest), "<Key>a</Key><Value>b</Value>") {
				t.Errorf("%q and %q came back as %q and %q, %v", document, anonymous, rest, got, err)
			}
		}
	}
	for _, smuggled := range []string{
		strings.Replace(tags, ">a<", ">"+AnonymousTag+"<", 1),
		strings.Replace(tags, ">a<", ">minicloud&#58;anonymous<", 1),
		strings.Replace(tags, ">a<", "><![CDATA[minicloud]]>:anonymous<", 1),
	} {
		if kept, err := joinTags([]byte(smuggled), ""); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a tagging that opens the bucket was kept: %s, %v", kept, err)
		}
	}
}

// documents is a service that keeps the documents of its one bucket.
func documents(kept map[string]string) func(w http.ResponseWriter, r *http.Request, body string) {
	return func(w http.ResponseWriter, r *http.Request, body string) {
		var name string
		for _, n := range append(Documents(), "versioning") {
			if r.URL.Query().Has(n) {
				name = n
			}
		}
		if !strings.HasPrefix(r.URL.Path, "/bucket") {
			refuse(w, 404, "NoSuchBucket")
			return
		}
		switch have, ok := kept[name]; {
		case name == "":
			w.WriteHeader(404)
		case r.Method == "PUT":
			kept[name] = body
		case r.Method == "DELETE":
			delete(kept, name)
			w.WriteHeader(204)
		case ok:
			_, _ = io.WriteString(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"+have)
		case name == "versioning":
			_, _ = io.WriteString(w, "<VersioningConfiguration/>")
		case name == "location":
			_, _ = io.WriteString(w, "<LocationConstraint/>")
		default:
			refuse(w, 404, "NoSuchSuchThing")
		}
	}
}

func TestSettingsAreTheService(t *testing.T) {
	kept := map[string]string{"cors": "<CORSConfiguration/>", "policy": `{"Statement":[]}`}
	f, s := serve(t, documents(kept))
	err := s.UpdateBucket(t.Context(), "bucket", func(b *store.Bucket) error {
		if string(b.Documents["cors"]) != kept["cors"] || string(b.Documents["policy"]) != kept["policy"] || len(b.Documents) != 2 {
			t.Errorf("the documents are %q, want those that the service keeps", b.Documents)
		}
		b.Versioning, b.Anonymous = store.Enabled, "read"
		b.Documents["lifecycle"] = []byte("<LifecycleConfiguration/>")
		delete(b.Documents, "policy")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 4 || !strings.Contains(kept["versioning"], "<Status>Enabled</Status>") || !strings.Contains(kept["tagging"], "<Value>read</Value>") || kept["lifecycle"] != "<LifecycleConfiguration/>" {
		t.Errorf("the service keeps %q", kept)
	}
	for _, p := range f.sent("PUT") {
		if p.header.Get("Content-Md5") == "" && !strings.Contains(p.query, "versioning") {
			t.Errorf("PUT ?%s has no Content-MD5", p.query)
		}
		if strings.Contains(p.query, "cors") || strings.Contains(p.query, "policy") {
			t.Errorf("PUT ?%s was sent, want only what changed", p.query)
		}
	}
	b, err := s.GetBucket(t.Context(), "bucket")
	if err != nil || b.Versioning != store.Enabled || b.Anonymous != "read" || len(b.Documents) != 2 {
		t.Errorf("the bucket is %+v, %v", b, err)
	}
	n := len(f.sent("GET"))
	if _, err := s.GetBucket(t.Context(), "bucket"); err != nil || len(f.sent("GET")) != n {
		t.Errorf("asked again at once, %v", err)
	}
	refused := errors.New("refused")
	if err := s.UpdateBucket(t.Context(), "bucket", func(*store.Bucket) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("update: %v, want the error of change", err)
	}
	if err := s.UpdateBucket(t.Context(), "bucket", func(b *store.Bucket) error { b.Documents["acl"] = []byte("x"); return nil }); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a document that S3 does not keep: %v", err)
	}
	if _, err := s.GetBucket(t.Context(), "other"); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("get another: %v, want ErrNoBucket", err)
	}
}

func TestLocksAreTheService(t *testing.T) {
	until := time.Date(2039, 12, 1, 16, 0, 0, 5e6, time.UTC)
	lock := store.Attributes{LockMode: store.Governance, RetainUntil: until, LegalHold: store.HoldOn}
	f, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		switch {
		case r.Method == "HEAD":
			setLocks(w.Header(), &lock)
			w.Header().Set("ETag", quote("e"))
			w.Header().Set("Content-Length", "0")
			w.Header().Set("X-Amz-Version-Id", "v")
		case r.Method == "DELETE":
			refuse(w, 403, "AccessDenied")
		}
	})
	if _, _, err := store.Put(t.Context(), s, "bucket", "key", strings.NewReader(""), lock, store.Condition{}); err != nil {
		t.Fatal(err)
	}
	if p := f.sent("PUT")[0].header; p.Get(lockMode) != "GOVERNANCE" || p.Get(lockUntil) != "2039-12-01T16:00:00.005Z" || p.Get(lockHold) != "ON" || p.Get("Content-Md5") == "" {
		t.Errorf("put with %v", p)
	}
	if i, err := s.Head(t.Context(), "bucket", "key", "v"); err != nil || i.LockMode != lock.LockMode || !i.RetainUntil.Equal(until) || i.LegalHold != store.HoldOn {
		t.Errorf("head: %+v, %v", i, err)
	}
	if _, err := s.Delete(t.Context(), "bucket", "key", "v", store.Condition{Bypass: true}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("delete a locked version: %v", err)
	}
	if d := f.sent("DELETE")[0].header; d.Get("X-Amz-Bypass-Governance-Retention") != "true" {
		t.Errorf("delete with %v, want the bypass passed on", d)
	}
	_, err := s.Update(t.Context(), "bucket", "key", "v", func(a *store.Attributes) error {
		a.LockMode, a.RetainUntil, a.LegalHold = "", time.Time{}, store.HoldOff
		return nil
	})
	puts := f.sent("PUT")
	if err != nil || len(puts) != 3 || !strings.Contains(puts[1].query, "retention") || puts[1].header.Get("X-Amz-Bypass-Governance-Retention") != "true" ||
		!strings.Contains(puts[2].query, "legal-hold") || !strings.Contains(puts[2].body, "<Status>OFF</Status>") || !strings.Contains(puts[2].query, "versionId=v") {
		t.Errorf("update: %+v, %v", puts, err)
	}
}

func TestABucketThatCannotBeSetUpIsNotLeft(t *testing.T) {
	f, s := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
		switch {
		case r.Method == "HEAD":
			w.WriteHeader(404)
		case r.URL.Query().Has("cors"):
			refuse(w, 400, "MalformedXML")
		case r.Method == "DELETE":
			w.WriteHeader(204)
		}
	})
	err := s.CreateBucket(t.Context(), store.Bucket{Name: "bucket", Documents: map[string][]byte{"cors": []byte("x"), "location": []byte("eu-west-1")}})
	if err == nil || len(f.sent("DELETE")) != 1 {
		t.Errorf("create: %v, and %+v, want an error and the bucket deleted", err, f.sent("DELETE"))
	}
	if p := f.sent("PUT")[0]; !strings.Contains(p.body, "<LocationConstraint>eu-west-1</LocationConstraint>") {
		t.Errorf("created with %s, want the location", p.body)
	}
}

func TestABucketWithUnfinishedUploads(t *testing.T) {
	for _, c := range []struct {
		name, versions string
		want           error
		aborted        int
	}{
		{"is emptied of them and deleted", "", nil, 1},
		{"keeps them where a version is left", "<Version><Key>a</Key><VersionId>null</VersionId></Version>", store.ErrBucketNotEmpty, 0},
		{"keeps them where a marker is left", "<DeleteMarker><Key>a</Key><VersionId>m</VersionId></DeleteMarker>", store.ErrBucketNotEmpty, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			aborted := 0
			_, s := serve(t, func(w http.ResponseWriter, r *http.Request, body string) {
				q := r.URL.Query()
				switch {
				case q.Has("versions"):
					_, _ = fmt.Fprintf(w, "<ListVersionsResult>%s</ListVersionsResult>", c.versions)
				case q.Has("uploads"):
					_, _ = io.WriteString(w, "<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>")
				case q.Get("uploadId") == "u":
					aborted++
					w.WriteHeader(204)
				case aborted == 0:
					refuse(w, 409, "BucketNotEmpty")
				default:
					w.WriteHeader(204)
				}
			})
			if err := s.DeleteBucket(t.Context(), "bucket"); !errors.Is(err, c.want) || aborted != c.aborted {
				t.Errorf("delete: %v with %d aborted, want %v with %d", err, aborted, c.want, c.aborted)
			}
		})
	}
}

func TestListing(t *testing.T) {
	t.Run("names are decoded, and a prefix that comes again is left out", func(t *testing.T) {
		f, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			if r.URL.Query().Get("continuation-token") == "" {
				_, _ = io.WriteString(w, `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>
<CommonPrefixes><Prefix>a%2F</Prefix></CommonPrefixes></ListBucketResult>`)
				return
			}
			_, _ = io.WriteString(w, `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t2</NextContinuationToken>
<Contents><Key>b+%2B%00</Key><Size>3</Size><ETag>&quot;e&quot;</ETag><LastModified>2026-10-01T10:00:00.500Z</LastModified><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>`)
		})
		p, err := s.List(t.Context(), "bucket", store.Query{Delimiter: "/", After: "a/", Limit: 1})
		if err != nil || len(p.Prefixes) != 0 || len(p.Objects) != 1 || p.Next != "b +\x00" || p.Objects[0].ETag != "e" || p.Objects[0].StorageClass != "" || p.Objects[0].Modified.Nanosecond() != 0 {
			t.Errorf("list: %+v, %v", p, err)
		}
		if q := f.sent("GET")[1].query; !strings.Contains(q, "start-after=a%2F") || !strings.Contains(q, "encoding-type=url") {
			t.Errorf("asked for %s", q)
		}
	})
	t.Run("versions and markers keep their order", func(t *testing.T) {
		_, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			_, _ = io.WriteString(w, `<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextVersionIdMarker>3</NextVersionIdMarker>
<DeleteMarker><Key>k</Key><VersionId>1</VersionId><IsLatest>true</IsLatest><Owner><ID>x</ID></Owner></DeleteMarker><Version><Key>k</Key><VersionId>2</VersionId></Version><DeleteMarker><Key>k</Key><VersionId>3</VersionId></DeleteMarker></ListVersionsResult>`)
		})
		p, err := s.ListVersions(t.Context(), "bucket", store.VersionQuery{Query: store.Query{Limit: 3}})
		got := ""
		for _, v := range p.Versions {
			got += fmt.Sprintf("%s %v %v, ", v.Version, v.DeleteMarker, v.Latest)
		}
		if err != nil || got != "1 true true, 2 false false, 3 true false, " || p.Next != "k" || p.NextVersion != "3" {
			t.Errorf("versions %s, next %s %s, %v", got, p.Next, p.NextVersion, err)
		}
	})
	t.Run("an answer without end is cut off", func(t *testing.T) {
		_, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		})
		if _, err := s.ListVersions(t.Context(), "bucket", store.VersionQuery{Query: store.Query{Limit: 3}}); err == nil || !strings.Contains(err.Error(), "over") {
			t.Errorf("list: %v", err)
		}
	})
	t.Run("one that goes on and does not say how is an error", func(t *testing.T) {
		_, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
			_, _ = io.WriteString(w, "<R><IsTruncated>true</IsTruncated></R>")
		})
		if _, err := s.List(t.Context(), "bucket", store.Query{Limit: 3}); err == nil {
			t.Error("list: no error")
		}
		if _, err := s.ListVersions(t.Context(), "bucket", store.VersionQuery{Query: store.Query{Limit: 3}}); err == nil {
			t.Error("list versions: no error")
		}
	})
}

func TestOpen(t *testing.T) {
	for _, o := range []Options{
		{}, {Endpoint: "localhost:80"}, {Endpoint: "ftp://x"}, {Endpoint: "http://x?y"}, {Endpoint: "http://user:hunter2@x"}, {Endpoint: "http://x\x00hunter2"},
		{Endpoint: "http://x", AccessKey: "a"}, {Endpoint: "http://x", SecretKey: "hunter2"},
	} {
		_, err := Open(t.Context(), o)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open %+v: %v, want an error without secrets", o, err)
		}
	}
	for _, c := range []struct {
		status int
		code   string
		ok     bool
	}{{200, "", true}, {403, "AccessDenied", true}, {403, "InvalidAccessKeyId", false}, {403, "SignatureDoesNotMatch", false}, {301, "PermanentRedirect", false}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.status == 301 {
				w.Header().Set("Location", "http://127.0.0.1:1/")
			}
			if c.status == 200 {
				_, _ = io.WriteString(w, "<ListAllMyBucketsResult/>")
				return
			}
			refuse(w, c.status, c.code)
		})}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(ln) }()
		s, err := Open(t.Context(), Options{Endpoint: "http://" + ln.Addr().String(), AccessKey: "a", SecretKey: "hunter2"})
		if (err == nil) != c.ok || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%d %s: %v, want success %v", c.status, c.code, err, c.ok)
		}
		if s != nil {
			_ = s.Close()
		}
		_ = server.Close()
		<-done
	}
}

func TestASilentConnectionIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &idleConn{Conn: ours, idle: time.Minute}
		defer c.Close()
		began := time.Now()
		read := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
		// As long as something is sent, an answer may take its time.
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		for range 5 {
			time.Sleep(50 * time.Second)
			if _, err := c.Write(make([]byte, 3*step/2)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 310*time.Second {
			t.Errorf("read: %v after %v, want the deadline a minute after the last write", err, time.Since(began))
		}
	})
}

func TestAGoneCallerEndsARequest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, s := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := s.Get(ctx, "bucket", "key", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v, want that the caller left", err)
	}
}
