package http1

import (
	"math"
	"strconv"
)

// Bounds of what a chunked body may carry beside its data.
const (
	maxSizeDigits    = 16   // of one chunk size, leading zeros included
	maxExtension     = 256  // bytes of the extensions of one chunk
	maxExtensions    = 8192 // bytes of the extensions of one body
	maxTrailerFields = 32
)

// A chunkState is what a Decoder expects next.
type chunkState uint8

const (
	chunkSize   chunkState = iota // a digit of a size, or what ends it
	chunkSpace                    // white space before an extension
	chunkExt                      // extensions
	chunkSizeLF                   // the LF after a size
	chunkData
	chunkDataCR // the CR after data
	chunkDataLF
	trailerLine // the beginning of a trailer line, or the CR of the empty line
	trailerText
	trailerLF // the LF of a trailer line
	chunkEndLF
	chunkEnded
)

// A Decoder takes the chunked coding (RFC 9112, section 7.1) off a body as it
// passes. It may be given the body in pieces of any size. It must be Reset before
// each body.
type Decoder struct {
	state      chunkState
	digits     int   // of the size so far
	left       int64 // the size so far, then the data of the chunk still to come
	extension  int   // bytes, of this chunk
	extensions int   // bytes, of the body
	maxTrailer int
	trailer    []byte // the trailer section without the empty line
	fields     []Field
	err        *Error
}

// Reset prepares for a body. maxTrailer is the most bytes of its trailer section,
// without the empty line; 0 refuses trailers.
func (d *Decoder) Reset(maxTrailer int) {
	*d = Decoder{maxTrailer: maxTrailer, trailer: d.trailer[:0], fields: d.fields[:0]}
}

// Decode moves the data of the chunks in buf together at its beginning, in
// place. data is the number of bytes of data, now at buf[:data]; used is how many
// bytes of buf belonged to the body, all of them unless done; done says that the
// trailer section has ended too, so that buf[used:] is what follows the body.
//
// An error is final. The data before it are still given, but they are of a body
// that will never be whole. Its status is that of a request; see
// [Error.Upstream].
func (d *Decoder) Decode(buf []byte) (data, used int, done bool, err *Error) {
	for used < len(buf) && d.err == nil && d.state != chunkEnded {
		if d.state != chunkData {
			d.err = d.step(buf[used])
			used++
			continue
		}
		n := d.pass(len(buf) - used)
		if data != used {
			copy(buf[data:], buf[used:used+n])
		}
		data, used = data+n, used+n
	}
	return data, used, d.state == chunkEnded && d.err == nil, d.err
}

// IsWhole reports whether the whole of a body is in buf, which it leaves as it is.
// The decoder must be Reset before and after.
func (d *Decoder) IsWhole(buf []byte) bool {
	for len(buf) > 0 && d.err == nil && d.state != chunkEnded {
		n := 1
		if d.state == chunkData {
			n = d.pass(len(buf))
		} else {
			d.err = d.step(buf[0])
		}
		buf = buf[n:]
	}
	return d.state == chunkEnded && d.err == nil
}

// pass passes over data, n bytes or what is left of the chunk, and returns how much.
func (d *Decoder) pass(n int) int {
	n = int(min(d.left, int64(n)))
	if d.left -= int64(n); d.left == 0 {
		d.state = chunkDataCR
	}
	return n
}

// Trailers returns the trailer fields of a body that is done, without those that
// may not be passed on. They are good until Reset.
func (d *Decoder) Trailers() []Field {
	if d.state != chunkEnded || d.err != nil || len(d.fields) == 0 {
		return nil
	}
	return d.fields
}

// step takes one byte that is not data.
func (d *Decoder) step(c byte) *Error {
	if d.state >= trailerLine {
		return d.stepTrailer(c)
	}
	switch d.state {
	case chunkSize:
		return d.stepSize(c)
	case chunkSpace, chunkExt:
		return d.stepExtension(c)
	case chunkSizeLF:
		switch {
		case c != '\n':
			return errBareCR
		case d.left > 0:
			d.state = chunkData
		default:
			d.state = trailerLine
		}
	case chunkDataCR:
		if c != '\r' {
			return errChunkEnd
		}
		d.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return errChunkEnd
		}
		d.state, d.digits, d.extension = chunkSize, 0, 0
	}
	return nil
}

