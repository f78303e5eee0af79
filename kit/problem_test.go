package kit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// answer is a client's transport that always brings the same.
type answer struct {
	status int
	body   io.Reader
	err    error
	got    *http.Request
	sent   string
}

func (a *answer) RoundTrip(r *http.Request) (*http.Response, error) {
	a.got = r
	if r.Body != nil {
		body, _ := io.ReadAll(r.Body)
		a.sent = string(body)
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Body: io.NopCloser(a.body), Request: r}, nil
}

func TestCallJSON(t *testing.T) {
	type out struct {
		Name string `json:"name"`
	}
	for _, c := range []struct {
		name   string
		answer answer
		in     any
		out    any
		sent   string
		want   string // of the error
	}{
		{"sends and reads JSON", answer{status: 200, body: strings.NewReader(`{"name":"Nox"}`)}, map[string]int{"a": 1}, &out{"Nox"}, `{"a":1}`, ""},
		{"sends nothing for nil", answer{status: 200, body: strings.NewReader(`{}`)}, nil, &out{}, "", ""},
		{"reads nothing for nil", answer{status: 204, body: strings.NewReader("whatever")}, nil, nil, "", ""},
		{"takes fields that it does not know, as the server may be newer", answer{status: 200, body: strings.NewReader(`{"name":"Nox","age":3}`)}, nil, &out{"Nox"}, "", ""},
		{"returns a problem as it came", answer{status: 409, body: strings.NewReader(`{"title":"Conflict","status":409,"detail":"the lease is gone"}`)}, nil, &out{}, "", "409 Conflict: the lease is gone"},
		{"believes the status line, not the document", answer{status: 404, body: strings.NewReader(`{"title":"Not Found","status":200}`)}, nil, &out{}, "", "404 Not Found"},
		{"makes a problem of another body", answer{status: 502, body: strings.NewReader("  <html>bad</html>\n")}, nil, &out{}, "", "502 Bad Gateway: <html>bad</html>"},
		{"makes a problem of other JSON", answer{status: 500, body: strings.NewReader(`{"error":"x"}`)}, nil, &out{}, "", `500 Internal Server Error: {"error":"x"}`},
		{"makes a problem of a redirect, which is not followed", answer{status: 302, body: strings.NewReader("")}, nil, nil, "", "302 Found"},
		{"makes a problem of no body", answer{status: 503, body: strings.NewReader("")}, nil, &out{}, "", "503 Service Unavailable"},
		{"cuts a long body off", answer{status: 500, body: strings.NewReader(strings.Repeat("x", 1<<20))}, nil, &out{}, "", "500 Internal Server Error: " + strings.Repeat("x", 200)},
		{"an answer that ends early is an error", answer{status: 200, body: strings.NewReader(`{"name":`)}, nil, &out{}, "", "read the answer of GET http://test/x: unexpected end of JSON input"},
		{"an answer with more behind its JSON is an error", answer{status: 200, body: strings.NewReader(`{}{}`)}, nil, &out{}, "", "read the answer of GET http://test/x: invalid character '{' after top-level value"},
		{"an answer that breaks off is an error", answer{status: 200, body: &failing{io.ErrUnexpectedEOF}}, nil, &out{}, "", "read the answer of GET http://test/x: unexpected EOF"},
		{"an endless answer is an error", answer{status: 200, body: zeros{}}, nil, &out{}, "", "read the answer of GET http://test/x: it is over the limit of 33554432 bytes"},
		{"an endless answer that nobody reads ends", answer{status: 200, body: zeros{}}, nil, nil, "", ""},
		{"no answer is an error", answer{err: errors.New("connection refused")}, nil, &out{}, "", `Get "http://test/x": connection refused`},
		{"what cannot be JSON is an error", answer{}, math.NaN(), &out{}, "", "json: unsupported value: NaN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got any
			if c.out != nil {
				got = &out{}
			}
			err := CallJSON(t.Context(), &http.Client{Transport: &c.answer}, "GET", "http://test/x", c.in, got)
			if fmt.Sprint(err) != c.want && (err != nil || c.want != "") {
				t.Errorf("got error  %v\nwant error %s", err, c.want)
			}
			if err == nil && !reflect.DeepEqual(got, c.out) {
				t.Errorf("got %+v, want %+v", got, c.out)
			}
			var p *Problem
			if errors.As(err, &p) != (c.answer.status >= 300) || p != nil && p.Status != c.answer.status {
				t.Errorf("%#v: want a *Problem exactly for a status of 300 or more", err)
			}
			if c.answer.sent != c.sent || c.sent != "" && c.answer.got.Header.Get("Content-Type") != "application/json" {
				t.Errorf("sent %q with %v, want %q", c.answer.sent, c.answer.got.Header, c.sent)
			}
		})
	}
	t.Run("a wrong URL is an error", func(t *testing.T) {
		if err := CallJSON(t.Context(), http.DefaultClient, "GET", "http://a b/", nil, nil); err == nil {
			t.Error("no error")
		}
	})
}

