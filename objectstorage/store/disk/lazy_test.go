package disk

import "github.com/cockroachdb/pebble/v2/vfs"

// lazyFS is a file system whose files are not synced: for tests that are not
// about that, and would wait most of their time.
type lazyFS struct{ vfs.FS }

type lazyFile struct{ vfs.File }

func (lazyFile) Sync() error                { return nil }
func (lazyFile) SyncData() error            { return nil }
func (lazyFile) SyncTo(int64) (bool, error) { return false, nil }
func lazy(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return lazyFile{f}, nil
}

func (l lazyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return lazy(l.FS.Create(name, c))
}

func (l lazyFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return lazy(l.FS.OpenReadWrite(name, c, o...))
}

func (l lazyFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return lazy(l.FS.ReuseForWrite(from, to, c))
}

func (l lazyFS) OpenDir(name string) (vfs.File, error) { return lazy(l.FS.OpenDir(name)) }

func (l lazyFS) Unwrap() vfs.FS { return l.FS }
