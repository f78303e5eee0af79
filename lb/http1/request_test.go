package http1

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// tight has room for the heads of the tables here, and little more.
var tight = Limits{Line: 64, Head: 512, Fields: 8}

// parseEach parses every beginning of input and then the whole. Each must be
// incomplete or, like the whole, refused with the same error.
func parseEach(t *testing.T, input string, parse func([]byte, *Limits) (int, *Error)) (int, *Error) {
	t.Helper()
	var refused *Error
	for i := range len(input) {
		n, err := parse([]byte(input[:i]), &tight)
		if n != 0 || refused != nil && err != refused {
			t.Errorf("the first %d bytes give %d, %v; fewer gave %v", i, n, err, refused)
		}
		refused = err
	}
	n, err := parse([]byte(input), &tight)
	if refused != nil && err != refused {
		t.Errorf("%q gives %d, %v; its beginning gave %v", input, n, err, refused)
	}
	return n, err
}

func field(lines ...string) string {
	return "POST /a HTTP/1.1\r\nHost: h\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func target(s string) string { return "GET " + s + " HTTP/1.1\r\nHost: h\r\n\r\n" }

func hostIs(s string) string { return "GET / HTTP/1.1\r\nHost: " + s + "\r\n\r\n" }

func TestARequestIsRefused(t *testing.T) {
	var r Request
	for name, c := range map[string]struct {
		input string
		want  *Error
	}{
		// Lines.
		"whose request line ends with a bare LF":    {"GET / HTTP/1.1\nHost: h\r\n\r\n", errBareLF},
		"whose target ends with a bare LF":          {"GET /\n", errBareLF},
		"whose method ends with a bare LF":          {"GET\n", errMethod},
		"whose field line ends with a bare LF":      {"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", errBareLF},
		"whose field name ends with a bare LF":      {field("A\nB: c"), errBareLF},
		"whose head ends with a bare LF":            {"GET / HTTP/1.1\r\nHost: h\r\n\n", errBareLF},
		"with a bare CR in a value":                 {field("A: b\rc"), errBareCR},
		"with a bare CR before a field":             {field("\rA: b"), errBareCR},
		"with a bare CR after the version":          {"GET / HTTP/1.1\rX", errBareCR},
		"that begins with a bare CR":                {"\rGET / HTTP/1.1\r\n", errBareCR},
		"that begins with a bare LF":                {"\nGET / HTTP/1.1\r\n", errBareLF},
		"that begins with a bare LF after a CRLF":   {"\r\n\nGET / HTTP/1.1\r\n", errBareLF},
		"that begins with two empty lines":          {"\r\n\r\nGET / HTTP/1.1\r\n", errEmptyLines},
		"that begins with white space":              {" GET / HTTP/1.1\r\n", errMethod},
		"whose head is over its limit":              {field("A: " + strings.Repeat("b", 480)), errHeadLarge},
		"whose head reaches its limit incomplete":   {field("A: " + strings.Repeat("b", 480))[:512], errHeadLarge},
		"with too many fields":                      {field(strings.Repeat("A: b\r\n", 7) + "A: b"), errFields},
		"whose request line is over its limit":      {target("/" + strings.Repeat("a", 51)), errLineLong},
		"whose target alone is over the limit":      {"GET /" + strings.Repeat("a", 61), errLineLong},
		"whose method is over 32 bytes":             {strings.Repeat("M", 33) + " / HTTP/1.1\r\n", errMethodLong},
		"whose method is over 32 bytes and no end":  {strings.Repeat("M", 33), errMethodLong},
		"whose method is not a token":               {"G(T / HTTP/1.1\r\n", errMethod},
		"whose method is empty":                     {"/ HTTP/1.1\r\n", errMethod},
		"whose method ends with a tab":              {"GET\t/ HTTP/1.1\r\n", errMethod},
		"that is the beginning of a TLS connection": {"\x16\x03\x01\x02\x00\x01\x00", errMethod},
		"with two spaces after the method":          {target(" /"), errTargetEmpty},
		"with two spaces after the target":          {target("/ "), errTargetSpace},
		"with a tab after the target":               {"GET /\tHTTP/1.1\r\n", errTargetByte},
		"with a space in the target":                {target("/a b"), errVersion},
		"of HTTP/0.9":                               {"GET /\r\n", errNoVersion},
		"of version HTTP/0.9":                       {"GET / HTTP/0.9\r\n\r\n", errVersionOther},
		"that is the preface of HTTP/2":             {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", errVersionOther},
		"of version HTTP/3.0":                       {"GET / HTTP/3.0\r\n\r\n", errVersionOther},
		"whose version is in lower case":            {"GET / http/1.1\r\n\r\n", errVersion},
		"whose version has two digits":              {"GET / HTTP/1.10\r\n\r\n", errVersion},
		"whose version has no minor":                {"GET / HTTP/1\r\n\r\n", errVersion},
		"whose version has a letter":                {"GET / HTTP/1.x\r\n\r\n", errVersion},
		"with a space after the version":            {"GET / HTTP/1.1 \r\n\r\n", errVersion},
		// Targets.
		"with a control character in the target":     {target("/\x01"), errTargetByte},
		"with NUL in the target":                     {target("/\x00"), errTargetByte},
		"with DEL in the query":                      {target("/?\x7f"), errTargetByte},
		"with a byte outside ASCII in the path":      {target("/\xc3\xa9"), errTargetByte},
		"with a byte outside ASCII in the query":     {target("/?\xc3\xa9"), errTargetByte},
		"with a fragment":                            {target("/a#b"), errTargetByte},
		"with a fragment after the query":            {target("/?a#b"), errTargetByte},
		"with a percent sign at the end of the path": {target("/%"), errTargetEscape},
		"with one digit after a percent sign":        {target("/%a"), errTargetEscape},
		"with a percent sign before the query":       {target("/%?ab"), errTargetEscape},
		"with letters after a percent sign":          {target("/%zz"), errTargetEscape},
		"whose target is a relative path":            {target("a/b"), errTargetForm},
		"whose target is a query":                    {target("?a"), errTargetForm},
		"whose target is an authority":               {target("h:80"), errTargetForm},
		"whose target is of another scheme":          {target("ftp://h/"), errTargetForm},
		"whose target is a scheme alone":             {target("http://"), errTargetForm},
		"whose target has no host":                   {target("http:///a"), errTargetHost},
		"whose target has a port and no host":        {target("http://:80/"), errTargetHost},
		"whose target has user information":          {target("http://u@h/"), errTargetHost},
		"whose target has a password":                {target("http://u:p@h/"), errTargetHost},
		"whose target has an encoded host":           {target("http://%68/"), errTargetHost},
		"whose target is an asterisk with GET":       {target("*"), errTargetAsterisk},
		"with CONNECT":                               {"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", errConnect},
		"with CONNECT in any form":                   {"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", errConnect},
		"with connect in lower case as any method":   {"connect h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", errTargetForm},
		// Field lines.
		"with a space before a colon":             {field("A : b"), errSpaceColon},
		"with a tab before a colon":               {field("A\t: b"), errSpaceColon},
		"with white space before the first field": {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", errSpaceFirst},
		"with a tab before the first field":       {"GET / HTTP/1.1\r\n\tHost: h\r\n\r\n", errSpaceFirst},
		"with a folded field":                     {field("A: b", " c"), errFold},
		"with a field folded by a tab":            {field("A: b", "\tc"), errFold},
		"with a folded line that is empty":        {field("A: b", " "), errFold},
		"with an empty name":                      {field(": b"), errFieldNoName},
		"with a name without a colon":             {field("A"), errFieldName},
		"with a name that is no token":            {field("A(b): c"), errFieldName},
		"with NUL in a name":                      {field("A\x00: c"), errFieldName},
		"with a byte outside ASCII in a name":     {field("\xc3\xa9: c"), errFieldName},
		"with NUL in a value":                     {field("A: b\x00c"), errFieldValue},
		"with a control character in a value":     {field("A: \x1b"), errFieldValue},
		"with DEL in a value":                     {field("A: long enough for a word\x7f"), errFieldValue},
		// Lengths.
		"with length and coding":         {field("Content-Length: 5", "Transfer-Encoding: chunked"), errLengthCoding},
		"with coding and length":         {field("Transfer-Encoding: chunked", "Content-Length: 5"), errLengthCoding},
		"with length and unknown coding": {field("Content-Length: 5", "Transfer-Encoding: gzip"), errLengthCoding},
		"with two lengths":               {field("Content-Length: 5", "Content-Length: 6"), errLengthMany},
		"with one length twice":          {field("Content-Length: 5", "content-length: 5"), errLengthMany},
		"with a list of the same length": {field("Content-Length: 5, 5"), errLength},
		"with an empty length":           {field("Content-Length:"), errLength},
		"with a negative length":         {field("Content-Length: -5"), errLength},
		"with a signed length":           {field("Content-Length: +5"), errLength},
		"with a hexadecimal length":      {field("Content-Length: 0x5"), errLength},
		"with a space in a length":       {field("Content-Length: 5 5"), errLength},
		"with a length over 63 bits":     {field("Content-Length: 9223372036854775808"), errLengthLarge},
		"with a length over 64 bits":     {field("Content-Length: 18446744073709551621"), errLengthLarge},
		// Codings.
		"with an unknown coding":                  {field("Transfer-Encoding: gzip"), errCodingUnknown},
		"with an unknown coding before chunked":   {field("Transfer-Encoding: gzip, chunked"), errCodingUnknown},
		"with an unknown coding on a line before": {field("Transfer-Encoding: gzip;q=1", "Transfer-Encoding: chunked"), errCodingUnknown},
		"with identity":                           {field("Transfer-Encoding: identity"), errCodingUnknown},
		"with a coding that looks like chunked":   {field("Transfer-Encoding: xchunked"), errCodingUnknown},
		"with chunked not last":                   {field("Transfer-Encoding: chunked, gzip"), errChunkedNotLast},
		"with chunked not last over two lines":    {field("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), errChunkedNotLast},
		"with chunked twice":                      {field("Transfer-Encoding: chunked, chunked"), errChunkedTwice},
		"with chunked on two lines":               {field("Transfer-Encoding: chunked", "Transfer-Encoding: Chunked"), errChunkedTwice},
		"with an empty coding":                    {field("Transfer-Encoding:"), errCoding},
		"with an empty element among the codings": {field("Transfer-Encoding: , chunked"), errCoding},
		"with a coding that is not a token":       {field("Transfer-Encoding: \"chunked\""), errCoding},
		"with a vertical tab before chunked":      {field("Transfer-Encoding: \vchunked"), errFieldValue},
		"with chunked that has a parameter":       {field("Transfer-Encoding: chunked;a=b"), errCoding},
		"with a coding in HTTP/1.0":               {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", errCodingOld},
		// Connection, Host, Expect.
		"with a Connection option that is no token": {field("Connection: a b"), errOption},
		"with 33 Connection options":                {field("Connection: a"+strings.Repeat(",a", 16), "Connection: a"+strings.Repeat(",", 15)), errOptions},
		"without Host":                              {"GET / HTTP/1.1\r\n\r\n", errHostMissing},
		"without Host in absolute form":             {"GET http://h/ HTTP/1.1\r\n\r\n", errHostMissing},
		"with two Hosts":                            {field("Host: i"), errHostMany},
		"with the same Host twice":                  {field("host: h"), errHostMany},
		"with two Hosts in HTTP/1.0":                {"GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n", errHostMany},
		"with an empty Host":                        {hostIs(""), errHost},
		"with a port alone as Host":                 {hostIs(":80"), errHost},
		"with user information in Host":             {hostIs("u@h"), errHost},
		"with a path in Host":                       {hostIs("h/a"), errHost},
		"with a list in Host":                       {hostIs("h,i"), errHost},
		"with a space in Host":                      {hostIs("h i"), errHost},
		"with a byte outside ASCII in Host":         {hostIs("\xc3\xa9"), errHost},
		"with percent-encoding in Host":             {hostIs("h%41"), errHost},
		"with letters as port":                      {hostIs("h:http"), errHost},
		"with a port over 65535":                    {hostIs("h:65536"), errHost},
		"with a port of six digits":                 {hostIs("h:000080"), errHost},
		"with two ports":                            {hostIs("h:80:80"), errHost},
		"with an IPv6 address without brackets":     {hostIs("::1"), errHost},
		"with an open bracket in Host":              {hostIs("[::1"), errHost},
		"with a zone in Host":                       {hostIs("[fe80::1%25eth0]"), errHost},
		"with a name in brackets":                   {hostIs("[h]"), errHost},
		"with a name behind brackets":               {hostIs("[::1]h"), errHost},
		"whose absolute form contradicts Host":      {target("http://i/"), errHostOther},
		"whose absolute form contradicts the port":  {target("http://h:81/"), errHostOther},
		"whose default port is of another scheme":   {target("http://h:443/"), errHostOther},
		"with an unknown expectation":               {field("Expect: 200-ok"), errExpect},
		"with an empty expectation":                 {field("Expect:"), errExpect},
		"with a second, unknown expectation":        {field("Expect: 100-continue", "Expect: more"), errExpect},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := parseEach(t, c.input, r.Parse)
			if n != 0 || err != c.want {
				t.Errorf("%q gives %d, %v; want %v", c.input, n, err, c.want)
			}
		})
	}
}

func TestARequestIsRefusedBeforeItsHeadIsComplete(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		want  *Error
	}{
		"for a bare LF":                 {"GET / HTTP/1.1\n", errBareLF},
		"for another version":           {"GET / HTTP/2.0", errVersionOther},
		"for a malformed version":       {"GET / h", errVersion},
		"for a byte in the target":      {"GET /\x80", errTargetByte},
		"for one hexadecimal digit":     {"GET /%4x", errTargetEscape},
		"for a name that is no token":   {"GET / HTTP/1.1\r\nA(", errFieldName},
		"for NUL in a value":            {"GET / HTTP/1.1\r\nA: \x00", errFieldValue},
		"for a folded field":            {"GET / HTTP/1.1\r\nA: b\r\n ", errFold},
		"for a second length":           {"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n", errLengthMany},
		"for chunked that is not last":  {"GET / HTTP/1.1\r\nTransfer-Encoding: chunked, a\r\n", errChunkedNotLast},
		"for one more field than fit":   {"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 8) + "A", errFields},
		"for a line that has no end":    {"GET /" + strings.Repeat("a", 61), errLineLong},
		"for a head that has no end":    {"GET / HTTP/1.1\r\nA: " + strings.Repeat("b", 493), errHeadLarge},
		"for a method that has no end":  {strings.Repeat("a", 33), errMethodLong},
		"for a host that is not one":    {"GET http://[h]/ HTTP/1.1\r\n", errTargetHost},
		"for an asterisk with a method": {"GET * HTTP/1.1\r\n", errTargetAsterisk},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			if n, err := r.Parse([]byte(c.input), &tight); n != 0 || err != c.want {
				t.Errorf("%q gives %d, %v; want %v", c.input, n, err, c.want)
			}
			if !tight.Due([]byte(c.input+"\n"), len(c.input)) {
				t.Error("it would not be parsed again at the end of the line")
			}
		})
	}
}

// parsed parses a request that is to be accepted.
func parsed(t *testing.T, input string) *Request {
	t.Helper()
	var r Request
	n, err := parseEach(t, input, r.Parse)
	if again, _ := r.Parse([]byte(input+"GET / HTTP/1.1\nx"), &tight); n != len(input) || again != n {
		t.Fatalf("%q gives %d, %v; with more behind it %d", input, n, err, again)
	}
	return &r
}

func TestTheFormsOfTargets(t *testing.T) {
	for name, c := range map[string]struct {
		input, path, query, host string
	}{
		"a path":                                  {target("/a/b"), "/a/b", "", "h"},
		"a path and a query":                      {target("/a?b=c?d"), "/a", "?b=c?d", "h"},
		"an empty query is one":                   {target("/?"), "/", "?", "h"},
		"a path is given as received":             {target("//a/%2e%2E/../|\"<>"), "//a/%2e%2E/../|\"<>", "", "h"},
		"a query may have any percent sign":       {target("/?100%"), "/", "?100%", "h"},
		"an absolute form":                        {target("http://h/a?b"), "/a", "?b", "h"},
		"a scheme and a host in any case":         {target("hTTp://H/a"), "/a", "", "H"},
		"an absolute form without path":           {target("http://h"), "/", "", "h"},
		"an absolute form with a query only":      {target("http://h?a/b"), "/", "?a/b", "h"},
		"OPTIONS of an absolute form":             {"OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n", "*", "", "h"},
		"OPTIONS of an absolute form and path":    {"OPTIONS http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "/", "", "h"},
		"OPTIONS of an absolute form and a query": {"OPTIONS http://h?a HTTP/1.1\r\nHost: h\r\n\r\n", "/", "?a", "h"},
		"an asterisk":                             {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "*", "", "h"},
		"the default port and none are the same":  {target("http://h:80/"), "/", "", "h:80"},
		"so is an empty port":                     {target("http://h:/"), "/", "", "h:"},
		"the default port of https is another":    {target("https://h:443/"), "/", "", "h:443"},
		"ports are numbers":                       {"GET http://h:081/ HTTP/1.1\r\nHost: h:81\r\n\r\n", "/", "", "h:081"},
		"an IPv6 address with a port":             {hostIs("[2001:db8::1]:8080"), "/", "", "[2001:db8::1]:8080"},
		"an IPv4 address":                         {hostIs("192.0.2.1:65535"), "/", "", "192.0.2.1:65535"},
		"a host of all characters it may have":    {hostIs("a-Z_0.~"), "/", "", "a-Z_0.~"},
		"HTTP/1.0 without Host":                   {"GET / HTTP/1.0\r\n\r\n", "/", "", ""},
		"HTTP/1.0 in absolute form without Host":  {"GET http://h/ HTTP/1.0\r\n\r\n", "/", "", "h"},
		"an empty line before the request line":   {"\r\n" + target("/a"), "/a", "", "h"},
		"white space around a value is not of it": {"GET / HTTP/1.1\r\nHost: \t h\t \r\n\r\n", "/", "", "h"},
		"a request line as long as the limit":     {target("/" + strings.Repeat("a", 50)), "/" + strings.Repeat("a", 50), "", "h"},
	} {
		t.Run(name, func(t *testing.T) {
			r := parsed(t, c.input)
			if string(r.Path) != c.path || string(r.Query) != c.query || string(r.Host) != c.host {
				t.Errorf("path %q, query %q, host %q", r.Path, r.Query, r.Host)
			}
			if (r.Query == nil) != (c.query == "") {
				t.Errorf("query %#v", r.Query)
			}
		})
	}
}

func TestWhatAHeadSaysOfTheConnection(t *testing.T) {
	const old = "GET / HTTP/1.0\r\n"
	for name, c := range map[string]struct {
		input   string
		keep    bool
		upgrade string
		expect  bool
	}{
		"HTTP/1.1 is kept":                           {field("A: b"), true, "", false},
		"HTTP/1.1 is not kept with close":            {field("Connection: a, CLOSE"), false, "", false},
		"close is stronger than keep-alive":          {field("Connection: keep-alive", "Connection: close"), false, "", false},
		"HTTP/1.0 is not kept":                       {old + "\r\n", false, "", false},
		"HTTP/1.0 is kept with keep-alive":           {old + "Connection: Keep-Alive\r\n\r\n", true, "", false},
		"HTTP/1.0 is not kept with both":             {old + "Connection: Keep-Alive, close\r\n\r\n", false, "", false},
		"HTTP/1.7 is as HTTP/1.1":                    {"GET / HTTP/1.7\r\nHost: h\r\n\r\n", true, "", false},
		"empty options are ignored":                  {field("Connection: ,, close ,"), false, "", false},
		"Upgrade counts where Connection names it":   {field("Connection: Upgrade", "Upgrade: websocket"), true, "websocket", false},
		"Upgrade does not count alone":               {field("Upgrade: websocket"), true, "", false},
		"Connection does not make an Upgrade":        {field("Connection: upgrade"), true, "", false},
		"an empty Upgrade does not count":            {field("Connection: upgrade", "Upgrade:"), true, "", false},
		"two lines of Upgrade do not count":          {field("Connection: upgrade", "Upgrade: a", "Upgrade: b"), true, "", false},
		"Upgrade does not count in HTTP/1.0":         {old + "Connection: upgrade\r\nUpgrade: a\r\n\r\n", false, "", false},
		"100-continue is expected in any case":       {field("Expect: 100-Continue"), true, "", true},
		"100-continue is not expected by HTTP/1.0":   {old + "Expect: 100-continue\r\n\r\n", false, "", false},
		"100-continue may be expected by two fields": {field("Expect: 100-continue", "Expect: 100-continue"), true, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := parsed(t, c.input)
			if r.KeepAlive != c.keep || string(r.Upgrade) != c.upgrade || (r.Upgrade == nil) != (c.upgrade == "") || r.ExpectContinue != c.expect {
				t.Errorf("keep alive %t, upgrade %q, expects 100-continue %t", r.KeepAlive, r.Upgrade, r.ExpectContinue)
			}
		})
	}
}

func TestTheFramingOfARequest(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		body  Body
		n     int64
	}{
		"no body":                       {field("A: b"), None, 0},
		"a length":                      {field("Content-Length: 5"), Length, 5},
		"a length of 0":                 {field("Content-Length: 0"), Length, 0},
		"a length with leading zeros":   {field("Content-Length: 00000000000000000000000005"), Length, 5},
		"the largest length":            {field("Content-Length: 9223372036854775807"), Length, 9223372036854775807},
		"chunked":                       {field("Transfer-Encoding: chunked"), ChunkedBody, 0},
		"chunked in any case and space": {field("Transfer-Encoding: \t Chunked "), ChunkedBody, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if body, n := parsed(t, c.input).Framing(); body != c.body || n != c.n {
				t.Errorf("framing %d, %d", body, n)
			}
		})
	}
}

