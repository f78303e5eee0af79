package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"minicloud.internal/objectstorage/store"
)

// A names decodes the names of a listing, which are percent-encoded because XML
// cannot hold every key. A service that ignores encoding-type says so.
type names struct {
	encoded bool
	err     error // the first
}

func decoder(t types.EncodingType) *names { return &names{encoded: t == types.EncodingTypeUrl} }

func (n *names) decode(s string) string {
	if !n.encoded {
		return s
	}
	plain, err := url.QueryUnescape(s)
	if err != nil && n.err == nil {
		n.err = err
	}
	return plain
}

// class is a storage class as package store has it.
func class(s string) string {
	if s == standard {
		return ""
	}
	return s
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, bucket string, q store.Query) (store.Page, error) {
	var page store.Page
	version, err := s.onlyVersion(ctx, bucket)
	if err == nil {
		err = checkLimit(q.Limit)
	}
	if err != nil {
		return page, storeError("list "+bucket, err)
	}
	in := &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: optional(q.Prefix), Delimiter: optional(q.Delimiter),
		StartAfter: optional(q.After), EncodingType: types.EncodingTypeUrl}
	for {
		in.MaxKeys = aws.Int32(int32(min(q.Limit-len(page.Objects)-len(page.Prefixes), 1000)))
		out, err := s.client.ListObjectsV2(ctx, in)
		if err != nil {
			return store.Page{}, storeError("list "+bucket, err)
		}
		n := decoder(out.EncodingType)
		for i := range out.Contents {
			if info := objectOf(n, &out.Contents[i]); info.Key > q.After {
				info.Version = version
				page.Objects = append(page.Objects, info)
			}
		}
		for _, p := range out.CommonPrefixes {
			// Services differ in whether a prefix that was the last entry of
			// the page before comes again.
			if prefix := n.decode(aws.ToString(p.Prefix)); prefix > q.After {
				page.Prefixes = append(page.Prefixes, prefix)
			}
		}
		if n.err != nil {
			return store.Page{}, fmt.Errorf("list %s: %w", bucket, n.err)
		}
		if !aws.ToBool(out.IsTruncated) {
			return page, nil
		}
		if len(page.Objects)+len(page.Prefixes) >= q.Limit {
			page.Next = lastKey(page.Objects, page.Prefixes)
			return page, nil
		}
		if aws.ToString(out.NextContinuationToken) == "" {
			return store.Page{}, fmt.Errorf("list %s: %w", bucket, errNoToken)
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

// onlyVersion returns the version that all objects of a bucket have: [store.Null]
// where it never kept others, and otherwise "", as a listing of keys does not say
// theirs.
func (s *Store) onlyVersion(ctx context.Context, bucket string) (string, error) {
	b, ok := s.remembered(bucket)
	if !ok {
		out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &bucket})
		if err != nil {
			return "", err
		}
		b.Versioning = store.Versioning(out.Status)
	}
	if b.Versioning == store.Off {
		return store.Null, nil
	}
	return "", nil
}

func checkLimit(limit int) error {
	if limit < 1 {
		return fmt.Errorf("the limit of a listing is %d, expected 1 or more", limit)
	}
	return nil
}

var errNoToken = errors.New("the S3 service cut the listing and did not say how it goes on")

func objectOf(n *names, o *types.Object) store.Info {
	info := store.Info{Key: n.decode(aws.ToString(o.Key)), Latest: true, Size: aws.ToInt64(o.Size), ETag: unquote(aws.ToString(o.ETag)), Modified: second(o.LastModified)}
	info.StorageClass = class(string(o.StorageClass))
	if len(o.ChecksumAlgorithm) > 0 {
		info.Checksum = store.Checksum{Algorithm: string(o.ChecksumAlgorithm[0]), Type: string(o.ChecksumType)}
	}
	return info
}

// lastKey returns the last entry of a page.
func lastKey(infos []store.Info, prefixes []string) string {
	last := ""
	if n := len(infos); n > 0 {
		last = infos[n-1].Key
	}
	if n := len(prefixes); n > 0 {
		last = max(last, prefixes[n-1])
	}
	return last
}

// A versionList is the answer to a ListObjectVersions. Versions and delete markers
// are in one list, for their order is the order in time.
type versionList struct {
	EncodingType        string
	IsTruncated         bool
	NextKeyMarker       string
	NextVersionIdMarker string
	CommonPrefixes      []struct{ Prefix string }
	Entries             []versionEntry `xml:",any"`
}

