// Package store says what an object store is, apart from how its bytes are
// kept and through which door they come: the interface [Store], which a driver
// implements (store/disk, store/s3), and the conditions, queries and errors that
// doors and drivers share. Package store/storetest is the suite that every driver
// passes.
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
// [CheckKey] and [Attributes.Check].
const (
	MaxKey        = 1024  // bytes of a key, as S3 has it
	MaxAttributes = 8192  // bytes of all names and values of [Attributes] together, tags aside
	MaxPart       = 10000 // the highest number of a part
)

// Null is the version of an object that was written while its bucket kept no
// versions. A key has at most one such version.
const Null = "null"

// A Store keeps objects in buckets, each object a body and its [Info], under keys
// that are any UTF-8 of 1 to [MaxKey] bytes. A key is a name and never a path:
// "..", NUL and slashes mean nothing to a driver. All methods may be called
// concurrently. Any method that names a bucket returns [ErrNoBucket] where there
// is none.
//
// The promise: what a method that writes acknowledged (by a nil error) survives
// the end of the process and a power cut. What was not acknowledged is there whole
// or not at all.
//
// # Versions
//
// Where a bucket has [Bucket.Versioning] Enabled, every commit makes a version
// with an identifier of its own and the one before it stays; a deletion without a
// version makes a delete marker, a version without a body. Otherwise commits make
// the version [Null] and replace it, and a deletion removes it (Off) or replaces
// it by a delete marker whose version is Null (Suspended). The latest version of a
// key is the one that was made last.
//
// # Locks
//
// A version that is locked ([Attributes.Locked]) at the time of the driver's clock
// is not removed: what would remove it, a deletion or a commit in its place, returns
// [ErrLocked], decided as one step with the removal. A delete marker may hide it.
type Store interface {
	// CreateBucket makes a bucket of b's Name and settings, or returns
	// [ErrBucketExists]. Created is set by the driver.
	CreateBucket(ctx context.Context, b Bucket) error
	// GetBucket returns a bucket. The caller does not change it.
	GetBucket(ctx context.Context, name string) (Bucket, error)
	// UpdateBucket lets change alter the settings of a bucket, as one step. An
	// error of change is returned, and nothing is changed then. Name and
	// Created cannot be.
	UpdateBucket(ctx context.Context, name string, change func(*Bucket) error) error
	// DeleteBucket removes a bucket that has no versions left, and its
	// unfinished multipart uploads with it; otherwise [ErrBucketNotEmpty].
	DeleteBucket(ctx context.Context, name string) error
	// ListBuckets returns all buckets, sorted by name.
	ListBuckets(ctx context.Context) ([]Bucket, error)

	// Stage reads body to its end and keeps it apart from every key, in
	// constant memory. size is its length where that is known and otherwise -1;
	// it is a hint. Nothing is visible, and nothing survives a restart, before
	// the upload is committed. A failing body is a [*BodyError]; then, and with
	// any other error, nothing is kept. The caller commits or discards every
	// upload that it gets.
	Stage(ctx context.Context, body io.Reader, size int64) (Upload, error)

	// Get returns a version of an object, its body at offset 0. An empty
	// version is the latest. [ErrNotFound]: there is no such key, or the latest
	// version is a delete marker; [ErrNoVersion]: the key has no such version.
	// Where the answer is a delete marker, the Object returned beside
	// [ErrNotFound] (latest) or [ErrDeleteMarker] (asked for by version) has its
	// Info and no Body. The body stays what it was at this moment although the
	// key is replaced or deleted meanwhile. The caller closes it.
	Get(ctx context.Context, bucket, key, version string) (*Object, error)
	// Head returns what Get does without the body, also beside the errors.
	Head(ctx context.Context, bucket, key, version string) (Info, error)
	// Update lets change alter the attributes of a version (empty: the
	// latest), as one step. ETag, Modified and version stay. Errors as Get's.
	Update(ctx context.Context, bucket, key, version string, change func(*Attributes) error) (Info, error)
	// Delete removes a version for good or, where version is empty, does what
	// the bucket's versioning says. If c does not hold for the version that is
	// meant (the latest), it returns [ErrPrecondition], decided as one step with
	// the removal, and [ErrLocked] as above. An absent key or version is no error
	// unless c wants an object.
	Delete(ctx context.Context, bucket, key, version string, c Condition) (Deleted, error)

	// List returns a page of the keys whose latest version is no delete marker.
	// Of [Attributes] only ContentType, StorageClass and Checksum need be set.
	List(ctx context.Context, bucket string, q Query) (Page, error)
	// ListVersions returns a page of all versions, by key and of a key the
	// latest first.
	ListVersions(ctx context.Context, bucket string, q VersionQuery) (VersionPage, error)

	// CreateMultipart begins an upload in parts and returns its identifier. Of m,
	// Key and Attributes are the caller's.
	CreateMultipart(ctx context.Context, bucket string, m Multipart) (id string, err error)
	// GetMultipart returns an unfinished upload, or [ErrNoUpload] where key and
	// id do not name one.
	GetMultipart(ctx context.Context, bucket, key, id string) (Multipart, error)
	// ListParts returns at most limit parts with numbers above after, sorted,
	// and whether more follow.
	ListParts(ctx context.Context, bucket, key, id string, after, limit int) (parts []Part, more bool, err error)
	// ListMultiparts returns a page of the unfinished uploads, by key and then
	// by the time of their beginning.
	ListMultiparts(ctx context.Context, bucket string, q MultipartQuery) (MultipartPage, error)
	// CompleteMultipart makes an object of parts, in the order of their numbers,
	// and ends the upload. [*PartError]: a part that was not uploaded, or not
	// with that ETag; [ErrPrecondition] as with [Upload.Commit]. The upload goes
	// on after an error. attributes are the object's; its ETag is as S3 has it:
	// the MD5 of the parts' MD5s, "-", and their number.
	CompleteMultipart(ctx context.Context, bucket, key, id string, parts []PartID, attributes Attributes, c Condition) (Info, error)
	// AbortMultipart ends an upload and removes its parts. ErrNoUpload as above.
	AbortMultipart(ctx context.Context, bucket, key, id string) error

	// Close ends the store. Bodies and uploads still open are the caller's.
	Close() error
}

