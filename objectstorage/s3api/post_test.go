package s3api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"minicloud.internal/objectstorage/sigv4"
	"minicloud.internal/objectstorage/store"
)

// A formUpload is what a test sends as a form.
type formUpload struct {
	fields [][2]string
	file   string // its content; "-": none
	name   string
}

// body writes the form; behind stands behind it.
func (f formUpload) body(t *testing.T, behind string) (body, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range f.fields {
		if err := w.WriteField(field[0], field[1]); err != nil {
			t.Fatal(err)
		}
	}
	if f.file != "-" {
		part, err := w.CreateFormFile("file", f.name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, f.file)
	}
	if behind != "" {
		_ = w.WriteField("behind", behind)
	}
	_ = w.Close()
	return b.String(), w.FormDataContentType()
}

// signedForm is a form with a policy of these conditions and one for each field.
func signedForm(t *testing.T, file string, conditions []any, fields ...[2]string) formUpload {
	t.Helper()
	now := time.Now()
	all := append([]any{map[string]string{"bucket": "files"}}, conditions...)
	for _, f := range fields {
		all = append(all, []string{"starts-with", "$" + f[0], ""})
	}
	for _, name := range []string{"x-amz-algorithm", "x-amz-credential", "x-amz-date"} {
		all = append(all, []string{"starts-with", "$" + name, ""})
	}
	document, err := json.Marshal(map[string]any{"expiration": now.Add(time.Hour).UTC().Format(time.RFC3339), "conditions": all})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range sigv4.SignPolicy(string(document), testCredential, "us-east-1", now) {
		fields = append(fields, [2]string{name, value})
	}
	return formUpload{fields, file, `C:\pictures\cat.jpg`}
}

func (d *objectDoor) form(t *testing.T, f formUpload, headers ...string) *answer {
	t.Helper()
	body, contentType := f.body(t, "ignored")
	req := d.request("POST", "/files", body, append(headers, "Content-Type", contentType)...)
	d.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return d.send(req)
}

func TestPostObject(t *testing.T) {
	d := newObjectDoor(t)
	t.Run("a signed form stores its file", func(t *testing.T) {
		a := d.form(t, signedForm(t, "hello", nil, [2]string{"key", "user/${filename}"}, [2]string{"Content-Type", "text/plain"},
			[2]string{"x-amz-meta-a", "1"}, [2]string{"x-amz-meta-a", "2"}, [2]string{"tagging", "<Tagging><TagSet><Tag><Key>t</Key><Value>v</Value></Tag></TagSet></Tagging>"})).want(t, 204, "")
		a.header(t, "Location", d.URL+"/files/user/cat.jpg")
		a.header(t, "ETag", `"5d41402abc4b2a76b9719d911017c592"`)
		got := d.do("GET", "/user/cat.jpg", "").want(t, 200, "")
		got.header(t, "Content-Type", "text/plain")
		got.header(t, "X-Amz-Meta-A", "1,2")
		got.header(t, "X-Amz-Tagging-Count", "1")
		if got.body != "hello" {
			t.Errorf("the object is %q", got.body)
		}
	})
	t.Run("it answers as it is told", func(t *testing.T) {
		d.form(t, signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"success_action_status", "200"})).want(t, 200, "")
		a := d.form(t, signedForm(t, "x", nil, [2]string{"key", "a b"}, [2]string{"success_action_status", "201"})).want(t, 201, "")
		var p struct{ Location, Bucket, Key, ETag string }
		a.decode(t, &p)
		if p.Location != d.URL+"/files/a%20b" || p.Bucket != "files" || p.Key != "a b" || p.ETag == "" {
			t.Errorf("the answer is %+v", p)
		}
		d.form(t, signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"success_action_status", "999"})).want(t, 204, "")
		a = d.form(t, signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"success_action_redirect", "http://a.example/done?x=1"})).want(t, 303, "")
		a.header(t, "Location", "http://a.example/done?bucket=files&etag=%229dd4e461268c8034f5c8564e155c67a6%22&key=k&x=1")
		d.form(t, signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"success_action_redirect", "javascript:alert(1)"})).want(t, 204, "")
	})
	big := strings.Repeat("x", 100)
	for _, test := range []struct {
		name   string
		form   formUpload
		status int
		code   string
	}{
		{"without a key", signedForm(t, "x", nil), 400, "InvalidArgument"},
		{"without a file", signedForm(t, "-", nil, [2]string{"key", "k"}), 400, "InvalidArgument"},
		{"with a key that is too long", signedForm(t, "x", nil, [2]string{"key", strings.Repeat("k", 1025)}), 400, "KeyTooLongError"},
		{"with a key that leads out", signedForm(t, "x", nil, [2]string{"key", "../../k"}), 400, "400"},
		{"with a file that is too large", signedForm(t, big, []any{[]any{"content-length-range", 1, 99}}, [2]string{"key", "k"}), 400, "EntityTooLarge"},
		{"with one that is too small", signedForm(t, big, []any{[]any{"content-length-range", 101, 1000}}, [2]string{"key", "k"}), 400, "EntityTooSmall"},
		{"with one that is just right", signedForm(t, big, []any{[]any{"content-length-range", 100, 100}}, [2]string{"key", "k"}), 204, ""},
		{"with another key than the policy's", signedForm(t, "x", []any{[]any{"starts-with", "$key", "user/"}}, [2]string{"key", "k"}), 403, "AccessDenied"},
		{"with a field that the policy does not have", formUpload{append(signedForm(t, "x", nil, [2]string{"key", "k"}).fields, [2]string{"acl", "private"}), "x", "f"}, 403, "AccessDenied"},
		{"with a tag that is none", signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"tagging", "x"}), 400, "MalformedXML"},
		{"with another's checksum", signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"x-amz-checksum-crc32", "AAAAAA=="}), 400, "BadDigest"},
		{"with a checksum that is none", signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"x-amz-checksum-crc32", "x"}), 400, "InvalidRequest"},
		{"with its checksum", signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"x-amz-checksum-crc32", "jNxHOg=="}), 400, "BadDigest"},
		{"with too much before the file", signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"x-amz-meta-a", strings.Repeat("a", maxFormFields)}), 400, "MaxPostPreDataLengthExceededError"},
		{"with far too much", signedForm(t, "x", nil, [2]string{"key", "k"}, [2]string{"x-amz-meta-a", strings.Repeat("a", 10*maxFormFields)}), 400, "MaxPostPreDataLengthExceededError"},
		{"without a signature", formUpload{[][2]string{{"key", "k"}}, "x", "f"}, 403, "AccessDenied"},
		{"with half a signature", formUpload{[][2]string{{"key", "k"}, {"policy", "e30="}}, "x", "f"}, 400, "InvalidArgument"},
		{"with another's signature", formUpload{append(signedForm(t, "x", nil, [2]string{"key", "k"}).fields, [2]string{"x-amz-signature", strings.Repeat("0", 64)}), "x", "f"}, 403, "SignatureDoesNotMatch"},
	} {
		t.Run(test.name, func(t *testing.T) { d.form(t, test.form).want(t, test.status, test.code) })
	}
}

