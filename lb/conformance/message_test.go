package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// A message is a request or an answer as it arrived. It is read by the letter
// of RFC 9112, so a proxy that sends anything doubtful is found out.
type message struct {
	line    string
	method  string // of a request
	target  string
	status  int // of an answer
	version string
	fields  []field

	body       string
	chunked    bool
	trailers   []field
	extensions []string // of chunks
	untilClose bool     // the end of the connection was the end of the body
}

type field struct{ name, value string }

// maxHead bounds what readHead takes; no behaviour has a larger one.
const maxHead = 1 << 20

var errMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// readResponse reads a whole answer to a request with this method, readRequest a
// whole request. What they read before an error they return too.
func readResponse(in *bufio.Reader, to string) (*message, error) {
	m, err := readHead(in)
	if err == nil {
		err = m.parseStatus()
	}
	if err == nil {
		err = m.readBody(in, m.status < 200 || m.status == 204 || m.status == 304 || to == "HEAD", true)
	}
	return m, err
}

func readRequest(in *bufio.Reader) (*message, error) {
	m, err := readHead(in)
	if err == nil {
		err = m.parseRequest()
	}
	if err == nil {
		err = m.readBody(in, false, false)
	}
	return m, err
}

// readHead reads a first line and the fields under it (RFC 9112, section 2.1).
func readHead(in *bufio.Reader) (*message, error) {
	line, err := readLine(in)
	m := &message{line: line}
	if err == nil {
		m.fields, err = readFields(in)
	}
	return m, err
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		if line != "" && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return line, err
	}
	text, crlf := strings.CutSuffix(line, "\r\n")
	if !crlf || strings.ContainsAny(text, "\r\x00") {
		return line, malformed("the line %q", shortened(line))
	}
	return text, nil
}

// readFields reads the lines to the empty one (RFC 9112, section 5).
func readFields(in *bufio.Reader) (fields []field, err error) {
	for size := 0; ; {
		line, err := readLine(in)
		if err != nil {
			return nil, noEOF(err)
		}
		if line == "" {
			return fields, nil
		}
		name, value, colon := strings.Cut(line, ":")
		if !colon || !isToken(name) {
			return nil, malformed("the field line %q", shortened(line))
		}
		fields = append(fields, field{name, strings.Trim(value, " \t")})
		if size += len(line); size > maxHead {
			return nil, malformed("a head over %d bytes", maxHead)
		}
	}
}

const tokenMarks = "!#$%&'*+-.^_`|~"

func isToken(s string) bool {
	for _, c := range []byte(s) {
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && strings.IndexByte(tokenMarks, c) < 0 {
			return false
		}
	}
	return s != ""
}

// cutBy tells how far a message got, and why no farther.
func (m *message) cutBy(err error) string {
	if m.version == "" {
		return plain(err)
	}
	return fmt.Sprintf("%q, then %s", m.line, plain(err))
}

func (m *message) parseRequest() error {
	p := strings.Split(m.line, " ")
	if len(p) != 3 || !isToken(p[0]) || p[1] == "" || p[2] != "HTTP/1.1" && p[2] != "HTTP/1.0" {
		return malformed("the request line %q", shortened(m.line))
	}
	m.method, m.target, m.version = p[0], p[1], p[2]
	return nil
}

func (m *message) parseStatus() error {
	version, rest, _ := strings.Cut(m.line, " ")
	code, _, space := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || !space || len(code) != 3 || status < 100 || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return malformed("the status line %q", shortened(m.line))
	}
	m.status, m.version = status, version
	return nil
}

// readBody reads what the head announces (RFC 9112, section 6.3).
func (m *message) readBody(in *bufio.Reader, none, answer bool) error {
	codings, lengths := m.values("Transfer-Encoding"), m.values("Content-Length")
	switch {
	case len(codings) > 0 && len(lengths) > 0:
		return malformed("a message with Content-Length and Transfer-Encoding")
	case len(codings) > 0 && !slices.Equal(codings, []string{"chunked"}):
		return malformed("Transfer-Encoding %q", codings)
	case len(lengths) > 1:
		return malformed("Content-Length %q", lengths)
	}
	var length uint64
	if len(lengths) == 1 {
		var err error
		if length, err = strconv.ParseUint(lengths[0], 10, 62); err != nil || lengths[0][0] == '+' {
			return malformed("Content-Length %q", lengths[0])
		}
	}
	switch {
	case none:
		return nil
	case len(codings) > 0:
		return m.readChunks(in)
	case len(lengths) == 0 && answer:
		m.untilClose = true
		body, err := io.ReadAll(in)
		m.body = string(body)
		return err
	}
	var body strings.Builder
	_, err := io.CopyN(&body, in, int64(length))
	m.body = body.String()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (m *message) readChunks(in *bufio.Reader) error {
	m.chunked = true
	var body strings.Builder
	for {
		data, extension, err := readChunk(in)
		if extension != "" {
			m.extensions = append(m.extensions, extension)
		}
		body.WriteString(data)
		m.body = body.String()
		if err != nil {
			return err
		}
		if data == "" {
			m.trailers, err = readFields(in)
			return err
		}
	}
}

// readChunk reads one chunk (RFC 9112, section 7.1). Of the last it leaves the
// trailer section.
func readChunk(in *bufio.Reader) (data, extension string, err error) {
	line, err := readLine(in)
	if err != nil {
		return "", "", noEOF(err)
	}
	digits := strings.TrimRight(line, "0123456789abcdefABCDEF")
	size, err := strconv.ParseUint(line[:len(line)-len(digits)], 16, 40)
	if err != nil {
		return "", "", malformed("the chunk size %q", shortened(line))
	}
	if size == 0 {
		return "", digits, nil
	}
	var chunk strings.Builder
	if _, err := io.CopyN(&chunk, in, int64(size)); err != nil {
		return chunk.String(), digits, noEOF(err)
	}
	if end, err := readLine(in); err != nil {
		return chunk.String(), digits, noEOF(err)
	} else if end != "" {
		return chunk.String(), digits, malformed("a chunk that goes on with %q", shortened(end))
	}
	return chunk.String(), digits, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// values returns the values of a field, one for each line.
func (m *message) values(name string) []string { return valuesOf(m.fields, name) }

func valuesOf(fields []field, name string) (values []string) {
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// list returns the members of a field that is a comma-separated list, in lower
// case.
func (m *message) list(name string) (members []string) {
	for _, v := range m.values(name) {
		for member := range strings.SplitSeq(v, ",") {
			if member = strings.ToLower(strings.Trim(member, " \t")); member != "" {
				members = append(members, member)
			}
		}
	}
	return members
}