type spell struct {
	Name  string          `json:"name"`
	Power uint8           `json:"power"`
	Heat  *int32          `json:"heat"`
	Scale float64         `json:"scale"`
	Dark  bool            `json:"dark"`
	Tags  []string        `json:"tags"`
	Book  struct{ A int } `json:"book"`
}

func TestReadJSON(t *testing.T) {
	const ct = "application/json"
	for _, c := range []struct {
		name, contentType string
		body              io.Reader
		status            int // 0: accepted
		detail            string
	}{
		{"an object is read", ct, strings.NewReader(`{"name":"Nox","power":3}`), 0, ""},
		{"space around it is no matter", ct, strings.NewReader(" {\"name\":\"Nox\",\"power\":3} \n"), 0, ""},
		{"a charset is no matter", "Application/JSON; charset=utf-8", strings.NewReader(`{"name":"Nox","power":3}`), 0, ""},
		{"a missing content type is no matter", "", strings.NewReader(`{"name":"Nox","power":3}`), 0, ""},
		{"another content type", "text/plain", strings.NewReader(`{}`), 415, `the body is "text/plain", expected Content-Type: application/json`},
		{"an empty body", ct, strings.NewReader(""), 400, "the body is empty, expected a JSON object"},
		{"broken JSON", ct, strings.NewReader(`{"name":}`), 400, "the body is not JSON: at byte 9: invalid character '}' looking for beginning of value"},
		{"half of it", ct, strings.NewReader(`{"name":"No`), 400, "the body ends in the middle of its JSON"},
		{"two values", ct, strings.NewReader(`{} {}`), 400, "the body holds more than one JSON value, expected exactly one"},
		{"something behind it", ct, strings.NewReader(`{}x`), 400, "the body holds more than one JSON value, expected exactly one"},
		{"an unknown field", ct, strings.NewReader(`{"nam":"x"}`), 400, `the body has an unknown field "nam"`},
		{"an array", ct, strings.NewReader(`[]`), 400, "the body is a JSON array, expected an object"},
		{"a number for a string", ct, strings.NewReader(`{"name":1}`), 400, `the field "name" is the JSON number, expected a string`},
		{"a string for an integer", ct, strings.NewReader(`{"power":"1"}`), 400, `the field "power" is the JSON string, expected an integer from 0 to 255`},
		{"an integer out of range", ct, strings.NewReader(`{"power":256}`), 400, `the field "power" is the JSON number 256, expected an integer from 0 to 255`},
		{"a fraction for an integer", ct, strings.NewReader(`{"heat":1.5}`), 400, `the field "heat" is the JSON number 1.5, expected an integer from -2147483648 to 2147483647`},
		{"a string for a number", ct, strings.NewReader(`{"scale":"x"}`), 400, `the field "scale" is the JSON string, expected a number`},
		{"a number for true", ct, strings.NewReader(`{"dark":1}`), 400, `the field "dark" is the JSON number, expected true or false`},
		{"a string for an array", ct, strings.NewReader(`{"tags":"x"}`), 400, `the field "tags" is the JSON string, expected an array`},
		{"a string for an object", ct, strings.NewReader(`{"book":"x"}`), 400, `the field "book" is the JSON string, expected an object`},
		{"a wrong type deep inside", ct, strings.NewReader(`{"book":{"A":"x"}}`), 400, `the field "book.A" is the JSON string, expected an integer`},
		{"over the limit", ct, strings.NewReader(`"` + strings.Repeat("x", 200) + `"`), 413, "the body is over the limit of 100 bytes"},
		{"a body that stands still", ct, &failing{os.ErrDeadlineExceeded}, 408, "the body stood still for too long; send the request again"},
		{"a body that breaks off", ct, &failing{errors.New("read tcp 10.0.0.1: reset")}, 400, "the body could not be read to its end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", c.body)
			r.Header.Set("Content-Type", c.contentType)
			var got spell
			err := ReadJSON(httptest.NewRecorder(), r, 100, &got)
			if c.status == 0 {
				if err != nil || got.Name != "Nox" || got.Power != 3 {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			var p *Problem
			if !errors.As(err, &p) || p.Status != c.status || p.Detail != c.detail {
				t.Errorf("got  %v\nwant %d %s", err, c.status, c.detail)
			}
		})
	}
}

func FuzzReadJSON(f *testing.F) {
	for _, seed := range []string{`{"name":"Nox","power":3}`, `{"heat":1e400}`, `{"book":{"A":1}}`, `null`, `{}{}`, "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var got spell
		err := ReadJSON(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(body)), 1000, &got)
		var p *Problem
		switch {
		case err == nil && !json.Valid([]byte(body)):
			t.Errorf("%q is no JSON and was read", body)
		case err != nil && (!errors.As(err, &p) || p.Status < 400 || p.Status > 499 || strings.Contains(p.Detail, "kit.")):
			t.Errorf("%q gives %v", body, err)
		}
	})
}