// Versioning says what becomes of the older versions of a key.
type Versioning string

// The three states of a bucket. Once Enabled, it never is Off again.
const (
	Off       Versioning = ""
	Enabled   Versioning = "Enabled"
	Suspended Versioning = "Suspended"
)

// A Bucket is a name for objects, and settings for all of them.
type Bucket struct {
	Name       string
	Created    time.Time // UTC
	Versioning Versioning
	// Anonymous is what requests without a signature may do: "", "read",
	// "write" or "read-write".
	Anonymous string
	// Documents are settings that only a door understands, by the name of their
	// subresource in S3 ("cors", "tagging", "lifecycle"), each as S3's own
	// document.
	Documents map[string][]byte
}

// An Upload is a body that a [Store] has taken and not yet published. It is
// used by one goroutine. After any error of a commit the upload is discarded.
type Upload interface {
	// Size is the number of bytes of the body.
	Size() int64
	// ETag is the entity tag that an object of this body alone has: as S3 has
	// it, its MD5 in hexadecimal digits, without quotes.
	ETag() string
	// Commit publishes the upload under key if c holds, and returns
	// [ErrPrecondition] otherwise, decided as one step with publishing: of
	// two commits that want the key absent, one succeeds. The last of several
	// commits to a key wins. created says that the key had no object.
	Commit(ctx context.Context, bucket, key string, a Attributes, c Condition) (info Info, created bool, err error)
	// CommitPart makes the upload the part of that number of an upload in
	// parts, in place of an earlier one, or returns [ErrNoUpload].
	CommitPart(ctx context.Context, bucket, key, id string, number int, checksum Checksum) (Part, error)
	// Discard gives the upload up. After a commit it does nothing.
	Discard()
}

// Put stages body and commits it under key.
func Put(ctx context.Context, s Store, bucket, key string, body io.Reader, a Attributes, c Condition) (info Info, created bool, err error) {
	u, err := s.Stage(ctx, body, -1)
	if err != nil {
		return Info{}, false, err
	}
	return u.Commit(ctx, bucket, key, a, c)
}

