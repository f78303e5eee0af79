package kit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
)

// RequestIDHeader carries the id of a request across every hop.
const RequestIDHeader = "X-Request-Id"

// A Trace names one request (its id) and its place in a trace (W3C Trace
// Context, section 3.2).
type Trace struct {
	RequestID string
	TraceID   string // 32 hexadecimal digits
	SpanID    string // 16 hexadecimal digits, new at every hop
	Flags     string // "01" where the caller records the trace, or "00"
}

// TraceOf returns the trace of a request's headers. What is absent or malformed
// is made anew; the span id always is.
func TraceOf(h http.Header) Trace {
	t := Trace{RequestID: h.Get(RequestIDHeader), SpanID: randomHex(8)}
	if !validID(t.RequestID) {
		t.RequestID = randomHex(16)
	}
	t.TraceID, t.Flags = randomHex(16), "00"
	p := strings.Split(strings.Join(h.Values("Traceparent"), ","), "-")
	if len(p) >= 4 && p[0] != "ff" && isHex(p[0], 2) && isHex(p[1], 32) && isHex(p[2], 16) && isHex(p[3], 2) &&
		(p[0] != "00" || len(p) == 4) && strings.Trim(p[1], "0") != "" && strings.Trim(p[2], "0") != "" {
		t.TraceID = p[1]
		if strings.ContainsAny(p[3][1:], "13579bdf") {
			t.Flags = "01" // the one flag of version 00; others must not be passed on
		}
	}
	return t
}

// Set writes the trace into the headers of the next hop.
func (t Trace) Set(h http.Header) {
	h.Set(RequestIDHeader, t.RequestID)
	h.Set("Traceparent", "00-"+t.TraceID+"-"+t.SpanID+"-"+t.Flags)
}

type traceKey struct{}

// WithTrace returns a context that carries t to [NewHTTPClient]'s calls.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFrom returns the context's trace, or the zero Trace.
func TraceFrom(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

// traced sends the context's trace with every request.
type traced struct{ http.RoundTripper }

func (t traced) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := TraceFrom(r.Context()); trace.RequestID != "" {
		r = r.Clone(r.Context())
		trace.SpanID = randomHex(8)
		trace.Set(r.Header)
	}
	return t.RoundTripper.RoundTrip(r)
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] through.
func (t traced) CloseIdleConnections() {
	t.RoundTripper.(*http.Transport).CloseIdleConnections()
}

// validID accepts what is safe in a log line and a header: 1 to 128 visible
// ASCII characters without quotes and backslashes.
func validID(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 128
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