func TestMethodsAreCaseSensitive(t *testing.T) {
	for method, c := range map[string]struct{ idempotent, head bool }{
		"GET": {true, false}, "HEAD": {true, true}, "PUT": {true, false}, "DELETE": {true, false},
		"OPTIONS": {true, false}, "TRACE": {true, false}, "POST": {}, "PATCH": {}, "get": {}, "Head": {},
		"PROPFIND": {}, strings.Repeat("M", 32): {},
	} {
		r := parsed(t, method+" / HTTP/1.1\r\nHost: h\r\n\r\n")
		if string(r.Method) != method || r.Idempotent != c.idempotent || r.Head != c.head {
			t.Errorf("%s: method %q, idempotent %t, HEAD %t", method, r.Method, r.Idempotent, r.Head)
		}
	}
}

func TestNothingIsLeftOfTheLastMessage(t *testing.T) {
	var used, fresh Request
	full := "HEAD http://h/a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: upgrade, a, te\r\nUpgrade: c\r\n\r\n"
	for _, before := range []string{full, full[:len(full)-1], field("Transfer-Encoding: gzip"), field("A : b")} {
		_, _ = used.Parse([]byte(before), &tight)
		buf := []byte("X / HTTP/1.0\r\n\r\n")
		_, _ = used.Parse(buf, &tight)
		_, _ = fresh.Parse(buf, &tight)
		if fresh.Fields = used.Fields; len(used.Fields) != 0 || !reflect.DeepEqual(used, fresh) {
			t.Errorf("after %q: %+v, want %+v", before, used, fresh)
		}
	}
	var usedAnswer, freshAnswer Response
	for _, before := range []string{answer, status("101 Go", "Connection: upgrade", "Upgrade: a"), status("200 OK", "Transfer-Encoding: x")} {
		_, _ = usedAnswer.Parse([]byte(before), &tight)
		buf := []byte(status("204"))
		_, _ = usedAnswer.Parse(buf, &tight)
		_, _ = freshAnswer.Parse(buf, &tight)
		if freshAnswer.Fields = usedAnswer.Fields; len(usedAnswer.Fields) != 0 || !reflect.DeepEqual(usedAnswer, freshAnswer) {
			t.Errorf("after %q: %+v, want %+v", before, usedAnswer, freshAnswer)
		}
	}
}

