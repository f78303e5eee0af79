package sigv4

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
)

const (
	// minChunk is the least size of a chunk that is not the last one.
	minChunk = 8192
	// maxLine is the longest line between chunks and behind them: the longest
	// that is right has 128 bytes or so.
	maxLine = 1024
	// maxExcess is how much of a chunk is read that is too long for the body, to
	// find out what is wrong with it.
	maxExcess = 64 << 10

	signaturePrefix  = ";chunk-signature="
	trailerSignature = "x-amz-trailer-signature"
)

// decoder decodes aws-chunked:
//
//	size [;chunk-signature=…] CRLF data CRLF      any number of times
//	0 [;chunk-signature=…] CRLF
//	[name:value CRLF [x-amz-trailer-signature:… CRLF]]
//	CRLF
//
// (Amazon S3 API reference, "Signature Calculations for the Authorization Header:
// Transferring Payload in Multiple Chunks" and "Including Trailing Headers".) Data
// goes from the source to the reader's buffer without being kept; a chunk's
// signature is known to be right when the chunk has been read.
type decoder struct {
	source *bufio.Reader
	size   int64 // x-amz-decoded-content-length
	read   int64 // of size, so far
	chain  *chain
	// trailing: fields may follow the last chunk. announced is the one that must.
	trailing  bool
	announced string
	trailers  map[string]string

	number int   // of the chunk, from 1
	length int64 // of the chunk
	left   int64 // of length
	err    error // io.EOF: all is read and verified
}

func newDecoder(source io.Reader, size int64) *decoder {
	if source == nil {
		source = http.NoBody
	}
	return &decoder{source: bufio.NewReaderSize(source, 2*maxLine), size: size}
}

// Read hands the last bytes of the body on together with io.EOF, after everything
// behind them has been verified.
func (d *decoder) Read(p []byte) (int, error) {
	if d.err == nil && d.left == 0 {
		d.err = d.next()
	}
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	n, err := d.source.Read(p[:min(int64(len(p)), d.left)])
	d.left -= int64(n)
	d.read += int64(n)
	if d.chain != nil {
		d.chain.hash.Write(p[:n])
	}
	if err != nil {
		d.err = cutOff(err)
		return 0, d.err
	}
	if d.left == 0 {
		if d.err = d.endChunk(); d.err == nil && d.read == d.size {
			d.err = d.next()
		}
	}
	if d.err != nil && d.err != io.EOF {
		return 0, d.err
	}
	return n, d.err
}

// next reads the line before a chunk. After the last one it reads what is behind,
// and returns io.EOF.
func (d *decoder) next() error {
	line, err := d.line()
	if err != nil {
		return err
	}
	size, err := d.parseHeader(line)
	if err != nil {
		return err
	}
	if size > 0 && d.number > 0 && d.length < minChunk {
		return refuse(http.StatusBadRequest, "InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes",
			Field{"Chunk", strconv.Itoa(d.number)}, Field{"BadChunkSize", strconv.FormatInt(d.length, 10)})
	}
	d.number++
	d.length, d.left = size, size
	switch {
	case size > d.size-d.read:
		return d.tooLong(size)
	case size > 0:
		return nil
	case d.read != d.size:
		return errLength()
	}
	if d.chain != nil {
		if err := d.chain.verifyChunk(); err != nil {
			return err
		}
	}
	if err := d.end(); err != nil {
		return err
	}
	return io.EOF
}

// line reads one that ends with CRLF, and returns it without. It is valid until
// the next read.
func (d *decoder) line() ([]byte, error) {
	line, bare, err := d.anyLine()
	if err == nil && bare {
		err = errIncomplete()
	}
	return line, err
}

// anyLine reads a line that ends with CRLF or a bare LF.
func (d *decoder) anyLine() (line []byte, bare bool, err error) {
	line, err = d.source.ReadSlice('\n')
	if err != nil || len(line) > maxLine {
		return nil, false, cutOff(err)
	}
	line = line[:len(line)-1]
	bare = len(line) == 0 || line[len(line)-1] != '\r'
	if !bare {
		line = line[:len(line)-1]
	}
	for _, c := range line {
		if c < ' ' || c > '~' {
			return nil, false, errIncomplete()
		}
	}
	return line, bare, nil
}

