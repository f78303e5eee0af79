package objectstorage

import (
	"context"
	"errors"
	"io"
	"time"

	"minicloud.internal/objectstorage/store"
)

// watched is a store as both doors see it: it measures how long what is stored
// takes, and notices the write after which the store takes no more.
type watched struct {
	store.Store
	stored  func(time.Duration)
	stopped func(error)
}

var _ store.Store = (*watched)(nil)

// note passes an error on.
func (w *watched) note(err error) error {
	if errors.Is(err, store.ErrStopped) {
		w.stopped(err)
	}
	return err
}

func (w *watched) CreateBucket(ctx context.Context, b store.Bucket) error {
	return w.note(w.Store.CreateBucket(ctx, b))
}

func (w *watched) UpdateBucket(ctx context.Context, name string, change func(*store.Bucket) error) error {
	return w.note(w.Store.UpdateBucket(ctx, name, change))
}

func (w *watched) DeleteBucket(ctx context.Context, name string) error {
	return w.note(w.Store.DeleteBucket(ctx, name))
}

func (w *watched) Stage(ctx context.Context, body io.Reader, size int64) (store.Upload, error) {
	start := time.Now()
	u, err := w.Store.Stage(ctx, body, size)
	if err != nil {
		return nil, w.note(err)
	}
	return &watchedUpload{u, w, start}, nil
}

func (w *watched) Update(ctx context.Context, bucket, key, version string, change func(*store.Attributes) error) (store.Info, error) {
	info, err := w.Store.Update(ctx, bucket, key, version, change)
	return info, w.note(err)
}

func (w *watched) Delete(ctx context.Context, bucket, key, version string, c store.Condition) (store.Deleted, error) {
	d, err := w.Store.Delete(ctx, bucket, key, version, c)
	return d, w.note(err)
}

func (w *watched) CreateMultipart(ctx context.Context, bucket string, m store.Multipart) (string, error) {
	id, err := w.Store.CreateMultipart(ctx, bucket, m)
	return id, w.note(err)
}

func (w *watched) CompleteMultipart(ctx context.Context, bucket, key, id string, parts []store.PartID, a store.Attributes, c store.Condition) (store.Info, error) {
	info, err := w.Store.CompleteMultipart(ctx, bucket, key, id, parts, a, c)
	return info, w.note(err)
}

func (w *watched) AbortMultipart(ctx context.Context, bucket, key, id string) error {
	return w.note(w.Store.AbortMultipart(ctx, bucket, key, id))
}

type watchedUpload struct {
	store.Upload
	in    *watched
	start time.Time
}

func (u *watchedUpload) Commit(ctx context.Context, bucket, key string, a store.Attributes, c store.Condition) (store.Info, bool, error) {
	info, created, err := u.Upload.Commit(ctx, bucket, key, a, c)
	if err == nil {
		u.in.stored(time.Since(u.start))
	}
	return info, created, u.in.note(err)
}

func (u *watchedUpload) CommitPart(ctx context.Context, bucket, key, id string, number int, sum store.Checksum) (store.Part, error) {
	part, err := u.Upload.CommitPart(ctx, bucket, key, id, number, sum)
	if err == nil {
		u.in.stored(time.Since(u.start))
	}
	return part, u.in.note(err)
}
