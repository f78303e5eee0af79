package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"minicloud.internal/objectstorage/store"
)

// tries is how often a write with a condition is decided anew because the object
// changed in between.
const tries = 8

// An upload is a spooled body.
type upload struct {
	s      *Store
	memory []byte   // all of it, where file is nil
	file   *os.File // nobody but this process can reach it
	size   int64
	md5    []byte
	sha256 string // hexadecimal digits
	over   bool
}

// Stage implements [store.Store].
func (s *Store) Stage(ctx context.Context, r io.Reader, size int64) (store.Upload, error) {
	u := &upload{s: s}
	sum, signed := md5.New(), sha256.New()
	source := &source{ctx: ctx, Reader: r, sums: []hash.Hash{sum, signed}}
	var buffer bytes.Buffer
	if 0 < size && size <= s.Memory {
		buffer.Grow(int(size) + bytes.MinRead)
	}
	var err error
	if s.Memory > 0 {
		u.size, err = io.Copy(&buffer, io.LimitReader(source, s.Memory))
	}
	u.memory = buffer.Bytes()
	if err == nil && (s.Memory <= 0 || u.size == s.Memory) {
		err = u.spill(source)
	}
	if source.err != nil {
		err = &store.BodyError{Err: source.err}
	}
	if err != nil {
		u.Discard()
		return nil, err
	}
	u.md5, u.sha256 = sum.Sum(nil), hex.EncodeToString(signed.Sum(nil))
	return u, nil
}

// spill moves what is in memory to a file and adds the rest of the body, if there
// is any.
func (u *upload) spill(rest io.Reader) error {
	first := make([]byte, 1)
	switch _, err := io.ReadFull(rest, first); {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	}
	f, err := os.CreateTemp(u.s.Dir, "minicloud-s3-*")
	if err != nil {
		return spoolError("spool a body", err)
	}
	u.file = f
	// Without a name at once, so that nothing stays behind if the process ends;
	// where the system does not allow it, Discard removes it.
	_ = os.Remove(f.Name())
	n, err := io.Copy(f, io.MultiReader(bytes.NewReader(u.memory), bytes.NewReader(first), rest))
	u.memory, u.size = nil, n
	if err != nil {
		return spoolError("spool a body", err)
	}
	return nil
}

// A source is a body that is read; err is its own failure, as opposed to that of
// where it is written to.
type source struct {
	io.Reader
	ctx  context.Context
	sums []hash.Hash
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.Reader.Read(p)
	for _, h := range s.sums {
		_, _ = h.Write(p[:n])
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (u *upload) Size() int64 { return u.size }

func (u *upload) ETag() string { return hex.EncodeToString(u.md5) }

// Discard implements [store.Upload].
func (u *upload) Discard() {
	if u.over {
		return
	}
	u.over, u.memory = true, nil
	if u.file != nil {
		_ = u.file.Close()
		_ = os.Remove(u.file.Name())
	}
}

// section is a part of the body, to be sent as often as needed.
func (u *upload) section(at, size int64) io.ReadSeeker {
	if u.file != nil {
		return io.NewSectionReader(u.file, at, size)
	}
	return bytes.NewReader(u.memory[at : at+size])
}

var errOver = errors.New("the upload was committed or discarded before")

// Commit implements [store.Upload]; see the package comment.
func (u *upload) Commit(ctx context.Context, bucket, key string, a store.Attributes, c store.Condition) (store.Info, bool, error) {
	if u.over {
		return store.Info{}, false, errOver
	}
	defer u.Discard()
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, false, err
	}
	if err := a.Check(); err != nil {
		return store.Info{}, false, err
	}
	write := u.send
	if u.size > u.s.single {
		write = u.sendParts
	}
	var w written
	created, err := u.s.conditionally(ctx, bucket, key, c, func(g guard) (err error) {
		w, err = write(ctx, bucket, key, a, g)
		return err
	})
	if err != nil {
		return store.Info{}, false, storeError(objectAction("put", bucket, key), err)
	}
	return u.s.committed(ctx, bucket, key, a, w), created, nil
}

// A guard is what makes a write depend on what was decided on.
type guard struct {
	match, noneMatch *string
	option           option
}

// conditionally decides c and writes, until both are about the same object.
// created says that there was none.
func (s *Store) conditionally(ctx context.Context, bucket, key string, c store.Condition, write func(guard) error) (created bool, err error) {
	for range tries {
		current, err := s.current(ctx, bucket, key)
		if err == nil {
			err = s.check(ctx, bucket, current, c)
		}
		if err != nil {
			return false, err
		}
		created := current == nil || current.DeleteMarker
		g := guard{option: s.retries(c)}
		switch {
		case c.IsZero():
		case created:
			g.noneMatch = aws.String("*")
		default:
			g.match = aws.String(quote(current.ETag))
		}
		err = write(g)
		if c.IsZero() || !changed(err) {
			return created, err
		}
	}
	return false, store.ErrBusy
}

// changed reports that a write was refused since the object is not what it was: by
// AWS with NoSuchKey, where If-Match finds nothing.
func changed(err error) bool {
	return err != nil && (known(err) == store.ErrPrecondition || code(err) == "NoSuchKey" || code(err) == "ConditionalRequestConflict")
}

// retries is the way that a write with condition c is repeated.
func (s *Store) retries(c store.Condition) option {
	if c.IsZero() {
		return func(*s3.Options) {}
	}
	return s.withCertain
}

// written is what the service said of a write.
type written struct {
	version, etag string
	size          int64
	at            time.Time
	parts         []store.Part
}

// send puts the body in one request.
func (u *upload) send(ctx context.Context, bucket, key string, a store.Attributes, g guard) (written, error) {
	h := attributeHeader(a)
	setChecksum(h, a.Checksum)
	out, err := u.s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &bucket, Key: &key,
		Body: u.section(0, u.size), ContentLength: &u.size,
		ContentMD5: aws.String(base64.StdEncoding.EncodeToString(u.md5)),
		IfMatch:    g.match, IfNoneMatch: g.noneMatch,
	}, withHeader(h), withPayloadHash(u.sha256), g.option)
	if err != nil {
		return written{}, err
	}
	w := written{version: aws.ToString(out.VersionId), etag: unquote(aws.ToString(out.ETag)), size: u.size, at: time.Now()}
	if r, err := response(out.ResultMetadata); err == nil {
		w.at = date(r.Header)
	}
	return w, nil
}

