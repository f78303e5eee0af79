package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"minicloud.internal/objectstorage/store"
)

// optional is a parameter that is left out where it is empty.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func objectAction(verb, bucket, key string) string { return fmt.Sprintf("%s %s/%s", verb, bucket, key) }

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, bucket, key, version string) (*store.Object, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	action := objectAction("get", bucket, key)
	// The body outlives the call, and so must its request.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	out, err := s.client.GetObject(life, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		cancel()
		info, err := s.absent(ctx, bucket, key, version, err)
		if err = storeError(action, err); info.DeleteMarker {
			return &store.Object{Info: info}, err
		}
		return nil, err
	}
	b := &body{s: s, ctx: life, cancel: cancel, bucket: bucket, key: key, stream: out.Body}
	r, err := response(out.ResultMetadata)
	if err == nil {
		b.info, err = infoOf(key, r)
	}
	if err == nil {
		err = s.complete(ctx, bucket, version, tagCount(r.Header), &b.info)
	}
	if err != nil {
		_ = b.Close()
		return nil, storeError(action, err)
	}
	if v := r.Header.Get("X-Amz-Version-Id"); v != "" {
		b.version = v
	}
	return &store.Object{Info: b.info, Body: b}, nil
}

// Head implements [store.Store].
func (s *Store) Head(ctx context.Context, bucket, key, version string) (store.Info, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Info{}, err
	}
	info, tags, err := s.head(ctx, bucket, key, version)
	if err == nil {
		err = s.complete(ctx, bucket, version, tags, &info)
	} else {
		info, err = s.absent(ctx, bucket, key, version, s.explain(ctx, bucket, key, version, err))
	}
	return info, storeError(objectAction("head", bucket, key), err)
}

// head sends a HEAD, and returns what it tells and the number of tags. The error
// is the SDK's.
func (s *Store) head(ctx context.Context, bucket, key, version string) (store.Info, int, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return store.Info{}, 0, err
	}
	r, err := response(out.ResultMetadata)
	if err != nil {
		return store.Info{}, 0, err
	}
	info, err := infoOf(key, r)
	info.Latest = version == ""
	return info, tagCount(r.Header), err
}

// explain returns the error that S3 gives to a GET in place of the one that it
// gave to a HEAD, which has no body and thus no code: a 404 may be the bucket's,
// the key's or the version's.
func (s *Store) explain(ctx context.Context, bucket, key, version string, err error) error {
	if h := header(err); h == nil || isMarker(h) || status(err) < 400 || status(err) > 499 {
		return err
	}
	out, reason := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version), Range: aws.String("bytes=0-0")})
	if reason == nil {
		_ = out.Body.Close() // it came between the two; then it was absent before
		return &types.NoSuchKey{}
	}
	return reason
}

// absent turns the error of a GET or HEAD into package store's, with the Info of a
// delete marker where it is one.
func (s *Store) absent(ctx context.Context, bucket, key, version string, err error) (store.Info, error) {
	h := header(err)
	if isMarker(h) && (status(err) == http.StatusNotFound || status(err) == http.StatusMethodNotAllowed) {
		info := store.Info{Key: key, Version: versionOf(h), DeleteMarker: true, Latest: version == "", Modified: modified(h)}
		if version != "" {
			info.Version = version
		}
		// Neither answer has everything: the first no time, the second not
		// whether it is the latest.
		if found, err := s.findVersion(ctx, bucket, key, info.Version); err == nil {
			info = found
		}
		if version == "" {
			return info, store.ErrNotFound
		}
		return info, store.ErrDeleteMarker
	}
	switch {
	case version != "" && (code(err) == "NoSuchKey" || code(err) == "InvalidArgument" || code(err) == "BadRequest"):
		return store.Info{}, store.ErrNoVersion // not even the form of one of its versions
	case status(err) == http.StatusNotFound && known(err) == nil:
		return store.Info{}, store.ErrNotFound
	}
	return store.Info{}, err
}

// complete adds to info what the answer for the object did not say.
func (s *Store) complete(ctx context.Context, bucket, version string, tags int, info *store.Info) error {
	pinned := s.pin(*info, version)
	if tags > 0 {
		var err error
		if info.Tags, err = s.tags(ctx, bucket, info.Key, pinned); err != nil && status(err) != http.StatusNotFound {
			return fmt.Errorf("get the tags: %w", err)
		}
	}
	if strings.Contains(info.ETag, "-") {
		info.Parts = s.parts(ctx, bucket, info.Key, pinned)
	}
	info.Latest = version == ""
	if !info.Latest {
		latest, _, err := s.head(ctx, bucket, info.Key, "")
		if err != nil {
			latest.Version = versionOf(header(err)) // a marker's; never one that has a body
		}
		info.Latest = latest.Version == info.Version
	}
	return nil
}