func TestWriteProblem(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(WithTrace(r.Context(), Trace{RequestID: "id"}))
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "99")
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("X-Cache-Lease", "7")
	p := Problemf(422, "the field %q is wrong", "name")
	p.Errors = []FieldError{{"name", "is empty, expected 1 to 64 characters"}}
	WriteProblem(w, r, p)
	want := `{"title":"Unprocessable Entity","status":422,"detail":"the field \"name\" is wrong","request_id":"id",` +
		`"errors":[{"field":"name","detail":"is empty, expected 1 to 64 characters"}]}` + "\n"
	if w.Code != 422 || w.Body.String() != want {
		t.Errorf("got  %d %s\nwant 422 %s", w.Code, w.Body, want)
	}
	if h := w.Header(); h.Get("Content-Type") != "application/problem+json" || h.Get("X-Content-Type-Options") != "nosniff" ||
		h.Get("Content-Length") != strconv.Itoa(len(want)) || h.Get("Content-Encoding") != "" || h.Get("X-Cache-Lease") != "7" {
		t.Errorf("headers %v: want those of a problem, its own length, and the handler's own", h)
	}
	if p.RequestID != "" {
		t.Error("the problem itself was changed; it may be shared")
	}
	if err := p.Error(); err != `422 Unprocessable Entity: the field "name" is wrong` {
		t.Errorf("as an error it is %q", err)
	}
}

func TestWriteJSON(t *testing.T) {
	w := httptest.NewRecorder()
	WriteJSON(w, 201, map[string]string{"id": "<3>"})
	if w.Code != 201 || w.Body.String() != `{"id":"<3>"}`+"\n" || w.Header().Get("Content-Type") != "application/json" ||
		w.Header().Get("Content-Length") != "13" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %d %s %v", w.Code, w.Body, w.Header())
	}
	defer func() {
		if recover() == nil {
			t.Error("a value that cannot be JSON did not panic")
		}
	}()
	WriteJSON(httptest.NewRecorder(), 200, math.Inf(1))
}

func TestReadJSONWithoutAContentType(t *testing.T) {
	for _, c := range []struct {
		name, header, value string
		refused             bool
	}{
		{"a program's body is taken for JSON", "User-Agent", "curl", false},
		{"a browser's is not: any page can send it", "Origin", "http://evil.test", true},
		{"nor one that only says where it comes from", "Sec-Fetch-Site", "cross-site", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader(`{"name":"Nox"}`))
			r.Header.Set(c.header, c.value)
			err := ReadJSON(httptest.NewRecorder(), r, 100, &spell{})
			var p *Problem
			if errors.As(err, &p) != c.refused || c.refused && p.Status != http.StatusUnsupportedMediaType {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestInvalidFields(t *testing.T) {
	p := InvalidFields(FieldError{"name", "is empty"}, FieldError{"power", "is 0, expected 1 to 9"})
	if p.Error() != `422 Unprocessable Entity: the field "name" is empty; the field "power" is 0, expected 1 to 9` || len(p.Errors) != 2 {
		t.Errorf("got %v with %v", p, p.Errors)
	}
}

func TestNotAllowed(t *testing.T) {
	w := httptest.NewRecorder()
	p := NotAllowed(w, httptest.NewRequest(strings.Repeat("X", 50), "/", nil), "GET", "HEAD")
	if p.Error() != "405 Method Not Allowed: the method is XXXXXXXXXXXXXXXXXXXX, expected GET or HEAD" || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("got %v with %v", p, w.Header())
	}
}

func TestMethods(t *testing.T) {
	h := Methods(map[string]ProblemHandler{
		http.MethodGet: func(w http.ResponseWriter, _ *http.Request) *Problem {
			WriteJSON(w, http.StatusOK, "seen")
			return nil
		},
		http.MethodDelete: func(http.ResponseWriter, *http.Request) *Problem {
			return Problemf(http.StatusNotFound, "there is nothing to delete")
		},
	})
	for _, test := range []struct {
		name, method, site string
		status             int
		says, allow        string
	}{
		{"a method that is there answers", http.MethodGet, "", http.StatusOK, "seen", ""},
		{"GET is HEAD too", http.MethodHead, "", http.StatusOK, "", ""},
		{"a problem is written", http.MethodDelete, "", http.StatusNotFound, "nothing to delete", ""},
		{"another method is refused, with those that are there", http.MethodPost, "", http.StatusMethodNotAllowed, "expected DELETE or GET", "DELETE, GET"},
		{"a page of another site changes nothing", http.MethodDelete, "cross-site", http.StatusForbidden, "another site", ""},
		{"and may read", http.MethodGet, "cross-site", http.StatusOK, "seen", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "/", nil)
			r.Header.Set("Sec-Fetch-Site", test.site)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) || w.Header().Get("Allow") != test.allow {
				t.Errorf("got %d %s, Allow %q", w.Code, w.Body, w.Header().Get("Allow"))
			}
		})
	}
}