// Attributes are what the writer of an object says about it. A driver keeps them
// as they are.
type Attributes struct {
	// Each the value of the HTTP field of that name, or empty.
	ContentType        string
	ContentEncoding    string
	ContentLanguage    string
	ContentDisposition string
	CacheControl       string
	Expires            string

	// User is the user metadata (x-amz-meta-…), by names in lower case.
	User map[string]string
	// Tags are sorted by their keys.
	Tags []Tag
	// Checksum is what the body was verified against.
	Checksum Checksum
	// StorageClass is what the writer asked for; empty is STANDARD.
	StorageClass string
	// Redirect is x-amz-website-redirect-location.
	Redirect string

	// LockMode is [Governance] or [Compliance], and RetainUntil the time until
	// which the version is retained, UTC, in whole milliseconds. Both are set, or
	// neither.
	LockMode    string
	RetainUntil time.Time
	// LegalHold is [HoldOn], [HoldOff] or, where nobody ever said, empty.
	LegalHold string
}

// The locks of a version, as S3 names them (Amazon S3 user guide, "Locking objects
// with Object Lock").
const (
	Governance = "GOVERNANCE" // a retention that [Condition.Bypass] passes over
	Compliance = "COMPLIANCE" // a retention that nothing passes over
	HoldOn     = "ON"
	HoldOff    = "OFF"
)

// Locked reports whether a version with these attributes must not be removed at the
// time now: it is under a legal hold, or under a retention that lasts. bypass passes
// over a retention in the mode [Governance], and over nothing else.
func (a *Attributes) Locked(now time.Time, bypass bool) bool {
	return a.LegalHold == HoldOn || a.RetainUntil.After(now) && !(bypass && a.LockMode == Governance)
}

// A Tag is a label of an object.
type Tag struct{ Key, Value string }

// A Checksum is that of a body, as S3 has it. The zero value is none.
type Checksum struct {
	Algorithm string // "CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"
	Type      string // "FULL_OBJECT" or "COMPOSITE" (of the parts' checksums)
	Value     string // base64; composite: without the number of parts behind it
}

// Check returns [ErrAttributes] where a is over [MaxAttributes].
func (a *Attributes) Check() error {
	n := len(a.ContentType) + len(a.ContentEncoding) + len(a.ContentLanguage) + len(a.ContentDisposition) +
		len(a.CacheControl) + len(a.Expires) + len(a.StorageClass) + len(a.Redirect)
	for name, value := range a.User {
		n += len(name) + len(value)
	}
	if n > MaxAttributes {
		return ErrAttributes
	}
	return nil
}

// Info is what a store knows of one version of an object.
type Info struct {
	Key          string
	Version      string    // [Null] or an identifier
	Latest       bool      // no version of the key is newer
	DeleteMarker bool      // then it has neither body nor attributes
	Size         int64     // bytes
	ETag         string    // see [Upload.ETag] and [Store.CompleteMultipart]
	Modified     time.Time // of the commit, UTC
	// Parts are those that the object was completed of, in their order; nil
	// where it was written at once. List and ListVersions leave them out.
	Parts []Part
	Attributes
}

// An Object is one version of an object, opened for reading.
type Object struct {
	Info
	// Body also has SyscallConn where all of it is one file, so that net can
	// send it without copying, and is an [io.WriterTo] where all of it is in
	// memory, so that it can be sent together with the head of an answer.
	Body io.ReadSeekCloser
}

// Deleted says what a deletion did.
type Deleted struct {
	Version      string // that was removed, or that of the marker that was made; empty: nothing was there and nothing was made
	DeleteMarker bool   // the version is a delete marker's
}

// A Multipart is an unfinished upload in parts.
type Multipart struct {
	Key, ID   string
	Initiated time.Time // UTC
	// Attributes are those that the object is meant to have. Of Checksum only
	// Algorithm and Type are set.
	Attributes Attributes
}

// A Part is one of an upload in parts, or of the object that became of it.
type Part struct {
	Number   int // 1 to [MaxPart]
	Size     int64
	ETag     string
	Modified time.Time
	Checksum Checksum
}

// A PartID names a part that an upload is to be completed of.
type PartID struct {
	Number int
	ETag   string // without quotes
}

