package http1

const maxMethod = 32

// A Request is the head of a request. All slices alias the buffer that was
// parsed, but for a Path that the target does not have; none may be written to.
type Request struct {
	Method []byte
	Target []byte // as on the line
	// Path is as received. It is "/" for an absolute form without one, and "*"
	// for the asterisk form, which is also what OPTIONS with an absolute form
	// without path and query means (RFC 9112, section 3.2.4).
	Path  []byte
	Query []byte // with its question mark, or nil
	// Host is the authority of the absolute form, otherwise the value of the
	// Host field. It is nil only in HTTP/1.0.
	Host []byte
	Message
	ExpectContinue bool // never in HTTP/1.0 (RFC 9110, section 10.1.1)
	Idempotent     bool // by RFC 9110, section 9.2.2
	Head           bool // the method is HEAD
}

var slash, asterisk = []byte("/"), []byte("*")

// Parse reads the head at the beginning of buf. n is its length with the empty
// line that ends it, and with the one that may precede it (RFC 9112, section
// 2.2). n == 0 without an error means that it is not complete; the Request is
// then of no use. A line that cannot become right is refused before the head is
// complete.
func (r *Request) Parse(buf []byte, lim *Limits) (n int, err *Error) {
	r.reset()
	in := buf[:min(len(buf), lim.Head)]
	if n, err = r.readLine(in, lim.Line); n > 0 {
		n, err = r.readFields(in, n, lim.Fields)
	}
	if err == nil && n > 0 {
		err = r.finish()
	} else if err == nil && len(buf) >= lim.Head {
		err = errHeadLarge
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Framing says what body follows (RFC 9112, section 6.3).
func (r *Request) Framing() (Body, int64) {
	switch {
	case r.Chunked:
		return ChunkedBody, 0
	case r.ContentLength >= 0:
		return Length, r.ContentLength
	}
	return None, 0
}

// readLine reads the request line. n is where the next line begins, or 0.
func (r *Request) readLine(buf []byte, most int) (n int, err *Error) {
	i := 0
	if len(buf) > 0 && buf[0] == '\r' {
		if i, err = lineEnd(buf, 0, nil); i == 0 {
			return 0, err
		}
	}
	start := i
	for i < len(buf) && token[buf[i]] {
		i++
	}
	switch {
	case i-start > maxMethod:
		return 0, errMethodLong
	case i == len(buf):
		return 0, nil
	case i == start && i > 0 && buf[i] == '\r':
		return 0, errEmptyLines
	case i == start && buf[i] == '\n':
		return 0, errBareLF
	case i == start || buf[i] != ' ':
		return 0, errMethod
	}
	r.Method = buf[start:i:i]
	if string(r.Method) == "CONNECT" {
		return 0, errConnect
	}
	i++
	end, err := r.readTarget(buf, i)
	if err != nil {
		return 0, err
	}
	if i, n = end, 0; i < len(buf) {
		i++
		if i < len(buf) && buf[i] == ' ' {
			return 0, errTargetSpace
		}
		if n, err = r.readVersion(buf[i:]); n > 0 {
			i += n
			n, err = lineEnd(buf, i, errVersion)
		}
	}
	switch {
	case i-start > most:
		return 0, errLineLong
	case n == 0:
		return 0, err
	}
	if err := r.understand(); err != nil {
		return 0, err
	}
	return n, nil
}

// readTarget finds the end of the request target, which begins at buf[i], and of
// its path. The end is len(buf) if it is not there.
func (r *Request) readTarget(buf []byte, i int) (end int, err *Error) {
	start := i
	for i < len(buf) {
		if path[buf[i]] {
			i++
			continue
		}
		if buf[i] != '%' {
			break
		}
		for j := i + 1; j < min(i+3, len(buf)); j++ {
			if hex(buf[j]) < 0 {
				return 0, errTargetEscape
			}
		}
		i = min(i+3, len(buf))
	}
	r.Path = buf[start:i:i]
	for i < len(buf) && query[buf[i]] {
		i++
	}
	if r.Query = nil; i > start+len(r.Path) {
		r.Query = buf[start+len(r.Path) : i : i]
	}
	r.Target = buf[start:i:i]
	if i < len(buf) {
		switch c := buf[i]; {
		case c == '\n':
			return 0, errBareLF
		case c == '\r':
			return 0, errNoVersion
		case c != ' ':
			return 0, errTargetByte
		case i == start:
			return 0, errTargetEmpty
		}
	}
	return i, nil
}

// understand tells the forms of request targets apart (RFC 9112, section 3.2),
// and what is said of methods.
func (r *Request) understand() *Error {
	r.Host, r.Idempotent, r.Head = nil, false, false
	switch string(r.Method) {
	case "HEAD":
		r.Idempotent, r.Head = true, true
	case "GET", "PUT", "DELETE", "OPTIONS", "TRACE":
		r.Idempotent = true
	}
	if r.Target[0] == '/' {
		return nil
	}
	options := string(r.Method) == "OPTIONS"
	if string(r.Target) == "*" {
		if !options {
			return errTargetAsterisk
		}
		return nil
	}
	rest := r.Path
	if len(rest) > 7 && equalFold(rest[:7], "http://") {
		rest = rest[7:]
	} else if len(rest) > 8 && equalFold(rest[:8], "https://") {
		rest = rest[8:]
	} else {
		return errTargetForm
	}
	end := 0
	for end < len(rest) && rest[end] != '/' {
		end++
	}
	r.Host = rest[:end:end]
	switch r.Path = rest[end:]; {
	case len(r.Path) > 0:
	case options && r.Query == nil:
		r.Path = asterisk
	default:
		r.Path = slash
	}
	if _, _, ok := splitAuthority(r.Host); !ok {
		return errTargetHost
	}
	return nil
}

// finish draws the conclusions from a complete head.
func (r *Request) finish() *Error {
	if err := r.Message.finish(); err != nil {
		return err
	}
	if err := r.finishHost(); err != nil {
		return err
	}
	r.ExpectContinue = false
	if r.seen.has(Expect) {
		for i := range r.Fields {
			if f := &r.Fields[i]; f.Kind == Expect && !equalFold(f.Value, "100-continue") {
				return errExpect
			}
		}
		r.ExpectContinue = r.Minor == 1
	}
	return nil
}

func (r *Request) finishHost() *Error {
	switch {
	case r.hosts > 1:
		return errHostMany
	case r.hosts == 0 && r.Minor == 1:
		return errHostMissing
	case r.hosts == 0:
		return nil
	}
	value := r.Get(Host)
	name, port, ok := splitAuthority(value)
	if !ok {
		return errHost
	}
	if r.Host == nil {
		r.Host = value
		return nil
	}
	usual := 80
	if r.Target[4]|0x20 == 's' {
		usual = 443
	}
	other, otherPort, _ := splitAuthority(r.Host)
	if !equalFoldBytes(name, other) || portOr(port, usual) != portOr(otherPort, usual) {
		return errHostOther
	}
	return nil
}

// splitAuthority checks a host with an optional port and takes it apart: a
// registered name or an IPv4 address of unreserved characters, or an IPv6
// address in brackets. That is less than RFC 3986, section 3.2, has: user
// information is refused as RFC 9110, section 4.2.4, allows, an empty host as
// section 4.2.1 demands, percent-encoding because it spells one host in two
// ways, and the sub-delimiters because readers of X-Forwarded-Host and
// Forwarded would split the name at them.
func splitAuthority(b []byte) (name, port []byte, ok bool) {
	end := 0
	if len(b) > 0 && b[0] == '[' {
		for end < len(b) && b[end] != ']' {
			end++
		}
		if end == len(b) || !isIPv6(b[1:end]) {
			return nil, nil, false
		}
		end++
	} else {
		for end < len(b) && host[b[end]] {
			end++
		}
	}
	if end == 0 {
		return nil, nil, false
	}
	if end == len(b) {
		return b, nil, true
	}
	port = b[end+1:]
	return b[:end], port, b[end] == ':' && len(port) <= 5 && portOr(port, 0) <= 65535
}

// portOr returns the number of a port, the usual one if it is empty, and one
// that is none if it is not a number.
func portOr(port []byte, usual int) int {
	if len(port) == 0 {
		return usual
	}
	n := 0
	for _, c := range port {
		if !digit(c) {
			return 1 << 16
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// isIPv6 follows RFC 3986, section 3.2.2: eight groups of up to four hexadecimal
// digits, one run of which may be left out, the last two of which may be an IPv4
// address.
func isIPv6(b []byte) bool {
	groups, gap := 0, false
	for len(b) > 0 {
		if b[0] == ':' {
			if len(b) < 2 || b[1] != ':' || gap {
				return false
			}
			b, gap = b[2:], true
			continue
		}
		digits := 0
		for digits < len(b) && hex(b[digits]) >= 0 {
			digits++
		}
		if digits < len(b) && b[digits] == '.' {
			return isIPv4(b) && (groups < 6 && gap || groups == 6 && !gap)
		}
		if digits == 0 || digits > 4 {
			return false
		}
		groups++
		if b = b[digits:]; len(b) == 0 {
			break
		}
		if b[0] != ':' || len(b) == 1 {
			return false
		}
		if b[1] != ':' {
			b = b[1:]
		}
	}
	return groups < 8 && gap || groups == 8 && !gap
}

func isIPv4(b []byte) bool {
	for part := range 4 {
		digits, n := 0, 0
		for digits < len(b) && digits < 3 && digit(b[digits]) {
			n = n*10 + int(b[digits]-'0')
			digits++
		}
		if digits == 0 || n > 255 || digits > 1 && b[0] == '0' {
			return false
		}
		if b = b[digits:]; part < 3 {
			if len(b) == 0 || b[0] != '.' {
				return false
			}
			b = b[1:]
		}
	}
	return len(b) == 0
}
