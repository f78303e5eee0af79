package kit

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

func TestTraceOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		header []string
		flags  string // "": not taken over
	}{
		{"a sampled trace is taken over", []string{"00-" + traceID + "-" + spanID + "-01"}, "01"},
		{"a trace that is not sampled is taken over", []string{"00-" + traceID + "-" + spanID + "-00"}, "00"},
		{"flags that version 00 does not know are cleared", []string{"00-" + traceID + "-" + spanID + "-ff"}, "01"},
		{"flags are a bit field", []string{"00-" + traceID + "-" + spanID + "-0a"}, "00"},
		{"a future version with more fields is read as far as it is known", []string{"01-" + traceID + "-" + spanID + "-01-what-comes"}, "01"},
		{"a future version without more fields is read", []string{"cc-" + traceID + "-" + spanID + "-01"}, "01"},
		{"version 00 with more fields is malformed", []string{"00-" + traceID + "-" + spanID + "-01-x"}, ""},
		{"version ff is forbidden", []string{"ff-" + traceID + "-" + spanID + "-01"}, ""},
		{"uppercase is malformed", []string{"00-" + strings.ToUpper(traceID) + "-" + spanID + "-01"}, ""},
		{"a version of one digit is malformed", []string{"0-" + traceID + "-" + spanID + "-01"}, ""},
		{"flags of one digit are malformed", []string{"00-" + traceID + "-" + spanID + "-1"}, ""},
		{"flags that are not hexadecimal are malformed", []string{"00-" + traceID + "-" + spanID + "-0x"}, ""},
		{"a trace id of zeros is invalid", []string{"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01"}, ""},
		{"a span id of zeros is invalid", []string{"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01"}, ""},
		{"a short trace id is malformed", []string{"00-" + traceID[1:] + "-" + spanID + "-01"}, ""},
		{"a long span id is malformed", []string{"00-" + traceID + "-" + spanID + "0-01"}, ""},
		{"fields missing are malformed", []string{"00-" + traceID + "-" + spanID}, ""},
		{"two headers are as good as none", []string{"00-" + traceID + "-" + spanID + "-01", "00-" + traceID + "-" + spanID + "-01"}, ""},
		{"no header begins a new trace", nil, ""},
		{"an empty header begins a new trace", []string{""}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := TraceOf(http.Header{"Traceparent": c.header})
			if taken := got.TraceID == traceID; taken != (c.flags != "") || taken && got.Flags != c.flags {
				t.Errorf("got %+v", got)
			}
			checkTrace(t, got)
			if got.SpanID == spanID {
				t.Error("the span id is the caller's, want a new one")
			}
		})
	}
}

// checkTrace asserts that what a trace sends on is taken over by the next hop.
func checkTrace(t *testing.T, trace Trace) {
	t.Helper()
	h := http.Header{}
	trace.Set(h)
	next := TraceOf(h)
	if next.TraceID != trace.TraceID || next.Flags != trace.Flags || next.RequestID != trace.RequestID || next.SpanID == trace.SpanID {
		t.Errorf("the next hop makes %+v of %+v", next, trace)
	}
}

func FuzzTraceOf(f *testing.F) {
	f.Add("00-"+traceID+"-"+spanID+"-01", "id")
	f.Add("01-"+traceID+"-"+spanID+"-01-x", "a b")
	f.Add("", "a\nb")
	f.Fuzz(func(t *testing.T, parent, id string) {
		got := TraceOf(http.Header{"Traceparent": {parent}, RequestIDHeader: {id}})
		checkTrace(t, got)
		if strings.ContainsAny(got.RequestID, " \r\n\t\"\\") || got.RequestID == "" || len(got.RequestID) > 128 {
			t.Errorf("the request id is %q", got.RequestID)
		}
	})
}

func TestRequestIDs(t *testing.T) {
	for name, c := range map[string]struct {
		id   string
		kept bool
	}{
		"one of visible ASCII is kept":           {"a-B_1:~/", true},
		"one of 128 bytes is kept":               {strings.Repeat("x", 128), true},
		"a longer one is replaced":               {strings.Repeat("x", 129), false},
		"an empty one is replaced":               {"", false},
		"one that would break a log is replaced": {"a\nlevel=ERROR", false},
		"one with a space is replaced":           {"a b", false},
		"one with a quote is replaced":           {`a"b`, false},
		"one with a backslash is replaced":       {`a\b`, false},
		"one that is not ASCII is replaced":      {"é", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := TraceOf(http.Header{RequestIDHeader: {c.id}}).RequestID
			if (got == c.id) != c.kept || got == "" {
				t.Errorf("%q becomes %q", c.id, got)
			}
		})
	}
}

func TestATraceCrossesAHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inner, outer Trace
		back := start(t, &HTTPServer{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { inner = TraceFrom(r.Context()) })})
		front := start(t, &HTTPServer{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			outer = TraceFrom(r.Context())
			if err := CallJSON(r.Context(), back.Client, "POST", "http://back/", nil, nil); err != nil {
				t.Error(err)
			}
		})})
		r, _ := http.NewRequest("GET", "http://front/", nil)
		r.Header.Set(RequestIDHeader, "the-id")
		resp, err := front.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Header.Get(RequestIDHeader) != "the-id" || inner.RequestID != "the-id" {
			t.Errorf("the request id was %q behind, and %q in the answer", inner.RequestID, resp.Header.Get(RequestIDHeader))
		}
		if inner.TraceID != outer.TraceID || inner.SpanID == outer.SpanID || inner.TraceID == "" {
			t.Errorf("behind it was %+v, before %+v, want one trace of two spans", inner, outer)
		}
	})
}