func TestPostObjectAnonymously(t *testing.T) {
	d := newObjectDoor(t)
	f := formUpload{[][2]string{{"key", "k"}}, "x", "f"}
	d.form(t, f).want(t, 403, "AccessDenied")
	d.set(func(b *store.Bucket) { b.Anonymous = "write" })
	d.form(t, f).want(t, 204, "")
	d.form(t, f, "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site").want(t, 403, "AccessDenied")
	d.form(t, signedForm(t, "x", nil, [2]string{"key", "k"}), "Origin", "http://evil.example").want(t, 204, "")
	d.set(func(b *store.Bucket) { b.Anonymous = "" })
	d.at("PUT", "/files?policy", policyOf("Allow", `"*"`, `"s3:PutObject"`, `"arn:aws:s3:::files/k"`, "")).want(t, 204, "")
	d.form(t, f).want(t, 204, "")
	d.form(t, f, "Origin", "http://evil.example").want(t, 204, "") // as public as the policy says
	d.form(t, formUpload{[][2]string{{"key", "other"}}, "x", "f"}).want(t, 403, "AccessDenied")
}

func TestPostObjectTakesNothingThatIsMalformed(t *testing.T) {
	d := newObjectDoor(t, func(c *Config) { c.MaxObjectSize = 1000 })
	whole, contentType := signedForm(t, strings.Repeat("x", 100), nil, [2]string{"key", "k"}).body(t, "")
	large, largeType := signedForm(t, strings.Repeat("x", 1001), nil, [2]string{"key", "k"}).body(t, "")
	for _, test := range []struct {
		name, contentType, body string
		status                  int
		code                    string
	}{
		{"another type", "application/json", "{}", 412, "PreconditionFailed"},
		{"no type", "", "x", 412, "PreconditionFailed"},
		{"no boundary", "multipart/form-data", "x", 400, "MalformedPOSTRequest"},
		{"an empty body", contentType, "", 400, "MalformedPOSTRequest"},
		{"cut off in the fields", contentType, whole[:strings.Index(whole, `name="policy"`)+30], 400, "MalformedPOSTRequest"},
		{"cut off in the file", contentType, whole[:strings.Index(whole, "xxxx")+50], 400, "MalformedPOSTRequest"},
		{"cut off in the line behind the file", contentType, whole[:len(whole)-10], 400, "MalformedPOSTRequest"},
		{"another boundary", contentType + "0", whole, 400, ""},
		{"a part without a name", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400, "MalformedPOSTRequest"},
		{"over the largest object", largeType, large, 400, "EntityTooLarge"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := d.send(d.request("POST", "/files", test.body, "Content-Type", test.contentType))
			a.want(t, test.status, test.code)
		})
	}
	if a := d.do("GET", "?list-type=2", ""); !strings.Contains(a.body, "<KeyCount>0</KeyCount>") {
		t.Errorf("something was stored: %s", a.body)
	}
	d.send(d.request("POST", "/b99", whole, "Content-Type", contentType)).want(t, 404, "NoSuchBucket")
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx\r\n--b--\r\n"))
	f.Add([]byte("--b--\r\n"))
	f.Add([]byte("--b\r\n\r\n"))
	f.Add([]byte("--b\n0")) // found: a header cut off is the client's fault
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := http.NewRequest("POST", "http://localhost/files", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		r := &request{Request: req}
		form, err := r.readForm()
		if err != nil {
			if e, ours := r.toAPI(err); ours {
				t.Fatalf("%q: the error is %v, expected one that blames the client", body, e)
			}
			return
		}
		size := 0
		for name, value := range form.fields {
			size += len(name) + len(value)
		}
		if size > maxFormFields {
			t.Fatalf("%d bytes of fields", size)
		}
		if _, err := io.Copy(io.Discard, form.file); err != nil {
			if e, ours := r.toAPI(formError(fmt.Errorf("stage: %w", &store.BodyError{Err: err}))); ours {
				t.Fatalf("%q: the error is %v, expected one that blames the client", body, e)
			}
		}
	})
}
