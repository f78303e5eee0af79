package objectstorage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"minicloud.internal/objectstorage/s3api"
	"minicloud.internal/objectstorage/store"
)

// lifecycle does what the buckets' lifecycle rules want: it removes objects,
// versions and unfinished uploads whose time has come. What is due is decided by
// [s3api.Lifecycle]; here is when it is looked for, and that nothing is removed
// that has changed since it was looked at.
type lifecycle struct {
	store    store.Store
	logger   *slog.Logger
	now      func() time.Time
	interval time.Duration
	expired  *prometheus.CounterVec // by what
}

// sweepPage is how many versions or uploads are looked at at once.
const sweepPage = 1000

// run sweeps at once and then at every interval, until ctx ends.
func (l *lifecycle) run(ctx context.Context) {
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		if err := l.sweep(ctx); err != nil && ctx.Err() == nil {
			l.logger.Error("the lifecycle rules could not be followed to their end", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep looks at all buckets that have rules, once. One bucket's error does not
// keep it from the others.
func (l *lifecycle) sweep(ctx context.Context) error {
	buckets, err := l.store.ListBuckets(ctx)
	if err != nil {
		return fmt.Errorf("list the buckets: %w", err)
	}
	var errs []error
	for _, b := range buckets {
		document := b.Documents[s3api.LifecycleDocument]
		if document == nil || ctx.Err() != nil {
			continue
		}
		rules, err := s3api.ParseLifecycle(document)
		if err == nil {
			err = l.sweepBucket(ctx, b.Name, rules)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("bucket %s: %w", b.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (l *lifecycle) sweepBucket(ctx context.Context, bucket string, rules *s3api.Lifecycle) error {
	for _, prefix := range rules.Prefixes() {
		if err := l.sweepVersions(ctx, bucket, prefix, rules); err != nil {
			return err
		}
		if err := l.sweepUploads(ctx, bucket, prefix, rules); err != nil {
			return err
		}
	}
	return nil
}

// sweepVersions looks at each key with all its versions at once, which may lie on
// several pages.
func (l *lifecycle) sweepVersions(ctx context.Context, bucket, prefix string, rules *s3api.Lifecycle) error {
	q := store.VersionQuery{Query: store.Query{Prefix: prefix, Limit: sweepPage}}
	var key []store.Info // the versions of one key so far
	for {
		page, err := l.store.ListVersions(ctx, bucket, q)
		if err != nil {
			return fmt.Errorf("list the versions: %w", err)
		}
		for _, v := range page.Versions {
			if len(key) > 0 && key[0].Key != v.Key {
				if err := l.expire(ctx, bucket, key, rules); err != nil {
					return err
				}
				key = key[:0]
			}
			key = append(key, v)
		}
		if page.Next == "" {
			return l.expire(ctx, bucket, key, rules)
		}
		q.After, q.AfterVersion = page.Next, page.NextVersion
	}
}

// expire does what is due of one key.
func (l *lifecycle) expire(ctx context.Context, bucket string, versions []store.Info, rules *s3api.Lifecycle) error {
	if len(versions) == 0 {
		return nil
	}
	if rules.NeedsTags() {
		for i, v := range versions {
			if v.DeleteMarker {
				continue
			}
			info, err := l.store.Head(ctx, bucket, v.Key, v.Version)
			if err != nil {
				return skip(fmt.Errorf("read the tags of %q: %w", v.Key, err))
			}
			versions[i].Attributes = info.Attributes
		}
	}
	for i, due := range rules.Expired(versions, l.now()) {
		v, version, what := versions[i], "", "objects"
		switch due {
		case s3api.Keep:
			continue
		case s3api.RemoveVersion:
			version, what = v.Version, "versions"
		}
		if _, err := l.store.Delete(ctx, bucket, v.Key, version, unchanged(v)); err != nil {
			if err = skip(err); err != nil {
				return fmt.Errorf("remove %q: %w", v.Key, err)
			}
			continue
		}
		l.expired.WithLabelValues(what).Inc()
		l.logger.Debug("expired by a lifecycle rule", "bucket", bucket, "key", v.Key, "version", v.Version, "what", what)
	}
	return nil
}

// unchanged wants the version to be what it was when it was decided about: an
// object that was written since is not the one that is due. An identifier of its
// own says so by itself.
func unchanged(v store.Info) store.Condition {
	switch {
	case v.DeleteMarker && v.Version == store.Null:
		return store.Condition{Absent: true}
	case v.DeleteMarker, v.Version != store.Null && !v.Latest:
		return store.Condition{}
	}
	return store.Condition{Match: []string{v.ETag}, Modified: v.Modified}
}

func (l *lifecycle) sweepUploads(ctx context.Context, bucket, prefix string, rules *s3api.Lifecycle) error {
	q := store.MultipartQuery{Query: store.Query{Prefix: prefix, Limit: sweepPage}}
	for {
		page, err := l.store.ListMultiparts(ctx, bucket, q)
		if err != nil {
			return fmt.Errorf("list the unfinished uploads: %w", err)
		}
		for _, m := range page.Uploads {
			if !rules.ExpiredUpload(&m, l.now()) {
				continue
			}
			if err := l.store.AbortMultipart(ctx, bucket, m.Key, m.ID); err != nil {
				if err = skip(err); err != nil {
					return fmt.Errorf("abort the upload of %q: %w", m.Key, err)
				}
				continue
			}
			l.expired.WithLabelValues("uploads").Inc()
		}
		if page.Next == "" {
			return nil
		}
		q.After, q.AfterID = page.Next, page.NextID
	}
}

// skip drops the errors that say that somebody else was faster, that this one object
// cannot be decided about, or that it is locked: it is due again at the next sweep.
func skip(err error) error {
	for _, harmless := range []error{store.ErrPrecondition, store.ErrNotFound, store.ErrNoVersion, store.ErrDeleteMarker, store.ErrNoUpload, store.ErrCorrupt, store.ErrLocked} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}
