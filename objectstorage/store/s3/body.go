package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"minicloud.internal/objectstorage/store"
)

// errReplaced: what was being read is not there any more.
var errReplaced = errors.New("the object was replaced or deleted while it was read")

// resumes is how often in a row a body is resumed without a byte of progress.
const resumes = 3

// A body is that of one object. It reads the stream that its object came with, and
// opens another one where it has to go on elsewhere. One goroutine uses it.
type body struct {
	s           *Store
	ctx         context.Context // of its requests, until it is closed
	cancel      context.CancelFunc
	bucket, key string
	version     string // to name in requests; empty where the bucket keeps none
	info        store.Info

	stream io.ReadCloser // stands at at; nil: none is open
	at     int64
	offset int64 // of the next Read
	closed bool
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.closed {
		return 0, os.ErrClosed
	}
	if b.offset >= b.info.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for failed := 0; ; failed++ {
		if err := b.open(); err != nil {
			return 0, err
		}
		n, err := b.stream.Read(p[:min(int64(len(p)), b.info.Size-b.offset)])
		b.at += int64(n)
		b.offset = b.at
		switch {
		case b.offset == b.info.Size:
			if err := b.end(err); err != nil {
				// Not the last bytes with it: io.CopyN, and so net/http, would
				// be content with them.
				return 0, err
			}
			return n, nil
		case n > 0 && err == nil:
			return n, nil
		case err != nil:
			if err != io.EOF && strings.Contains(err.Error(), "checksum") {
				return n, b.damaged(err)
			}
			// The connection is gone. What came counts; the next Read resumes.
			b.drop()
			if n > 0 {
				return n, nil
			}
			if failed == resumes || b.ctx.Err() != nil {
				return 0, fmt.Errorf("read %s/%s at %d: %w", b.bucket, b.key, b.offset, unexpected(err))
			}
		}
	}
}

// end looks for the end of a stream behind the last byte, where the SDK compares
// the checksum of a body that was read from its beginning.
func (b *body) end(err error) error {
	defer b.drop()
	if err == nil {
		_, err = b.stream.Read(make([]byte, 1))
	}
	if err != nil && err != io.EOF && strings.Contains(err.Error(), "checksum") {
		return b.damaged(err)
	}
	return nil // all of it has come; how the connection ends does not matter
}

func (b *body) damaged(err error) error {
	return fmt.Errorf("read %s/%s: %w (%v)", b.bucket, b.key, store.ErrCorrupt, err)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// open makes stream one that stands at offset.
func (b *body) open() error {
	if b.stream != nil && b.at == b.offset {
		return nil
	}
	b.drop()
	out, err := b.s.client.GetObject(b.ctx, &s3.GetObjectInput{
		Bucket: &b.bucket, Key: &b.key, VersionId: optional(b.version),
		IfMatch: aws.String(quote(b.info.ETag)), // what is read stays what it was
		Range:   aws.String(fmt.Sprintf("bytes=%d-", b.offset)),
	})
	action := fmt.Sprintf("read %s/%s at %d", b.bucket, b.key, b.offset)
	switch {
	case status(err) == http.StatusPreconditionFailed, status(err) == http.StatusNotFound, status(err) == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%s: %w", action, errReplaced)
	case err != nil:
		return storeError(action, err)
	}
	b.stream, b.at = out.Body, b.offset
	r, err := response(out.ResultMetadata)
	if err != nil {
		b.drop()
		return fmt.Errorf("%s: %w", action, err)
	}
	// A service that ignores If-Match or Range would hand out other bytes.
	first, total, ranged := contentRange(r.Header)
	if !ranged {
		first, total = 0, r.ContentLength
	}
	if first != b.offset || total != b.info.Size || unquote(r.Header.Get("ETag")) != b.info.ETag {
		b.drop()
		return fmt.Errorf("%s: %w", action, errReplaced)
	}
	return nil
}

func (b *body) drop() {
	if b.stream != nil {
		_ = b.stream.Close()
		b.stream = nil
	}
}

// Seek implements [io.Seeker]. It asks for nothing; the next Read does.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += b.offset
	case io.SeekEnd:
		offset += b.info.Size
	default:
		return 0, fmt.Errorf("seek: %d is no whence", whence)
	}
	if offset < 0 {
		return 0, errors.New("seek: before the beginning")
	}
	b.offset = offset
	return offset, nil
}

// Close implements [io.Closer].
func (b *body) Close() error {
	b.closed = true
	b.cancel()
	b.drop()
	return nil
}
