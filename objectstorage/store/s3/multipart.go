package s3

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"minicloud.internal/objectstorage/store"
)

// minPart is S3's smallest part but the last, in bytes.
const minPart = 5 << 20

// CreateMultipart implements [store.Store].
func (s *Store) CreateMultipart(ctx context.Context, bucket string, m store.Multipart) (string, error) {
	if err := store.CheckKey(m.Key); err != nil {
		return "", err
	}
	if err := m.Attributes.Check(); err != nil {
		return "", err
	}
	h := attributeHeader(m.Attributes)
	if c := m.Attributes.Checksum; c.Algorithm != "" {
		h.Set(checksumPrefix+"Algorithm", c.Algorithm)
		if c.Type != "" {
			h.Set(checksumPrefix+"Type", c.Type)
		}
	}
	// If the answer is lost, a second try leaves an upload that nobody knows of.
	// The service's lifecycle is there for such.
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &m.Key}, withHeader(h))
	if err != nil {
		return "", storeError(objectAction("begin upload of", bucket, m.Key), err)
	}
	return aws.ToString(out.UploadId), nil
}

// GetMultipart implements [store.Store]; see the package comment.
func (s *Store) GetMultipart(ctx context.Context, bucket, key, id string) (store.Multipart, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Multipart{}, err
	}
	m := store.Multipart{Key: key, ID: id}
	action := objectAction("get upload of", bucket, key)
	out, err := s.client.ListParts(ctx, &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: &id, MaxParts: aws.Int32(1)})
	if err != nil {
		return m, storeError(action, err)
	}
	if out.StorageClass != standard {
		m.Attributes.StorageClass = string(out.StorageClass)
	}
	m.Attributes.Checksum = announced(out.ChecksumAlgorithm, out.ChecksumType)
	// Only the listing says when it began. Uploads of one key follow each other.
	q := store.MultipartQuery{Query: store.Query{Prefix: key, Limit: 1000}}
	for range 10 {
		page, err := s.ListMultiparts(ctx, bucket, q)
		if err != nil {
			return m, err
		}
		for _, u := range page.Uploads {
			if u.Key == key && u.ID == id {
				m.Initiated = u.Initiated
				return m, nil
			}
		}
		if q.After, q.AfterID = page.Next, page.NextID; page.Next != key {
			break
		}
	}
	return m, nil
}

// announced is the checksum that an upload was begun with. S3 says "null" of one
// that was begun without.
func announced(algorithm types.ChecksumAlgorithm, kind types.ChecksumType) store.Checksum {
	if algorithm == "" || algorithm == "null" {
		return store.Checksum{}
	}
	return store.Checksum{Algorithm: string(algorithm), Type: string(kind)}
}

// ListParts implements [store.Store].
func (s *Store) ListParts(ctx context.Context, bucket, key, id string, after, limit int) (parts []store.Part, more bool, err error) {
	if err := store.CheckKey(key); err != nil {
		return nil, false, err
	}
	for len(parts) < limit {
		out, err := s.client.ListParts(ctx, &s3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: &id,
			PartNumberMarker: aws.String(strconv.Itoa(after)), MaxParts: aws.Int32(int32(min(limit-len(parts), 1000)))})
		if err != nil {
			return nil, false, storeError(objectAction("list parts of", bucket, key), err)
		}
		for i := range out.Parts {
			parts = append(parts, partOf(&out.Parts[i]))
		}
		if more = aws.ToBool(out.IsTruncated) && len(out.Parts) > 0; !more {
			break
		}
		after = parts[len(parts)-1].Number
	}
	return parts, more, nil
}

func partOf(p *types.Part) store.Part {
	part := store.Part{Number: int(aws.ToInt32(p.PartNumber)), Size: aws.ToInt64(p.Size), ETag: unquote(aws.ToString(p.ETag)), Modified: second(p.LastModified)}
	for _, c := range []struct {
		algorithm string
		value     *string
	}{{"CRC32", p.ChecksumCRC32}, {"CRC32C", p.ChecksumCRC32C}, {"CRC64NVME", p.ChecksumCRC64NVME}, {"SHA1", p.ChecksumSHA1}, {"SHA256", p.ChecksumSHA256}} {
		if c.value != nil {
			part.Checksum = checksum(c.algorithm, fullObject, *c.value)
		}
	}
	return part
}