type versionEntry struct {
	XMLName           xml.Name
	Key               string
	VersionId         string
	IsLatest          bool
	LastModified      time.Time
	ETag              string
	Size              int64
	StorageClass      string
	ChecksumAlgorithm []string
	ChecksumType      string
}

func (e versionEntry) isVersion() bool {
	return e.XMLName.Local == "Version" || e.XMLName.Local == "DeleteMarker"
}

func (e *versionEntry) info(n *names) store.Info {
	info := store.Info{Key: n.decode(e.Key), Version: e.VersionId, Latest: e.IsLatest, DeleteMarker: e.XMLName.Local == "DeleteMarker",
		Size: e.Size, ETag: unquote(e.ETag), Modified: second(&e.LastModified)}
	if info.Version == "" {
		info.Version = store.Null
	}
	info.StorageClass = class(e.StorageClass)
	if info.DeleteMarker {
		info.StorageClass = ""
	}
	if len(e.ChecksumAlgorithm) > 0 {
		info.Checksum = store.Checksum{Algorithm: e.ChecksumAlgorithm[0], Type: e.ChecksumType}
	}
	return info
}

// ListVersions implements [store.Store].
func (s *Store) ListVersions(ctx context.Context, bucket string, q store.VersionQuery) (store.VersionPage, error) {
	var page store.VersionPage
	if err := checkLimit(q.Limit); err != nil {
		return page, fmt.Errorf("list versions of %s: %w", bucket, err)
	}
	key, version := q.After, q.AfterVersion
	for {
		list, err := s.versions(ctx, bucket, q.Query, key, version, min(q.Limit-len(page.Versions)-len(page.Prefixes), 1000))
		if err != nil {
			return store.VersionPage{}, storeError("list versions of "+bucket, err)
		}
		n := decoder(types.EncodingType(list.EncodingType))
		for i := range list.Entries {
			if list.Entries[i].isVersion() {
				page.Versions = append(page.Versions, list.Entries[i].info(n))
			}
		}
		for _, p := range list.CommonPrefixes {
			if prefix := n.decode(p.Prefix); prefix > q.After {
				page.Prefixes = append(page.Prefixes, prefix)
			}
		}
		key, version = n.decode(list.NextKeyMarker), list.NextVersionIdMarker
		switch {
		case n.err != nil:
			return store.VersionPage{}, fmt.Errorf("list versions of %s: %w", bucket, n.err)
		case !list.IsTruncated:
			return page, nil
		case len(page.Versions)+len(page.Prefixes) >= q.Limit:
			if n := len(page.Versions); n > 0 {
				page.Next, page.NextVersion = page.Versions[n-1].Key, page.Versions[n-1].Version
			}
			if n := len(page.Prefixes); n > 0 && page.Prefixes[n-1] > page.Next {
				page.Next, page.NextVersion = page.Prefixes[n-1], ""
			}
			return page, nil
		case key == "":
			return store.VersionPage{}, fmt.Errorf("list versions of %s: %w", bucket, errNoToken)
		}
	}
}

// versions asks for one page of versions.
func (s *Store) versions(ctx context.Context, bucket string, q store.Query, key, version string, limit int) (*versionList, error) {
	query := url.Values{"versions": {""}, "encoding-type": {"url"}, "max-keys": {strconv.Itoa(limit)}}
	for name, value := range map[string]string{"prefix": q.Prefix, "delimiter": q.Delimiter, "key-marker": key, "version-id-marker": version} {
		if value != "" {
			query.Set(name, value)
		}
	}
	answer, err := s.get(ctx, bucket, query)
	if err != nil {
		return nil, err
	}
	var list versionList
	if err := xml.Unmarshal([]byte(answer), &list); err != nil {
		return nil, fmt.Errorf("read the listing: %w", err)
	}
	return &list, nil
}

// findVersion returns what the listing says of a version of a key.
func (s *Store) findVersion(ctx context.Context, bucket, key, version string) (store.Info, error) {
	q := store.VersionQuery{Query: store.Query{Prefix: key, Limit: 1000}}
	for {
		page, err := s.ListVersions(ctx, bucket, q)
		if err != nil {
			return store.Info{}, err
		}
		for _, v := range page.Versions {
			if v.Key == key && v.Version == version {
				return v, nil
			}
		}
		if q.After, q.AfterVersion = page.Next, page.NextVersion; page.Next != key {
			return store.Info{}, store.ErrNoVersion
		}
	}
}
