package http1

import (
	"strings"
	"testing"
)

func status(line string, fields ...string) string {
	return "HTTP/1.1 " + strings.Join(append([]string{line}, fields...), "\r\n") + "\r\n\r\n"
}

func TestAResponseIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		want  *Error
	}{
		"of another version":                        {"HTTP/2.0 200 OK\r\n\r\n", errVersionOther},
		"of ICY":                                    {"ICY 200 OK\r\n\r\n", errVersion},
		"whose version is in lower case":            {"http/1.1 200 OK\r\n\r\n", errVersion},
		"after an empty line":                       {"\r\nHTTP/1.1 200 OK\r\n\r\n", errVersion},
		"with two spaces before the status":         {status(" 200 OK"), errStatus},
		"with a tab before the status":              {"HTTP/1.1\t200 OK\r\n\r\n", errStatus},
		"without status":                            {"HTTP/1.1\r\n\r\n", errStatus},
		"whose status has two digits":               {status("20 OK"), errStatus},
		"whose status has four digits":              {status("2000 OK"), errStatus},
		"whose status has a letter":                 {status("2x0 OK"), errStatus},
		"whose status is below 100":                 {status("099 Low"), errStatus},
		"whose status is above 599":                 {status("600 High"), errStatus},
		"with a tab after the status":               {status("200\tOK"), errStatus},
		"whose status line ends with a bare LF":     {"HTTP/1.1 200 OK\n\r\n", errBareLF},
		"whose status ends with a bare LF":          {"HTTP/1.1 200\n\r\n", errBareLF},
		"whose status line has a bare CR":           {"HTTP/1.1 200 OK\rA: b\r\n\r\n", errBareCR},
		"with a control character in the reason":    {status("200 O\x00K"), errReason},
		"with a control character after the status": {status("200\x00"), errReason},
		"whose status line is over its limit":       {status("200 " + strings.Repeat("a", 52)), errLineLong},
		"whose status line has no end":              {"HTTP/1.1 200 " + strings.Repeat("a", 52), errLineLong},
		"whose head is over its limit":              {status("200 OK", "A: "+strings.Repeat("b", 490)), errHeadLarge},
		"with too many fields":                      {status("200 OK", strings.Repeat("A: b\r\n", 8)+"A: b"), errFields},
		"with a folded field":                       {status("200 OK", "A: b", " c"), errFold},
		"with white space before the first field":   {status("200 OK", " A: b"), errSpaceFirst},
		"with a space before a colon":               {status("200 OK", "A : b"), errSpaceColon},
		"with NUL in a value":                       {status("200 OK", "A: \x00"), errFieldValue},
		"with length and coding":                    {status("200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"), errLengthCoding},
		"with length and coding to a 304":           {status("304 No", "Content-Length: 1", "Transfer-Encoding: chunked"), errLengthCoding},
		"with one length twice":                     {status("200 OK", "Content-Length: 1", "Content-Length: 1"), errLengthMany},
		"with a malformed length":                   {status("200 OK", "Content-Length: 1,1"), errLength},
		"with an unknown coding":                    {status("200 OK", "Transfer-Encoding: gzip, chunked"), errCodingUnknown},
		"with chunked not last":                     {status("200 OK", "Transfer-Encoding: chunked, gzip"), errChunkedNotLast},
		"with a coding in HTTP/1.0":                 {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", errCodingOld},
		"with a coding in a 1xx":                    {status("100 Continue", "Transfer-Encoding: chunked"), errCodingStatus},
		"with a coding in a 204":                    {status("204 No Content", "Transfer-Encoding: chunked"), errCodingStatus},
		"with a length in a 1xx":                    {status("103 Early Hints", "Content-Length: 5"), errLengthStatus},
		"with a length in a 204":                    {status("204 No Content", "Content-Length: 5"), errLengthStatus},
		"with a Connection option that is no token": {status("200 OK", "Connection: \"close\""), errOption},
	} {
		t.Run(name, func(t *testing.T) {
			var r Response
			n, err := parseEach(t, c.input, r.Parse)
			if n != 0 || err != c.want.Upstream() || err.Status != 502 || err.Error() != c.want.Reason || err.Upstream() != err {
				t.Errorf("%q gives %d, %v; want %v", c.input, n, err, c.want)
			}
		})
	}
}

func TestAResponseIsAccepted(t *testing.T) {
	for name, c := range map[string]struct {
		input   string
		reason  string
		body    Body // to a GET
		n       int64
		keep    bool
		upgrade string
	}{
		"with a length":                         {status("200 OK", "Content-Length: 5"), "OK", Length, 5, true, ""},
		"with a length of 0":                    {status("200 OK", "Content-Length: 0"), "OK", Length, 0, true, ""},
		"chunked":                               {status("200 OK", "Transfer-Encoding: CHUNKED"), "OK", ChunkedBody, 0, true, ""},
		"that lasts until the end":              {status("200 OK"), "OK", UntilClose, 0, true, ""},
		"without fields":                        {status("205 "), "", UntilClose, 0, true, ""},
		"without a space before no reason":      {status("404"), "", UntilClose, 0, true, ""},
		"with any text as reason":               {status("599 \t\xe9 no"), "\t\xe9 no", UntilClose, 0, true, ""},
		"of HTTP/1.0":                           {"HTTP/1.0 200 OK\r\n\r\n", "OK", UntilClose, 0, false, ""},
		"of HTTP/1.0 with keep-alive":           {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", "OK", Length, 1, true, ""},
		"with close":                            {status("200 OK", "Connection: close"), "OK", UntilClose, 0, false, ""},
		"with status 304 and a length":          {status("304 Not Modified", "Content-Length: 5"), "Not Modified", None, 0, true, ""},
		"with status 304 and chunked":           {status("304 Not Modified", "Transfer-Encoding: chunked"), "Not Modified", None, 0, true, ""},
		"with status 204":                       {status("204 No Content"), "No Content", None, 0, true, ""},
		"with status 204 and a length of 0":     {status("204 No Content", "Content-Length: 0"), "No Content", None, 0, true, ""},
		"with status 100":                       {status("100 Continue"), "Continue", None, 0, true, ""},
		"with status 101":                       {status("101 Go", "Connection: upgrade", "Upgrade: a/1"), "Go", None, 0, true, "a/1"},
		"with two Hosts, which mean nothing":    {status("200 OK", "Host: a", "Host: b", "Expect: c"), "OK", UntilClose, 0, true, ""},
		"with a status line as long as allowed": {status("200 " + strings.Repeat("a", 51)), strings.Repeat("a", 51), UntilClose, 0, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var r Response
			n, err := parseEach(t, c.input, r.Parse)
			if n != len(c.input) || string(r.Reason) != c.reason || r.KeepAlive != c.keep || string(r.Upgrade) != c.upgrade {
				t.Errorf("%q gives %d, %v, reason %q, keep alive %t, upgrade %q", c.input, n, err, r.Reason, r.KeepAlive, r.Upgrade)
			}
			if body, n := r.Framing(false); body != c.body || n != c.n {
				t.Errorf("framing %d, %d", body, n)
			}
			if body, n := r.Framing(true); body != None || n != 0 {
				t.Errorf("framing %d, %d to a HEAD", body, n)
			}
			if bare := r.Status < 200 || r.Status == 204; bare && r.ContentLength != -1 {
				t.Errorf("length %d is not dropped", r.ContentLength)
			}
		})
	}
}