// ListMultiparts implements [store.Store].
func (s *Store) ListMultiparts(ctx context.Context, bucket string, q store.MultipartQuery) (store.MultipartPage, error) {
	var page store.MultipartPage
	if err := checkLimit(q.Limit); err != nil {
		return page, fmt.Errorf("list uploads of %s: %w", bucket, err)
	}
	key, id := optional(q.After), optional(q.AfterID)
	for {
		out, err := s.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket,
			Prefix: optional(q.Prefix), Delimiter: optional(q.Delimiter), KeyMarker: key, UploadIdMarker: id,
			MaxUploads: aws.Int32(int32(min(q.Limit-len(page.Uploads)-len(page.Prefixes), 1000))), EncodingType: types.EncodingTypeUrl})
		if err != nil {
			return store.MultipartPage{}, storeError("list uploads of "+bucket, err)
		}
		n := decoder(out.EncodingType)
		for _, u := range out.Uploads {
			page.Uploads = append(page.Uploads, store.Multipart{Key: n.decode(aws.ToString(u.Key)), ID: aws.ToString(u.UploadId), Initiated: second(u.Initiated),
				Attributes: store.Attributes{StorageClass: class(string(u.StorageClass)),
					Checksum: announced(u.ChecksumAlgorithm, u.ChecksumType)}})
		}
		for _, p := range out.CommonPrefixes {
			if prefix := n.decode(aws.ToString(p.Prefix)); prefix > q.After {
				page.Prefixes = append(page.Prefixes, prefix)
			}
		}
		if n.err != nil {
			return store.MultipartPage{}, fmt.Errorf("list uploads of %s: %w", bucket, n.err)
		}
		if !aws.ToBool(out.IsTruncated) {
			return page, nil
		}
		if len(page.Uploads)+len(page.Prefixes) >= q.Limit {
			page.Next, page.NextID = lastUpload(&page)
			return page, nil
		}
		next := n.decode(aws.ToString(out.NextKeyMarker))
		key, id = &next, out.NextUploadIdMarker
	}
}

// lastUpload returns the last entry of a page.
func lastUpload(p *store.MultipartPage) (key, id string) {
	if n := len(p.Uploads); n > 0 {
		key, id = p.Uploads[n-1].Key, p.Uploads[n-1].ID
	}
	if n := len(p.Prefixes); n > 0 && p.Prefixes[n-1] > key {
		return p.Prefixes[n-1], ""
	}
	return key, id
}

// CompleteMultipart implements [store.Store]. Of attributes only the value of the
// checksum can still be told to the service.
func (s *Store) CompleteMultipart(ctx context.Context, bucket, key, id string, parts []store.PartID, attributes store.Attributes, c store.Condition) (store.Info, error) {
	action := objectAction("complete upload of", bucket, key)
	uploaded, err := s.choose(ctx, bucket, key, id, parts)
	if err != nil {
		return store.Info{}, err
	}
	in := &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{}}
	var size int64
	for _, p := range uploaded {
		size += p.Size
		in.MultipartUpload.Parts = append(in.MultipartUpload.Parts, completed(p))
	}
	h := checksumHeader(attributes.Checksum, uploaded)
	var w written
	if c.IsZero() {
		w, err = s.finish(ctx, in, h, s.retries(c))
	} else {
		_, err = s.conditionally(ctx, bucket, key, c, func(g guard) (err error) {
			in.IfMatch, in.IfNoneMatch = g.match, g.noneMatch
			w, err = s.finish(ctx, in, h, g.option)
			return err
		})
	}
	if err != nil {
		return store.Info{}, partFault(action, uploaded, err)
	}
	w.size, w.parts = size, uploaded
	info := s.committed(ctx, bucket, key, attributes, w)
	// It was begun with tags that nobody told here.
	if tags, err := s.tags(ctx, bucket, key, s.pin(info, "")); err == nil {
		info.Tags = tags
	}
	return info, nil
}

// checksumHeader declares the checksum of the whole, where the service knows those
// of the parts: of an upload that was begun without an algorithm it wants to hear
// none.
func checksumHeader(c store.Checksum, parts []store.Part) http.Header {
	h := http.Header{}
	for _, p := range parts {
		if p.Checksum.Algorithm != c.Algorithm {
			return h
		}
	}
	if c.Value != "" {
		h.Set(checksumPrefix+c.Algorithm, c.Value)
		h.Set(checksumPrefix+"Type", c.Type)
	}
	return h
}