// A Condition must hold for a commit or a deletion to happen. The zero value
// always holds. Every field that is set must hold. A delete marker is no object.
type Condition struct {
	// Absent wants no object under the key (If-None-Match: *).
	Absent bool
	// Match wants an object with one of these ETags; "*" is any (If-Match).
	Match []string
	// NoneMatch wants no object with one of these ETags (If-None-Match).
	NoneMatch []string
	// UnmodifiedSince wants no object with a later time of modification, in
	// whole seconds as HTTP has them (If-Unmodified-Since).
	UnmodifiedSince time.Time
	// Modified wants an object that was modified in this second, and HasSize one
	// of Size bytes (x-amz-if-match-last-modified-time, x-amz-if-match-size).
	Modified time.Time
	HasSize  bool
	Size     int64

	// Bypass is no condition, but passes over one: a deletion removes a version
	// although it is under a retention in the mode [Governance].
	Bypass bool
}

// IsZero reports that c always holds, locks aside.
func (c Condition) IsZero() bool {
	return !c.Absent && len(c.Match) == 0 && len(c.NoneMatch) == 0 && c.UnmodifiedSince.IsZero() && c.Modified.IsZero() && !c.HasSize
}

// Check returns [ErrPrecondition] where c does not hold for the object that a
// key has at this moment; nil means none.
func (c Condition) Check(current *Info) error {
	if current != nil && current.DeleteMarker {
		current = nil
	}
	wants := len(c.Match) > 0 || !c.Modified.IsZero() || c.HasSize
	switch {
	case c.Absent && current != nil, wants && current == nil:
		return ErrPrecondition
	case current == nil:
		return nil
	case len(c.Match) > 0 && !slices.Contains(c.Match, "*") && !slices.Contains(c.Match, current.ETag),
		slices.Contains(c.NoneMatch, current.ETag),
		!c.UnmodifiedSince.IsZero() && current.Modified.Truncate(time.Second).After(c.UnmodifiedSince),
		!c.Modified.IsZero() && !current.Modified.Truncate(time.Second).Equal(c.Modified.Truncate(time.Second)),
		c.HasSize && current.Size != c.Size:
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

// A VersionQuery asks for a page of versions. After and AfterVersion are the last
// entry of the page before; without AfterVersion, all versions of After are
// behind it.
type VersionQuery struct {
	Query
	AfterVersion string
}

// A VersionPage is one page of versions and delete markers.
type VersionPage struct {
	Versions []Info
	Prefixes []string
	// Next and NextVersion are the last entry of this page where more follow;
	// NextVersion is empty where that is a common prefix.
	Next, NextVersion string
}

// A MultipartQuery asks for a page of unfinished uploads. Without AfterID, all
// uploads of the key After are behind it.
type MultipartQuery struct {
	Query
	AfterID string
}

// A MultipartPage is one page of unfinished uploads.
type MultipartPage struct {
	Uploads      []Multipart
	Prefixes     []string
	Next, NextID string // as in [VersionPage]
}

var (
	// ErrNoBucket: no bucket has the name.
	ErrNoBucket = errors.New("no such bucket")
	// ErrBucketExists: a bucket has the name already.
	ErrBucketExists = errors.New("the bucket exists")
	// ErrBucketNotEmpty: the bucket still has versions.
	ErrBucketNotEmpty = errors.New("the bucket is not empty")
	// ErrNotFound: no object has the key.
	ErrNotFound = errors.New("no such object")
	// ErrNoVersion: the key has no such version.
	ErrNoVersion = errors.New("no such version")
	// ErrDeleteMarker: the version that was asked for is a delete marker.
	ErrDeleteMarker = errors.New("the version is a delete marker")
	// ErrNoUpload: there is no such upload in parts.
	ErrNoUpload = errors.New("no such upload")
	// ErrPrecondition: a [Condition] does not hold.
	ErrPrecondition = errors.New("the precondition does not hold")
	// ErrLocked: a retention or a legal hold keeps the version.
	ErrLocked = errors.New("the version is locked")
	// ErrAttributes: [Attributes] are over [MaxAttributes] bytes.
	ErrAttributes = fmt.Errorf("the metadata is over %d bytes", MaxAttributes)
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

// A PartError says which part an upload cannot be completed of.
type PartError struct {
	Number int
	Reason string
}

func (e *PartError) Error() string { return fmt.Sprintf("part %d %s", e.Number, e.Reason) }

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
