package http1

import "math"

// Limits bound a head. None may be zero.
type Limits struct {
	Line   int // bytes of the request or status line without its CRLF; over it 414
	Head   int // bytes of the whole head; over it 431
	Fields int // number of fields; over it 431
}

// Due says whether a head is to be parsed again, after buf[:seen] was
// incomplete: there is a control character behind it, as every end of a line is,
// or a limit is reached. It costs the new bytes only. Parse begins at the
// beginning each time, so whoever parses only what is due bounds the work that a
// head in single bytes can cause, to twice its size for each of its lines. What
// is wrong with a line and is no control character is then found at its end.
func (l *Limits) Due(buf []byte, seen int) bool {
	line := l.Line + len("\r\n") + len("\r") // with the empty line that may precede it
	return textEnd(buf, seen) < len(buf) || len(buf) >= l.Head || len(buf) > line && seen <= line
}

// maxOptions bounds the options of Connection in one head, because each may
// have to be compared with each field.
const maxOptions = 32

// A Message is what heads of requests and responses have in common. All slices
// alias the buffer that was parsed.
type Message struct {
	// Minor is the minor version, 0 or 1. One above 1 is read as 1 (RFC 9110,
	// section 2.5).
	Minor int
	// Fields are all fields in their order. The slice is used again by the next
	// Parse.
	Fields []Field
	// ContentLength is -1 where there is none.
	ContentLength int64
	Chunked       bool
	// KeepAlive says whether the sender will keep the connection (RFC 9112,
	// section 9.3).
	KeepAlive bool
	// Upgrade is the value of the Upgrade field where Connection names it, the
	// version is 1.1 and there is exactly one such field; otherwise nil.
	Upgrade []byte

	seen    kindSet // kinds of Fields
	named   kindSet // kinds of the options of Connection
	options int     // of Connection
	others  bool    // among them one that is in no kind
	unknown bool    // a transfer coding that is not chunked
	hosts   int
	upgrade int // lines of Upgrade
}

// Get returns the value of the first field of a kind, or nil.
func (m *Message) Get(k Kind) []byte {
	if m.seen.has(k) {
		for i := range m.Fields {
			if f := &m.Fields[i]; f.Kind == k {
				return f.Value
			}
		}
	}
	return nil
}

// DropTrailers says that no trailer field of the message may be passed on, since
// Connection names a field of no [Kind], which may be among them (RFC 9110,
// section 7.6.1). Those of a Kind are never in [Decoder.Trailers].
func (m *Message) DropTrailers() bool { return m.others }