func (d *Decoder) stepSize(c byte) *Error {
	if v := hex(c); v >= 0 {
		if d.digits++; d.digits > maxSizeDigits || d.left > math.MaxInt64>>4 {
			return errChunkSizeLarge
		}
		d.left = d.left<<4 | int64(v)
		return nil
	}
	switch {
	case c == '\n' && d.digits > 0:
		return errBareLF
	case d.digits == 0:
		return errChunkSize
	case c == '\r':
		d.state = chunkSizeLF
		return nil
	case c == ';' || c == ' ' || c == '\t':
		d.state = chunkSpace
		return d.stepExtension(c)
	}
	return errChunkSize
}

// stepExtension reads extensions without understanding them, as RFC 9112,
// section 7.1.1, asks of those who know none.
func (d *Decoder) stepExtension(c byte) *Error {
	switch {
	case c == '\n':
		return errBareLF
	case c == ';':
		d.state = chunkExt
	case d.state == chunkSpace && c != ' ' && c != '\t':
		return errChunkSpace
	case c == '\r':
		d.state = chunkSizeLF
		return nil
	case control[c]:
		return errChunkExt
	}
	if d.extension++; d.extension > maxExtension {
		return errChunkExtLong
	}
	if d.extensions++; d.extensions > maxExtensions {
		return errChunkExtTotal
	}
	return nil
}

func (d *Decoder) stepTrailer(c byte) *Error {
	switch d.state {
	case trailerLF, chunkEndLF:
		if c != '\n' {
			return errBareCR
		}
		if d.state == chunkEndLF {
			d.state = chunkEnded
			return d.readTrailer()
		}
		d.state = trailerLine
	default:
		switch {
		case c == '\n':
			return errBareLF
		case c == '\r' && d.state == trailerLine:
			d.state = chunkEndLF
			return nil
		case c == '\r':
			d.state = trailerLF
		default:
			d.state = trailerText
		}
	}
	if len(d.trailer) == d.maxTrailer {
		return errTrailerLarge
	}
	d.trailer = append(d.trailer, c)
	return nil
}

// readTrailer reads the fields of the complete trailer section.
func (d *Decoder) readTrailer() *Error {
	count := 0
	for rest := d.trailer; len(rest) > 0; {
		if count++; count > maxTrailerFields {
			return errFields
		}
		var f Field
		n, err := f.parse(rest)
		if err != nil {
			return err
		}
		rest = rest[n:]
		if mayTrail(&f) {
			d.fields = append(d.fields, f)
		}
	}
	return nil
}

// mayTrail says whether a field may be passed on in a trailer section (RFC 9110,
// section 6.5.1): not one that frames, routes, authenticates, modifies the
// request, or says how to read the content, since whoever has begun to act on
// the head would act differently on it. Every kind that we know is of that sort.
func mayTrail(f *Field) bool {
	if f.Kind != Other {
		return false
	}
	for _, name := range notInTrailers {
		if equalFold(f.Name, name) {
			return false
		}
	}
	return true
}

var notInTrailers = [...]string{
	"age", "authorization", "cache-control", "content-encoding", "content-location", "content-range",
	"content-type", "expires", "if-match", "if-modified-since", "if-none-match", "if-range",
	"if-unmodified-since", "location", "max-forwards", "pragma", "proxy-authentication-info", "range",
	"retry-after", "vary", "warning", "www-authenticate",
}

// AppendChunkSize appends the line that precedes a chunk of n bytes, as "1f\r\n".
func AppendChunkSize(dst []byte, n int) []byte {
	return append(strconv.AppendUint(dst, uint64(n), 16), '\r', '\n')
}
