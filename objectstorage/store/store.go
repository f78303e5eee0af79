// Package store says what an object store is, apart from how its bytes are
// kept and through which door they come: the interface [Store], which a driver
// implements (package store/disk; others may follow), and the conditions,
// queries and errors that doors and drivers share. Package store/storetest is
// the suite that every driver passes.
//
// It knows nothing of HTTP and nothing of disks.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"
)

// Limits on what a driver is handed. A door refuses more; a driver may rely on
// [CheckKey] and [Meta.Check].
const (
	MaxKey  = 1024 // bytes of a key, as S3 has it
	MaxMeta = 2048 // bytes of all values of a Meta together, as S3 has it
)

// A Store keeps objects, each a body and its [Info], under keys that are any
// UTF-8 of 1 to [MaxKey] bytes. A key is a name and never a path: "..", NUL and
// slashes mean nothing to a driver. All methods may be called concurrently.
//
// The promise: what [Upload.Commit] or Delete acknowledged (by a nil error)
// survives the end of the process and a power cut. What was not acknowledged
// is there whole or not at all, and a reader sees it only once it is durable.
type Store interface {
	// Stage reads body to its end and keeps it apart from every key, in
	// constant memory. Nothing is visible, and nothing survives a restart,
	// before the upload is committed. A failing body is a [*BodyError]; then,
	// and with any other error, nothing is kept. The caller commits or
	// discards every upload that it gets.
	Stage(ctx context.Context, body io.Reader) (Upload, error)

	// Get returns the object under key, its body at offset 0, or
	// [ErrNotFound]. The body stays what it was at this moment although the
	// key is replaced or deleted meanwhile. The caller closes it.
	Get(ctx context.Context, key string) (*Object, error)

	// Head returns what Get does without the body.
	Head(ctx context.Context, key string) (Info, error)

	// Delete removes the object under key if c holds, and returns
	// [ErrPrecondition] otherwise, decided as one step with the removal. An
	// absent key is no error unless c wants an object.
	Delete(ctx context.Context, key string, c Condition) error

	// List returns a page of what q asks for. Of each [Meta] only ContentType
	// need be set.
	List(ctx context.Context, q Query) (Page, error)

	// Close ends the store. Bodies and uploads still open are the caller's.
	Close() error
}

// An Upload is a body that a [Store] has taken and not yet published. It is
// used by one goroutine.
type Upload interface {
	// Size is the number of bytes of the body.
	Size() int64
	// ETag is the entity tag that the object will have: as S3 has it, the MD5
	// of the body in hexadecimal digits, without quotes.
	ETag() string
	// Commit publishes the upload under key if c holds, and returns
	// [ErrPrecondition] otherwise, decided as one step with publishing: of
	// two commits that want the key absent, one succeeds. The last of several
	// commits to a key wins. created says that the key had no object.
	// After any error the upload is discarded.
	Commit(ctx context.Context, key string, m Meta, c Condition) (info Info, created bool, err error)
	// Discard gives the upload up. After Commit it does nothing.
	Discard()
}

// Put stages body and commits it under key.
func Put(ctx context.Context, s Store, key string, body io.Reader, m Meta, c Condition) (info Info, created bool, err error) {
	u, err := s.Stage(ctx, body)
	if err != nil {
		return Info{}, false, err
	}
	return u.Commit(ctx, key, m, c)
}

// Meta is what the writer of an object says about its body, each the value of
// the HTTP field of that name, or empty.
type Meta struct {
	ContentType        string
	ContentEncoding    string
	ContentLanguage    string
	ContentDisposition string
	CacheControl       string
}

// Check returns [ErrMeta] where m is over [MaxMeta].
func (m Meta) Check() error {
	if len(m.ContentType)+len(m.ContentEncoding)+len(m.ContentLanguage)+
		len(m.ContentDisposition)+len(m.CacheControl) > MaxMeta {
		return ErrMeta
	}
	return nil
}

// Info is what a store knows of one object.
type Info struct {
	Key      string
	Size     int64     // bytes
	ETag     string    // see [Upload.ETag]
	Modified time.Time // of the commit, UTC
	Meta
}

