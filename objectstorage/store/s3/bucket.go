package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"minicloud.internal/objectstorage/store"
)

const (
	maxSettings = 10000 // buckets whose settings are remembered
	parallel    = 8     // requests for settings at once
)

// settings are those of a bucket, as they were at a time.
type settings struct {
	bucket store.Bucket
	at     time.Time
}

var seed = maphash.MakeSeed()

// lock makes updates of one name take turns, and returns what ends the turn.
func (s *Store) lock(bucket, key string) (unlock func()) {
	m := &s.locks[maphash.String(seed, bucket+"/"+key)%stripes]
	m.Lock()
	return m.Unlock
}

func (s *Store) remembered(name string) (store.Bucket, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.buckets[name]
	return b.bucket, ok && time.Since(b.at) < s.Fresh
}

func (s *Store) remember(b store.Bucket, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buckets) >= maxSettings {
		clear(s.buckets)
	}
	s.buckets[b.Name] = settings{b, at}
}

func (s *Store) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.buckets, name)
}

// GetBucket implements [store.Store]; see the package comment.
func (s *Store) GetBucket(ctx context.Context, name string) (store.Bucket, error) {
	if b, ok := s.remembered(name); ok {
		return b, nil
	}
	at := time.Now()
	b, err := s.load(ctx, name)
	if err != nil {
		return store.Bucket{}, storeError("get bucket "+name, err)
	}
	if b.Created, err = s.created(ctx, name); err != nil {
		return store.Bucket{}, storeError("get bucket "+name, err)
	}
	s.remember(b, at)
	return b, nil
}

// load asks for all settings of a bucket but the time of its creation.
func (s *Store) load(ctx context.Context, name string) (store.Bucket, error) {
	b := store.Bucket{Name: name, Documents: map[string][]byte{}}
	v, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name})
	if err != nil {
		return b, err
	}
	b.Versioning = store.Versioning(v.Status)
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, document := range Documents() {
		group.Go(func() error {
			body, err := s.document(ctx, name, document)
			if err != nil {
				return fmt.Errorf("get the %s: %w", document, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(body) > 0 {
				b.Documents[document] = body
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return b, err
	}
	b.Documents["tagging"], b.Anonymous, err = splitTags(b.Documents["tagging"])
	if b.Documents["tagging"] == nil {
		delete(b.Documents, "tagging")
	}
	return b, err
}

// created returns when a bucket was, which only the listing says; the zero time
// where these keys may not list.
func (s *Store) created(ctx context.Context, name string) (time.Time, error) {
	found := time.Time{}
	err := s.eachBucket(ctx, name, func(b types.Bucket) bool {
		if aws.ToString(b.Name) == name {
			found = second(b.CreationDate)
		}
		return found.IsZero()
	})
	if code(err) == "AccessDenied" || code(err) == "NotImplemented" {
		return time.Time{}, nil
	}
	return found, err
}

// eachBucket calls f with the buckets whose names begin with prefix, where the
// service knows the parameter, and otherwise with all, until f returns false.
func (s *Store) eachBucket(ctx context.Context, prefix string, f func(types.Bucket) bool) error {
	in := &s3.ListBucketsInput{MaxBuckets: aws.Int32(1000), Prefix: optional(prefix)}
	for {
		out, err := s.client.ListBuckets(ctx, in)
		if err != nil {
			return err
		}
		for _, b := range out.Buckets {
			if !f(b) {
				return nil
			}
		}
		if in.ContinuationToken = out.ContinuationToken; aws.ToString(in.ContinuationToken) == "" {
			return nil
		}
	}
}

// ListBuckets implements [store.Store]. It asks for the settings of every bucket
// that it does not remember.
func (s *Store) ListBuckets(ctx context.Context) ([]store.Bucket, error) {
	var all []store.Bucket
	err := s.eachBucket(ctx, "", func(b types.Bucket) bool {
		all = append(all, store.Bucket{Name: aws.ToString(b.Name), Created: second(b.CreationDate)})
		return true
	})
	if err != nil {
		return nil, storeError("list buckets", err)
	}
	gone := make([]bool, len(all))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range all {
		group.Go(func() error {
			b, ok := s.remembered(all[i].Name)
			if !ok {
				at := time.Now()
				var err error
				if b, err = s.load(gctx, all[i].Name); code(err) == "NoSuchBucket" {
					gone[i] = true
					return nil
				} else if err != nil {
					return storeError("get bucket "+all[i].Name, err)
				}
				b.Created = all[i].Created
				s.remember(b, at)
			}
			all[i] = b
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	kept := all[:0]
	for i, b := range all {
		if !gone[i] {
			kept = append(kept, b)
		}
	}
	slices.SortFunc(kept, func(a, b store.Bucket) int { return cmp.Compare(a.Name, b.Name) })
	return kept, nil
}

// CreateBucket implements [store.Store].
func (s *Store) CreateBucket(ctx context.Context, b store.Bucket) error {
	defer s.lock(b.Name, "")()
	action := "create bucket " + b.Name
	if err := checkDocuments(b.Documents, nil); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	// In us-east-1, AWS acknowledges the creation of a bucket that is there.
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name})
	switch {
	case status(err) == http.StatusNotFound:
	case err == nil, status(err) == http.StatusForbidden, status(err) == http.StatusMovedPermanently: // ours, or somebody else's
		return fmt.Errorf("%s: %w", action, store.ErrBucketExists)
	default:
		return storeError(action, err)
	}
	in := &s3.CreateBucketInput{Bucket: &b.Name}
	region := string(b.Documents[location])
	if region == "" && s.Region != "us-east-1" {
		region = s.Region
	}
	if region != "" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(region)}
	}
	if len(b.Documents[objectLock]) > 0 {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	sent := 0
	if _, err = s.client.CreateBucket(ctx, in, withCount(&sent)); err != nil && (sent < 2 || code(err) != "BucketAlreadyOwnedByYou") {
		return storeError(action, err)
	}
	s.forget(b.Name)
	if err := s.apply(ctx, store.Bucket{Name: b.Name}, b); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Idle)
		defer cancel()
		_, undo := s.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &b.Name})
		return storeError(action, errors.Join(err, undo))
	}
	return nil
}

