package disk

import (
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/tidwall/btree"

	"minicloud.internal/objectstorage/store"
)

// index is the ordered set of all keys, with what a listing says of each.
type index struct {
	mu   sync.RWMutex
	tree btree.Map[string, entry]
}

// entry is kept small: there is one in memory per object.
type entry struct {
	size        int64
	modified    int64 // nanoseconds since 1970
	etag        string
	contentType unique.Handle[string]
}

func (x *index) set(i store.Info) {
	e := entry{i.Size, i.Modified.UnixNano(), i.ETag, unique.Make(i.ContentType)}
	x.mu.Lock()
	defer x.mu.Unlock()
	// A copy of the key: the caller's may be part of something larger.
	x.tree.Set(strings.Clone(i.Key), e)
}

func (x *index) delete(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tree.Delete(key)
}

func (x *index) len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.tree.Len()
}

// list walks only the entries of the page: behind a common prefix it seeks to
// the first key that does not share it.
func (x *index) list(q store.Query) store.Page {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var page store.Page
	last, count := "", 0
	// add takes an entry into the page, unless that is full.
	add := func(name string) bool {
		if count == q.Limit {
			page.Next = last
			return false
		}
		last, count = name, count+1
		return true
	}
	it := x.tree.Iter()
	for ok := it.Seek(max(q.Prefix, q.After)); ok; {
		key := it.Key()
		if !strings.HasPrefix(key, q.Prefix) {
			break
		}
		if common, found := commonPrefix(key, q); found {
			if common > q.After {
				if !add(common) {
					break
				}
				page.Prefixes = append(page.Prefixes, common)
			}
			// No key has a byte 0xff: that is never part of UTF-8.
			ok = it.Seek(common + "\xff")
			continue
		}
		if key > q.After {
			if !add(key) {
				break
			}
			page.Objects = append(page.Objects, it.Value().info(key))
		}
		ok = it.Next()
	}
	return page
}

// commonPrefix returns the entry into which a delimiter rolls key up.
func commonPrefix(key string, q store.Query) (string, bool) {
	if q.Delimiter == "" {
		return "", false
	}
	at := strings.Index(key[len(q.Prefix):], q.Delimiter)
	if at < 0 {
		return "", false
	}
	return key[:len(q.Prefix)+at+len(q.Delimiter)], true
}

func (e entry) info(key string) store.Info {
	return store.Info{Key: key, Size: e.size, ETag: e.etag, Modified: time.Unix(0, e.modified).UTC(),
		Meta: store.Meta{ContentType: e.contentType.Value()}}
}