func TestAHeadIsDueAgain(t *testing.T) {
	const begin = "GET / HTTP/1.1\r\n"
	long := strings.Repeat("a", 512)
	for name, c := range map[string]struct {
		buf  string
		seen int
		want bool
	}{
		"not without new bytes":              {begin, len(begin), false},
		"not for bytes of a line":            {begin + "Host: h\t\x80", len(begin), false},
		"when a line ends":                   {begin + "Host: h\r\n", len(begin), true},
		"when there is a control character":  {begin + "Host: \x00", len(begin), true},
		"when the line has reached its most": {long[:68], 67, true},
		"not a second time for that":         {long[:69], 68, false},
		"when the head has reached its most": {long, 500, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tight.Due([]byte(c.buf), c.seen); got != c.want {
				t.Error(got)
			}
		})
	}
}

func TestOnlyIPv6AddressesAreIPv6Addresses(t *testing.T) {
	for _, s := range ipv6Seeds {
		checkIPv6(t, s)
	}
}

var ipv6Seeds = []string{
	"", ":", "::", ":::", "::1", "1::", "1:::2", "1::2::3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
	"1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3::4:5:6:7:8", "12345::", "g::", "::1:", ":1::", "1:", ":1:2:3:4:5:6:7:8",
	"::192.0.2.1", "1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:7:192.0.2.1", "1:2:3:4:5:192.0.2.1", "192.0.2.1", "::192.0.2.256",
	"::192.0.2", "::192.0.2.1.1", "::192.0.2.01", "::192.0.2.1:1", "::ffff:1.2.3.4", "1::2:3:4:5:6:1.2.3.4", "::1.2.3.", "::.1.2.3",
	"1:2:3:4:5:6::1.2.3.4", "1:2:3:4:5::1.2.3.4", "1:2:3:4:5:6:7:8::", "fe80::1%eth0", "::a.2.3.4", "::1111.2.3.4",
}

// checkIPv6 compares with net/netip, which also knows zones and plain IPv4
// addresses.
func checkIPv6(t *testing.T, s string) {
	t.Helper()
	addr, err := netip.ParseAddr(s)
	if want := err == nil && addr.Is6() && addr.Zone() == ""; isIPv6([]byte(s)) != want {
		t.Errorf("%q is an IPv6 address: want %t", s, want)
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	var r Request
	var a Response
	var d Decoder
	request, bad, response := []byte(browser), []byte(field("A : b")), []byte(answer)
	body, buf := []byte("5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n"), make([]byte, 64)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = r.Parse(request, &limits)
		_, _ = r.Parse(bad, &limits)
		_, _ = a.Parse(response, &limits)
		d.Reset(64)
		_, _, _, _ = d.Decode(buf[:copy(buf, body)])
	}); n != 0 || len(d.Trailers()) != 1 {
		t.Errorf("%v allocations, trailers %v", n, d.Trailers())
	}
}
