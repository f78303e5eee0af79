package kit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A Problem is an HTTP error as RFC 9457 has it. It is an error too, so that a
// handler can return one and a client get one back.
type Problem struct {
	Type   string `json:"type,omitempty"` // absent means "about:blank"
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail tells the caller what was wrong and what would be right. For a
	// 5xx it tells what to do, and never an internal detail.
	Detail    string       `json:"detail,omitempty"`
	RequestID string       `json:"request_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
}

// A FieldError is what is wrong with one field of a request.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Problemf returns a Problem with the status's own title.
func Problemf(status int, format string, args ...any) *Problem {
	return &Problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}
}

func (p *Problem) Error() string {
	return strings.TrimSuffix(fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail), ": ")
}

// InvalidFields returns a 422 problem that names each field that is wrong. A
// detail goes on after the field's name: "is 0, expected 1 to 10".
func InvalidFields(wrong ...FieldError) *Problem {
	said := make([]string, len(wrong))
	for i, e := range wrong {
		said[i] = fmt.Sprintf("the field %q %s", e.Field, e.Detail)
	}
	p := Problemf(http.StatusUnprocessableEntity, "%s", strings.Join(said, "; "))
	p.Errors = wrong
	return p
}

// NotAllowed returns a 405 problem, and sets the header Allow to the methods
// that the path has (RFC 9110, section 15.5.6).
func NotAllowed(w http.ResponseWriter, r *http.Request, methods ...string) *Problem {
	allow := strings.Join(methods, ", ")
	w.Header().Set("Allow", allow)
	return Problemf(http.StatusMethodNotAllowed, "the method is %.20s, expected %s", r.Method, strings.ReplaceAll(allow, ", ", " or "))
}

// A ProblemHandler answers a request, or returns why it does not.
type ProblemHandler func(w http.ResponseWriter, r *http.Request) *Problem

// Methods answers by method; GET is HEAD too, and any other method is a 405. What
// changes something is refused to pages of other sites: a browser sends their
// forms to any address that it can reach, and nobody has to log in here.
func Methods(handlers map[string]ProblemHandler) http.Handler {
	sameSite := http.NewCrossOriginProtection()
	allowed := slices.Sorted(maps.Keys(handlers))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		var p *Problem
		switch handle := handlers[method]; {
		case handle == nil:
			p = NotAllowed(w, r, allowed...)
		case sameSite.Check(r) != nil:
			p = Problemf(http.StatusForbidden, "the request comes from a page of another site")
		default:
			p = handle(w, r)
		}
		if p != nil {
			WriteProblem(w, r, p)
		}
	})
}

// WriteProblem answers a request with p.
func WriteProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	answer := *p
	answer.RequestID = TraceFrom(r.Context()).RequestID
	h := w.Header()
	h.Del("Content-Encoding") // of the answer that was meant
	writeJSON(w, p.Status, "application/problem+json", &answer)
}

// WriteJSON answers a request with v as JSON.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	writeJSON(w, status, "application/json", v)
}

// writeJSON leaves "<", ">" and "&" as they are, for people read it too: as this
// type, with nosniff, no browser takes it for HTML.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // a type that cannot be JSON is a programming error
	}
	w.Header().Set("Content-Type", contentType)
	// Not for net/http to find out: where the answer is flushed it cannot.
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// ReadJSON decodes a request's body of at most limit bytes into v, strictly: an
// unknown field, a second value or another content type is an error. The error
// is always a [Problem]: 400 malformed, 413 too large, 415 not JSON. Without a
// content type a body is taken for JSON, except from a browser: a page of another
// site can make it send such a request, but none with application/json.
func ReadJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	if ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); ct != "" && !strings.EqualFold(strings.TrimSpace(ct), "application/json") {
		return Problemf(http.StatusUnsupportedMediaType, "the body is %q, expected Content-Type: application/json", ct)
	} else if ct == "" && (r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "") {
		return Problemf(http.StatusUnsupportedMediaType, "the body has no type, expected Content-Type: application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return bodyProblem(err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return bodyProblem(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Problemf(http.StatusBadRequest, "the body holds more than one JSON value, expected exactly one")
	}
	return nil
}

func bodyProblem(err error) *Problem {
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &tooLarge):
		return Problemf(http.StatusRequestEntityTooLarge, "the body is over the limit of %d bytes", tooLarge.Limit)
	case errors.As(err, &syntax):
		return Problemf(http.StatusBadRequest, "the body is not JSON: at byte %d: %v", syntax.Offset, err)
	case errors.As(err, &wrong) && wrong.Field == "":
		return Problemf(http.StatusBadRequest, "the body is a JSON %s, expected %s", wrong.Value, typeName(wrong.Type))
	case errors.As(err, &wrong):
		return Problemf(http.StatusBadRequest, "the field %q is the JSON %s, expected %s", wrong.Field, wrong.Value, typeName(wrong.Type))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Problemf(http.StatusRequestTimeout, "the body stood still for too long; send the request again")
	case errors.Is(err, io.EOF):
		return Problemf(http.StatusBadRequest, "the body is empty, expected a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Problemf(http.StatusBadRequest, "the body ends in the middle of its JSON")
	case strings.HasPrefix(err.Error(), "json: "):
		return Problemf(http.StatusBadRequest, "the body has an %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return Problemf(http.StatusBadRequest, "the body could not be read to its end")
}

// typeName says in words which values a Go type takes, without naming the type.
func typeName(t reflect.Type) string {
	bits := 0
	if v := reflect.Zero(t); v.CanInt() || v.CanUint() {
		bits = t.Bits()
	}
	switch kind := t.Kind(); {
	case kind == reflect.Pointer:
		return typeName(t.Elem())
	case kind == reflect.Struct, kind == reflect.Map:
		return "an object"
	case kind == reflect.Slice, kind == reflect.Array:
		return "an array"
	case kind == reflect.Bool:
		return "true or false"
	case reflect.Zero(t).CanFloat():
		return "a number"
	case reflect.Zero(t).CanUint():
		return fmt.Sprintf("an integer from 0 to %d", uint64(math.MaxUint64)>>(64-bits))
	case bits == 64:
		return "an integer"
	case bits > 0:
		return fmt.Sprintf("an integer from %d to %d", -1<<(bits-1), 1<<(bits-1)-1)
	}
	return "a string"
}

// maxAnswer bounds what [CallJSON] reads, 32 MiB: ten of the queue's largest
// messages fit, and a peer gone wrong does not fill the memory.
const maxAnswer = 32 << 20

// CallJSON sends in as JSON (nothing where it is nil), and decodes the answer
// into out (unless that is nil). An answer of 300 or more is returned as a
// *[Problem], whatever its body; any other error means that no answer arrived
// whole, within 32 MiB, and as the JSON that out takes.
func CallJSON(ctx context.Context, c *http.Client, method, url string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 { // a redirect is no answer either: it is not followed
		return ReadProblem(resp)
	}
	// To the end even where nobody wants it, so that the connection is reused.
	limited := io.LimitReader(resp.Body, maxAnswer+1)
	if out == nil {
		_, err = io.Copy(io.Discard, limited)
		return err
	}
	answer, err := io.ReadAll(limited)
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("it is over the limit of %d bytes", maxAnswer)
	}
	if err == nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		return fmt.Errorf("read the answer of %s %s: %w", method, url, err)
	}
	return nil
}

// ReadProblem reads the problem document of an answer, and makes one of its
// status and first bytes where it holds none. It does not close the body.
func ReadProblem(resp *http.Response) *Problem {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	p := &Problem{}
	if err := json.Unmarshal(body, p); err != nil || p.Title == "" {
		p = Problemf(resp.StatusCode, "%.200s", strings.TrimSpace(string(body)))
	}
	p.Status = resp.StatusCode
	return p
}
