package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"minicloud.internal/kit/engine"
	"minicloud.internal/objectstorage/store"
)

// No key has a byte 0xff: that is never part of UTF-8.
const behindAll = "\xff"

// List implements [store.Store].
func (s *Store) List(ctx context.Context, bucket string, q store.Query) (store.Page, error) {
	if q.Limit < 1 {
		return store.Page{}, fmt.Errorf("list: the limit is %d, expected 1 or more", q.Limit)
	}
	b, err := s.find(bucket)
	if err != nil {
		return store.Page{}, err
	}
	page, err := engine.View(s.engine, func(db *pebble.DB) (store.Page, error) { return s.list(ctx, db, b, q) })
	return page, s.classify("list objects", err)
}

// list walks only the rows of the page: behind a common prefix it seeks to the
// first key that does not share it.
func (s *Store) list(ctx context.Context, db *pebble.DB, b *bucket, q store.Query) (page store.Page, err error) {
	it, err := iterate(db, rowLatest, b, q.Prefix)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	last, count := "", 0
	seek := func(key string) bool { return it.SeekGE(latestRow(b.id, key)) }
	for ok, n := seek(max(q.Prefix, q.After)), 0; ok; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return page, ctx.Err()
		}
		key := it.Key()[bucketPrefix:]
		if common, rolled := commonPrefix(key, q); rolled {
			// A prefix is an entry if any of its keys is an object.
			if common > q.After {
				if r := s.listed(it); r.marker {
					ok = it.Next()
					continue
				}
				if count == q.Limit {
					page.Next = last
					break
				}
				last, count = common, count+1
				page.Prefixes = append(page.Prefixes, common)
			}
			ok = seek(common + behindAll)
			continue
		}
		if string(key) > q.After {
			if r := s.listed(it); !r.marker {
				if count == q.Limit {
					page.Next = last
					break
				}
				last, count = string(key), count+1
				page.Objects = append(page.Objects, r.info(last, true))
			}
		}
		ok = it.Next()
	}
	return page, nil
}

// iterate returns an iterator over the rows of a kind and bucket, of the keys
// with a prefix. It is at no row yet.
func iterate(db *pebble.DB, kind byte, b *bucket, prefix string) (*pebble.Iterator, error) {
	lower := bucketRows(kind, b.id, 2*len(prefix))
	if kind == rowLatest {
		lower = append(lower, prefix...)
	} else {
		lower = escape(lower, prefix, false)
	}
	return db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(lower)})
}

// listed decodes the record at an iterator. A damaged one is in a listing under
// its key, so that it can be found, and deleted.
func (s *Store) listed(it *pebble.Iterator) *record {
	value, err := it.ValueAndErr()
	if err == nil {
		r, err := decodeRecord(it.Key(), value, true)
		if err == nil {
			return r
		}
	}
	return &record{null: true, older: true}
}

// commonPrefix returns the entry into which a delimiter rolls key up.
func commonPrefix(key []byte, q store.Query) (string, bool) {
	if q.Delimiter == "" {
		return "", false
	}
	at := bytes.Index(key[len(q.Prefix):], []byte(q.Delimiter))
	if at < 0 {
		return "", false
	}
	return string(key[:len(q.Prefix)+at+len(q.Delimiter)]), true
}

// ListVersions implements [store.Store].
func (s *Store) ListVersions(ctx context.Context, bucket string, q store.VersionQuery) (store.VersionPage, error) {
	if q.Limit < 1 {
		return store.VersionPage{}, fmt.Errorf("list versions: the limit is %d, expected 1 or more", q.Limit)
	}
	b, err := s.find(bucket)
	if err != nil {
		return store.VersionPage{}, err
	}
	page, err := engine.View(s.engine, func(db *pebble.DB) (store.VersionPage, error) { return s.listVersions(ctx, db, b, q) })
	return page, s.classify("list versions", err)
}

// A versionLister fills a page.
type versionLister struct {
	s     *Store
	b     *bucket
	q     store.VersionQuery
	page  store.VersionPage
	count int
	older *pebble.Iterator
	last  struct{ key, version string }
}

// full reports that the page takes no more, and says where the next begins.
func (l *versionLister) full() bool {
	if l.count < l.q.Limit {
		return false
	}
	l.page.Next, l.page.NextVersion = l.last.key, l.last.version
	return true
}

// take adds a version, and reports whether the page took it.
func (l *versionLister) take(key string, r *record, latest bool) bool {
	if l.full() {
		return false
	}
	l.count++
	l.last.key, l.last.version = key, r.formatVersion()
	l.page.Versions = append(l.page.Versions, r.info(key, latest))
	return true
}