// An Object is one version of an object, opened for reading.
type Object struct {
	Info
	// Body also has SyscallConn where it is a file, so that net can send it
	// without copying.
	Body io.ReadSeekCloser
}

// A Condition must hold for a commit or a deletion to happen. The zero value
// always holds. Every field that is set must hold.
type Condition struct {
	// Absent wants no object under the key (If-None-Match: *).
	Absent bool
	// Match wants an object with one of these ETags; "*" is any (If-Match).
	Match []string
	// UnmodifiedSince wants no object with a later time of modification, in
	// whole seconds as HTTP has them (If-Unmodified-Since).
	UnmodifiedSince time.Time
}

// IsZero reports that c always holds.
func (c Condition) IsZero() bool {
	return !c.Absent && len(c.Match) == 0 && c.UnmodifiedSince.IsZero()
}

// Check returns [ErrPrecondition] where c does not hold for the object that a
// key has at this moment; nil means none.
func (c Condition) Check(current *Info) error {
	switch {
	case c.Absent && current != nil,
		len(c.Match) > 0 && (current == nil || !slices.Contains(c.Match, "*") && !slices.Contains(c.Match, current.ETag)),
		!c.UnmodifiedSince.IsZero() && current != nil && current.Modified.Truncate(time.Second).After(c.UnmodifiedSince):
		return ErrPrecondition
	}
	return nil
}

// A Query asks for a page of a listing. Its entries are the keys that begin
// with Prefix; with a Delimiter, all those that contain it behind the prefix
// become one entry per common prefix, which ends with the first delimiter.
// Entries are sorted by their bytes.
type Query struct {
	Prefix    string
	Delimiter string // empty: every key is an entry
	After     string // only entries that sort behind this one
	Limit     int    // at most so many entries, 1 or more
}

// A Page is one page of a listing.
type Page struct {
	Objects  []Info   // the entries that are keys, sorted
	Prefixes []string // the entries that are common prefixes, sorted
	// Next is the last entry of this page where more follow: the After of the
	// next page. Empty on the last page.
	Next string
}

var (
	// ErrNotFound: no object has the key.
	ErrNotFound = errors.New("no such object")
	// ErrPrecondition: a [Condition] does not hold.
	ErrPrecondition = errors.New("the precondition does not hold")
	// ErrMeta: the values of a [Meta] are over [MaxMeta] bytes.
	ErrMeta = fmt.Errorf("the metadata is over %d bytes", MaxMeta)
	// ErrNoSpace: the write found no room; everything older is intact.
	ErrNoSpace = errors.New("no space left")
	// ErrReadOnly: the place of the data cannot be written to.
	ErrReadOnly = errors.New("read-only")
	// ErrStopped: an earlier write could not be made durable. The store takes
	// no more writes until it is opened anew; reads go on.
	ErrStopped = errors.New("the store takes no writes since one could not be made durable")
	// ErrBusy: a resource such as file descriptors is used up for now.
	ErrBusy = errors.New("too much at once")
	// ErrCorrupt: what is kept under the key is damaged. It can be replaced
	// and deleted, without a condition.
	ErrCorrupt = errors.New("the stored object is damaged")
)

// A BodyError is a failure to read the body of a [Store.Stage]: its source's
// fault, not the store's.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return fmt.Sprintf("read the body: %v", e.Err) }

func (e *BodyError) Unwrap() error { return e.Err }

// A KeyError says why a string is not a key.
type KeyError struct{ Reason string }

func (e *KeyError) Error() string { return "the key " + e.Reason }

// CheckKey returns a [*KeyError] unless key is UTF-8 of 1 to [MaxKey] bytes.
func CheckKey(key string) error {
	switch {
	case key == "":
		return &KeyError{"is empty"}
	case len(key) > MaxKey:
		return &KeyError{fmt.Sprintf("has %d bytes, expected at most %d", len(key), MaxKey)}
	case !utf8.ValidString(key):
		return &KeyError{"is not valid UTF-8"}
	}
	return nil
}