func (s *Store) tags(ctx context.Context, bucket, key, version string) ([]store.Tag, error) {
	out, err := s.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
	if err != nil {
		return nil, err
	}
	tags := make([]store.Tag, len(out.TagSet))
	for i, t := range out.TagSet {
		tags[i] = store.Tag{Key: aws.ToString(t.Key), Value: aws.ToString(t.Value)}
	}
	slices.SortFunc(tags, func(a, b store.Tag) int { return cmp.Compare(a.Key, b.Key) })
	return tags, nil
}

// parts returns those that an object was completed of, or nil where the service
// does not tell: it is no reason to refuse the object.
func (s *Store) parts(ctx context.Context, bucket, key, version string) (parts []store.Part) {
	in := &s3.GetObjectAttributesInput{Bucket: &bucket, Key: &key, VersionId: optional(version),
		ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesObjectParts}, MaxParts: aws.Int32(1000)}
	for len(parts) < store.MaxPart {
		out, err := s.client.GetObjectAttributes(ctx, in)
		if err != nil || out.ObjectParts == nil || len(out.ObjectParts.Parts) == 0 {
			return nil
		}
		for _, p := range out.ObjectParts.Parts {
			part := store.Part{Number: int(aws.ToInt32(p.PartNumber)), Size: aws.ToInt64(p.Size)}
			for algorithm, value := range map[string]*string{"CRC32": p.ChecksumCRC32, "CRC32C": p.ChecksumCRC32C,
				"CRC64NVME": p.ChecksumCRC64NVME, "SHA1": p.ChecksumSHA1, "SHA256": p.ChecksumSHA256} {
				if value != nil {
					part.Checksum = checksum(algorithm, fullObject, *value)
				}
			}
			parts = append(parts, part)
		}
		if !aws.ToBool(out.ObjectParts.IsTruncated) || out.ObjectParts.NextPartNumberMarker == nil {
			break
		}
		in.PartNumberMarker = out.ObjectParts.NextPartNumberMarker
	}
	return parts
}

// current returns the latest version of a key, or nil; what a condition is decided
// on. That there is no such bucket is not told apart from that there is no such
// key.
func (s *Store) current(ctx context.Context, bucket, key string) (*store.Info, error) {
	info, _, err := s.head(ctx, bucket, key, "")
	switch {
	case err == nil:
		return &info, nil
	case status(err) == http.StatusNotFound && isMarker(header(err)):
		return &store.Info{Key: key, Version: versionOf(header(err)), DeleteMarker: true}, nil
	case status(err) == http.StatusNotFound:
		return nil, nil
	}
	return nil, s.explain(ctx, bucket, key, "", err)
}

// check decides c for what a key has. Where it refuses because there is nothing,
// it may be that there is no bucket.
func (s *Store) check(ctx context.Context, bucket string, current *store.Info, c store.Condition) error {
	err := c.Check(current)
	if err == nil || current != nil {
		return err
	}
	if _, missing := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); status(missing) == http.StatusNotFound {
		return store.ErrNoBucket
	}
	return err
}

// Update implements [store.Store]; see the package comment.
func (s *Store) Update(ctx context.Context, bucket, key, version string, change func(*store.Attributes) error) (store.Info, error) {
	defer s.lock(bucket, key)()
	info, err := s.Head(ctx, bucket, key, version)
	if err != nil {
		return info, err
	}
	before, after := cloneAttributes(info.Attributes), cloneAttributes(info.Attributes)
	if err := change(&after); err != nil {
		return store.Info{}, err
	}
	if err := after.Check(); err != nil {
		return store.Info{}, err
	}
	action := objectAction("update", bucket, key)
	if !sameTags(before, after) {
		// The version is named where there is one, so that the tags go to what
		// was looked at.
		if err := s.setTags(ctx, bucket, key, s.pin(info, version), after.Tags); err != nil {
			return store.Info{}, storeError(action, err)
		}
		before.Tags = after.Tags
	}
	if err := s.updateLocks(ctx, bucket, key, s.pin(info, version), &before, &after); err != nil {
		return store.Info{}, storeError(action, err)
	}
	if !sameAttributes(before, after) {
		if err := s.rewrite(ctx, bucket, key, info, after); err != nil {
			return store.Info{}, storeError(action, err)
		}
	}
	return s.Head(ctx, bucket, key, version)
}