// sendParts puts the body in parts, as it is too large for one request.
func (u *upload) sendParts(ctx context.Context, bucket, key string, a store.Attributes, g guard) (w written, err error) {
	client := u.s.client
	created, err := client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}, withHeader(attributeHeader(a)))
	if err != nil {
		return written{}, err
	}
	id := aws.ToString(created.UploadId)
	defer func() {
		if err != nil {
			// Also where the caller has gone: the service would keep the parts.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.s.Idle)
			defer cancel()
			_, _ = client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id})
		}
	}()
	part := max(u.s.single/80, (u.size+store.MaxPart-1)/store.MaxPart) // 64 MiB or more
	parts := make([]types.CompletedPart, (u.size+part-1)/part)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range parts {
		group.Go(func() error {
			at, number := int64(i)*part, int32(i+1)
			out, err := client.UploadPart(gctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: &id, PartNumber: &number,
				Body: u.section(at, min(part, u.size-at))})
			if err != nil {
				return fmt.Errorf("upload part %d: %w", number, err)
			}
			parts[i] = types.CompletedPart{PartNumber: &number, ETag: out.ETag}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return written{}, err
	}
	w, err = u.s.finish(ctx, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}, IfMatch: g.match, IfNoneMatch: g.noneMatch}, nil, g.option)
	w.size = u.size
	return w, err
}

// committed returns what the service says of an object that was just written. The
// write is acknowledged, so that from here on nothing is an error: what cannot be
// asked for, or is already another object's, is told from what was sent.
func (s *Store) committed(ctx context.Context, bucket, key string, a store.Attributes, w written) store.Info {
	info, _, err := s.head(ctx, bucket, key, w.version)
	a = cloneAttributes(a) // what is passed in stays the caller's
	if w.version == "" {
		w.version = store.Null
	}
	if err != nil || info.ETag != w.etag || info.Version != w.version {
		info = store.Info{Key: key, Version: w.version, Size: w.size, ETag: w.etag, Modified: w.at, Attributes: a}
	}
	info.Tags, info.Parts, info.Latest = a.Tags, w.parts, true
	return info
}

// date is when an answer was made, by the service's clock.
func date(h http.Header) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t.UTC()
	}
	return time.Now().UTC().Truncate(time.Second)
}

// CommitPart implements [store.Upload].
func (u *upload) CommitPart(ctx context.Context, bucket, key, id string, number int, c store.Checksum) (store.Part, error) {
	if u.over {
		return store.Part{}, errOver
	}
	defer u.Discard()
	if err := store.CheckKey(key); err != nil {
		return store.Part{}, err
	}
	if number < 1 || number > store.MaxPart {
		return store.Part{}, &store.PartError{Number: number, Reason: fmt.Sprintf("is no part, expected 1 to %d", store.MaxPart)}
	}
	h := http.Header{}
	setChecksum(h, c)
	n := int32(number)
	out, err := u.s.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &bucket, Key: &key, UploadId: &id, PartNumber: &n,
		Body: u.section(0, u.size), ContentLength: &u.size,
		ContentMD5: aws.String(base64.StdEncoding.EncodeToString(u.md5)),
	}, withHeader(h), withPayloadHash(u.sha256))
	if err != nil {
		return store.Part{}, storeError(fmt.Sprintf("put part %d of %s/%s", number, bucket, key), err)
	}
	p := store.Part{Number: number, Size: u.size, ETag: unquote(aws.ToString(out.ETag)), Checksum: c}
	if r, err := response(out.ResultMetadata); err == nil {
		p.Modified = date(r.Header)
	}
	return p, nil
}
