package route

import (
	"strings"
	"testing"
)

func TestHeaders(t *testing.T) {
	h := newHeaders(map[string]string{"X-Frame-Options": "DENY", "server": "", "A-First": "1, 2"})
	if got := string(h.Append([]byte("Date: now\r\n"))); got != "Date: now\r\nA-First: 1, 2\r\nX-Frame-Options: DENY\r\n" {
		t.Errorf("it sets %q", got)
	}
	for name, want := range map[string]bool{"Server": true, "SERVER": true, "x-frame-options": true, "A-FIRST": true, "Servers": false, "Serve": false, "": false, "a\rfirst": false} {
		if got := h.Removes([]byte(name)); got != want {
			t.Errorf("Removes(%q) = %v", name, got)
		}
	}
	buf, name := make([]byte, 0, 1024), []byte("X-Other")
	if n := testing.AllocsPerRun(100, func() { buf = h.Append(buf[:0]); h.Removes(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var zero Headers
	if zero.Removes(name) || len(zero.Append(nil)) > 0 {
		t.Error("the zero value does something")
	}
}

func TestFieldsThatARouteCannotSet(t *testing.T) {
	many := map[string]string{}
	for _, c := range "abcdefghi" {
		many["X-"+string(c)] = strings.Repeat("x", 1000)
	}
	const visible = `, expected visible ASCII without spaces around it, or "" to remove the field`
	for name, c := range map[string]struct {
		fields map[string]string
		want   string
	}{
		"any other may be set":               {map[string]string{"X-A": "b c", "Server": "", "Set-Cookie": `a="b"; Path=/`}, ""},
		"a name is a token":                  {map[string]string{"X A": "b"}, `h.X A is no name of a field, expected one as in "X-Frame-Options"`},
		"a name is not empty":                {map[string]string{"": "b"}, `h. is no name of a field, expected one as in "X-Frame-Options"`},
		"a name ends no line":                {map[string]string{"X\r\nY": "b"}, "h.X\r\nY is no name of a field, expected one as in \"X-Frame-Options\""},
		"a value ends no line":               {map[string]string{"X-A": "b\r\nX-B: c"}, `h.X-A is "b\r\nX-B: c"` + visible},
		"a value is ASCII":                   {map[string]string{"X-A": "é"}, `h.X-A is "\u00e9"` + visible},
		"a value has no space around it":     {map[string]string{"X-A": " b"}, `h.X-A is " b"` + visible},
		"Host is for routing":                {map[string]string{"host": "a"}, "h.host cannot be set or removed: the field is routing; rewrite_host changes it for the targets"},
		"a length is framing":                {map[string]string{"Content-Length": ""}, "h.Content-Length cannot be set or removed: the field is framing"},
		"a coding is framing":                {map[string]string{"Transfer-Encoding": "gzip"}, "h.Transfer-Encoding cannot be set or removed: the field is framing"},
		"Connection is hop-by-hop":           {map[string]string{"Connection": "close"}, "h.Connection cannot be set or removed: the field is hop-by-hop"},
		"Upgrade is hop-by-hop":              {map[string]string{"UPGRADE": ""}, "h.UPGRADE cannot be set or removed: the field is hop-by-hop"},
		"who a request is from is ours":      {map[string]string{"X-Forwarded-For": "1.2.3.4"}, "h.X-Forwarded-For cannot be set or removed: the field is written by the load balancer"},
		"a field stands once, in any case":   {map[string]string{"X-A": "1", "x-a": "2"}, "h.x-a stands twice, case ignored; each field stands once"},
		"what they take together is bounded": {many, "h.X-i is one too many: the fields that a route sets take at most 8192 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, checkFields("h", c.fields), c.want)
		})
	}
}