// UpdateBucket implements [store.Store]; see the package comment.
func (s *Store) UpdateBucket(ctx context.Context, name string, change func(*store.Bucket) error) error {
	defer s.lock(name, "")()
	action := "update bucket " + name
	before, err := s.load(ctx, name)
	if err != nil {
		return storeError(action, err)
	}
	if before.Created, err = s.created(ctx, name); err != nil {
		return storeError(action, err)
	}
	after := before
	after.Documents = make(map[string][]byte, len(before.Documents))
	for name, body := range before.Documents {
		after.Documents[name] = slices.Clone(body)
	}
	if err := change(&after); err != nil {
		return err
	}
	after.Name, after.Created = before.Name, before.Created
	if err := checkDocuments(after.Documents, before.Documents); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	defer s.forget(name)
	return storeError(action, s.apply(ctx, before, after))
}

// apply sends the settings in which after differs from before.
func (s *Store) apply(ctx context.Context, before, after store.Bucket) error {
	if after.Versioning != before.Versioning {
		if after.Versioning == store.Off {
			return errors.New("versioning cannot be switched off again, only suspended")
		}
		_, err := s.client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &after.Name,
			VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatus(after.Versioning)}})
		if err != nil {
			return fmt.Errorf("set the versioning: %w", err)
		}
	}
	for _, name := range Documents() {
		if name == location {
			continue // set when it was created
		}
		old, body := before.Documents[name], after.Documents[name]
		if name == "tagging" {
			var err error
			if old, err = joinTags(old, before.Anonymous); err != nil {
				return err
			}
			if body, err = joinTags(body, after.Anonymous); err != nil {
				return err
			}
		}
		if string(old) == string(body) {
			continue
		}
		var err error
		if len(body) > 0 {
			err = s.put(ctx, after.Name, name, body)
		} else if err = s.remove(ctx, after.Name, name); status(err) == http.StatusNotFound && code(err) != "NoSuchBucket" {
			err = nil
		}
		if err != nil {
			return fmt.Errorf("set the %s: %w", name, err)
		}
	}
	return nil
}

// DeleteBucket implements [store.Store].
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	defer s.lock(name, "")()
	defer s.forget(name)
	action := "delete bucket " + name
	sent := 0
	_, err := s.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name}, withCount(&sent))
	if code(err) == "BucketNotEmpty" {
		// Some services count unfinished uploads. They go only where nothing
		// else is left, for otherwise the bucket stays, and they with it.
		list, listErr := s.versions(ctx, name, store.Query{}, "", "", 1)
		if listErr != nil || len(list.CommonPrefixes) > 0 || slices.ContainsFunc(list.Entries, versionEntry.isVersion) {
			return storeError(action, err)
		}
		if err := s.abortAll(ctx, name); err != nil {
			return err
		}
		_, err = s.client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &name}, withCount(&sent))
	}
	if sent > 1 && code(err) == "NoSuchBucket" {
		return nil // the try before, whose answer was lost, did it
	}
	return storeError(action, err)
}

func (s *Store) abortAll(ctx context.Context, bucket string) error {
	for {
		page, err := s.ListMultiparts(ctx, bucket, store.MultipartQuery{Query: store.Query{Limit: 1000}})
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			if err := s.AbortMultipart(ctx, bucket, u.Key, u.ID); err != nil && !errors.Is(err, store.ErrNoUpload) {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
	}
}

// document returns a document of a bucket; nil where it has none, or the service
// knows no such documents.
func (s *Store) document(ctx context.Context, bucket, name string) ([]byte, error) {
	if name == location {
		out, err := s.client.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &bucket})
		if err != nil {
			return nil, err
		}
		return []byte(out.LocationConstraint), nil
	}
	body, err := s.get(ctx, bucket, map[string][]string{name: {""}})
	switch {
	case err == nil:
		return []byte(withoutDeclaration(body)), nil
	case code(err) == "NoSuchBucket":
		return nil, err
	case status(err) == http.StatusNotFound, status(err) == http.StatusNotImplemented, status(err) == http.StatusMethodNotAllowed:
		return nil, nil
	}
	return nil, err
}

// withoutDeclaration cuts the XML declaration, which a door writes itself.
func withoutDeclaration(document string) string {
	document = strings.TrimSpace(strings.TrimPrefix(document, "\ufeff"))
	if strings.HasPrefix(document, "<?xml") {
		if _, rest, ok := strings.Cut(document, "?>"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return document
}