// parseHeader reads "size" or, in a signed body, "size;chunk-signature=…".
func (d *decoder) parseHeader(line []byte) (int64, error) {
	digits := line
	if d.chain != nil {
		at := len(line) - len(signaturePrefix) - len(d.chain.provided)
		if at < 0 || string(line[at:at+len(signaturePrefix)]) != signaturePrefix {
			return 0, errIncomplete()
		}
		digits = line[:at]
		copy(d.chain.provided[:], line[at+len(signaturePrefix):])
	}
	var size int64
	for _, c := range digits {
		digit, ok := fromHex(c)
		if !ok {
			return 0, errIncomplete()
		}
		size = size<<4 | int64(digit)
	}
	if len(digits) == 0 || len(digits) > 15 { // 15 digits are under 2⁶⁰
		return 0, errIncomplete()
	}
	return size, nil
}

// endChunk reads the line break behind a chunk and verifies its signature.
func (d *decoder) endChunk() error {
	if err := d.lineBreak(); err != nil {
		return err
	}
	if d.chain != nil {
		return d.chain.verifyChunk()
	}
	return nil
}

func (d *decoder) lineBreak() error {
	for _, want := range []byte("\r\n") {
		if c, err := d.source.ReadByte(); err != nil || c != want {
			return cutOff(err)
		}
	}
	return nil
}

// tooLong says what is wrong with a chunk that goes beyond the body: it is
// malformed, or the length that the client gave is wrong.
func (d *decoder) tooLong(size int64) error {
	if size <= maxExcess {
		if _, err := d.source.Discard(int(size)); err != nil {
			return cutOff(err)
		}
		if err := d.lineBreak(); err != nil {
			return err
		}
	}
	return errLength()
}

// cutOff is the refusal of a body that is malformed (nil) or came to an end too
// soon. Another failure of the source stays what it is.
func cutOff(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, bufio.ErrBufferFull) {
		return errIncomplete()
	}
	return err
}

// chain is the signatures of the chunks: each covers the one before it, and the
// first one that of the request, so that no chunk can be left out, moved or taken
// from another request.
type chain struct {
	identity *Identity
	mac      hash.Hash
	hash     hash.Hash // of the chunk so far
	previous [64]byte
	provided [64]byte // what the client says the chunk's signature is
	line     []byte
}

func newChain(id *Identity) *chain {
	c := &chain{identity: id, mac: hmac.New(sha256.New, id.key[:]), hash: sha256.New()}
	copy(c.previous[:], id.signature)
	return c
}

// verifyChunk compares the signature of the chunk that was hashed with the one
// provided, and begins the next chunk.
func (c *chain) verifyChunk() error {
	c.begin("AWS4-HMAC-SHA256-PAYLOAD")
	c.line = append(append(c.line, emptyHash...), '\n')
	return c.verify()
}

// verifyTrailer does that for the fields behind the body, each "name:value\n",
// which were hashed as a chunk is.
func (c *chain) verifyTrailer() error {
	c.begin("AWS4-HMAC-SHA256-TRAILER")
	return c.verify()
}

func (c *chain) begin(algorithm string) {
	c.line = appendPrefix(c.line[:0], algorithm, c.identity.date, c.identity.scope)
	c.line = append(append(c.line, c.previous[:]...), '\n')
}

func (c *chain) verify() error {
	var sum [sha256.Size]byte
	c.line = hex.AppendEncode(c.line, c.hash.Sum(sum[:0]))
	c.hash.Reset()
	c.mac.Reset()
	c.mac.Write(c.line)
	hex.Encode(c.previous[:], c.mac.Sum(sum[:0]))
	if subtle.ConstantTimeCompare(c.previous[:], c.provided[:]) != 1 {
		return errSignature(c.identity.AccessKey, string(c.provided[:]), c.line, nil)
	}
	return nil
}