// pin returns the version to name in a request about info, which was asked for by
// version: none for the null version of a latest object, since services without
// versions do not know the parameter.
func (s *Store) pin(info store.Info, version string) string {
	if version == "" && info.Version != store.Null {
		return info.Version
	}
	return version
}

func (s *Store) setTags(ctx context.Context, bucket, key, version string, tags []store.Tag) error {
	if len(tags) == 0 {
		_, err := s.client.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: &bucket, Key: &key, VersionId: optional(version)})
		return err
	}
	set := make([]types.Tag, len(tags))
	for i, t := range tags {
		set[i] = types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)}
	}
	_, err := s.client.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &bucket, Key: &key, VersionId: optional(version), Tagging: &types.Tagging{TagSet: set}})
	return err
}

// rewrite copies an object onto itself, to give it other attributes.
func (s *Store) rewrite(ctx context.Context, bucket, key string, info store.Info, a store.Attributes) error {
	b, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
	switch {
	case err != nil:
		return err
	case info.Version != store.Null || !info.Latest || b.Status == types.BucketVersioningStatusEnabled:
		return fmt.Errorf("S3 cannot change these attributes without making another version: %w", errors.ErrUnsupported)
	case strings.Contains(info.ETag, "-") || info.Size > s.single:
		return fmt.Errorf("S3 cannot change these attributes of an object of parts without changing its ETag: %w", errors.ErrUnsupported)
	}
	source := bucket + "/" + escape(key)
	in := &s3.CopyObjectInput{Bucket: &bucket, Key: &key, CopySource: &source,
		MetadataDirective: types.MetadataDirectiveReplace, TaggingDirective: types.TaggingDirectiveReplace,
		CopySourceIfMatch: aws.String(quote(info.ETag)), IfMatch: aws.String(quote(info.ETag))}
	if a.Checksum.Algorithm != "" {
		in.ChecksumAlgorithm = types.ChecksumAlgorithm(a.Checksum.Algorithm)
	}
	_, err = s.client.CopyObject(ctx, in, withHeader(attributeHeader(a)), s.withCertain)
	return err
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, bucket, key, version string, c store.Condition) (store.Deleted, error) {
	if err := store.CheckKey(key); err != nil {
		return store.Deleted{}, err
	}
	action := objectAction("delete", bucket, key)
	if version != "" {
		d, err := s.deleteVersion(ctx, bucket, key, version, c)
		return d, storeError(action, err)
	}
	for range tries {
		current, err := s.current(ctx, bucket, key)
		if err == nil {
			err = s.check(ctx, bucket, current, c)
		}
		if err != nil {
			return store.Deleted{}, storeError(action, err)
		}
		in := &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}
		if !c.IsZero() && current != nil && !current.DeleteMarker {
			in.IfMatch = aws.String(quote(current.ETag))
		}
		out, err := s.client.DeleteObject(ctx, in, s.retries(c))
		if in.IfMatch != nil && changed(err) {
			continue // it has become another one: decide anew
		}
		if err != nil {
			return store.Deleted{}, storeError(action, err)
		}
		d := store.Deleted{Version: aws.ToString(out.VersionId), DeleteMarker: aws.ToBool(out.DeleteMarker)}
		if d.Version == "" && current != nil {
			d.Version = current.Version // a bucket without versions says nothing
		}
		return d, nil
	}
	return store.Deleted{}, storeError(action, store.ErrBusy)
}

// deleteVersion removes a version for good.
func (s *Store) deleteVersion(ctx context.Context, bucket, key, version string, c store.Condition) (store.Deleted, error) {
	var current *store.Info
	info, err := s.Head(ctx, bucket, key, version)
	switch {
	case err == nil, errors.Is(err, store.ErrDeleteMarker):
		current = &info
	case !errors.Is(err, store.ErrNoVersion) && !errors.Is(err, store.ErrNotFound):
		return store.Deleted{}, err
	}
	if err := c.Check(current); err != nil || current == nil {
		return store.Deleted{}, err
	}
	in := &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &version}
	if c.Bypass {
		in.BypassGovernanceRetention = aws.Bool(true)
	}
	locked := current.Locked(time.Now(), c.Bypass) // a lock may end while it is refused
	if _, err := s.client.DeleteObject(ctx, in, s.retries(c)); err != nil {
		if status(err) == http.StatusForbidden && (locked || s.locked(ctx, bucket, key, version, c.Bypass)) {
			return store.Deleted{}, store.ErrLocked // S3 has no code of its own for it
		}
		return store.Deleted{}, err
	}
	return store.Deleted{Version: version, DeleteMarker: current.DeleteMarker}, nil
}