func (s *Store) listVersions(ctx context.Context, db *pebble.DB, b *bucket, q store.VersionQuery) (page store.VersionPage, err error) {
	it, err := iterate(db, rowLatest, b, q.Prefix)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	l := &versionLister{s: s, b: b, q: q}
	if l.older, err = iterate(db, rowOlder, b, q.Prefix); err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, l.older.Error(), l.older.Close()) }()
	seek := func(key string) bool { return it.SeekGE(latestRow(b.id, key)) }
	for ok, n := seek(max(q.Prefix, q.After)), 0; ok; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return page, ctx.Err()
		}
		if common, rolled := commonPrefix(it.Key()[bucketPrefix:], q.Query); rolled {
			if common > q.After {
				if l.full() {
					break
				}
				l.count++
				l.last.key, l.last.version = common, ""
				l.page.Prefixes = append(l.page.Prefixes, common)
			}
			ok = seek(common + behindAll)
			continue
		}
		key := string(it.Key()[bucketPrefix:])
		if (key > q.After || key == q.After && q.AfterVersion != "") && !l.key(key, s.listed(it)) {
			break
		}
		ok = it.Next()
	}
	return l.page, nil
}

// key lists the versions of a key, and reports whether the page took them all.
func (l *versionLister) key(key string, latest *record) bool {
	below := ^uint64(0) // only versions with a lower seq
	if key == l.q.After {
		below = l.seqOf(latest, l.q.AfterVersion)
	}
	if latest.seq < below && !l.take(key, latest, true) {
		return false
	}
	if !latest.older || below == 0 {
		return true
	}
	prefix := olderRows(l.b.id, key)
	for ok := l.older.SeekGE(olderRow(l.b.id, key, below-1)); ok && bytes.HasPrefix(l.older.Key(), prefix); ok = l.older.Next() {
		if !l.take(key, l.s.listed(l.older), false) {
			return false
		}
	}
	return true
}

// seqOf returns the seq of a version; 0 where there is none, and so none behind it.
func (l *versionLister) seqOf(latest *record, version string) uint64 {
	if version != store.Null {
		seq, _ := parseID(version)
		return seq
	}
	if latest.null {
		return latest.seq
	}
	return latest.nullSeq
}

// ListMultiparts implements [store.Store].
func (s *Store) ListMultiparts(ctx context.Context, bucket string, q store.MultipartQuery) (store.MultipartPage, error) {
	if q.Limit < 1 {
		return store.MultipartPage{}, fmt.Errorf("list uploads: the limit is %d, expected 1 or more", q.Limit)
	}
	b, err := s.find(bucket)
	if err != nil {
		return store.MultipartPage{}, err
	}
	page, err := engine.View(s.engine, func(db *pebble.DB) (store.MultipartPage, error) { return s.listMultiparts(db, b, q) })
	return page, s.classify("list uploads", err)
}

func (s *Store) listMultiparts(db *pebble.DB, b *bucket, q store.MultipartQuery) (page store.MultipartPage, err error) {
	it, err := iterate(db, rowUpload, b, q.Prefix)
	if err != nil {
		return page, err
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	afterID, _ := parseID(q.AfterID)
	seek := func(key string) bool { return it.SeekGE(escape(bucketRows(rowUpload, b.id, len(key)), key, false)) }
	last, lastID, count := "", "", 0
	for ok := seek(max(q.Prefix, q.After)); ok; {
		key, id, whole := splitID(it.Key())
		if !whole || !strings.HasPrefix(key, q.Prefix) {
			ok = it.Next()
			continue
		}
		common, rolled := commonPrefix([]byte(key), q.Query)
		entry, behind := key, key > q.After || key == q.After && q.AfterID != "" && id > afterID
		if rolled {
			entry, behind = common, common > q.After
		}
		if behind {
			if count == q.Limit {
				page.Next, page.NextID = last, lastID
				break
			}
			last, lastID, count = entry, "", count+1
			if rolled {
				page.Prefixes = append(page.Prefixes, common)
			} else if m, err := decodeUpload(it.Key(), it.Value(), key, id); err == nil {
				lastID = m.ID
				page.Uploads = append(page.Uploads, m)
			} else {
				lastID = formatID(id)
				page.Uploads = append(page.Uploads, store.Multipart{Key: key, ID: lastID, Initiated: time.Unix(0, int64(id)).UTC()})
			}
		}
		if rolled {
			ok = seek(common + behindAll)
		} else {
			ok = it.Next()
		}
	}
	return page, nil
}