// choose returns the parts that ids name, as they were uploaded. S3's own answer
// does not say which part is wrong.
func (s *Store) choose(ctx context.Context, bucket, key, id string, ids []store.PartID) ([]store.Part, error) {
	all, _, err := s.ListParts(ctx, bucket, key, id, 0, store.MaxPart)
	if err != nil {
		return nil, err
	}
	byNumber := make(map[int]store.Part, len(all))
	for _, p := range all {
		byNumber[p.Number] = p
	}
	if len(ids) == 0 {
		return nil, &store.PartError{Number: 1, Reason: "is missing, as all are"}
	}
	chosen := make([]store.Part, 0, len(ids))
	for i, want := range ids {
		p, ok := byNumber[want.Number]
		switch {
		case !ok:
			return nil, &store.PartError{Number: want.Number, Reason: "was not uploaded"}
		case p.ETag != want.ETag:
			return nil, &store.PartError{Number: want.Number, Reason: "was not uploaded with that ETag"}
		case i > 0 && ids[i-1].Number >= want.Number:
			return nil, &store.PartError{Number: want.Number, Reason: "is out of order"}
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

// completed names a part as the service wants to hear it: where it has a checksum,
// with that.
func completed(p store.Part) types.CompletedPart {
	c := types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(quote(p.ETag))}
	value := optional(p.Checksum.Value)
	switch p.Checksum.Algorithm {
	case "CRC32":
		c.ChecksumCRC32 = value
	case "CRC32C":
		c.ChecksumCRC32C = value
	case "CRC64NVME":
		c.ChecksumCRC64NVME = value
	case "SHA1":
		c.ChecksumSHA1 = value
	case "SHA256":
		c.ChecksumSHA256 = value
	}
	return c
}

// finish completes an upload in parts. If it was sent again after a lost answer,
// the second try finds no upload: then the object tells whether the first one did
// it.
func (s *Store) finish(ctx context.Context, in *s3.CompleteMultipartUploadInput, h http.Header, o option) (written, error) {
	sent := 0
	out, err := s.client.CompleteMultipartUpload(ctx, in, withHeader(h), withCount(&sent), o)
	if err == nil {
		w := written{version: aws.ToString(out.VersionId), etag: unquote(aws.ToString(out.ETag)), at: time.Now().UTC().Truncate(time.Second)}
		return w, nil
	}
	if sent > 1 && errors.Is(storeError("", err), store.ErrNoUpload) {
		info, _, headErr := s.head(ctx, *in.Bucket, *in.Key, "")
		if headErr == nil && info.ETag == etagOf(in.MultipartUpload.Parts) {
			w := written{etag: info.ETag, at: info.Modified}
			if info.Version != store.Null {
				w.version = info.Version
			}
			return w, nil
		}
	}
	return written{}, err
}

// etagOf is the ETag of an object of parts, as S3 has it.
func etagOf(parts []types.CompletedPart) string {
	sum := md5.New()
	for _, p := range parts {
		b, _ := hex.DecodeString(unquote(aws.ToString(p.ETag)))
		_, _ = sum.Write(b)
	}
	return fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
}

// partFault finds the part that an error of a completion is about.
func partFault(action string, parts []store.Part, err error) error {
	switch code(err) {
	case "EntityTooSmall":
		for _, p := range parts[:max(len(parts)-1, 0)] {
			if p.Size < minPart {
				return &store.PartError{Number: p.Number, Reason: fmt.Sprintf("has %d bytes, expected at least %d", p.Size, minPart)}
			}
		}
	case "InvalidPart", "InvalidPartOrder":
		if len(parts) > 0 { // it was replaced since it was looked at
			return &store.PartError{Number: parts[0].Number, Reason: "or a later one is not what was uploaded"}
		}
	}
	return storeError(action, err)
}

// AbortMultipart implements [store.Store].
func (s *Store) AbortMultipart(ctx context.Context, bucket, key, id string) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	sent := 0
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: &id}, withCount(&sent))
	if sent > 1 && code(err) == "NoSuchUpload" {
		return nil // the try before, whose answer was lost, did it
	}
	return storeError(objectAction("abort upload of", bucket, key), err)
}