// readFields reads field lines from buf[i:] to the empty line. n is where that
// ends, or 0.
func (m *Message) readFields(buf []byte, i, most int) (n int, err *Error) {
	for i < len(buf) {
		if buf[i] == '\r' {
			return lineEnd(buf, i, nil)
		}
		if len(m.Fields) == most {
			return 0, errFields
		}
		if len(m.Fields) < cap(m.Fields) {
			m.Fields = m.Fields[:len(m.Fields)+1]
		} else {
			m.Fields = append(m.Fields, Field{})
		}
		f := &m.Fields[len(m.Fields)-1]
		n, err := f.parse(buf[i:])
		if n == 0 {
			if err == errFold && len(m.Fields) == 1 {
				err = errSpaceFirst
			}
			return 0, err
		}
		i += n
		if f.Kind != Other {
			if err := m.note(f); err != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}

// note takes in what one field means for the whole.
func (m *Message) note(f *Field) *Error {
	m.seen |= 1 << f.Kind
	switch f.Kind {
	case Host:
		m.hosts++
	case ContentLength:
		return m.noteLength(f.Value)
	case TransferEncoding:
		return m.noteCodings(f.Value)
	case Connection:
		return m.noteOptions(f.Value)
	case Upgrade:
		m.upgrade++
		m.Upgrade = f.Value
	}
	return nil
}

// noteLength is stricter than RFC 9112, section 6.3: it also refuses lengths
// that are repeated and the same.
func (m *Message) noteLength(value []byte) *Error {
	if m.ContentLength >= 0 {
		return errLengthMany
	}
	if len(value) == 0 {
		return errLength
	}
	length := int64(0)
	for _, c := range value {
		if !digit(c) {
			return errLength
		}
		d := int64(c - '0')
		if length > (math.MaxInt64-d)/10 {
			return errLengthLarge
		}
		length = length*10 + d
	}
	m.ContentLength = length
	return nil
}

// noteCodings reads a list of transfer codings (RFC 9112, section 6.1). An
// unknown one is refused only at the end of the head, since what follows may be
// a graver fault.
func (m *Message) noteCodings(value []byte) *Error {
	for more := true; more; {
		var coding []byte
		coding, value, more = nextElement(value)
		params := false
		for i, c := range coding {
			if c == ';' {
				coding, params = trim(coding[:i]), true
				break
			}
		}
		switch {
		case !isToken(coding):
			return errCoding
		case !equalFold(coding, "chunked"):
			if m.Chunked {
				return errChunkedNotLast
			}
			m.unknown = true
		case params: // section 7.1: chunked has none
			return errCoding
		case m.Chunked:
			return errChunkedTwice
		default:
			m.Chunked = true
		}
	}
	return nil
}

func (m *Message) noteOptions(value []byte) *Error {
	for more := true; more; {
		var option []byte
		option, value, more = nextElement(value)
		if m.options++; m.options > maxOptions {
			return errOptions
		}
		if len(option) == 0 {
			continue // to be ignored: RFC 9110, section 5.6.1.2
		}
		if !isToken(option) {
			return errOption
		}
		if k := KindOf(option); k == Other || k == XForwardedOther {
			m.others = true
		} else {
			m.named |= 1 << k
		}
	}
	return nil
}

// finish draws the conclusions from a complete head.
func (m *Message) finish() *Error {
	if m.seen.has(TransferEncoding) {
		switch {
		case m.ContentLength >= 0:
			return errLengthCoding
		case m.Minor == 0:
			return errCodingOld
		case m.unknown:
			return errCodingUnknown
		}
	}
	if m.others || m.named&^hopKinds != 0 {
		m.markNamed()
	}
	m.KeepAlive = !m.named.has(Close) && (m.Minor == 1 || m.named.has(KeepAlive))
	if m.upgrade != 1 || m.Minor == 0 || !m.named.has(Upgrade) || len(m.Upgrade) == 0 {
		m.Upgrade = nil
	}
	return nil
}

// markNamed marks the fields that Connection names.
func (m *Message) markNamed() {
	for i := range m.Fields {
		f := &m.Fields[i]
		if m.named.has(f.Kind) {
			f.Hop = true
		}
		if f.Kind != Connection || !m.others {
			continue
		}
		list := f.Value
		for more := true; more; {
			var option []byte
			option, list, more = nextElement(list)
			for j := range m.Fields {
				if f := &m.Fields[j]; equalFoldBytes(f.Name, option) {
					f.Hop = true
				}
			}
		}
	}
}

// reset forgets the last message, but for the room that its fields take.
func (m *Message) reset() {
	*m = Message{Fields: m.Fields[:0], ContentLength: -1}
}

// A Body is the framing of what follows a head.
type Body int

const (
	None        Body = iota // nothing
	Length                  // a number of bytes, which may be 0
	ChunkedBody             // the chunked coding, for a [Decoder]
	UntilClose              // all that comes until the sender closes
)

// readVersion reads the version at the beginning of buf. n is its length, or 0 if
// it is not all there.
func (m *Message) readVersion(buf []byte) (n int, err *Error) {
	const name = "HTTP/1.1"
	if len(buf) >= len(name) && string(buf[:7]) == name[:7] && (buf[7] == '1' || buf[7] == '0') {
		m.Minor = int(buf[7] - '0')
		return len(name), nil
	}
	for i := range min(len(buf), len(name)) {
		if i == 5 || i == 7 {
			if !digit(buf[i]) {
				return 0, errVersion
			}
		} else if buf[i] != name[i] {
			return 0, errVersion
		}
	}
	switch {
	case len(buf) < len(name):
		return 0, nil
	case buf[5] != '1':
		return 0, errVersionOther
	}
	m.Minor = 1
	return len(name), nil
}
