package sigv4

import (
	"bytes"
	"fmt"
	"net/http"

	"minicloud.internal/objectstorage/checksum"
)

// end reads what follows the line of the last chunk, to the end of the body.
//
// Clients differ here. The SDKs end every field with CRLF, and all of them with an
// empty line. minio-go ends a field with LF as it is signed, and then all fields
// with an empty line of their own:
//
//	name:value CRLF  sig:… CRLF  CRLF          name:value CRLF  CRLF
//	name:value LF CRLF  sig:… CRLF  CRLF       name:value LF CRLF  CRLF
func (d *decoder) end() error {
	if d.trailing {
		if err := d.readTrailer(); err != nil {
			return err
		}
	}
	if err := d.lineBreak(); err != nil {
		return err
	}
	if _, err := d.source.ReadByte(); err == nil {
		return errIncomplete() // more than there should be
	}
	return nil
}

func (d *decoder) readTrailer() error {
	// A body without a field ends at once; the empty line is read by end.
	next, err := d.source.Peek(2)
	if err != nil {
		return cutOff(err)
	}
	if d.chain == nil && string(next) == "\r\n" {
		if d.announced != "" {
			// Even the refusal of a missing field wants the line to be whole.
			return errTrailer()
		}
		return nil
	}
	line, bare, err := d.anyLine()
	if err != nil {
		return err
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if d.chain != nil && d.announced == "" && string(name) == trailerSignature {
		return d.verifyTrailer(value) // of no field at all
	}
	if !ok || d.announced == "" || string(name) != d.announced {
		return errTrailer()
	}
	if a, ok := checksum.FromField(d.announced); !ok || !a.Valid(string(value)) {
		return refuse(http.StatusBadRequest, "InvalidRequest", fmt.Sprintf("Value for %s trailing header is invalid.", d.announced))
	}
	d.trailers = map[string]string{d.announced: string(value)}
	if bare {
		if err := d.lineBreak(); err != nil {
			return err
		}
	}
	if d.chain == nil {
		return nil
	}
	fmt.Fprintf(d.chain.hash, "%s:%s\n", d.announced, d.trailers[d.announced])
	return d.readSignature()
}

// readSignature reads the line that signs the fields before it.
func (d *decoder) readSignature() error {
	line, err := d.line()
	if err != nil {
		return err
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	if string(name) != trailerSignature {
		return errIncomplete()
	}
	return d.verifyTrailer(value)
}

func (d *decoder) verifyTrailer(signature []byte) error {
	if len(signature) != len(d.chain.provided) {
		return errIncomplete()
	}
	copy(d.chain.provided[:], signature)
	return d.chain.verifyTrailer()
}
